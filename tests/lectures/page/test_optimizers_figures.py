"""Numbers behind the figures of six optimizers beside each other, which their captions say."""

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("skimage")
pytest.importorskip("matplotlib")
from fastlin.lectures import optimizers


def ends(rates):
    return {name: float(optimizers.bowl_ends(name, (lr,))[0]) for name, lr in rates.items()}


def test_the_bowl_shows_what_the_slides_say():
    """Momentum and Nesterov beat SGD, each by its best rate; by one rate AdaGrad is stuck, RMSProp and Adam are not."""
    best = ends({name: optimizers.best_rate(name) for name in optimizers.DESCENTS})
    assert best["Nesterov"] < best["momentum"] < 0.1 * best["SGD"]
    same = ends({name: 0.1 for name in optimizers.ADAPTIVE})
    assert max(same["RMSProp"], same["Adam"]) < 0.1
    assert same["AdaGrad"] > 1
    path = optimizers.walk(optimizers.valley, optimizers.RULES["AdaGrad"](0.1), optimizers.BOWL_START, 200)
    lengths = np.linalg.norm(np.diff(path, axis=0), axis=1)
    assert lengths[-1] < 0.1 * lengths[0]
    for name in optimizers.ADAPTIVE:  # as long along w0 as along w1
        first = np.diff(
            optimizers.walk(optimizers.valley, optimizers.RULES[name](0.1), optimizers.BOWL_START, 1), axis=0
        )
        np.testing.assert_allclose(abs(first[0, 0]), abs(first[0, 1]), rtol=1e-6)


def test_sgd_jitters_and_crawls():
    path = optimizers.walk(
        optimizers.valley, optimizers.RULES["SGD"](optimizers.best_rate("SGD")), optimizers.BOWL_START, 60
    )
    assert (np.sign(path[1:20, 1]) == -np.sign(path[:19, 1])).all()
    assert (np.diff(path[:, 0]) > 0).all()
    assert path[-1, 0] < -0.5


def test_rates_that_work():
    """More rates work for Adam than for any other; the rules without scaling run away, AdaGrad is best at the last."""
    found = {name: optimizers.bowl_ends(name) for name in optimizers.RULES}
    good = {name: int((values < 0.1).sum()) for name, values in found.items()}
    assert good["Adam"] > max(count for name, count in good.items() if name != "Adam")
    for name in optimizers.DESCENTS:
        assert found[name][-1] > 1e6
    for name in optimizers.ADAPTIVE:
        assert found[name].max() < 20
    assert optimizers.best_rate("AdaGrad") == 1.0
    assert found["AdaGrad"].min() < min(values.min() for name, values in found.items() if name != "AdaGrad")
    assert (found["AdaGrad"] > 1).sum() > len(optimizers.RATES) / 2


def test_update_formulas():
    found = optimizers.formula_ends()
    assert max(found["bowl"][name] for name in ("momentum", "Nesterov", "RMSProp", "Adam")) < 0.1
    assert min(found["bowl"]["SGD"], found["bowl"]["AdaGrad"]) > 0.5
    falls = sorted(optimizers.RULES, key=lambda name: found["saddle"][name])
    assert falls == ["RMSProp", "Adam", "Nesterov", "momentum", "AdaGrad", "SGD"]
    assert found["saddle"]["AdaGrad"] < -1
    assert found["saddle"]["SGD"] > 0
