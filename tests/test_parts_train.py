"""Training over parts: shuffled windows, the same steps as over an array, runs that go on to the same bits."""

import itertools

import numpy as np
import pytest

import fastlin as fl
from fastlin import parts as parts_module
from fastlin._training.windows import PartsTraining


def data(n=403, d=6, c=4):
    rng = np.random.default_rng(2)
    y = rng.integers(0, c, n)
    X = (rng.standard_normal((n, d)) + np.eye(c, d)[y]).astype(np.float32)
    X.flags.writeable = y.flags.writeable = False
    return X, y


def parts_of(X, y, sample_weight=None, ends=(0, 50, 90, 90, 110, 201, 260, 300, 403)):
    given = [A for A in (X, y, sample_weight) if A is not None]
    return fl.Parts([tuple(A[a:b] for A in given) for a, b in itertools.pairwise(ends)])


class Seen:
    """An optimizer of the caller's own, which notes what it is given."""

    def __init__(self):
        self.gradients = []

    def step(self, W, dW):
        self.gradients.append(dW.copy())
        W -= 0.1 * dW


@pytest.mark.parametrize("optimizer", ["kernel", "plain"])
@pytest.mark.parametrize("window", [1, 3, None])
def test_in_order_the_steps_are_those_of_an_array(optimizer, window):
    X, y = data()
    weight = np.linspace(0.5, 1.5, len(y))
    how = {"shuffle": False, "batch_size": 32, "epochs": 3, "reg": 0.01, "x_scale": 0.7}
    W, losses = [], []
    for given in ((X, y, weight), (parts_of(X, y, weight),)):
        own = fl.Adam(0.05, beta1=0.8) if optimizer == "kernel" else Seen()
        more = {"sample_weight": given[2]} if len(given) > 1 else {"window": window}
        result = fl.train(*given[:2], optimizer=own, **how, **more)
        W.append(result.W)
        losses.append(result.history["loss"])
        assert optimizer == "kernel" or len(own.gradients) == 3 * 13
    np.testing.assert_array_equal(*W)
    np.testing.assert_allclose(*losses, rtol=1e-12)


def rows_of_an_epoch(window, seed, epoch, monkeypatch):
    """The numbers of the rows that are stepped over, batch after batch; a row's only number is its own."""
    X = np.arange(403, dtype=np.float64)[:, None]
    y, taken = np.arange(403) % 2, []

    def note(objective, inputs, scale_shift, order, batch_size, *rest):
        taken.append(inputs.X[order, 0].astype(int))
        return 0.0

    monkeypatch.setattr("fastlin._training.windows.run_epoch", note)
    fl.train(parts_of(X, y), epochs=epoch + 1, window=window, seed=seed, batch_size=32)
    return np.concatenate(taken)[403 * epoch :]


@pytest.mark.parametrize("window", [1, 2, 3, 8])
def test_an_epoch_has_every_row_once(window, monkeypatch):
    first = rows_of_an_epoch(window, 3, 0, monkeypatch)
    again = rows_of_an_epoch(window, 3, 0, monkeypatch)
    np.testing.assert_array_equal(first, again)
    assert sorted(first) == list(range(403))
    for other in (rows_of_an_epoch(window, 3, 1, monkeypatch), rows_of_an_epoch(window, 4, 0, monkeypatch)):
        assert sorted(other) == list(range(403))
        assert (other != first).mean() > 0.9


def test_windows_mix_their_parts(monkeypatch):
    """A batch of the first window has rows of all its parts, and those of two epochs differ."""
    part_of = np.repeat(np.arange(8), np.diff((0, 50, 90, 90, 110, 201, 260, 300, 403)))
    first = part_of[rows_of_an_epoch(3, 0, 0, monkeypatch)[:32]]
    assert 2 <= len(set(first)) <= 3
    assert len(set(part_of[rows_of_an_epoch(1, 0, 0, monkeypatch)[:32]])) <= 2


def test_ignored_rows_are_in_no_batch():
    X, y = data()
    how = {"ignore_index": 1, "class_weight": {0: 0.3}, "shuffle": False, "batch_size": 32, "epochs": 2, "classes": 4}
    found, expected = fl.train(parts_of(X, y), **how), fl.train(X, y, **how)
    np.testing.assert_allclose(found.W, expected.W, rtol=1e-5, atol=1e-7)
    with pytest.raises(ValueError, match="all labels in y are ignore_index=1"):
        fl.train(fl.Parts([(X, np.ones(403, int))]), ignore_index=1)


def test_so_many_steps():
    X, y = data()
    for steps in (5, 13, 30):
        result = fl.train(parts_of(X, y), steps=steps, batch_size=32, window=2)
        assert len(result.history["step_loss"]) == steps


def bits(result):
    values = dict(result.state) | {"result": result.W}
    del values["history.seconds"]
    return {name: A.tobytes("F") if isinstance(A, np.ndarray) else A for name, A in values.items()}


def test_a_run_goes_on_to_the_same_bits(tmp_path):
    X, y = data()

    def how():
        return {
            "optimizer": fl.Adam(0.05),
            "average": 0.9,
            "window": 2,
            "seed": 5,
            "batch_size": 32,
            "reg": fl.L1(1e-3),
        }

    whole = fl.train(parts_of(X, y), epochs=5, **how())
    path = tmp_path / "state.npz"
    fl.train(parts_of(X, y), epochs=2, checkpoint=path, **how())
    assert bits(fl.train(parts_of(X, y), epochs=5, resume=path, **how())) == bits(whole)
    assert bits(fl.train(parts_of(X, y), epochs=5, threads=1, **how())) == bits(whole)
    for other in ({"window": 3}, {"seed": 6}, {"class_weight": "balanced"}, {"ignore_index": 0}):
        with pytest.raises(ValueError, match="the state is of a run with other arguments"):
            fl.train(parts_of(X, y), epochs=5, resume=path, **how() | other)
    with pytest.raises(ValueError, match=r"of a run with other arguments\. X: "):
        fl.train(parts_of(X, y, ends=(0, 200, 403)), epochs=5, resume=path, **how())
    with pytest.raises(ValueError, match=r"of a run with other arguments\. X: "):
        fl.train(X, y, epochs=5, resume=path, **{**how(), "window": None})


def test_what_train_refuses():
    X, y = data()
    with pytest.raises(ValueError, match=r"window is for fl\.Parts"):
        fl.train(X, y, window=2)
    with pytest.raises(ValueError, match="window must be an integer of at least 1; found 0"):
        fl.train(parts_of(X, y), window=0)
    with pytest.raises(TypeError, match="y must be given beside an array X"):
        fl.train(X)
    with pytest.raises(ValueError, match="sample_weight comes with the parts"):
        fl.train(parts_of(X, y), sample_weight=np.ones(403))
    ends = iter([403, 403, 402])

    def fewer():
        end = next(ends)
        return X[:end], y[:end]

    with pytest.raises(ValueError, match=r"part 0: X had shape \(403, 6\) at first and has \(402, 6\) now"):
        fl.train(fl.Parts([fewer]))


def test_a_part_of_nan_is_said():
    X, y = data()
    X = np.where(np.arange(403)[:, None] == 77, np.nan, X)
    with pytest.warns(RuntimeWarning, match="the loss of epoch 1 is nan: a part holds NaN or Inf, or the steps"):
        fl.train(parts_of(X, y), epochs=2)


def test_a_mapped_file_larger_than_memory_is_read_in_parts(tmp_path, monkeypatch):
    X, y = data()
    np.save(tmp_path / "X.npy", X)
    mapped, kinds = np.load(tmp_path / "X.npy", mmap_mode="r"), []
    monkeypatch.setattr(PartsTraining, "__post_init__", lambda self: kinds.append(self) or post_init(self))
    expected = fl.train(mapped, y, epochs=2)
    assert not kinds
    monkeypatch.setattr(parts_module, "_memory", lambda: X.nbytes)
    monkeypatch.setattr(parts_module, "BLOCK_BYTES", 20 * X[0].nbytes)
    np.testing.assert_array_equal(fl.train(X, y, epochs=2).W, expected.W)  # in memory
    assert not kinds
    found = fl.train(mapped, y, epochs=2)
    assert [len(part.begun.parts) for part in kinds] == [21]
    assert found.history["loss"][-1] == pytest.approx(expected.history["loss"][-1], rel=0.05)


post_init = PartsTraining.__post_init__


def test_losses_and_fits_over_a_mapped_file_larger_than_memory(tmp_path, monkeypatch):
    """They read it in parts: kernels see rows that are in memory alone."""
    X, y = data()
    X, weight = X.astype(np.float64), np.linspace(0.5, 1.5, len(y))
    np.save(tmp_path / "X.npy", X)
    mapped, W, seen = np.load(tmp_path / "X.npy", mmap_mode="r"), np.ones((6, 4)), []
    monkeypatch.setattr(parts_module, "bring_in", seen.append)
    expected = fl.softmax_loss(W, X, y, sample_weight=weight)[0], fl.minimize(X, y, reg=0.1, tol=1e-9).W
    assert fl.softmax_loss(W, mapped, y, sample_weight=weight)[0] == expected[0]
    assert not seen
    monkeypatch.setattr(parts_module, "_memory", lambda: X.nbytes)
    assert fl.softmax_loss(W, mapped, y, sample_weight=weight)[0] == pytest.approx(expected[0], rel=1e-12)
    assert len(seen) == 1
    np.testing.assert_allclose(fl.minimize(mapped, y, reg=0.1, tol=1e-9).W, expected[1], atol=1e-6)
    assert len(seen) > 3
    assert fl.softmax_loss(W, mapped, y, reduction="none")[0].shape == (403,)
    with pytest.raises(ValueError, match=r"X has 403 rows but y has shape \(402,\)"):
        fl.softmax_loss(W, mapped, y[1:])


# ---- Predictions ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["softmax", "logistic", "huber"])
def test_predictions_are_those_of_all_rows(loss):
    X, y = data()
    X64, target = X.astype(np.float64), X[:, 0] * 2.0 if loss == "huber" else y
    model = fl.minimize(X64, target, loss=loss, reg=0.01)
    parts = parts_of(X64, target)
    for method in ("scores", "predict", *(["predict_proba"] if loss != "huber" else [])):
        np.testing.assert_allclose(getattr(model, method)(parts), getattr(model, method)(X64), rtol=1e-12)
    assert model.score(parts) == pytest.approx(model.score(X64, target), rel=1e-12)
    if loss == "softmax":
        np.testing.assert_array_equal(model.predict(parts, k=2), model.predict(X64, k=2))
        assert model.accuracy(parts, k=2) == model.accuracy(X64, y, k=2)
        np.testing.assert_array_equal(model.predict(parts_of(X64, None)), model.predict(X64))
    with pytest.raises(ValueError, match="y comes with the parts"):
        model.score(parts, target)
    with pytest.raises(TypeError, match="y must be given beside an array"):
        model.score(X64)
    with pytest.raises(ValueError, match="part 0: it has X alone"):
        model.score(parts_of(X64, None))


@pytest.mark.parametrize("loss", ["softmax", "huber"])
def test_validation_over_parts(loss):
    X, y = data()
    target = (X[:, 0] * 2).astype(np.float64) if loss == "huber" else y
    how = {"loss": loss, "epochs": 3, "reg": 0.01, "x_scale": 0.7, "patience": 2}
    expected = fl.train(X, target, validation=(X[:90], target[:90]), **how).history
    found = fl.train(X, target, validation=fl.Parts.from_arrays(X[:90], target[:90], rows=23), **how).history
    for name in set(expected) - {"seconds"}:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5)
    with pytest.raises(TypeError, match=r"validation must be a pair \(X, y\), or Parts"):
        fl.train(X, target, loss=loss, validation=X)


def test_a_sweep_over_parts():
    X, y = data()
    weight = np.linspace(0.5, 1.5, 303)
    given, held = (X[:303], y[:303], weight), (X[303:], y[303:])
    for validation in (held, parts_of(*held, ends=(0, 30, 100))):
        found = fl.sweep(parts_of(*given, ends=(0, 100, 101, 303)), C=[0.01, 1.0], validation=validation, tol=1e-9)
        expected = fl.sweep(*given[:2], C=[0.01, 1.0], validation=held, sample_weight=weight, tol=1e-9)
        np.testing.assert_allclose(found.scores, expected.scores)
        np.testing.assert_allclose(found.model.W, expected.model.W, atol=1e-4)
        assert found.score(validation) == expected.score(*held) if validation is not held else True
    with pytest.raises(ValueError, match="over Parts there are no folds"):
        fl.sweep(parts_of(*given, ends=(0, 303)))
