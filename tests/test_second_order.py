"""Curvature and full-batch methods against closed solutions."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastlin as fl
from fastlin import ops, testing
from fastlin._solvers import pairs
from fastlin._solvers.linalg import Means

pytest.importorskip("scipy")


@pytest.fixture
def case():
    return testing.random_case(60, 5, 3)


def ridge(X, T, reg):
    """The minimum of mean (T - XW)^2 + reg W^2, from the normal equations."""
    return np.linalg.solve(X.T @ X / len(X) + reg * np.eye(X.shape[1]), X.T @ T / len(X))


def test_one_newton_step_solves_a_quadratic(case, backend):
    T = np.random.default_rng(0).standard_normal((60, 2))

    def f(W):
        return fl.squared_error_loss(W, case.X, T, 0.3, backend=backend)

    W = fl.newton_step(f, np.full((5, 2), 7.0))
    np.testing.assert_allclose(W, ridge(case.X, T, 0.3), rtol=1e-7, atol=1e-9)
    H = fl.numerical_hessian(f, W)
    one = 2 * (case.X.T @ case.X / 60 + 0.3 * np.eye(5))
    np.testing.assert_allclose(H, np.kron(one, np.eye(2)), atol=1e-8)


@pytest.mark.parametrize("solver", ["lbfgs", "bfgs", "cg"])
def test_minimize_solves_ridge_regression(case, solver, backend):
    T = np.random.default_rng(0).standard_normal((60, 2))
    how = {"loss": "squared_error", "solver": solver, "reg": 0.3, "tol": 1e-9, "bias": False, "backend": backend}
    found = fl.minimize(case.X, T, **how)
    np.testing.assert_allclose(found.W, ridge(case.X, T, 0.3), atol=1e-7)
    assert (np.diff(found.history["loss"]) <= 1e-12).all()


@pytest.mark.parametrize("loss", ["softmax", "logistic", "squared_svm"])
def test_minimum_has_no_slope(case, loss):
    found = fl.minimize(case.X, case.y, loss=loss, reg=0.1, tol=1e-8)
    value, dW = testing.evaluate(loss, default(loss), found.W, case.X, case.y, 0.1, bias=True)
    assert abs(dW).max() < 1e-6
    assert found.history["loss"][-1] == pytest.approx(value, rel=1e-12)


def default(loss):
    return {name: spec.default for name, spec in testing.OPS[f"{loss}_epilogue"].hyper.items()}


def test_minimize_takes_bytes_and_scales(case):
    X = np.random.default_rng(0).integers(0, 256, (60, 5), dtype=np.uint8)
    found = fl.minimize(X, case.y, reg=0.1, x_scale=1 / 128, x_shift=-1.0)
    floats = fl.minimize(X / 128 - 1.0, case.y, reg=0.1)
    np.testing.assert_allclose(found.W, floats.W, atol=1e-4)
    assert (found.predict(X) == floats.predict(X / 128 - 1.0)).all()


def test_scipy_is_named_when_it_is_missing(case, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(
        ImportError, match=r"fastlin.minimize with solver='cg' needs scipy: pip install 'fastlin\[scipy\]'"
    ):
        fl.minimize(case.X, case.y, solver="cg")
    fl.minimize(case.X, case.y)  # L-BFGS is our own


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"solver": "Newton"}, "solver must be one of 'auto', 'lbfgs', .*; found 'Newton'"),
        ({"max_iter": 0}, "max_iter must be an integer of at least 1"),
        ({"tol": -1.0}, r"tol must be in \[0, inf\)"),
    ],
)
def test_bad_input(case, how, message):
    with pytest.raises(ValueError, match=message):
        fl.minimize(case.X, case.y, **how)


def test_max_norm_leaves_short_columns_and_the_bias():
    W = np.array([[3.0, 0.3], [4.0, 0.4], [9.0, 9.0]], np.float32)
    found = fl.max_norm(W, 1.0, bias=True)
    np.testing.assert_allclose(found, [[0.6, 0.3], [0.8, 0.4], [9.0, 9.0]], rtol=1e-6)
    assert found.dtype == np.float32
    assert W[0, 0] == 3.0
    assert not fl.max_norm(np.zeros((3, 2)), 1.0).any()


def test_dropout_keeps_the_mean():
    X = np.random.default_rng(0).uniform(1, 2, (400, 50))
    found = fl.dropout(X, 0.3, seed=1)
    assert set(np.unique(np.round(found / X, 12))) == {0.0, round(1 / 0.7, 12)}
    assert found.mean() == pytest.approx(X.mean(), rel=0.02)
    np.testing.assert_array_equal(found, fl.dropout(X, 0.3, seed=1))
    assert (found != fl.dropout(X, 0.3, seed=2)).any()
    np.testing.assert_array_equal(fl.dropout(X, 0.0), X)
    assert fl.dropout(X.astype(np.float32), 0.3).dtype == np.float32


WRONG = {  # what an argument is given that it cannot be, beside what no argument can be
    "loss": [None, "hinge", 1, 1.5],
    "solver": [None, "newton", 1, 1.5],
    "reg": [None, -1.0, float("nan")],
    "max_iter": [0, -1, True, 1.5, float("nan")],
    "tol": [None, -1.0, float("nan")],
    "W": [1.5, np.zeros((2, 2)), np.zeros((6, 3), int), np.zeros(6)],
    "sample_weight": [1.5, np.ones(59), np.full(60, "1")],
    "x_scale": [np.ones(4), float("inf"), np.full(5, "1")],
    "x_shift": [np.ones(4), float("nan"), np.full(5, "1")],
    "backend": ["fortran", 1, 1.5],
    "threads": [0, -1, True, 1.5],
    "label_smoothing": [None, -1.0, 2.0, float("nan")],
    "margin": [1.0],
}
NEVER = ["?", b"x", object(), 1j, print]


@pytest.mark.parametrize(("name", "wrong"), [(name, value) for name in WRONG for value in [*WRONG[name], *NEVER]])
def test_a_wrong_argument_is_named(case, name, wrong):
    start = np.ones((6, 3))
    with pytest.raises((ValueError, TypeError), match=name):
        fl.minimize(case.X, case.y, **({"W": start} | {name: wrong}))
    assert (start == 1).all()


@pytest.mark.parametrize("wrong", NEVER)
def test_wrong_data_are_named(case, wrong):
    with pytest.raises((ValueError, TypeError), match="X"):
        fl.minimize(wrong, case.y)
    with pytest.raises((ValueError, TypeError), match="y"):
        fl.minimize(case.X, wrong)


def run_script(lines, **env):
    done = subprocess.run(
        [sys.executable, "-c", "import os\nimport numpy as np\nimport fastlin as fl\n" + lines],
        env=os.environ | env,
        timeout=300,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the system does not tell what threads do")
def test_no_other_thread_takes_part_in_the_steps():
    """Idle BLAS threads that look for work take the cores from those that work: 16 s instead of 0.4 under load."""
    run_script(
        """
import threading
import time
from pathlib import Path
import scipy.linalg  # SciPy has BLAS threads of its own

def turns():
    own = str(threading.get_native_id())
    return {task.name: int((task / "schedstat").read_text().split()[2])
            for task in Path("/proc/self/task").iterdir() if task.name != own}

rng = np.random.default_rng(0)
X, y = rng.standard_normal((178, 13)) * np.logspace(0, 3, 13), rng.integers(0, 3, 178)
np.dot(X.T, X)
before = None
while before != turns():  # until the threads of this product, and those that have just begun, sleep
    before = turns()
    time.sleep(0.2)
for solver in ("lbfgs", "whitened-lbfgs", "newton-cg", "newton-cholesky", "owlqn"):
    found = fl.minimize(X, y, solver=solver, max_iter=100, tol=0, threads=1)
    assert len(found.history["loss"]) > 4, solver
assert turns() == before
""",
        OPENBLAS_NUM_THREADS="4",
    )


def test_same_bits_for_any_number_of_threads():
    """Of W with more entries than a sum is divided from on, by BLAS."""
    lines = """
import hashlib
rng = np.random.default_rng(0)
sizes = ("lbfgs", 1500), ("whitened-lbfgs", 200), ("newton-cg", 200), ("newton-cholesky", 20), ("owlqn", 1500)
for solver, d in sizes:
    X, y = rng.standard_normal((60, d)), rng.integers(0, 10, 60)
    found = fl.minimize(X, y, solver=solver, max_iter=15, reg=1e-4, threads={})
    print(hashlib.sha256(found.W.tobytes()).hexdigest(), found.history["loss"])
"""
    assert len({run_script(lines.format(k), OPENBLAS_NUM_THREADS=str(k)) for k in (1, 2, 3)}) == 1


@pytest.mark.parametrize("loss", ["softmax", "squared_svm"])
def test_lbfgs_finds_what_scipy_finds(loss):
    """Badly scaled features need the pairs and the line search: neither steepest descent nor fixed steps get there."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((178, 6)) * np.logspace(0, 1.5, 6), rng.integers(0, 3, 178)
    how = {"loss": loss, "reg": 1e-3, "max_iter": 1000}
    ours, scipys = fl.minimize(X, y, tol=1e-7, **how), fl.minimize(X, y, solver="bfgs", tol=1e-7, **how)
    assert ours.history["loss"][-1] == pytest.approx(scipys.history["loss"][-1], rel=1e-9)
    assert len(ours.history["loss"]) < 250
    assert (np.diff(ours.history["loss"]) < 1e-15).all()  # the last ones are of rounding


def test_lbfgs_at_the_minimum_and_where_there_is_none(case):
    found = fl.minimize(case.X, case.y, reg=0.1, tol=1e-6)
    again = fl.minimize(case.X, case.y, reg=0.1, tol=1e-5, W=found.W)
    assert len(again.history["loss"]) == 1
    np.testing.assert_array_equal(again.W, found.W)
    nowhere = fl.minimize(np.full((4, 2), np.nan), [0, 1, 0, 1])
    assert np.isnan(nowhere.history["loss"]).all()
    assert not nowhere.W.any()
    kinks = fl.minimize(case.X, case.y, loss="svm", tol=0, max_iter=500)
    assert kinks.history["loss"][-1] < 1.7 < kinks.history["loss"][0]


def test_lbfgs_direction_inverts_the_hessian_that_it_has_seen():
    """H maps the last change of the gradient to the last step, and with a pair for each dimension all of them."""
    rng = np.random.default_rng(0)
    A, found = np.diag([1.0, 2.0, 5.0, 9.0]), pairs.Pairs(4, 4, Means("numpy", 1))
    gradient = rng.standard_normal(4)
    np.testing.assert_array_equal(found.direction(gradient), -gradient)
    for step in np.eye(4):
        found.remember((step, np.zeros(4)), (A @ step, np.zeros(4)))
        found.direction(gradient)
    np.testing.assert_allclose(found.direction(gradient), -np.linalg.solve(A, gradient), rtol=1e-12)


def two_loops(gradient, steps, changes):
    """-H gradient by the recursion of Nocedal & Wright, algorithm 7.4."""
    q, shares = gradient.copy(), []
    for s, y in zip(steps[::-1], changes[::-1], strict=True):
        shares.append(s @ q / (s @ y))
        q -= shares[-1] * y
    q *= steps[-1] @ changes[-1] / (changes[-1] @ changes[-1])
    for s, y, share in zip(steps, changes, shares[::-1], strict=True):
        q += (share - y @ q / (s @ y)) * s
    return -q


@pytest.mark.parametrize("backend", ops.installed())
@pytest.mark.parametrize("size", [7, 1003, 40_001])  # by NumPy, in one piece, in several
def test_directions_are_those_of_the_recursion(backend, size):
    rng, gradients = np.random.default_rng(0), []
    known = {threads: pairs.Pairs(3, size, Means(backend, threads)) for threads in (1, 3)}
    steps, changes = rng.standard_normal((2, 8, size))
    changes += 3 * steps
    steps[5], changes[2] = np.nan, -changes[2]  # neither is remembered
    kept, zero = [], np.zeros(size)
    for i in range(8):
        gradients.append(rng.standard_normal(size))
        kept = [*kept, i][-3:] if i not in (2, 5) else kept
        expected = two_loops(gradients[-1], steps[kept], changes[kept])
        found = []
        for each in known.values():
            each.remember((steps[i], zero), (changes[i], zero))
            found.append(each.direction(gradients[-1]))
        np.testing.assert_array_equal(found[1], found[0])
        np.testing.assert_allclose(found[0], expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


# ---- Functions and weights of other kinds --------------------------------------------------------------------


def quadratic(W):
    return float((W**2).sum()), 2 * W


@pytest.mark.parametrize("function", [fl.numerical_hessian, fl.newton_step])
@pytest.mark.parametrize("W", [None, np.zeros(2, object), np.zeros(2, complex), np.zeros(2, [("a", "f8")]), ["a"]])
def test_curvature_refuses_what_is_no_W(function, W):
    with pytest.raises((TypeError, ValueError), match=r"^W "):
        function(quadratic, W)


@pytest.mark.parametrize("function", [fl.numerical_hessian, fl.newton_step])
@pytest.mark.parametrize(
    "f",
    [None, 3, lambda W: None, lambda W: 1.0, lambda W: (1.0, "steep"), lambda W: (1.0, np.zeros(3)), lambda W: (1,)],
)
def test_curvature_refuses_what_gives_no_gradient(function, f):
    with pytest.raises((TypeError, ValueError), match=r"^(f must|the gradient that f returns)"):
        function(f, np.zeros(2))


def test_a_step_too_small_for_W_is_named():
    with pytest.raises(ValueError, match=r"h is 1e-30, too small to change entry 1 of W"):
        fl.numerical_hessian(quadratic, np.array([0.0, 1.0]), h=1e-30)


@pytest.mark.parametrize("solver", ["lbfgs", "bfgs"])
def test_minimize_far_away_says_nothing(solver):
    """Sums that overflow are Inf, without a warning."""
    X = np.array([[1e30], [-1e30], [2e30]])
    assert fl.minimize(X, [0, 1, 0], reg=1e30, max_iter=5, solver=solver).W.shape == (2, 2)
    weight = np.array([1e300, 1e-300, 1e300])
    assert fl.minimize(X, [0, 1, 0], sample_weight=weight, max_iter=5, solver=solver).W.shape == (2, 2)
