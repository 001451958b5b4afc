"""What is said about labels: how many classes there are, what they weigh, and which are ignored."""

import numpy as np
import pytest

import fastlin as fl
from fastlin import ops

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((60, 4)), RNG.integers(0, 3, 60)
WEIGHT = RNG.uniform(0.5, 1.5, 60)
OF_LABELS = [name for name, row in ops.LOSSES.items() if row.predicts == "classes"]


def fits(**given):
    """The weights that training and a full-batch fit end with."""
    yield fl.train(X, batch_size=16, epochs=2, **given).W
    yield fl.minimize(X, max_iter=4, **given).W


def alike(given, expected):
    for found, other in zip(fits(**given), fits(**expected), strict=True):
        np.testing.assert_allclose(found, other, rtol=1e-9, atol=1e-12)


# ---- classes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", OF_LABELS)
def test_classes_are_columns_of_W(loss):
    for W in fits(y=Y, loss=loss, classes=7, reg=0.1):
        assert W.shape == (5, 7)
    alike({"y": Y, "loss": loss, "classes": 7, "reg": 0.1}, {"y": Y, "loss": loss, "W": np.zeros((5, 7)), "reg": 0.1})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"y": Y, "classes": 2}, r"y\[\d+\] = 2 but classes=2; labels must be integers in \[0, 2\)"),
        ({"y": Y, "classes": 4, "W": np.zeros((5, 3))}, "classes is 4, but W has 3 columns; leave one of them out"),
        ({"y": np.zeros((60, 3)), "loss": "logistic", "classes": 4}, "classes is 4, but y has targets for 3 columns"),
        ({"y": Y, "classes": 0}, "classes must be an integer of at least 1; found 0"),
        ({"y": Y, "classes": 3.0}, "classes must be an integer of at least 1; found 3.0"),
    ],
)
@pytest.mark.parametrize("fit", [fl.train, fl.minimize])
def test_wrong_numbers_of_classes(fit, given, message):
    with pytest.raises((ValueError, TypeError), match=message):
        fit(X, **given)


# ---- class_weight -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", OF_LABELS)
@pytest.mark.parametrize(
    "given", [{1: 3.0, 2: 0.5}, np.array([1, 3, 0.5]), [1.0, 3.0, 0.5]], ids=["dict", "array", "list"]
)
def test_class_weight_multiplies_the_weights_of_rows(loss, given):
    weight = WEIGHT * np.array([1, 3, 0.5])[Y]
    common = {"y": Y, "loss": loss, "reg": 0.1}
    alike(common | {"class_weight": given, "sample_weight": WEIGHT}, common | {"sample_weight": weight})


@pytest.mark.parametrize("weight", [None, WEIGHT, (WEIGHT > 0.7) * 2])
def test_balanced_is_scikit_learns(weight):
    utils = pytest.importorskip("sklearn.utils.class_weight")
    balanced = utils.compute_class_weight("balanced", classes=np.arange(3), y=Y, sample_weight=weight)
    rows = balanced[Y] * (1 if weight is None else weight)
    alike({"y": Y, "class_weight": "balanced", "sample_weight": weight}, {"y": Y, "sample_weight": rows})


def test_balanced_leaves_out_classes_without_rows():
    y = np.where(Y == 1, 0, Y)
    rows = (len(y) / (2 * np.bincount(y, minlength=3)[[0, 0, 2]]))[y]
    alike({"y": y, "class_weight": "balanced"}, {"y": y, "sample_weight": rows})


def test_torchs_weighted_mean_is_ours_over_the_mean_of_the_weights():
    torch = pytest.importorskip("torch")
    W, weight = RNG.standard_normal((4, 3)), np.array([1.0, 5.0, 0.2])
    expected = torch.nn.functional.cross_entropy(*map(torch.tensor, (X @ W, Y)), weight=torch.tensor(weight))
    rows = weight[Y]
    assert fl.softmax_loss(W, X, Y, sample_weight=rows / rows.mean())[0] == pytest.approx(float(expected))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("uniform", "class_weight must be one of 'balanced'; found 'uniform'"),
        ({3: 1.0}, r"a key of class_weight must be a label, an integer in \[0, 3\); found 3"),
        ({"a": 1.0}, r"a key of class_weight must be a label, an integer in \[0, 3\); found 'a'"),
        ({0: -1.0}, r"class_weight\[0\] must be in \[0, inf\); found -1.0"),
        ({0: "1"}, r"class_weight\[0\] must be a number in \[0, inf\)"),
        ([1.0, 2.0], r"class_weight has shape \(2,\); expected \(3,\)"),
        ([1.0, np.nan, 1.0], r"class_weight\[1\] must be in \[0, inf\); found nan"),
        (["a", "b", "c"], "class_weight must be 'balanced', a dict from labels to numbers"),
    ],
)
@pytest.mark.parametrize("fit", [fl.train, fl.minimize])
def test_wrong_weights_of_classes(fit, given, message):
    with pytest.raises((ValueError, TypeError), match=message):
        fit(X, Y, class_weight=given)


@pytest.mark.parametrize("y", [RNG.uniform(size=(60, 3)), (Y > 0).astype(float)])
def test_targets_have_no_weights_of_classes(y):
    with pytest.raises(ValueError, match=r"class_weight needs labels \(n,\).*Pass sample_weight instead"):
        fl.train(X, y, loss="logistic", class_weight="balanced")


# ---- ignore_index -------------------------------------------------------------------------------------------

KEEPS = RNG.random(60) > 0.3


@pytest.mark.parametrize("ignored", [-100, 1000, 1])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("words", [None, {"margin": 0.7}, {"squared": True}, {"variant": "crammer_singer"}])
def test_ignored_rows_have_no_loss(ignored, reduction, words, backend):
    function = fl.softmax_loss if words is None else fl.svm_loss
    keeps = KEEPS & (ignored != Y)
    y, W = np.where(keeps, Y, ignored), RNG.standard_normal((4, 3))
    given = {"reg": 0.1, "reduction": reduction, "backend": backend} | (words or {})
    loss, dW = function(W, X, y, ignore_index=ignored, sample_weight=WEIGHT, **given)
    expected, gradient = function(W, X[keeps], Y[keeps], sample_weight=WEIGHT[keeps], **given)
    assert loss == pytest.approx(expected)
    np.testing.assert_allclose(dW, gradient, rtol=1e-12, atol=1e-14)


def test_ignored_rows_are_torchs():
    torch = pytest.importorskip("torch")
    y, W = np.where(KEEPS, Y, -100), RNG.standard_normal((4, 3))
    expected = torch.nn.functional.cross_entropy(*map(torch.tensor, (X @ W, y)))
    assert fl.softmax_loss(W, X, y, ignore_index=-100)[0] == pytest.approx(float(expected))


@pytest.mark.parametrize("loss", ["softmax", "svm", "logistic"])
@pytest.mark.parametrize("how", [{}, {"class_weight": "balanced"}, {"sample_weight": WEIGHT}])
def test_a_fit_is_that_of_the_other_rows(loss, how):
    y = np.where(KEEPS, Y, -1)
    X_nan = np.where(KEEPS[:, None], X, np.nan)  # nobody reads them in training
    fewer = {name: value if name == "class_weight" else value[KEEPS] for name, value in how.items()}
    found = fl.train(X_nan, y, loss=loss, ignore_index=-1, batch_size=16, epochs=3, **how)
    expected = fl.train(X[KEEPS], Y[KEEPS], loss=loss, batch_size=16, epochs=3, **fewer)
    np.testing.assert_allclose(found.W, expected.W, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(found.history["loss"], expected.history["loss"])
    full = {"loss": loss, "solver": "lbfgs", "reg": 0.1, "max_iter": 5}
    found, expected = (
        fl.minimize(X, y, ignore_index=-1, **full, **how),
        fl.minimize(X[KEEPS], Y[KEEPS], **full, **fewer),
    )
    np.testing.assert_allclose(found.W, expected.W, rtol=1e-8, atol=1e-10)


def test_a_run_with_ignored_rows_is_resumed():
    given = {"y": np.where(KEEPS, Y, -1), "ignore_index": -1, "batch_size": 16, "average": "polyak"}
    whole, half = fl.train(X, epochs=4, **given), fl.train(X, epochs=2, **given)
    assert fl.train(X, epochs=4, resume=half.state, **given).W.tobytes() == whole.W.tobytes()
    with pytest.raises(ValueError, match=r"resume: the state is of a run with other arguments\..*rows: "):
        fl.train(X, epochs=4, resume=half.state, **(given | {"y": np.where(KEEPS, Y, 0)}))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"ignore_index": 1.0}, "ignore_index must be an integer, such as -100; found 1.0"),
        ({"ignore_index": True}, "ignore_index must be an integer"),
        ({"y": np.full(60, -1), "ignore_index": -1}, "all labels in y are ignore_index"),
        ({"y": Y[:5], "ignore_index": -1}, r"ignore_index needs integer labels in y.*found shape \(5,\)"),
        ({"y": np.eye(3)[Y], "ignore_index": -1}, r"ignore_index needs integer labels in y.*found shape \(60, 3\)"),
    ],
)
def test_wrong_ignored_labels(given, message):
    given = {"y": Y} | given
    for call in (fl.train, fl.minimize, lambda *given, **how: fl.softmax_loss(np.zeros((4, 3)), *given, **how)):
        with pytest.raises((ValueError, TypeError), match=message):
            call(X, **given)
