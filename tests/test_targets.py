"""Real targets everywhere: regressions against closed forms and linear programmes, 0/1 labels with one column of W."""

import numpy as np
import pytest

import fastlin as fl
from fastlin import cli, ops

REGRESSIONS = [name for name, row in ops.LOSSES.items() if row.predicts == "values"]
BINARY = [name for name, row in ops.LOSSES.items() if row.binary]


def houses(n=400, seed=0):
    """Size, rooms, age and distance of houses, raw, and their prices: linear, noisy, and some far too high."""
    rng = np.random.default_rng(seed)
    X = np.column_stack([rng.uniform(40, 250, n), rng.integers(1, 9, n), rng.uniform(0, 90, n), rng.uniform(0, 30, n)])
    price = 50 + X @ [2.5, 12.0, -0.8, -3.0] + rng.normal(0, 15, n)
    price[rng.random(n) < 0.05] += 400
    return X, price


X, PRICE = houses()
SCALED = {"x_scale": 1 / X.std(axis=0), "x_shift": -X.mean(axis=0) / X.std(axis=0)}
Z = X * SCALED["x_scale"] + SCALED["x_shift"]
ONES = np.column_stack([Z, np.ones(len(Z))])


def trained(loss, y=PRICE, epochs=300, **more):
    settings = {"optimizer": fl.Adam(fl.schedules.cosine(20.0, T=epochs * 4)), "batch_size": 100} | SCALED | more
    return fl.train(X, y, loss=loss, epochs=epochs, **settings)


# ---- A regression reaches the minimum that others compute -------------------------------------------------


def test_squared_error_reaches_the_closed_form(backend):
    if backend == "naive":
        pytest.skip("takes minutes")
    exact = np.linalg.lstsq(ONES, PRICE, rcond=None)[0]
    result = trained("squared_error", backend=backend)
    np.testing.assert_allclose(result.W[:, 0], exact, atol=0.1)
    np.testing.assert_allclose(result.predict(X), ONES @ exact, atol=0.3)
    residual, spread = PRICE - ONES @ exact, PRICE - PRICE.mean()
    assert result.score(X, PRICE) == pytest.approx(1 - (residual @ residual) / (spread @ spread), abs=1e-6)


def test_ridge_by_minimize():
    scipy = pytest.importorskip("scipy")
    assert scipy
    lam, n = 0.3, len(X)
    H = ONES.T @ ONES / n + np.diag([lam] * 4 + [0])
    exact = np.linalg.solve(H, ONES.T @ PRICE / n)
    result = fl.minimize(X, PRICE, loss="squared_error", reg=lam, tol=1e-9, **SCALED)
    np.testing.assert_allclose(result.W[:, 0], exact, rtol=1e-6)


def test_absolute_error_reaches_the_linear_programme():
    """min 1/n sum(u + v) over w and u, v >= 0 with y = X w + u - v."""
    optimize = pytest.importorskip("scipy.optimize")
    n, d = ONES.shape
    found = optimize.linprog(
        np.r_[np.zeros(d), np.full(2 * n, 1 / n)],
        A_eq=np.hstack([ONES, np.eye(n), -np.eye(n)]),
        b_eq=PRICE,
        bounds=[(None, None)] * d + [(0, None)] * 2 * n,
    )
    result = trained("absolute_error", epochs=600)
    loss, _ = fl.absolute_error_loss(result.W, X, PRICE, bias=True, **SCALED)
    assert found.fun <= loss + 1e-9
    assert loss == pytest.approx(found.fun, rel=1e-4)
    np.testing.assert_allclose(result.W[:, 0], found.x[:d], atol=0.5)


def test_huber_is_scikit_learns_at_its_scale():
    """HuberRegressor minimises sum sigma + sigma H(r / sigma): at its sigma, ours with delta = epsilon sigma."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    expected = linear_model.HuberRegressor(epsilon=1.35, alpha=0.0, tol=1e-10, max_iter=10000).fit(Z, PRICE)
    delta = 1.35 * expected.scale_
    for result in (
        fl.minimize(X, PRICE, loss="huber", delta=delta, tol=1e-10, **SCALED),
        trained("huber", delta=delta, epochs=400),
    ):
        np.testing.assert_allclose(result.W[:, 0], [*expected.coef_, expected.intercept_], rtol=2e-3)
        assert result.score(X, PRICE) == pytest.approx(expected.score(Z, PRICE), abs=1e-4)


# ---- Targets in all functions of y -------------------------------------------------------------------------


@pytest.mark.parametrize("loss", REGRESSIONS)
def test_numbers_of_any_type_are_values(loss, backend):
    """Prices that happen to be integers are no classes; predictions are values."""
    prices = np.round(PRICE).astype(np.int64)
    how = {"loss": loss, "backend": backend, "epochs": 1, "batch_size": 400, "optimizer": fl.SGD(1e-3)}
    found = fl.train(X, prices, **how, **SCALED)
    expected = fl.train(X, prices.astype(float), **(how | {"optimizer": fl.SGD(1e-3)}), **SCALED)
    assert found.W.shape == (5, 1)
    np.testing.assert_array_equal(found.W, expected.W)
    assert found.predict(X).shape == (400,)
    np.testing.assert_allclose(found.predict(X), ONES @ found.W[:, 0], rtol=1e-9)


@pytest.mark.parametrize("loss", REGRESSIONS)
def test_several_targets_are_several_regressions(loss):
    both = np.column_stack([PRICE, -PRICE])
    result, alone = trained(loss, both, epochs=20), trained(loss, epochs=20)
    np.testing.assert_allclose(result.W, np.hstack([alone.W, -alone.W]), rtol=1e-9)
    assert result.predict(X).shape == (400, 2)
    assert result.score(X, both) == pytest.approx(alone.score(X, PRICE))


@pytest.mark.parametrize("loss", BINARY)
def test_zeros_and_ones_with_one_column(loss, backend):
    dear = (PRICE > 350).astype(np.int64)
    how = {"loss": loss, "backend": backend, "batch_size": 100, "epochs": 1 if backend == "naive" else 60}
    result = fl.train(X, dear, W=np.zeros((5, 1)), validation=(X, dear), optimizer=fl.Adam(0.05), **how, **SCALED)
    assert set(np.unique(result.predict(X))) <= {0, 1}
    np.testing.assert_array_equal(result.predict(X), (ONES @ result.W[:, 0] >= 0).astype(int))
    assert result.history["validation_accuracy"][-1] == result.score(X, dear) == result.accuracy(X, dear)
    if backend != "naive":
        assert result.score(X, dear) > 0.9


@pytest.mark.parametrize("fit", [fl.train, fl.minimize, fl.random_search, fl.random_local_search])
def test_every_fit_takes_targets(fit):
    if fit is fl.minimize:
        pytest.importorskip("scipy")
    how = {"tries": 30, "scale": 1.0} if fit in (fl.random_search, fl.random_local_search) else {}
    T = np.column_stack([Z[:, 0], Z[:, 1] - Z[:, 2]])
    values = fit(Z, T, loss="squared_error", **how)
    assert values.loss_name == "squared_error"
    assert values.predict(Z).shape == T.shape
    assert -np.inf < values.score(Z, T) <= 1
    soft = fit(Z, 1 / (1 + np.exp(-T)), loss="logistic", **how)
    assert soft.predict(Z).tolist() == (soft.scores(Z)[:, 1] > soft.scores(Z)[:, 0]).astype(int).tolist()


def test_validation_of_a_regression():
    other, price = houses(seed=1)
    result = trained("squared_error", epochs=50, validation=(other, price), patience=50)
    assert result.history["validation_r2"][-1] == pytest.approx(result.score(other, price), abs=0.05)
    assert result.history["validation_r2"][result.best_epoch - 1] == pytest.approx(result.score(other, price))
    value, _ = fl.squared_error_loss(result.W, other, price, bias=True, **SCALED)
    assert result.history["validation_loss"][result.best_epoch - 1] == pytest.approx(value)
    with pytest.raises(ValueError, match="validation: y has shape"):
        trained("squared_error", validation=(other, price[:-1]))


def test_r2_is_scikit_learns():
    metrics = pytest.importorskip("sklearn.metrics")
    result = trained("squared_error", np.column_stack([PRICE, X[:, 1]]), epochs=3)
    for T in (np.column_stack([PRICE, X[:, 1]]), np.column_stack([PRICE, np.ones(400)])):
        assert result.score(X, T) == pytest.approx(metrics.r2_score(T, result.predict(X)))


def test_a_regression_has_no_accuracy():
    result = trained("squared_error", epochs=1)
    with pytest.raises(ValueError, match=r"squared_error is a regression.*score\(X, y\)"):
        result.accuracy(X, PRICE)


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_saved_weights_keep_the_loss(suffix, tmp_path):
    if suffix == "safetensors":
        pytest.importorskip("safetensors")
    result = trained("absolute_error", epochs=2)
    result.save(tmp_path / f"w.{suffix}")
    again = fl.TrainResult.load(tmp_path / f"w.{suffix}")
    assert again.loss_name == "absolute_error"
    np.testing.assert_array_equal(again.predict(X), result.predict(X))


def test_a_file_with_a_loss_that_is_none_is_refused(tmp_path):
    from fastlin._files import store

    store.save(tmp_path / "w.npz", {"W": np.zeros((2, 1)), "bias": True, "loss": "os.system"})
    with pytest.raises(ValueError, match="loss must be one of 'softmax'"):
        fl.TrainResult.load(tmp_path / "w.npz")


def test_resumed_to_the_same_bits():
    T = np.column_stack([PRICE, -PRICE])
    whole, part = trained("squared_error", T, epochs=6), trained("squared_error", T, epochs=3)
    schedule = fl.Adam(fl.schedules.cosine(20.0, T=24))
    part = trained("squared_error", T, epochs=3, optimizer=fl.Adam(fl.schedules.cosine(20.0, T=24)))
    again = trained("squared_error", T, epochs=6, optimizer=schedule, resume=part.state)
    assert again.W.tobytes() == whole.W.tobytes()


@pytest.mark.parametrize(
    ("loss", "y", "message"),
    [
        ("softmax", PRICE, "y must hold integers"),
        ("logistic", PRICE, r"y\[0\] = .* is out of range; the targets of this loss must be in \[0, 1\]"),
        ("squared_error", PRICE[:-1], r"y has shape \(399,\)"),
        ("squared_error", PRICE.reshape(2, 2, 100), "y has shape"),
        ("squared_error", np.zeros((400, 0)), "y has shape"),
        ("squared_error", PRICE.astype(str), "y must hold numbers"),
    ],
)
def test_bad_targets(loss, y, message):
    with pytest.raises((ValueError, TypeError), match=message):
        fl.train(X, y, loss=loss)


def test_the_command_line(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    file, out = tmp_path / "prices.npz", tmp_path / "run"
    np.savez(file, X=Z, y=PRICE, X_test=Z[:100], y_test=PRICE[:100])
    command = ["train", "--data", str(file), "--loss", "squared_error", "--optimizer", "adam", "--lr", "5"]
    assert cli.main([*command, "--epochs", "30", "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert float(shown.split("test R2 ")[1].split()[0]) > 0.6
    assert "validation r2" in shown
    assert (out / "loss.png").exists()
    assert cli.main(["predict", "--data", str(file), "--weights", str(out / "weights.npz")]) == 0
    assert "R2 0." in capsys.readouterr().out
