"""A wrong value for any argument of any public function: an error that names the argument, and nothing written."""

import copy
import inspect
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

import fastlin as fl
from fastlin import schedules, toys

N, D, C = 6, 4, 3


def arrays(dtype=np.float64):
    rng = np.random.default_rng(0)
    W = rng.standard_normal((D, C)).astype(dtype)
    return {"W": W, "X": rng.standard_normal((N, D)).astype(dtype), "y": np.array([0, 1, 2, 0, 1, 2])}


def step_of(optimizer):
    return lambda **given: getattr(fl, optimizer)(**given).step(np.ones((2, 3)), np.ones((2, 3)))


@np.errstate(over="ignore")
def square(W):
    return float((W**2).sum()), 2 * W


LOSSES = [fl.softmax_loss, fl.svm_loss, fl.logistic_loss, fl.sigmoid_squared_loss, fl.squared_error_loss]
LOSSES += [fl.absolute_error_loss, fl.huber_loss]
LOSS = {"reg": 0.1, "bias": False, "sample_weight": np.ones(N), "x_scale": 1.0, "x_shift": np.zeros(D)}
LOSS |= {"reduction": "mean", "out": np.zeros((D, C)), "backend": None, "threads": 1}
FIT = {"loss": "softmax", "reg": 0.1, "bias": False, "backend": None, "threads": 1}
RULES = [name for name in fl.updates.__all__ if hasattr(fl, name)]
OPTIMIZERS = [name for name in fl.optim.__all__ if name != "Optimizer"]
SCHEDULES = {
    "constant": {"lr": 0.1},
    "step": {"lr": 0.1, "at": (3, 6), "factor": 0.5},
    "cosine": {"lr": 0.1, "T": 10, "low": 0.01},
    "linear": {"lr": 0.1, "T": 10, "start": 0.5, "end": 1.0},
    "polynomial": {"lr": 0.1, "T": 10, "power": 2.0},
    "cyclic": {"lr": 0.1, "low": 0.01, "up": 3, "down": 4, "factor": 0.5, "gamma": 0.9},
    "inverse_sqrt": {"lr": 0.1},
    "cosine_restarts": {"lr": 0.1, "T": 10, "factor": 2, "low": 0.01},
    "one_cycle": {"lr": 0.1, "T": 10, "pct_start": 0.3, "div_factor": 25.0, "final_div_factor": 100.0},
    "plateau": {"lr": 0.1, "factor": 0.1, "patience": 1, "threshold": 0.1, "min_lr": 0.01},
    "warmup": {"schedule": 0.1, "steps": 3},
    "scaled": {"schedule": 0.1, "factor": 2.0},
}


def defaults(function, **given):
    """Every argument of a function that has a default, with that, and those given."""
    parameters = inspect.signature(function).parameters.values()
    named = {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}
    return named | given


def updates():
    for name in RULES:
        parameters = inspect.signature(getattr(fl, name)).parameters
        state = [p for p in parameters if parameters[p].default is inspect.Parameter.empty and p not in ("t", "lr")]
        given = {p: np.full(4, 0.5) for p in state} | ({"t": 1} if "t" in parameters else {}) | {"lr": 0.1}
        yield name, getattr(fl, name), defaults(getattr(fl, name), **given) | {"backend": "numpy", "threads": 1}


def calls():
    """Every public function that computes, with good arguments."""
    for f in LOSSES:
        yield f.__name__, f, defaults(f, **arrays(), **LOSS)
    data = {name: A for name, A in arrays().items() if name != "W"}
    start = {"W": arrays()["W"]}
    features = {name: A for name, A in arrays().items() if name != "y"}
    yield "scores", fl.scores, defaults(fl.scores, **features)
    yield "predict", fl.predict, defaults(fl.predict, **features)
    yield "softmax", fl.softmax, {"S": np.ones((2, 3)), "backend": None}
    yield "train", fl.train, defaults(fl.train, **data, **FIT, **start, epochs=1, margin=1.0) | {"loss": "svm"}
    yield "random_search", fl.random_search, defaults(fl.random_search, **data, **FIT, tries=2)
    yield (
        "random_local_search",
        fl.random_local_search,
        defaults(fl.random_local_search, **data, **FIT, **start, tries=2),
    )
    yield "max_norm", fl.max_norm, {"W": np.ones((3, 2)), "limit": 1.0, "bias": False}
    yield "dropout", fl.dropout, {"X": np.ones((3, 2)), "p": 0.5, "seed": 0}
    yield "scale_lr", fl.scale_lr, {"lr": 0.1, "factor": 2.0}
    yield "set_num_threads", fl.set_num_threads, {"n": None}
    yield "warmup", fl.warmup, {"backend": "numpy", "loss": "softmax"}
    for name in ("L1", "L2", "ElasticNet"):
        yield name, getattr(fl, name), {"lam": 0.1} | ({"beta": 0.5} if name == "ElasticNet" else {})
    for name in OPTIMIZERS:
        yield name, step_of(name), defaults(getattr(fl, name), lr=0.1)
    step = {"W": np.ones((2, 3)), "dW": np.ones((2, 3)), "bias": True, "backend": None, "threads": 1}
    yield "step", fl.SGD(0.1, prox=fl.L1(0.1)).step, step
    yield from updates()
    for name, given in SCHEDULES.items():
        yield f"schedules.{name}", getattr(schedules, name), given
    yield "numerical_gradient", fl.numerical_gradient, {"f": square, "W": np.ones(3), "h": 1e-5, "method": "forward"}
    yield "check_gradient", fl.check_gradient, {"f": square, "W": np.ones(3), "h": 1e-5, "rtol": 1e-5}
    for f in (toys.blobs, toys.parity, toys.ring, toys.three_modes, toys.disk_in_ring, toys.noisy_sine, toys.houses):
        yield f"toys.{f.__name__}", f, defaults(f, n=5)
    yield "toys.bowl", toys.bowl, {"W": np.ones(2), "condition": 20.0}
    yield "toys.saddle", toys.saddle, {"W": np.ones(2)}
    yield "toys.dented", toys.dented, {"W": np.ones(1)}


CALLS = {name: (f, given) for name, f, given in calls()}
OTHERS = {"checkpoint", "resume"}  # files have tests of their own


class Odd:
    """An object without a repr."""

    def __repr__(self):
        raise RuntimeError("no repr")


HOSTILE = {
    "object": Odd(),
    "class": fl.L1,
    "string": "nonsense",
    "bytes": b"1",
    "none": None,
    "list": ["a", "b"],
    "ragged": [[1.0], [1.0, 2.0]],
    "dict": {"a": 1},
    "array": np.zeros((2, 3, 4)),
    "array of one": np.ones(1),
    "objects": np.array([object()]),
    "text": np.array("1"),
    "date": np.datetime64("2026-01-01"),
    "complex": 1j,
    "numpy complex": np.complex128(1j),
    "huge int": 10**400,
    "long int": 10**5000,
    "huge": 1e300,
    "fraction": Fraction(10**400, 3),
    "decimal": Decimal("NaN"),
    "nan": float("nan"),
    "negative": -1,
    "two": 2,
    "bool": True,
    "numpy bool": np.bool_(True),
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_value_is_named(name, kind):
    """Each argument in turn; a value that the function has a meaning for may be accepted."""
    f, good = CALLS[name]
    limit = fl._pool._limit
    for argument in sorted(good.keys() - OTHERS):
        if (argument, kind) == ("callback", "class"):
            continue  # it is called
        if kind in ("huge int", "long int") and argument in ("epochs", "tries"):
            continue  # they are meant
        given = copy.deepcopy(good) | {argument: HOSTILE[kind]}
        before = copy.deepcopy({other: value for other, value in given.items() if is_numeric(value)})
        error = None
        try:
            f(**given)
        except (ValueError, TypeError) as found:
            error = found
        finally:
            fl._pool._limit = limit
        if error is not None:
            assert names(argument, str(error)), f"{name}({argument}={kind}): {type(error).__name__}: {error}"
            for other, value in before.items():
                assert np.array_equal(given[other], value, equal_nan=value.dtype.kind in "fc"), other


def is_numeric(value):
    return isinstance(value, np.ndarray) and value.dtype != object


ALSO = {
    "sample_weight": ("sample_weight",),
    "S": ("S has", "S cannot", "S is"),
    "W": ("W", "X has"),
    "lr": ("lr", "learning"),
}


def names(argument, message):
    return any(word in message for word in ALSO.get(argument, (argument,)))


# ---- Flags, threads, penalties, numbers that W cannot hold -------------------------------------------------

FLAGS = {"bias", "squared", "nesterov", "progress"}
WITH_FLAG = [(name, flag) for name, (_, given) in CALLS.items() for flag in sorted(FLAGS & given.keys())]


@pytest.mark.parametrize("value", [0, 1, 2, -1, 100_000, 1.0, "True", None, np.int64(1), np.array(True), []], ids=repr)
@pytest.mark.parametrize(("name", "flag"), WITH_FLAG)
def test_a_flag_is_a_bool(name, flag, value):
    f, good = CALLS[name]
    with pytest.raises(TypeError, match=f"{flag} must be True or False"):
        f(**copy.deepcopy(good) | {flag: value})


@pytest.mark.parametrize("name", [name for name, (_, given) in CALLS.items() if "bias" in given and "X" in given])
def test_numpy_bools_are_bools(name):
    f, good = CALLS[name]
    (expected, found) = (f(**copy.deepcopy(good) | {"bias": kind(False)}) for kind in (bool, np.bool_))
    expected, found = (result.W if isinstance(result, fl.TrainResult) else result for result in (expected, found))
    np.testing.assert_equal(found, expected)


MANY = {"W": np.zeros((D, 70)), "X": np.ones((N, D)), "y": np.arange(N)}
PATHS = {  # every way of a loss
    "small": arrays(),
    "many classes": MANY,
    "converted": arrays() | {"X": np.ones((N, D), np.int16)},
    "bytes": arrays() | {"X": np.ones((N, D), np.uint8)},
    "strided W": arrays() | {"W": np.zeros((D, 2 * C))[:, ::2]},
    "swapped W": arrays() | {"W": np.zeros((D, C), ">f8")},
    "scaled": arrays() | {"x_scale": 2.0},
    "penalty": arrays() | {"reg": 0.1},
}


def refused(kind, message, function=fl.softmax_loss, **given):
    """The call raises this, and `out` still holds what it held."""
    out = np.full_like(given["W"], 7)
    with pytest.raises(kind, match=message):
        function(**given, out=out)
    assert (out == 7).all()


@pytest.mark.parametrize("threads", [0, -1, "2", 1.0, True, np.bool_(True), 2.5, [2]], ids=repr)
@pytest.mark.parametrize("path", PATHS)
def test_bad_threads(path, threads, backend):
    refused(
        (ValueError, TypeError),
        "threads must be an integer of at least 1",
        **PATHS[path],
        threads=threads,
        backend=backend,
    )


@pytest.mark.parametrize("threads", [2**31, 2**63, 10**30, np.int64(2**40)], ids=repr)
@pytest.mark.parametrize("path", PATHS)
def test_as_many_threads_as_you_like(path, threads, compiled):
    found, expected = (fl.softmax_loss(**PATHS[path], threads=t, backend=compiled) for t in (threads, 1))
    assert found[0] == expected[0]
    assert np.array_equal(found[1], expected[1])


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", "9" * 5000])
@pytest.mark.parametrize("path", PATHS)
def test_bad_threads_in_the_environment(path, value, compiled, monkeypatch):
    monkeypatch.setenv("FASTLIN_NUM_THREADS", value)
    monkeypatch.setattr(fl._pool, "_limit", None)
    caches = fl._pool._default, fl._objective._of_numbers
    for cached in caches:
        cached.cache_clear()
    refused(ValueError, "FASTLIN_NUM_THREADS", **PATHS[path], backend=compiled)
    for cached in caches:
        cached.cache_clear()


class Given:
    """A penalty whose methods return, or raise, what it is given."""

    def __init__(self, value=0.0, gradient=None):
        self._value, self._gradient = value, gradient

    def value(self, W):
        if isinstance(self._value, Exception):
            raise self._value
        return self._value

    def gradient(self, W):
        if isinstance(self._gradient, Exception):
            raise self._gradient
        return np.zeros_like(W) if self._gradient is None else self._gradient


BAD_PENALTIES = {
    "text": (Given(value="1"), TypeError, r"reg\.value\(W\)"),
    "array": (Given(value=np.zeros(3)), TypeError, r"reg\.value\(W\)"),
    "no value": (Given(value=None), TypeError, r"reg\.value\(W\)"),
    "huge value": (Given(value=10**400), ValueError, r"reg\.value\(W\)"),
    "value raises": (Given(value=RuntimeError("mine")), RuntimeError, "mine"),
    "shape": (Given(gradient=np.zeros((1, 1))), ValueError, r"reg\.gradient\(W\) has shape \(1, 1\)"),
    "number": (Given(gradient=0.0), ValueError, r"reg\.gradient\(W\) has shape \(\)"),
    "strings": (Given(gradient=np.full((D, C), "1")), TypeError, r"reg\.gradient\(W\) must hold real numbers"),
    "complex": (Given(gradient=np.ones((D, C), complex)), TypeError, r"reg\.gradient\(W\) must hold real numbers"),
    "gradient raises": (Given(gradient=RuntimeError("mine")), RuntimeError, "mine"),
    "class": (fl.L1, TypeError, r"reg is the class L1 itself; make one of it: L1\(...\)"),
}


@pytest.mark.parametrize("name", BAD_PENALTIES)
@pytest.mark.parametrize("path", ["small", "converted", "scaled", "strided W"])
def test_bad_penalties(path, name, backend):
    reg, kind, message = BAD_PENALTIES[name]
    refused(kind, message, **PATHS[path], reg=reg, backend=backend)


def test_a_gradient_beyond_float32():
    reg = Given(gradient=np.full((D, C), 1e300))
    refused(ValueError, r"reg\.gradient\(W\)\[0, 0\] = 1e\+300 is more than the float32", **arrays(np.float32), reg=reg)


BIG = 1e300
BEYOND_FLOAT32 = {
    "reg": (fl.softmax_loss, {"reg": BIG}),
    "L1": (fl.softmax_loss, {"reg": fl.L1(BIG)}),
    "elastic net": (fl.softmax_loss, {"reg": fl.ElasticNet(1e200, 1e100)}),
    "margin": (fl.svm_loss, {"margin": BIG}),
    "delta": (fl.huber_loss, {"delta": BIG, "y": np.ones((N, C))}),
    "y": (fl.squared_error_loss, {"y": np.full((N, C), BIG)}),
    "sample_weight": (fl.softmax_loss, {"sample_weight": np.full(N, BIG)}),
    "x_scale": (fl.softmax_loss, {"x_scale": BIG}),
    "x_shift": (fl.softmax_loss, {"x_shift": np.full(D, -BIG)}),
}


@pytest.mark.parametrize("name", BEYOND_FLOAT32)
def test_numbers_that_float32_cannot_hold(name, backend):
    f, changes = BEYOND_FLOAT32[name]
    word = next(iter(changes)) if name != "elastic net" else "reg"
    refused(
        ValueError, rf"{word}.* more than the float32 of W can hold", f, **arrays(np.float32) | changes, backend=backend
    )
    f(**arrays() | changes, backend=backend)  # float64 holds them


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_hyper_parameters_that_float32_cannot_hold(name):
    """Neither W nor the state has been made or changed: the same optimizer then steps float64."""
    arguments = inspect.signature(getattr(fl, name)).parameters
    for argument in {"lr", "weight_decay", "eps"} & arguments.keys():
        optimizer = getattr(fl, name)(**{"lr": 0.1} | {argument: BIG})
        W, dW = np.ones((2, 3), np.float32), np.ones((2, 3), np.float32)
        with pytest.raises(ValueError, match=f"{argument} is 1e\\+300, more than the float32"):
            optimizer.step(W, dW)
        assert (W == 1).all()
        assert optimizer.t == 0
        optimizer.step(np.ones((5, 3)), np.ones((5, 3)))


@pytest.mark.parametrize("name", RULES)
def test_updates_that_float32_cannot_hold(name):
    f, good = CALLS[name]
    for argument in {"lr", "weight_decay", "eps"} & good.keys():
        given = {n: v.astype(np.float32) if isinstance(v, np.ndarray) else v for n, v in good.items()}
        before = copy.deepcopy(given)
        with pytest.raises(ValueError, match=f"{argument} is 1e\\+300, more than the float32"):
            f(**given | {argument: BIG})
        np.testing.assert_equal(given, before)


# ---- Steps, memory, one class ------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), (0, 3), (0,)], ids=str)
@pytest.mark.parametrize("prox", [None, fl.L1(0.1)], ids=["plain", "prox"])
@pytest.mark.parametrize("many", [False, True])
def test_a_step_needs_a_row_for_b(shape, prox, many):
    optimizer, W = fl.Adam(prox=prox), np.ones(shape)
    given = [W, np.ones(3)] if many else W
    with pytest.raises(ValueError, match="the last row of W is b, but W has shape"):
        optimizer.step(given, copy.deepcopy(given), bias=True)
    assert (W == 1).all()
    assert optimizer.t == 0
    optimizer.step(np.ones((4, 2)), np.ones((4, 2)), bias=True)  # no state was made


def unaligned(A):
    """The same numbers, one byte off."""
    found = np.frombuffer(bytearray(A.nbytes + 1), A.dtype, A.size, offset=1).reshape(A.shape)
    found[...] = A
    assert not found.flags.aligned
    return found


@pytest.mark.parametrize("path", ["small", "many classes", "converted", "scaled", "penalty"])
@pytest.mark.parametrize("argument", ["W", "X", "y", "sample_weight", "out"])
def test_unaligned_arrays(argument, path, dtype, backend):
    given = {
        n: v.astype(dtype) if n == "W" or (n == "X" and v.dtype.kind == "f") else v for n, v in PATHS[path].items()
    }
    given |= {"sample_weight": np.linspace(0, 1, N).astype(dtype), "out": np.zeros_like(given["W"])}
    expected, gradient = fl.softmax_loss(**given, backend=backend)
    odd = given | {argument: unaligned(given[argument]), "out": np.zeros_like(given["W"])}
    if argument == "out":
        odd["out"] = unaligned(given["out"])
    found, dW = fl.softmax_loss(**odd, backend=backend)
    assert dW is odd["out"]
    eps = 20 * np.finfo(dtype).eps
    np.testing.assert_allclose(found, expected, rtol=eps)
    np.testing.assert_allclose(dW, gradient, rtol=eps, atol=eps)


@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.float64])
def test_kernels_are_given_aligned_rows(dtype, compiled, monkeypatch):
    """Contiguous rows one byte off are copied: a copy that only made them contiguous would leave them there."""
    seen, kernel = [], fl.ops.loss_kernel

    def spied(*args):
        made = kernel(*args)
        return lambda X, *others: (seen.append(X.flags.aligned), made(X, *others))[1]

    monkeypatch.setattr(fl.ops, "loss_kernel", spied)
    fl._run._route.cache_clear()
    given = arrays(np.float64)
    fl.softmax_loss(given["W"], unaligned(np.ones((N, D), dtype)), given["y"], backend=compiled)
    fl._run._route.cache_clear()
    assert seen == [True]


CLASSIFIERS = [name for name, row in fl.ops.LOSSES.items() if row.predicts == "classes"]


def fit_train(X, y, **given):
    return fl.train(X, y, epochs=200, batch_size=len(X), optimizer=fl.SGD(0.1), **given)


def fit_search(X, y, **given):
    return fl.random_search(X, y, tries=50, **given)


@pytest.mark.parametrize("fit", [fit_train, fit_search])
@pytest.mark.parametrize("label", [0, 1, 2])
@pytest.mark.parametrize("loss", CLASSIFIERS)
def test_one_class_is_predicted(loss, label, fit):
    """W has a single column where y is 0 throughout: the class 0, not a score that is 1 from 0 on."""
    if fit is fit_search and label == 0 and fl.ops.LOSSES[loss].binary:
        pytest.skip("a random W of a binary loss may be above 0 for some rows")
    X, y = np.random.default_rng(0).standard_normal((20, 3)), np.full(20, label)
    result = fit(X, y, loss=loss)
    if fit is fit_train:
        assert np.array_equal(result.predict(X), y)
        assert result.score(X, y) == result.accuracy(X, y) == 1.0
    assert set(result.predict(X)) <= set(range(label + 1))


@pytest.mark.parametrize("loss", CLASSIFIERS)
def test_one_column_and_two(loss):
    """One column separates 0 from 1 for the losses with a target for each score; two columns do so for every loss."""
    X, y = np.array([[-2.0], [-1.0], [1.0], [2.0]]), np.array([0, 0, 1, 1])
    result = fit_train(X, y, loss=loss)
    assert result.W.shape[1] == 2
    assert np.array_equal(result.predict(X), y)
    assert result.accuracy(X, y) == 1.0
    if not fl.ops.LOSSES[loss].binary:
        return
    result = fit_train(X, y, loss=loss, W=np.zeros((2, 1)))
    assert np.array_equal(result.predict(X), y)
    assert result.accuracy(X, y) == 1.0
    assert result.score(X, y[:, None]) == 1.0


@pytest.mark.parametrize("y", [np.zeros(3), np.zeros((4, 2)), np.array(["a"] * 4), np.zeros((1, 4)), 0], ids=str)
@pytest.mark.parametrize("loss", ["softmax", "logistic", "squared_error"])
def test_a_score_needs_a_y_for_each_row(loss, y):
    result = fl.TrainResult(np.zeros((1, 1)), False, loss_name=loss)
    with pytest.raises((ValueError, TypeError), match="y "):
        result.score(np.ones((4, 1)), y)
