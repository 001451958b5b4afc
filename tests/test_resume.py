"""An interrupted run continues to the same bits; its checkpoint is whole at every moment."""

import functools
import math
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import fastlin as fl
from fastlin import _check, _objective, _plan, ops
from fastlin._files import store

SUFFIXES = ["npz", "safetensors"]

# One script for the run that is killed and the one that is not: six epochs, with everything that has a state.
SCRIPT = """
    import os, signal, sys
    import numpy as np
    import fastlin as fl

    def arguments():
        rng = np.random.default_rng(0)
        y = rng.integers(0, 3, 150)
        X = (rng.standard_normal((150, 5)) + np.eye(3, 5)[y]).astype(np.float32)
        return dict(X=X[:120], y=y[:120], validation=(X[120:], y[120:]), loss="squared_svm", margin=0.7,
                    optimizer=fl.Adam(0.05, beta1=0.8), reg=fl.ElasticNet(1e-3, 0.5), epochs=6, batch_size=16, seed=3,
                    sample_weight=rng.uniform(0.5, 1.5, 120), x_scale=0.5, average=0.9, patience=4)

    def kill(epoch, result):
        if epoch == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    if __name__ == "__main__":
        fl.train(**arguments(), checkpoint=sys.argv[1], callback=kill)
"""
_script = {}
exec(textwrap.dedent(SCRIPT), _script)
arguments = _script["arguments"]


def bits(result):
    """All values of a result except its times."""
    values = dict(result.state) | {"result": result.W, "best": result.best_epoch}
    del values["history.seconds"]
    return {name: A.tobytes("F") if isinstance(A, np.ndarray) else A for name, A in values.items()}


@pytest.fixture(scope="module")
def whole():
    """The run that nothing interrupts."""
    return bits(fl.train(**arguments()))


@pytest.fixture(params=SUFFIXES)
def checkpoint(request, tmp_path):
    if request.param == "safetensors":
        pytest.importorskip("safetensors")
    return tmp_path / f"state.{request.param}"


def resumed(checkpoint):
    return bits(fl.train(**arguments(), resume=checkpoint))


def test_after_an_error_in_the_callback(whole, checkpoint):
    def fail(epoch, result):
        if epoch == 2:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        fl.train(**arguments(), checkpoint=checkpoint, callback=fail)
    assert store.load(checkpoint)["epoch"] == 2
    assert resumed(checkpoint) == whole
    history = fl.train(**arguments(), resume=checkpoint).history
    assert list(history) == ["loss", "validation_loss", "validation_accuracy", "lr", "seconds"]
    assert history["seconds"] == sorted(history["seconds"])


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_after_sigkill(whole, checkpoint):
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(SCRIPT), checkpoint], check=False, cwd="/")
    assert done.returncode == -signal.SIGKILL
    assert store.load(checkpoint)["epoch"] == 3
    assert resumed(checkpoint) == whole


class Stepping(fl.Adam):
    """An optimizer whose steps are its own: each is a few calls."""

    def step(self, W, dW):
        super().step(W, dW)


@pytest.mark.parametrize(("kind", "average"), [(Stepping, 0.9), (fl.Adam, 0.9), (fl.Adam, None)])
def test_after_ctrl_c_within_an_epoch(kind, average, checkpoint, compiled, monkeypatch, ctrl_c):
    def fresh():
        return arguments() | {"optimizer": kind(0.05, beta1=0.8), "average": average, "backend": compiled}

    whole, seen, calls = bits(fl.train(**fresh())), [], []

    def interrupting(function):
        def call(*args):
            found = function(*args)
            calls.append(1)
            if len(calls) == 22:  # 8 steps and a validation an epoch: in the third
                signal.raise_signal(signal.SIGINT)
            return found

        return call

    monkeypatch.setattr(_plan, "CHUNK_NUMBERS", 1)  # a kernel call for each step
    _plan.epoch_plan.cache_clear()
    find = ops.epoch_kernel
    monkeypatch.setattr(ops, "epoch_kernel", lambda *names: interrupting(find(*names)))
    monkeypatch.setattr(_objective.Objective, "at", interrupting(_objective.Objective.at))
    given = fresh()
    with pytest.raises(KeyboardInterrupt):
        fl.train(**given, checkpoint=checkpoint, callback=lambda epoch, result: seen.append(result))
    _plan.epoch_plan.cache_clear()
    assert store.load(checkpoint)["epoch"] == len(seen) == 2
    assert np.isfinite(seen[-1].W).all()
    assert given["optimizer"].t == (19 if kind is Stepping else 16)  # the kernel's epoch counts when it is complete
    assert bits(fl.train(**fresh(), resume=checkpoint)) == whole


LARGE = """
    import signal, sys, threading
    import numpy as np
    import fastlin as fl
    from fastlin import _plan

    def large(backend, epochs):
        rng = np.random.default_rng(0)
        X = rng.standard_normal((2000, 1030), dtype=np.float32)
        return dict(X=X, y=rng.integers(0, 10, 2000), optimizer=fl.Adam(clip_norm=1.0), batch_size=100,
                    backend=backend, epochs=epochs, threads=2)

    def interrupt(epoch, result):
        if epoch == 2:
            threading.Timer(0.02, lambda: signal.raise_signal(signal.SIGINT)).start()

    if __name__ == "__main__":
        _plan.CHUNK_FLOPS = 4_000_000  # many kernel calls an epoch
        given = large(sys.argv[1], epochs=10**9)
        try:
            fl.train(**given, checkpoint=sys.argv[2], callback=interrupt)
        except KeyboardInterrupt:
            state = given["optimizer"].state_dict()
            assert all(np.isfinite(state[name]).all() for name in ("m.0", "v.0"))
            sys.exit(42)
"""
_large = {}
exec(textwrap.dedent(LARGE), _large)


def test_after_sigint_in_a_large_epoch(checkpoint, compiled, ctrl_c):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(LARGE), compiled, checkpoint], check=False, cwd="/", timeout=100
    )
    assert done.returncode == 42
    state = store.load(checkpoint)
    assert state["epoch"] >= 2
    assert np.isfinite(state["W"]).all()
    given = functools.partial(_large["large"], compiled, state["epoch"] + 1)
    assert bits(fl.train(**given(), resume=checkpoint)) == bits(fl.train(**given()))


def test_from_the_state_of_a_result(whole):
    part = fl.train(**arguments() | {"epochs": 4})
    assert bits(fl.train(**arguments(), resume=part.state)) == whole
    assert bits(fl.train(**arguments(), resume=part.state)) == whole  # the state is not used up


def test_a_schedule_goes_on_where_it_was(checkpoint):
    def given(epochs):
        lr = fl.schedules.warmup(fl.schedules.plateau(3.0, factor=0.5, patience=0), steps=3)
        return arguments() | {"optimizer": fl.SGD(lr, momentum=0.9), "epochs": epochs, "patience": None}

    whole = fl.train(**given(6))
    assert len(set(whole.history["lr"][1:])) > 2  # it was given the losses
    fl.train(**given(4), checkpoint=checkpoint)
    assert bits(fl.train(**given(6), resume=checkpoint)) == bits(whole)


def test_a_finished_run_has_nothing_left_to_do(whole):
    result = fl.train(**arguments())
    assert bits(fl.train(**arguments(), resume=result.state)) == whole


def test_a_run_that_stopped_early_stays_stopped():
    given = arguments() | {"epochs": 50, "patience": 1}
    stopped = fl.train(**given)
    assert len(stopped.history["loss"]) < 50
    assert bits(fl.train(**given | {"optimizer": fl.Adam(0.05, beta1=0.8)}, resume=stopped.state)) == bits(stopped)


def test_tol_stops_a_resumed_run_at_the_same_epoch(checkpoint):
    """A run that has stopped stays stopped; a smaller tol goes on, to the bits of a run that had it from the start."""

    def given(tol, epochs=60):
        full = {"batch_size": 120, "optimizer": fl.SGD(0.05), "patience": None, "average": None}
        return arguments() | full | {"tol": tol, "epochs": epochs}

    whole = fl.train(**given(0.01))
    stopped = len(whole.history["loss"])
    assert 3 < stopped < 60
    fl.train(**given(0.01, stopped - 1), checkpoint=checkpoint)
    assert bits(fl.train(**given(0.01), resume=checkpoint, checkpoint=checkpoint)) == bits(whole)
    assert bits(fl.train(**given(0.01), resume=checkpoint)) == bits(whole)
    further = fl.train(**given(0.001))
    assert stopped < len(further.history["loss"]) < 60
    assert bits(fl.train(**given(0.001), resume=checkpoint)) == bits(further)


OTHER = {
    "seed": 4,
    "batch_size": 15,
    "optimizer": fl.SGD(0.05),
    "loss": "svm",
    "margin": 0.8,
    "reg": 0.1,
    "bias": False,
    "average": "polyak",
    "patience": 5,
    "x_scale": 0.6,
    "sample_weight": None,
    "validation": None,
    "backend": "naive",
    "X": np.ones((120, 4), np.float32),
    "y": np.arange(120) % 3,
}


@pytest.mark.parametrize("name", OTHER)
def test_other_arguments_are_named(name):
    state = fl.train(**arguments() | {"epochs": 1}).state
    given = arguments() | {name: OTHER[name]}
    if name == "X":
        given["validation"] = (given["X"], given["y"])
    with pytest.raises(ValueError, match=rf"run with other arguments\. (.*; )?{name}: .+ there, .+ here"):
        fl.train(**given, resume=state)


def test_the_optimizers_hyper_parameters_are_named():
    state = fl.train(**arguments() | {"epochs": 1}).state
    with pytest.raises(ValueError, match=r"optimizer: Adam\(lr=0\.05, .* there, Adam\(lr=0\.06, .* here"):
        fl.train(**arguments() | {"optimizer": fl.Adam(0.06, beta1=0.8)}, resume=state)


def test_more_epochs_and_other_threads_are_no_difference():
    state = fl.train(**arguments()).state
    expected = fl.train(**arguments() | {"epochs": 8, "patience": 4})
    found = fl.train(**arguments() | {"epochs": 8}, resume=state, threads=2)
    assert found.W.tobytes() == expected.W.tobytes()


def test_an_optimizer_without_a_state_is_refused(tmp_path):
    class Plain:
        def step(self, W, dW):
            W -= dW

    with pytest.raises(TypeError, match="need an optimizer with state_dict and load_state_dict"):
        fl.train(**arguments() | {"optimizer": Plain()}, checkpoint=tmp_path / "state.npz")


# ---- States that no run has ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["W", "average.mean", "best_W"])
def test_weights_of_another_shape_are_refused(name):
    """A file may hold anything: kernels would read and write outside of a smaller W."""
    given = arguments() | {"average": 0.9}
    state = fl.train(**given | {"epochs": 2}).state
    assert name in state
    with pytest.raises(ValueError, match=f"resume: the state's {name} has shape"):
        fl.train(**arguments() | {"average": 0.9}, resume=state | {name: np.zeros((2, 2))})


def test_weights_of_another_type_are_refused():
    state = fl.train(**arguments() | {"epochs": 2}).state
    with pytest.raises(ValueError, match="resume: the state's W is float16"):
        fl.train(**arguments(), resume=state | {"W": state["W"].astype(np.float16)})


def with_everything():
    """Arguments of a run whose state has every part there is."""
    return arguments() | {"optimizer": fl.Adam(fl.schedules.plateau(0.05, patience=2), beta1=0.8)}


MISSING = object()
ANYTHING = {
    "missing": MISSING,
    "None": None,
    "text": "a",
    "bytes": b"a",
    "list": [1],
    "dict": {},
    "true": True,
    "nan": math.nan,
    "inf": math.inf,
    "-inf": -math.inf,
    "negative": -1,
    "fraction": 0.5,
    "1e30": 1e30,
    "10**400": 10**400,
    "10**5000": 10**5000,
    "-10**5000": -(10**5000),
    "2**63": 2**63,
    "complex": 1j,
    "object": object(),
    "empty": np.empty(0),
    "0-d": np.array(0.25),
    "0-d text": np.array("a"),
    "objects": np.array([None], object),
    "masked": np.ma.masked_array([1.0], [True]),
    "huge view": np.broadcast_to(np.float64(0), (10**12,)),
    "huge matrix": np.broadcast_to(np.float32(0), (10**6, 10**6)),
}
OF_ARRAYS = {  # no value is wrong in an array of weights or losses: those that a run reaches may be anything
    "cut": lambda A: A[:-1],
    "longer": lambda A: np.concatenate([A, A]),
    "flat": lambda A: A.reshape(-1, 1),
    "deep": lambda A: A[None],
    "narrower": lambda A: A.astype(np.float16),
    "float32": lambda A: A.astype(np.float32),
    "float64": lambda A: A.astype(np.float64),
    "wider": lambda A: A.astype(np.longdouble),
    "complex": lambda A: A.astype(complex),
    "integers": lambda A: A.astype(np.int64),
    "booleans": lambda A: A.astype(bool),
    "objects": lambda A: A.astype(object),
    "text": lambda A: A.astype(str),
    "list": lambda A: A.tolist(),
    "masked": lambda A: np.ma.masked_array(A, np.ones(A.shape, bool)),
    "read-only": lambda A: _check.read_only(A.copy()),
    "other byte order": lambda A: A.astype(A.dtype.newbyteorder()),
    "other order": lambda A: np.array(A, order="C" if A.flags.f_contiguous else "F"),
    "strided": lambda A: np.repeat(A, 2, axis=0)[::2],
    "reversed": lambda A: A[::-1].copy()[::-1],
    "unaligned": lambda A: np.frombuffer(b"a" + A.tobytes(), np.uint8)[1:].view(A.dtype).reshape(A.shape),
}
LEGITIMATE = {  # another number there is a state that another run has
    "optimizer.schedule.best": {"inf", "-inf", "fraction", "1e30", "0-d"},
}


@functools.cache
def part_way():
    return fl.train(**with_everything() | {"epochs": 3}).state


LEAVES = list(part_way())


def damaged(value):
    """Everything that may stand in the place of a value."""
    yield from ANYTHING.items()
    if isinstance(value, np.ndarray):
        yield from ((f"array: {name}", change(value)) for name, change in OF_ARRAYS.items())


def with_damage(state, name, value):
    changed = {key: A.copy("K") if isinstance(A, np.ndarray) else A for key, A in state.items()}
    changed[name] = value
    return {key: A for key, A in changed.items() if A is not MISSING}


def attempt(function):
    """The error that a caller may see, or None; and the result."""
    try:
        return None, function()
    except (ValueError, TypeError) as error:
        return error, None


def short(name):
    """The last word of a name in a state, which a message must have."""
    for prefix in ("argument.", "optimizer.", "schedule."):
        name = name.removeprefix(prefix)
    return name


@pytest.mark.parametrize("name", LEAVES)
def test_any_damage_is_refused_or_makes_no_difference(name, tmp_path):
    """Nothing has been changed after an error: neither the optimizer nor the file that the run would write."""
    whole, checkpoint = bits(fl.train(**with_everything())), tmp_path / "state.npz"
    checkpoint.write_bytes(b"mine")
    untouched = fl.Adam().state_dict() | {"schedule.now": 0.05, "schedule.best": math.inf, "schedule.bad": 0}
    for kind, value in damaged(part_way()[name]):
        if kind in LEGITIMATE.get(name, ()):
            continue
        given = with_everything() | {"resume": with_damage(part_way(), name, value), "checkpoint": checkpoint}
        error, found = attempt(lambda given=given: fl.train(**given))
        if error is not None:
            assert short(name) in str(error), (kind, str(error))
            assert len(str(error)) < 3000, kind
            assert given["optimizer"].state_dict() == untouched, kind
            assert checkpoint.read_bytes() == b"mine", kind
        else:
            assert bits(found) == whole, kind
            checkpoint.write_bytes(b"mine")


@pytest.mark.parametrize("name", LEAVES)
def test_any_damage_in_a_file_is_refused_or_makes_no_difference(name, tmp_path):
    whole, checkpoint = bits(fl.train(**with_everything())), tmp_path / "state.npz"
    for kind, value in damaged(part_way()[name]):
        if kind in LEGITIMATE.get(name, ()) or getattr(value, "size", 0) > 10**6:
            continue
        try:
            store.save(checkpoint, with_damage(part_way(), name, value))
        except (TypeError, ValueError):
            continue  # no file has this
        content, given = checkpoint.read_bytes(), with_everything()
        error, found = attempt(lambda given=given: fl.train(**given, resume=checkpoint))
        if error is not None:
            assert short(name) in str(error) or "is damaged" in str(error), (kind, str(error))
            assert given["optimizer"].t == 0, kind
            assert "m.0" not in given["optimizer"].state_dict(), kind
            assert checkpoint.read_bytes() == content, kind
        else:
            assert bits(found) == whole, kind


OTHERS = {
    "note": "mine",
    "average": 0.9,
    "average.W": np.zeros((6, 3)),
    "best_X": 3,
    "argument.colour": "red",
    "optimizer.m": 3,
    "optimizer.m.1": np.zeros((6, 3), np.float32),
    "optimizer.schedule.worst": 0.0,
    "history.accuracy": np.zeros(3),
    "history.validation_r2": np.zeros(3),
    "": 1,
}
LIES = {  # each part is possible, and together they are not
    "epoch": 2,
    "average.t": 7,
    "best_epoch": 0,
    "best_score": 1e-9,
    "history.loss": np.zeros(2),
    "optimizer.m.0": np.zeros((5, 3), np.float32),
    "optimizer.class": "AdamW",
    "optimizer.rule": "adamw_update",
}


@pytest.mark.parametrize(("name", "value"), [*OTHERS.items(), *LIES.items()])
def test_parts_that_no_state_has(name, value):
    given = with_everything()
    with pytest.raises(ValueError, match="resume: ") as caught:
        fl.train(**given, resume=part_way() | {name: value})
    assert short(name) in str(caught.value) or name == "epoch"
    assert given["optimizer"].t == 0


def test_the_optimizers_part_is_of_this_W():
    """The optimizer would take it, and refuse the first step."""
    given, other = with_everything(), np.zeros((5, 3), np.float32)
    with pytest.raises(ValueError, match=r"the optimizer's part of the state: the state is that of W \(5, 3\) float32"):
        fl.train(**given, resume=part_way() | {"optimizer.m.0": other, "optimizer.v.0": other})
    assert given["optimizer"].t == 0


@pytest.mark.parametrize("state", [[], 3, None.__class__, {3: 1}, {None: 1}, {}])
def test_what_is_no_state(state):
    with pytest.raises((ValueError, TypeError), match="resume"):
        fl.train(**with_everything(), resume=state)


def test_an_optimizer_of_the_callers_own_is_loaded_last():
    """Its load_state_dict may do anything, so everything else has been checked before."""

    class Own:
        loaded = None

        def step(self, W, dW):
            W -= dW

        def state_dict(self):
            return {"steps": 3, "words": "any"}

        def load_state_dict(self, state):
            self.loaded = state

    state = fl.train(**arguments() | {"optimizer": Own(), "epochs": 2}).state
    for change in ({"W": np.zeros((2, 2))}, {"best_score": 0.0}, {"note": 1}, {"history.loss": np.zeros(3)}):
        given = arguments() | {"optimizer": Own()}
        with pytest.raises(ValueError, match="resume: "):
            fl.train(**given, resume=state | change)
        assert given["optimizer"].loaded is None
    fl.train(**given, resume=state)
    assert given["optimizer"].loaded == {"steps": 3, "words": "any"}


# ---- States of optimizers ----------------------------------------------------------------------------------

OPTIMIZERS = {
    "SGD": lambda: fl.SGD(0.1),
    "Nesterov": lambda: fl.SGD(0.1, momentum=0.9, nesterov=True),
    "Adam": lambda: fl.Adam(0.1),
    "AMSGrad": lambda: fl.AMSGrad(fl.schedules.warmup(fl.schedules.plateau(0.1), 3)),
}


def stepped(optimizer, times):
    rng, weights = np.random.default_rng(0), [np.ones((2, 3)), np.ones(4, np.float32)]
    for _ in range(times):
        optimizer.step(weights, [rng.standard_normal(W.shape).astype(W.dtype) for W in weights])
    return [W.tobytes() for W in weights]


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_any_damage_to_an_optimizers_state(name, used):
    source = OPTIMIZERS[name]()
    stepped(source, 3)
    good = source.state_dict()
    expected = stepped(source, 2)
    for key in [*good, "t.0", "m.2", "v.0.0", "schedule.x", "x", 3]:
        if key in ("v.0", "v.1") and name == "Nesterov" and not used:
            continue  # nothing else says which shape it should have
        for kind, value in damaged(good.get(key)):
            if kind in LEGITIMATE.get(f"optimizer.{key}", ()) or (key not in good and value is MISSING):
                continue
            optimizer = OPTIMIZERS[name]()
            stepped(optimizer, 2 * used)
            before = optimizer.state_dict()
            state = with_damage(good, key, value)
            error, _ = attempt(lambda optimizer=optimizer, state=state: optimizer.load_state_dict(state))
            if error is not None:
                assert short(str(key)) in str(error), (key, kind, str(error))
                np.testing.assert_equal(optimizer.state_dict(), before)
            else:
                assert stepped(optimizer, 2) == expected, (key, kind)
    for state in (None, 3, [], "state", [("t", 3)]):
        with pytest.raises(TypeError, match="state must be what state_dict returned"):
            OPTIMIZERS[name]().load_state_dict(state)
