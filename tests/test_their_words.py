"""Other libraries' words and objects are answered with ours, and a loss that is lost with a warning."""

import copy
import inspect
import pickle
import warnings

import numpy as np
import pytest

import fastlin as fl

X, Y = np.random.default_rng(0).standard_normal((40, 3)), np.arange(40) % 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fl.Adam(betas=(0.9, 0.99)), "Adam has no argument 'betas': pass beta1= and beta2="),
        (lambda: fl.Adam(amsgrad=True), r"Adam has no argument .amsgrad.: take fl\.AMSGrad"),
        (lambda: fl.Adam(nesterov=True), "Adam has no argument 'nesterov': take fl.NAdam"),
        (lambda: fl.RMSProp(centered=True), "RMSProp has no argument 'centered': "),
        (lambda: fl.RMSProp(momentum=0.9), "RMSProp has no argument 'momentum': "),
        (lambda: fl.SGD(0.1, dampening=0.1), "SGD has no argument 'dampening': it is 0"),
        (lambda: fl.SGD(0.1, maximize=True), r"SGD has no argument 'maximize': step\(W, -dW\) ascends"),
        (lambda: fl.SGD(learning_rate=0.1), "SGD has no argument 'learning_rate': pass lr="),
        (lambda: fl.Lion(nothing=1), "Lion has no argument 'nothing', whose own are lr, beta1, beta2, weight_decay"),
    ],
)
def test_torchs_words_for_optimizers(make, message):
    with pytest.raises(TypeError, match=message):
        make()


def test_optimizers_are_otherwise_as_they_were():
    assert list(inspect.signature(fl.SGD).parameters)[:4] == ["lr", "momentum", "nesterov", "weight_decay"]
    for same in (copy.deepcopy(fl.Adam(0.1)), pickle.loads(pickle.dumps(fl.Adam(0.1)))):
        assert repr(same) == repr(fl.Adam(0.1))

    class Betas(fl.Adam):
        def __init__(self, betas, **others):
            super().__init__(beta1=betas[0], beta2=betas[1], **others)

    assert Betas(betas=(0.5, 0.6), lr=0.1).hyper["beta2"] == 0.6
    with pytest.raises(TypeError, match=r"Betas has no argument .amsgrad.: take fl\.AMSGrad"):
        Betas(betas=(0.5, 0.6), amsgrad=True)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'lr'"):
        fl.SGD()


@pytest.mark.parametrize("fit", [fl.train, fl.minimize, fl.random_search])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("C", r": pass reg=1/\(2\*C\*n\)"),
        ("weight_decay", ": pass reg=weight_decay/2"),
        ("fit_intercept", ": pass bias="),
        ("margin", " with loss='softmax', whose own are label_smoothing"),
    ],
)
def test_scikit_learns_words_for_fits(fit, name, message):
    with pytest.raises(TypeError, match=f"{fit.__name__} has no argument {name!r}{message}"):
        fit(X, Y, loss="softmax", **{name: 1.0})


def test_C_is_scikit_learns():
    linear_model = pytest.importorskip("sklearn.linear_model")
    theirs = linear_model.LogisticRegression(C=0.7, tol=1e-10).fit(X, Y)
    ours = fl.minimize(X, Y, reg=1 / (2 * 0.7 * len(X)), tol=1e-9)
    np.testing.assert_allclose(ours.W[:-1].T, theirs.coef_, atol=1e-5)


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        ("adam", r"optimizer must be an object such as fl.Adam\(1e-3\); found the name 'adam'"),
        (fl.Adam, r"optimizer is the class Adam itself; make one of it: Adam\(...\)"),
    ],
)
def test_an_optimizer_is_an_object(optimizer, message):
    with pytest.raises(TypeError, match=message):
        fl.train(X, Y, optimizer=optimizer)


def test_labels_that_are_strings():
    for fit in (fl.train, fl.minimize):
        with pytest.raises(TypeError, match=r"y must hold integers.*np.unique\(y, return_inverse=True\)"):
            fit(X, np.array(["cat", "dog"] * 20))


class Loader:
    """As torch's DataLoader: no array, and no sequence."""

    def __iter__(self):
        yield X, Y


@pytest.mark.parametrize("rows", [(x for x in X), Loader(), iter([X])], ids=["generator", "loader", "iterator"])
def test_rows_that_come_one_after_the_other(rows):
    message = r"X is an iterable of type \w+, not an array\. Pass all rows at once"
    for fit in (fl.train, fl.minimize):
        with pytest.raises(TypeError, match=message):
            fit(rows, Y)
    with pytest.raises(TypeError, match=message):
        fl.softmax_loss(np.zeros((3, 3)), rows, Y)


def test_a_step_of_tensors():
    torch = pytest.importorskip("torch")
    W = torch.zeros(3, 3)
    with pytest.raises(TypeError, match=r"W must be an array; found Tensor; pass W.detach\(\).numpy\(\), which shares"):
        fl.SGD(0.1).step(W, W)


# ---- A loss that is lost ----------------------------------------------------------------------------------


def test_a_warning_where_the_steps_are_too_long():
    said = r"the loss of epoch [12] is (nan|inf): the steps are likely too long: pass a smaller lr"
    with pytest.warns(RuntimeWarning, match=said) as caught:
        fl.train(X, Y + 0.5, loss="squared_error", optimizer=fl.SGD(1e200), epochs=5)
    assert len(caught) == 1
    assert caught[0].filename == __file__


@pytest.mark.parametrize("name", ["X", "sample_weight"])
def test_a_warning_that_names_what_holds_nan(name):
    given = {"X": X.copy(), "sample_weight": np.ones(40)}
    given[name].flat[7] = np.nan
    with pytest.warns(RuntimeWarning, match=f"the loss of epoch 1 is nan: {name} hold NaN or Inf"):
        fl.train(y=Y, **given)


def test_no_warning_where_all_is_well():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fl.train(X, Y, epochs=2)
