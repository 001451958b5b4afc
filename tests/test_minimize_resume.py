"""A full-batch fit that was interrupted goes on to the same bits; what is no checkpoint of it is refused."""

import itertools
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import fastlin as fl
from fastlin._files import store
from fastlin._solvers import memory, problem

# One script for the fit that is killed and the one that is not.
SCRIPT = """
    import os, signal, sys
    import numpy as np
    import fastlin as fl
    from fastlin._files import store
    from fastlin._solvers import memory

    def data(loss):
        rng = np.random.default_rng(2)
        y = rng.integers(0, 3, 203)
        X = (rng.standard_normal((203, 6)) + np.eye(3, 6)[y]) * np.geomspace(0.1, 20, 6)
        return X, y, np.linspace(0.5, 1.5, 203)

    FITS = {
        "whitened-lbfgs": dict(label_smoothing=0.1, reg=1e-5, tol=1e-12),
        "lbfgs": dict(reg=1e-3, x_scale=0.7, tol=1e-9),
        "newton-cg": dict(loss="squared_svm", margin=0.8, reg=1e-4, tol=1e-12),
        "owlqn": dict(reg=fl.L1(1e-3), tol=1e-9),
        "smoothed": dict(loss="svm", margin=0.8, reg=0.3, max_iter=3),
    }

    if __name__ == "__main__":
        solver, path, kill = sys.argv[1], sys.argv[2], int(sys.argv[3])
        memory.SHARE, saves, save = float("inf"), [], store.save

        def save_and_kill(path, values):
            save(path, values)
            saves.append(1)
            if len(saves) == kill:
                os.kill(os.getpid(), signal.SIGKILL)

        store.save = save_and_kill
        X, y, weight = data(solver)
        fl.minimize(X, y, sample_weight=weight, solver=solver, checkpoint=path, **FITS[solver])
"""
_script = {}
exec(textwrap.dedent(SCRIPT), _script)
data, FITS = _script["data"], _script["FITS"]


@pytest.fixture(autouse=True)
def always(monkeypatch):
    """A checkpoint after every step, however long writing takes."""
    monkeypatch.setattr(memory, "SHARE", float("inf"))


def fit(solver, **more):
    X, y, weight = data(solver)
    return fl.minimize(X, y, sample_weight=weight, solver=solver, **FITS[solver] | more)


def same(found, expected):
    assert found.W.tobytes("F") == expected.W.tobytes("F")
    assert found.history == expected.history
    assert found.solved == expected.solved


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
@pytest.mark.parametrize("solver", FITS)
def test_from_every_checkpoint_the_same_bits(solver, suffix, tmp_path, monkeypatch):
    if suffix == "safetensors":
        pytest.importorskip("safetensors")
    states, save = [], store.save

    def keep(path, values):  # most are kept as they are: a file that is written safely takes milliseconds
        if len(states) % 20 == 0:
            save(path, values)
            values = store.load(path)
        states.append(values)

    expected = fit(solver)
    monkeypatch.setattr(store, "save", keep)
    same(fit(solver, checkpoint=tmp_path / f"state.{suffix}"), expected)
    monkeypatch.undo()
    assert len(states) >= 5
    frames = {frozenset(name.partition(".")[0] for name in state) for state in states}
    if solver == "whitened-lbfgs":
        assert len(frames) == 2  # Newton's polish too
    some = states if suffix == "npz" else states[1::7]
    for state in [*states[:21:20], *some[:: max(1, len(some) // 12)], states[-1]]:
        same(fit(solver, resume=state), expected)


@pytest.mark.parametrize("solver", ["lbfgs", "whitened-lbfgs", "owlqn"])
def test_from_where_the_steps_are_in_float32(solver, tmp_path, monkeypatch):
    X, y, weight = data(solver)
    monkeypatch.setattr(problem, "NARROW", 1)

    def fit(**more):
        reg = fl.L1(1e-3) if solver == "owlqn" else 1e-4
        return fl.minimize(X.astype(np.float32), y, sample_weight=weight, solver=solver, reg=reg, tol=1e-9, **more)

    states, save = [], store.save
    expected = fit()
    monkeypatch.setattr(store, "save", lambda path, values: states.append(values) or save(path, values))
    same(fit(checkpoint=tmp_path / "state.npz"), expected)
    assert {state["narrow"] for state in states} == {0, 1}
    for state in [*states[::9], states[-1]]:
        same(fit(resume=state), expected)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
@pytest.mark.parametrize("solver", ["whitened-lbfgs", "owlqn"])
def test_after_sigkill(solver, tmp_path):
    path = tmp_path / "state.npz"
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), solver, path, "4"]
    done = subprocess.run(command, check=False, cwd="/", env=os.environ | {"PYTHONPATH": ""})
    assert done.returncode == -signal.SIGKILL
    assert len(store.load(path)["history.loss"]) == 5
    same(fit(solver, resume=path), fit(solver))


def test_more_iterations(tmp_path):
    path = tmp_path / "state.npz"
    for solver in ("lbfgs", "whitened-lbfgs", "newton-cg"):
        stopped = fit(solver, max_iter=4, checkpoint=path)
        assert stopped.solved.n_iter == 4
        same(fit(solver, resume=path), fit(solver))


def test_a_checkpoint_is_written_seldom_but_at_the_end(tmp_path, monkeypatch):
    writes, save = [], store.save
    monkeypatch.setattr(memory, "SHARE", -1.0)
    monkeypatch.setattr(store, "save", lambda *arguments: writes.append(1) or save(*arguments))
    expected = fit("lbfgs", checkpoint=tmp_path / "state.npz")
    assert len(writes) == 1
    same(fit("lbfgs", resume=tmp_path / "state.npz"), expected)


def test_parts_go_on(tmp_path):
    X, y, weight = data("lbfgs")
    ends = itertools.pairwise((0, 60, 61, 203))
    parts = fl.Parts([(X[a:b], y[a:b], weight[a:b]) for a, b in ends])
    how = {"reg": 1e-4, "tol": 1e-11, "class_weight": "balanced"}
    expected = fl.minimize(parts, **how)
    fl.minimize(parts, max_iter=3, checkpoint=tmp_path / "state.npz", **how)
    same(fl.minimize(parts, resume=tmp_path / "state.npz", **how), expected)
    others = fl.Parts([(X[:90], y[:90], weight[:90]), (X[90:], y[90:], weight[90:])])
    with pytest.raises(ValueError, match=r"of a run with other arguments\. X: "):
        fl.minimize(others, resume=tmp_path / "state.npz", **how)


# ---- Refused ----------------------------------------------------------------------------------------------------


@pytest.fixture
def state(tmp_path):
    fit("whitened-lbfgs", max_iter=6, checkpoint=tmp_path / "state.npz")
    return store.load(tmp_path / "state.npz")


NAN = float("nan")
DAMAGE = {
    "format": ("fastlin training state 2", "is not a checkpoint of minimize"),
    "passes": (-1, "passes must be an integer of at least 0"),
    "history.loss": (np.zeros(0), "history.loss is empty"),
    "lbfgs.x": (np.zeros(20), r"lbfgs.x has shape \(20,\); that of this run is \(21,\)"),
    "lbfgs.gradient": (np.zeros(21, np.float32), "lbfgs.gradient is float32"),
    "lbfgs.value": ("low", "lbfgs.value must be a float"),
    "lbfgs.pairs": (np.zeros((12, 2, 21)), "lbfgs.pairs must be at most 11 rows"),
    "lbfgs.products": (np.zeros((2, 5, 5)), r"lbfgs.products has shape \(2, 5, 5\)"),
    "lbfgs.places": (np.array([0, 1, 1, 2]), "lbfgs.places must be different, and 0 to 5"),
    "narrow": (2, "narrow must be an integer of at least 0 and at most 1"),
    "lbfgs.done": (2**60, "lbfgs.done must be an integer"),
    "whitened.stage": (1.5, "whitened.stage must be an integer"),
    "whitened.flat": (2, "whitened.flat must be an integer of at least 0 and at most 1"),
    "argument.loss": ("svm", "other arguments. loss: svm there, softmax here"),
    "more": (1, "the state has 'more', which is no part"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_state_is_refused(state, name):
    value, message = DAMAGE[name]
    with pytest.raises((ValueError, TypeError), match=message):
        fit("whitened-lbfgs", resume=state | {name: value})


def test_a_state_whose_pairs_do_not_curve_upwards_is_refused(state):
    with pytest.raises(ValueError, match=r"a step and its change in the state's lbfgs.pairs have a product 0.0"):
        fit("whitened-lbfgs", resume=state | {"lbfgs.pairs": np.zeros_like(state["lbfgs.pairs"])})


@pytest.mark.parametrize("value", [0.0, NAN])
def test_a_state_of_other_products_is_forgotten(state, value):
    """They are consistent with no pairs: the fit begins anew from where it stood."""
    found = fit("whitened-lbfgs", resume=state | {"lbfgs.products": np.full_like(state["lbfgs.products"], value)})
    assert found.history["loss"][-1] == pytest.approx(fit("whitened-lbfgs").history["loss"][-1], rel=1e-9)


@pytest.mark.parametrize("name", ["format", "passes", "history.loss", "lbfgs.x", "lbfgs.products", "whitened.value"])
def test_a_state_that_lacks_something_is_refused(state, name):
    del state[name]
    with pytest.raises(ValueError, match=r"has no|is not a checkpoint"):
        fit("whitened-lbfgs", resume=state)


def test_other_arguments_are_refused(state, tmp_path):
    for other in ({"reg": 0.1}, {"bias": False}, {"solver": "lbfgs"}, {"x_scale": 2.0}, {"label_smoothing": 0.2}):
        with pytest.raises(ValueError, match="of a run with other arguments"):
            fit(**{"solver": "whitened-lbfgs", "resume": state} | other)
    X, y, _ = data("lbfgs")
    with pytest.raises(ValueError, match="is SciPy's and keeps no checkpoint"):
        fl.minimize(X, y, solver="bfgs", checkpoint=tmp_path / "state.npz")
    with pytest.raises(ValueError, match=r"must end in \.npz or \.safetensors"):
        fl.minimize(X, y, checkpoint=tmp_path / "state.txt")
    result = fl.train(X, y, epochs=1)
    with pytest.raises(ValueError, match="is not a checkpoint of minimize"):
        fl.minimize(X, y, resume=result.state)
