"""An interrupted run continues to the same bits; its checkpoint is whole at every moment."""

import functools
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import fastlin as fl
from fastlin import _objective, _plan, _save, ops

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
    assert _save.load(checkpoint)["epoch"] == 2
    assert resumed(checkpoint) == whole
    history = fl.train(**arguments(), resume=checkpoint).history
    assert list(history) == ["loss", "validation_loss", "validation_accuracy", "lr", "seconds"]
    assert history["seconds"] == sorted(history["seconds"])


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_after_sigkill(whole, checkpoint):
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(SCRIPT), checkpoint], check=False, cwd="/")
    assert done.returncode == -signal.SIGKILL
    assert _save.load(checkpoint)["epoch"] == 3
    assert resumed(checkpoint) == whole


@pytest.mark.parametrize("average", [0.9, None], ids=["plain loop", "kernel"])
def test_after_ctrl_c_within_an_epoch(average, checkpoint, compiled, monkeypatch, ctrl_c):
    given = arguments() | {"average": average, "backend": compiled}
    whole, seen, calls = bits(fl.train(**given)), [], []

    def interrupting(function):
        def call(*args):
            found = function(*args)
            calls.append(1)
            if len(calls) == 22:  # 8 steps and a validation an epoch: in the third
                signal.raise_signal(signal.SIGINT)
            return found

        return call

    monkeypatch.setattr(_plan, "CHUNK_FLOPS", 1)  # a kernel call for each step
    _plan.epoch_plan.cache_clear()
    find = ops.epoch_kernel
    monkeypatch.setattr(ops, "epoch_kernel", lambda *names: interrupting(find(*names)))
    monkeypatch.setattr(_objective.Objective, "at", interrupting(_objective.Objective.at))
    given = arguments() | {"average": average, "backend": compiled}
    with pytest.raises(KeyboardInterrupt):
        fl.train(**given, checkpoint=checkpoint, callback=lambda epoch, result: seen.append(result))
    _plan.epoch_plan.cache_clear()
    assert _save.load(checkpoint)["epoch"] == len(seen) == 2
    assert np.isfinite(seen[-1].W).all()
    assert given["optimizer"].t == (16 if average is None else 19)  # the kernel's epoch counts when it is complete
    given = arguments() | {"average": average, "backend": compiled}
    assert bits(fl.train(**given, resume=checkpoint)) == whole


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
    state = _save.load(checkpoint)
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
