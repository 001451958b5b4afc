"""The sum of partials: the same bits in any order of arrival, with any number of threads, after a retry."""

import pickle

import numpy as np
import pytest

from fastlin import testing
from fastlin._objective import make_objective
from fastlin._parts.reduction import Partial, Tree, finished, partial


def some(count, seed=0):
    rng = np.random.default_rng(seed)
    scale = 10.0 ** rng.integers(-8, 8, count)  # a sum in another order has other bits
    return [Partial(float(s * rng.standard_normal()), s * rng.standard_normal((3, 2)), 1.5, 2) for s in scale]


def by_halves(values):
    """The tree as it is said: neighbours by pairs, the last of an odd count alone, level after level."""
    while len(values) > 1:
        pairs = [values[i] + values[i + 1] for i in range(0, len(values) - 1, 2)]
        values = pairs + values[len(values) // 2 * 2 :]
    return values[0]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 6, 7, 8, 13, 64, 101])
def test_any_order_gives_the_bits_of_the_tree(count):
    found = some(count)
    for seed in range(4):
        tree = Tree(count)
        for i in range(count) if seed == 0 else np.random.default_rng(seed).permutation(count):
            tree.add(int(i), found[i])
        total = tree.total()
        assert total.loss == by_halves([p.loss for p in found])
        assert total.dW.tobytes() == by_halves([p.dW for p in found]).tobytes()
        assert (total.rows, total.weight) == (2 * count, 1.5 * count)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 13, 101])
def test_sums_of_some_parts_are_branches(count):
    """Whoever sums which parts: the bits of the tree, from as few branches as those parts allow."""
    found = some(count)
    expected = by_halves([p.dW for p in found]).tobytes()
    for seed in range(5):
        whose = np.random.default_rng(seed).integers(0, 3, count) if seed else np.zeros(count)
        whole = Tree(count)
        for who in range(3):
            own = Tree(count)
            for i in np.flatnonzero(whose == who):
                own.add(int(i), found[i])
            branches = own.branches()
            assert len(branches) == 1 if not seed and not who else len(branches) <= (whose == who).sum()
            for branch in branches:
                whole.add(*branch)
        assert whole.total().dW.tobytes() == expected
    halves = Tree(8)
    halves.add(1, some(8)[0], 2)  # of the parts 4 ... 7
    with pytest.raises(ValueError, match="not given yet; found 6"):
        halves.add(6, some(8)[6])
    with pytest.raises(ValueError, match="not given yet; found 2"):
        halves.add(2, some(8)[6], 2)


def test_in_order_few_are_kept():
    found, tree, most = some(1000), Tree(1000), 0
    for i, one in enumerate(found):
        tree.add(i, one)
        most = max(most, len(tree._waiting))
    assert most <= 10


def test_what_a_worker_sent_is_not_written_to():
    found = some(5)
    for one in found:
        one.dW.flags.writeable = False
    before = [one.dW.tobytes() for one in found]
    tree = Tree(5)
    for i, one in enumerate(found):
        tree.add(i, one)
    assert [one.dW.tobytes() for one in found] == before


def test_a_part_that_is_missing_or_given_twice():
    tree = Tree(3)
    tree.add(1, some(1)[0])
    with pytest.raises(ValueError, match="not given yet; found 1"):
        tree.add(1, some(1)[0])
    with pytest.raises(ValueError, match=r"in \[0, 3\) not given yet; found 3"):
        tree.add(3, some(1)[0])
    with pytest.raises(ValueError, match="2 of 3 parts are missing, such as 0"):
        tree.total()


@pytest.mark.paired(how=["plain", "bias"])
def test_partials_are_the_loss(loss, backend, dtype, how):
    """Over rows in three parts, one of which is empty; against the loss over all rows at once."""
    case = testing.random_case(31, 5, 4, bias=how == "bias").astype(dtype)
    hyper, y = testing.off_neutral(f"{loss}_epilogue"), case.targets(loss)
    objective = make_objective(loss, tuple(hyper.values()), 0.03, case.bias, backend, None)
    tree = Tree(3)
    for i, rows in enumerate((slice(0, 20), slice(20, 20), slice(20, 31))):
        sent = pickle.loads(pickle.dumps((objective, case.W, case.X[rows], y[rows], case.sample_weight[rows])))
        assert sent[0].loss is objective.loss
        tree.add(i, partial(*sent))
    total = tree.total()
    assert total.rows == 31
    assert total.weight == pytest.approx(case.sample_weight.sum(dtype=np.float64), rel=1e-6)
    value, dW = finished(objective, case.W, total, 31)
    expected, gradient = testing.evaluate(
        loss, hyper, case.W, case.X, y, 0.03, sample_weight=case.sample_weight, bias=case.bias, backend=backend
    )
    rtol = 1e-5 if dtype == "float32" else 1e-12
    assert value == pytest.approx(expected, rel=rtol)
    assert dW.dtype == case.W.dtype
    np.testing.assert_allclose(dW, gradient, rtol=50 * rtol, atol=rtol)


def test_threads_change_no_bits(compiled):
    rng = np.random.default_rng(1)
    W, X, y = rng.standard_normal((60, 11)), rng.standard_normal((4000, 60)), rng.integers(0, 11, 4000)
    bits = {
        partial(make_objective("softmax", (0.1,), 0.0, False, compiled, threads), W, X, y).dW.tobytes()
        for threads in (1, 2, 5)
    }
    assert len(bits) == 1
