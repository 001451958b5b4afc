"""Ctrl-C: every uninterruptible call has a bounded amount of work, and an interrupted call leaves nothing half done.

No test here looks at a clock: bench/interrupt.py measures how soon Ctrl-C is answered.
"""

import signal

import numpy as np
import pytest

import fastlin as fl
from fastlin import _check, _laps, _objective, _plan, _run, ops, search

SLOW_FLOPS, SLOW_BYTES, SLOW_NUMBERS = 1e10, 2e9, 1e8  # a second of a slow core: SSE2, one thread
SECONDS = 0.08

# Sizes that make one of the terms large, up to weights of 4 million numbers. A single pass over larger ones takes long.
SHAPES = [(n, d, c) for n in (1, 1000, 10**6, 10**9) for d in (1, 64, 3072, 10**6) for c in (1, 2, 10, 60, 1000, 10**6)]
SHAPES = [(n, d, c) for n, d, c in SHAPES if d * c <= 4_000_000]


def seconds(flops, size, numbers=0):
    """On a slow core, whose arithmetic waits for its memory."""
    return max(flops / SLOW_FLOPS, size / SLOW_BYTES, numbers / SLOW_NUMBERS)


@pytest.mark.parametrize("itemsize", [4, 8])
def test_work_of_a_loss_call(itemsize):
    for n, d, c in SHAPES:
        cut = _plan.plan(n, d, c, itemsize, True)
        together, chunks = cut.calls(1)
        rows = together * -(-n // (cut.parts * chunks))
        most = max(rows, min(n, together * cut.block))  # at least a block of each part
        assert seconds(4 * most * d * c, most * d * itemsize, most * c) <= SECONDS, (n, d, c, cut)


@pytest.mark.parametrize("itemsize", [4, 8])
@pytest.mark.parametrize("batch_size", [1, 32, 256, 10**6])
def test_work_of_an_epoch_call(itemsize, batch_size):
    for _, d, c in SHAPES:
        cut = _plan.epoch_plan(d, c, itemsize, batch_size, True)
        steps = cut.call * cut.block / batch_size
        numbers = cut.call * cut.block * c + steps * d * c
        assert seconds(4 * cut.call * cut.block * d * c, cut.call * cut.block * d * itemsize, numbers) <= SECONDS, (
            d,
            c,
        )


@pytest.mark.parametrize("compiled", [True, False])
def test_work_of_scores_and_searches(compiled):
    for n, d, c in SHAPES:
        rows = min(n, _plan.score_rows(d, c, 8, compiled))
        rate = 1 if compiled else 4  # BLAS is faster
        assert seconds(2 * rows * d * c / rate, rows * (d + c) * 8) <= SECONDS, (n, d, c)
        if d * c <= 1_000_000:
            cut = _plan.search_plan(n, d, c, 8, compiled)
            assert seconds(2 * cut.block * (d + 1) * c * cut.group, 0) <= SECONDS, (n, d, c)


@pytest.fixture
def short_laps(monkeypatch):
    """Passes of a few rows; expected results are computed before it is asked for."""

    def shorten():
        monkeypatch.setattr(_laps, "PASS_BYTES", 400)
        monkeypatch.setattr(_laps, "PASS_FLOPS", 400)
        monkeypatch.setattr(_plan, "CHUNK_FLOPS", 3000)
        monkeypatch.setattr(_plan, "COPY_BYTES", 400)
        for cached in (_plan.plan, _plan.search_plan, _plan.epoch_plan, _run._route):
            cached.cache_clear()

    yield shorten
    monkeypatch.undo()
    for cached in (_plan.plan, _plan.search_plan, _plan.epoch_plan, _run._route):
        cached.cache_clear()


def data(n=203, d=5, c=4, dtype=np.float64):
    rng = np.random.default_rng(1)
    return rng.standard_normal((d, c)).astype(dtype), rng.standard_normal((n, d)).astype(dtype), rng.integers(0, c, n)


WHOLE = {  # the same bits in laps as in one pass
    "softmax": lambda W, X, y: fl.softmax(X),
    "softmax of integers": lambda W, X, y: fl.softmax(np.arange(600).reshape(2, 100, 3)),
    "softmax of columns": lambda W, X, y: fl.softmax(X.T),
    "labels": lambda W, X, y: _check.labels(y, len(y), 4),
    "targets": lambda W, X, y: _check.targets(y, len(y), 4, W.dtype, "[0, 1]"),
    "numbers": lambda W, X, y: _check.converted("y", X, np.dtype(np.float32)),
    "classes": lambda W, X, y: _objective.classes(X),
    "accuracy": lambda W, X, y: fl.TrainResult(W, False).accuracy(X, y),
    "dropout": lambda W, X, y: fl.dropout(X, 0.5),
    "draws": lambda W, X, y: search._Draws(search._normal(np.random.default_rng(0), 2.0), 7, (5, 4), W.dtype).drawn,
}


@pytest.mark.parametrize("name", WHOLE)
def test_laps_change_no_bits(name, short_laps):
    expected = WHOLE[name](*data())
    passes = []
    short_laps()
    laps = _laps.laps
    np.testing.assert_array_equal(WHOLE[name](*data()), expected)
    passes += list(laps(203, 40))
    assert len(passes) > 1


def test_r2_in_laps(short_laps):
    W, X, _ = data(c=2)
    result, y = fl.TrainResult(W, False, loss_name="squared_error"), np.random.default_rng(0).standard_normal((203, 2))
    expected = result.score(X, y)
    short_laps()
    np.testing.assert_allclose(result.score(X, y), expected, rtol=1e-13)


def test_bad_numbers_are_found_in_any_lap(short_laps):
    short_laps()
    y, T, big = np.zeros(203, np.int64), np.zeros((203, 4)), np.ones(203)
    y[150], T[150, 2], big[150] = 9, 2, 1e300
    with pytest.raises(ValueError, match=r"y\[150\] = 9 is out of range"):
        _check.labels(y, 203, 4)
    with pytest.raises(ValueError, match=r"y\[150, 2\] = 2.0 is out of range"):
        _check.targets(T, 203, 4, np.dtype(float), "[0, 1]")
    with pytest.raises(ValueError, match=r"w\[150\] = 1e\+300 is more than"):
        _check.converted("w", big, np.dtype(np.float32))


# ---- Interrupted at every call of a kernel -------------------------------------------------------------------

WAYS = {
    "laps": {},
    "converted": {"X": np.int16},
    "many classes": {"c": 70},
    "many classes, converted": {"c": 70, "X": np.int16},
    "penalty": {"reg": 0.1},
    "scaled": {"x_scale": 0.5},
    "strided W": {"W": "strided"},
    "swapped W": {"W": "swapped"},
}


def arguments(way):
    how = dict(WAYS[way])
    W, X, y = data(c=how.pop("c", 4))
    X = X.astype(how.pop("X", X.dtype))
    layout = how.pop("W", None)
    if layout == "strided":
        W = np.repeat(W, 2, axis=1)[:, ::2]
    elif layout == "swapped":
        W = W.astype(">f8")
    return {"W": W, "X": X, "y": y} | how


def interrupting(monkeypatch, k):
    """Every kernel that a backend's table gives raises a real SIGINT as it returns from the call number k."""
    calls = [0]

    def spy(kernel):
        def spied(*args, **kwargs):
            found = kernel(*args, **kwargs)
            calls[0] += 1
            if calls[0] == k:
                signal.raise_signal(signal.SIGINT)
            return found

        return spied

    for name in ("loss_kernel", "kernel", "step_kernel"):
        make = getattr(ops, name)
        monkeypatch.setattr(ops, name, lambda *args, make=make: spy(make(*args)))
    return calls


def every_interruption(monkeypatch, run, clear=lambda: None):
    """Yields after each interruption of `run`, at its first, second ... call of a kernel, until there are no more."""
    k = 0
    while True:
        k += 1
        clear()
        with monkeypatch.context() as patch:
            calls = interrupting(patch, k)
            try:
                run()
            except KeyboardInterrupt:
                yield k
                continue
        clear()
        assert calls[0] < k
        return


@pytest.mark.parametrize("way", WAYS)
def test_out_is_untouched_or_whole(way, backend, short_laps, monkeypatch, ctrl_c):
    given = arguments(way)
    short_laps()
    expected, gradient = fl.softmax_loss(**given, backend=backend)
    out, times = np.full_like(given["W"], 7), 0

    def run():
        out[...] = 7
        fl.softmax_loss(**given, out=out, backend=backend)

    for k in every_interruption(monkeypatch, run, _run._route.cache_clear):
        assert (out == 7).all() or np.array_equal(out, gradient), k
        times += 1
    assert times >= (1 if backend in ("naive", "numpy") else 2)
    found = fl.softmax_loss(**given, out=out, backend=backend)
    assert found[0] == expected
    assert np.array_equal(out, gradient)


@pytest.mark.parametrize("many", [False, True], ids=["one W", "three W"])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("layout", ["C", "strided"])
def test_a_step_ends_whole(layout, bias, many, backend, monkeypatch, ctrl_c):
    """W, state and the count of steps are those of all steps that have begun: the next goes on from there."""
    monkeypatch.setattr(_plan, "STEP_CHUNK", 16)  # several calls of a kernel for each W
    clear = fl._step.route.cache_clear
    clear()

    def fresh():
        rng = np.random.default_rng(0)
        some = [rng.standard_normal((9, 8))[:, :: 2 if layout == "strided" else 1] for _ in range(3)]
        return some if many else some[0]

    def steps(optimizer, W, count):
        for _ in range(count):
            optimizer.step(W, fresh(), bias=bias, backend=backend)

    make = lambda: fl.Adam(0.1, clip_norm=0.5, prox=fl.L1(0.01))  # noqa: E731
    expected, W = {}, fresh()
    optimizer = make()
    for t in range(4):
        expected[t] = np.array(W)
        steps(optimizer, W, 1)
    state = {}

    def run():
        state["W"], state["optimizer"] = fresh(), make()
        steps(state["optimizer"], state["W"], 2)

    times = 0
    for k in every_interruption(monkeypatch, run, clear):
        t = state["optimizer"].t
        assert np.array_equal(np.array(state["W"]), expected[t]), k
        clear()
        steps(state["optimizer"], state["W"], 3 - t)
        assert np.array_equal(np.array(state["W"]), expected[3]), k
        times += 1
    assert times > 1
    clear()


def test_ctrl_c_later(ctrl_c):
    """The block ends, the interruption comes, and Python's own handler is back."""
    done = []

    def block():
        with _laps.CtrlCLater():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            done.append(True)

    with pytest.raises(KeyboardInterrupt):
        block()
    assert done
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_later_keeps_an_error(ctrl_c):
    with pytest.raises(ValueError, match="mine"), _laps.CtrlCLater():
        raise ValueError("mine")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


class Interrupted(np.ndarray):
    """An array that Ctrl-C interrupts at the fifth of its entries that Python writes."""

    writes = 0

    def __setitem__(self, at, value):
        self.writes += 1
        if self.writes == 5:
            raise RuntimeError("interrupted")
        super().__setitem__(at, value)


@pytest.mark.parametrize("way", WAYS)
def test_naive_does_not_write_out_entry_by_entry(way):
    given = arguments(way)
    expected = fl.softmax_loss(**given, backend="naive")[1]
    out = np.full_like(given["W"], 7).view(Interrupted)
    fl.softmax_loss(**given, out=out, backend="naive")
    assert np.array_equal(out, expected)
