"""Each row of docs/words.md, computed: our objective is the one that others minimise, with the words of the table."""

import re
from pathlib import Path

import numpy as np
import pytest

import fastlin as fl
from fastlin.losses import HINGES

pytest.importorskip("sklearn")
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.svm import LinearSVC

N, D, C = 60, 4, 0.3
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, D)) + 0.5
Y = (X @ RNG.standard_normal((D, 3)) + RNG.gumbel(size=(N, 3))).argmax(axis=1)
TWO = (Y > 0).astype(int)
ONES = np.column_stack([X, np.ones(N)])
TIGHT = {"C": C, "tol": 1e-10, "max_iter": 100_000}
LOSSES = {"softmax": fl.softmax_loss, "logistic": fl.logistic_loss, "squared_error": fl.squared_error_loss}
PAGE = Path(__file__).parent.parent / "docs" / "words.md"


def value_of(loss, W, X, y, **words):
    """A loss by its name in the table, and its gradient."""
    if loss in LOSSES:
        return LOSSES[loss](W, X, y, **words)
    variant, squared = next(form for form, name in HINGES.items() if name == loss)
    return fl.svm_loss(W, X, y, variant=variant, squared=squared, **words)


def is_optimum(loss, found, X, y, reg, **words):
    """Ours cannot be lowered from their optimum; nor is that the optimum of twice or half the reg."""
    W = np.vstack([found.coef_.T, found.intercept_])
    for factor in (1, 2, 0.5):
        _, dW = value_of(loss, W, X, y, reg=scaled(reg, factor), **words)
        smooth = value_of(loss, W, X, y, **words)[1] if not isinstance(reg, float) else dW
        steepest = np.abs(np.where(W == 0, 0, dW)).max()
        at_zero = not (W == 0).any() or np.abs(smooth[W == 0]).max() <= getattr(scaled(reg, factor), "lam", 0)
        assert (steepest < 2e-5 and at_zero) == (factor == 1), (factor, steepest)


def scaled(reg, factor):
    if isinstance(reg, float):
        return reg * factor
    return type(reg)(reg.lam * factor, *([reg.beta] if isinstance(reg, fl.ElasticNet) else []))


def logistic_regression():
    found = LogisticRegression(**TIGHT).fit(X, Y)
    is_optimum("softmax", found, X, Y, 1 / (2 * C * N), bias=True)


def two_classes():
    found = LogisticRegression(**TIGHT).fit(X, TWO)
    is_optimum("logistic", found, X, TWO.astype(float), 1 / (2 * C * N), bias=True)


def lasso():
    found = LogisticRegression(**TIGHT, l1_ratio=1, solver="saga").fit(X, Y)
    assert (found.coef_ == 0).any()
    is_optimum("softmax", found, X, Y, fl.L1(1 / (C * N)), bias=True)


def elastic_net(r=0.4):
    found = LogisticRegression(**TIGHT, l1_ratio=r, solver="saga").fit(X, Y)
    is_optimum("softmax", found, X, Y, fl.ElasticNet(r / (C * N), (1 - r) / (2 * r)), bias=True)


def weights():
    v, rows = np.array([1.0, 2.0, 0.5]), RNG.uniform(0, 2, N)
    found = LogisticRegression(**TIGHT, class_weight=dict(enumerate(v))).fit(X, Y, rows)
    is_optimum("softmax", found, X, Y, 1 / (2 * C * N), bias=True, sample_weight=rows * v[Y])


def liblinear():
    found = LogisticRegression(**TIGHT, solver="liblinear").fit(X, TWO)
    is_optimum("logistic", found, ONES, TWO.astype(float), 1 / (2 * C * N))


def linear_svc():
    found = LinearSVC(**TIGHT).fit(X, Y)
    is_optimum("squared_one_vs_rest_svm", found, ONES, Y, 1 / (2 * C * N))


def crammer_singer():
    """It has kinks: no scaled W is better."""
    found = LinearSVC(**TIGHT, multi_class="crammer_singer").fit(X, Y)
    W = np.vstack([found.coef_.T, found.intercept_])

    def best(factor):
        scales = np.linspace(0.5, 1.5, 201)
        words = {"reg": factor / (2 * C * N)}
        return scales[np.argmin([value_of("crammer_singer_svm", t * W, ONES, Y, **words)[0] for t in scales])]

    assert abs(best(1) - 1) < 0.006
    assert best(2) < 0.99 or best(0.5) > 1.01


def sgd_classifier(alpha=0.1, lr=0.2):
    """Two steps: the penalty acts in the second."""
    theirs = SGDClassifier(loss="log_loss", alpha=alpha, learning_rate="constant", eta0=lr, average=False)
    W, ours = np.zeros((D + 1, 1)), fl.SGD(lr)
    for i in range(2):
        theirs.partial_fit(X[i : i + 1], TWO[i : i + 1], classes=[0, 1])
        y = TWO[i : i + 1].astype(float)
        ours.step(W, fl.logistic_loss(W, X[i : i + 1], y, reg=alpha / 2, bias=True)[1])
    np.testing.assert_allclose(W[:, 0], [*theirs.coef_[0], *theirs.intercept_], rtol=1e-12)


def ridge(alpha=3.0):
    t = X @ np.arange(D) + RNG.standard_normal(N)
    found = Ridge(alpha=alpha).fit(X, t)
    W = np.append(found.coef_, found.intercept_)[:, None]
    _, dW = fl.squared_error_loss(W, X, t, reg=alpha / N, bias=True)
    assert np.abs(dW).max() < 1e-12


def torch_steps(theirs, ours, reg):
    """Three steps of each from the same W and b, the ones in X."""
    torch = pytest.importorskip("torch")
    W = RNG.standard_normal((D + 1, 3))
    w, b = (torch.tensor(part.copy(), requires_grad=True) for part in (W[:D].T, W[D]))
    optimizer, inputs, labels = theirs(torch.optim, [w, b]), torch.from_numpy(X), torch.from_numpy(Y)
    for _ in range(3):
        optimizer.zero_grad()
        torch.nn.CrossEntropyLoss()(inputs @ w.T + b, labels).backward()
        optimizer.step()
        ours.step(W, fl.softmax_loss(W, ONES, Y, reg=reg)[1])
    np.testing.assert_allclose(W, np.vstack([w.detach().numpy().T, b.detach().numpy()]), rtol=1e-10)


def torch_sgd(d=0.3):
    torch_steps(lambda optim, W: optim.SGD(W, lr=0.2, weight_decay=d), fl.SGD(0.2), d / 2)


def torch_adam(d=0.3):
    torch_steps(lambda optim, W: optim.Adam(W, lr=0.2, weight_decay=d), fl.Adam(0.2), d / 2)


def torch_adamw(d=0.3):
    torch_steps(lambda optim, W: optim.AdamW(W, lr=0.2, weight_decay=d), fl.AdamW(0.2, weight_decay=d), 0.0)


def torch_value(name, ours, **words):
    """A criterion of torch at some W."""
    torch = pytest.importorskip("torch")
    words = {key: torch.tensor(value) if isinstance(value, np.ndarray) else value for key, value in words.items()}
    W = RNG.standard_normal((D, 3))
    theirs = getattr(torch.nn, name)(**words)(torch.from_numpy(X @ W), torch.from_numpy(Y))
    assert theirs.item() == pytest.approx(ours(W), rel=1e-12)


def torch_class_weight():
    v = np.array([1.0, 2.0, 0.5])
    rows = v[Y] * N / v[Y].sum()
    torch_value("CrossEntropyLoss", lambda W: fl.softmax_loss(W, X, Y, sample_weight=rows)[0], weight=v)


def torch_sum():
    torch_value("CrossEntropyLoss", lambda W: fl.softmax_loss(W, X, Y, reduction="sum")[0], reduction="sum")


def torch_multi_margin():
    torch_value("MultiMarginLoss", lambda W: fl.svm_loss(W, X, Y)[0] / 3)


def formula(loss, inputs, y, reg, theirs):
    """Ours times `theirs`' factor is their formula, at any W."""
    W = RNG.standard_normal((inputs.shape[1], 3 if loss == "softmax" or loss == "svm" else 1))
    S = inputs @ W
    factor, expected = theirs(W, S)
    ours = fl.svm_loss(W, inputs, y, reg=reg)[0] if loss == "svm" else value_of(loss, W, inputs, y, reg=reg)[0]
    assert factor * ours == pytest.approx(expected, rel=1e-12)


def log_loss_sum(S):
    return np.logaddexp(0, -(2 * TWO - 1) * S[:, 0]).sum()


def liblinear_program():
    def theirs(W, S):
        return C * N, C * log_loss_sum(S) + 0.5 * (W**2).sum()

    formula("logistic", ONES, TWO.astype(float), 1 / (2 * C * N), theirs)


def lightning(alpha=0.7):
    def theirs(W, S):
        cross_entropy = np.log(np.exp(S).sum(axis=1)) - S[np.arange(N), Y]
        return C * N, C * cross_entropy.sum() + alpha * np.abs(W).sum()

    formula("softmax", X, Y, fl.L1(alpha / (C * N)), theirs)


def hinge_mean(S):
    margins = np.maximum(0, S - S[np.arange(N), Y][:, None] + 1)
    margins[np.arange(N), Y] = 0
    return margins.sum() / N


def cs231n(reg=0.2):
    formula("svm", ONES, Y, reg, lambda W, S: (1, hinge_mean(S) + reg * np.sum(W * W)))


def cs231n_older(reg=0.2):
    formula("svm", ONES, Y, reg / 2, lambda W, S: (1, hinge_mean(S) + 0.5 * reg * np.sum(W * W)))


ROWS = {  # the start of a row's first column, in the order of the page
    "scikit-learn `LogisticRegression(": logistic_regression,
    "… with two classes": two_classes,
    "… `l1_ratio=1`": lasso,
    "… `l1_ratio=r`": elastic_net,
    "… `class_weight`": weights,
    "… `solver=": liblinear,
    "scikit-learn `LinearSVC(": linear_svc,
    "… `multi_class=": crammer_singer,
    "scikit-learn `SGDClassifier(": sgd_classifier,
    "scikit-learn `Ridge(": ridge,
    "torch `CrossEntropyLoss()`, `SGD(": torch_sgd,
    "torch `Adam(": torch_adam,
    "torch `AdamW(": torch_adamw,
    "torch `CrossEntropyLoss(weight": torch_class_weight,
    "torch `CrossEntropyLoss(reduction": torch_sum,
    "torch `MultiMarginLoss": torch_multi_margin,
    "liblinear ": liblinear_program,
    "lightning ": lightning,
    "CS231n, `reg": cs231n,
    "CS231n, older": cs231n_older,
}


@pytest.mark.parametrize("row", list(ROWS))
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_row_is_as_the_table_says(row):
    ROWS[row]()


def test_every_row_of_the_page_is_tested():
    if not PAGE.exists():
        pytest.skip("the page is not beside the tests")
    names = re.findall(r"^\| (.*?) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)[1:]
    assert len(names) == len(ROWS)
    assert all(name.startswith(row) for name, row in zip(names, ROWS, strict=True)), list(zip(names, ROWS, strict=True))
