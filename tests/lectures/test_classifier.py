"""Rows of docs/lectures.md: the linear classifier, the SVM loss, the softmax loss, with the slides' numbers."""

import math

import numpy as np
import pytest

import fastlin as fl
from fastlin import cli

SCORES = np.array([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]])  # a row for each picture: cat, car, frog
TEN = {  # class: scores of the pictures of a cat, an automobile and a frog
    "airplane": (-3.45, -0.51, 3.42),
    "automobile": (-8.87, 6.04, 4.64),
    "bird": (0.09, 5.31, 2.65),
    "cat": (2.9, -4.22, 5.1),
    "deer": (4.48, -4.19, 2.64),
    "dog": (8.02, 3.58, 5.55),
    "frog": (3.78, 4.49, -4.34),
    "horse": (1.06, -4.37, -1.5),
    "ship": (-0.36, -2.09, -4.79),
    "truck": (-0.72, -2.93, 6.14),
}


def of_scores(loss, S, y, **how):
    """The loss of scores S (n, c): the identity is X, so that X @ W = S. d(loss)/dS comes with it."""
    S = np.atleast_2d(np.asarray(S, float))
    return loss(S, np.eye(len(S)), np.atleast_1d(y), **how)


# ---- The classifier --------------------------------------------------------------------------------------


def test_four_pixels(backend):
    W = np.array([[0.2, -0.5, 0.1, 2.0], [1.5, 1.3, 2.1, 0.0], [0.0, 0.25, 0.2, -0.3]]).T
    x, b = np.array([[56.0, 231.0, 24.0, 2.0]]), np.array([1.1, 3.2, -1.2])
    S = fl.scores(np.vstack([W, b]), x, bias=True, backend=backend)
    np.testing.assert_allclose(S, [[-96.8, 437.9, 60.75]], atol=1e-10)
    assert fl.scores(W, x, backend=backend)[0, 2] == pytest.approx(61.95)  # the slide's ship score is without its b


def test_flatten(backend):
    """The pixels of an image as one column, row by row, and channel by channel; a stack of images as rows of X."""
    W = np.array([[0.2, -0.5, 0.1, 2.0], [1.5, 1.3, 2.1, 0.0], [0.0, 0.25, 0.2, -0.3]])  # a row for each class
    grey = np.array([[56.0, 231.0], [24.0, 2.0]])
    found = fl.scores(W.T, grey.reshape(1, -1), backend=backend) + np.array([1.1, 3.2, 0.0])
    np.testing.assert_allclose(found, [[-96.8, 437.9, 61.95]], atol=1e-10)
    rng = np.random.default_rng(0)
    X, W = (
        rng.standard_normal((5, 3, 2, 4)),
        rng.standard_normal((24, 6)),
    )  # 5 colour images of 3 channels, 2 x 4 pixels
    found = fl.scores(W, X.reshape(len(X), -1), backend=backend)
    np.testing.assert_allclose(found, np.einsum("nkij,kijc->nc", X, W.reshape(3, 2, 4, 6)), atol=1e-13)
    with pytest.raises(ValueError, match=r"flatten each sample with X.reshape\(len\(X\), -1\)"):
        fl.scores(W, X, backend=backend)


def test_bias_trick(backend):
    rng = np.random.default_rng(0)
    W, x = rng.standard_normal((6, 3)), rng.standard_normal((4, 5))
    with_ones = fl.scores(W, np.hstack([x, np.ones((4, 1))]), backend=backend)
    np.testing.assert_allclose(fl.scores(W, x, bias=True, backend=backend), with_ones, atol=1e-14)


def test_dimensions(backend):
    W, X = np.zeros((3072, 10)), np.zeros((7, 3072))
    assert fl.scores(W, X, backend=backend).shape == (7, 10)  # (N, D) * (D, C) = (N, C)
    loss, dW = fl.svm_loss(W, X, np.zeros(7, int), backend=backend)
    assert (np.ndim(loss), dW.shape) == (0, W.shape)  # a scalar's derivative by a matrix is a matrix of its shape


def test_x_w_or_w_x(backend):
    rng = np.random.default_rng(0)
    by_class, X = rng.standard_normal((3, 5)), rng.standard_normal((4, 5))  # the slides' W: a row for each class
    np.testing.assert_allclose(fl.scores(by_class.T, X, backend=backend).T, by_class @ X.T, atol=1e-14)


def test_ten_scores(backend):
    W = np.array(list(TEN.values())).T
    best = [list(TEN)[j] for j in fl.predict(W.copy(), np.eye(3), backend=backend)]
    assert best == [
        "dog",
        "automobile",
        "truck",
    ]  # one slide says that frog is highest for the frog: it is lowest but one


def test_argmax_rule(backend):
    """The class of the highest score, the first of equals: "car" for the three pictures; others for others."""
    assert fl.predict(SCORES, np.eye(3), backend=backend).tolist() == [1, 1, 1]
    more = np.random.default_rng(0).integers(0, 5, (20, 6)).astype(float)
    found = fl.predict(more, np.eye(20), backend=backend)
    assert found.tolist() == [row.index(max(row)) for row in more.tolist()]


def test_scores_by_index(backend):
    """s_j^(i) is the score of picture i for class j: all nine that the slides ask for, and the right classes' three."""
    X = np.array([[2.0, 1.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 1.0]])
    S, y = fl.scores(np.linalg.solve(X, SCORES), X, backend=backend), [0, 1, 2]
    asked = {(0, 0): 3.2, (1, 0): 5.1, (2, 0): -1.7, (0, 1): 1.3, (1, 1): 4.9}
    asked |= {(2, 1): 2.0, (0, 2): 2.2, (1, 2): 2.5, (2, 2): -3.1}
    assert {(j, i): S[i, j] for j, i in asked} == pytest.approx(asked)
    assert [S[i, y[i]] for i in range(3)] == pytest.approx([3.2, 4.9, -3.1])


def test_accuracy_on_the_test_set():
    """np.mean(Yte_predict == Yte) of the label with the highest score."""
    digits = fl.load_digits()
    best = fl.random_search(digits.X, digits.y, tries=20, bias=False)
    scores = best.W.T.dot(digits.X_test.T)  # the slide's: a column for each picture
    assert best.accuracy(digits.X_test, digits.y_test) == np.mean(np.argmax(scores, axis=0) == digits.y_test)


def test_train_validation_test():
    """Choose by the validation rows; the test rows are for the end."""
    digits = fl.load_digits()
    X, y, held_out = digits.X[:1100], digits.y[:1100], (digits.X[1100:], digits.y[1100:])
    tried = {lr: fl.train(X, y, optimizer=fl.SGD(lr), epochs=5, validation=held_out) for lr in (1e-5, 1e-1)}
    shares = {lr: result.history["validation_accuracy"][-1] for lr, result in tried.items()}
    best = max(shares, key=shares.get)
    assert best == 1e-1
    assert shares[best] == tried[best].accuracy(*held_out)
    assert tried[best].accuracy(digits.X_test, digits.y_test) > 0.8


def test_templates(tmp_path):
    """A class's column of W, drawn as an image, is bright where its pictures are; the command line draws them."""
    rng = np.random.default_rng(0)
    y = np.arange(200) % 4
    images = 0.3 * rng.random((200, 2, 2))
    images[np.arange(200), y // 2, y % 2] += 0.7  # class k has its ink in pixel k
    result = fl.train(images.reshape(200, 4), y, epochs=20, optimizer=fl.Adam(0.05), bias=False)
    for k in range(4):
        template = result.W[:, k].reshape(2, 2)
        assert np.unravel_index(template.argmax(), (2, 2)) == (k // 2, k % 2)
        assert (template * images[5]).sum() == pytest.approx(fl.scores(result.W, images[5].reshape(1, 4))[0, k])
    pytest.importorskip("matplotlib")
    assert cli.main(["train", "--epochs", "1", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "templates.png").exists()


def test_hyperplanes(backend):
    """The border of two classes is a plane whose normal is the difference of their columns; regions are convex."""
    W, b = np.array([[2.0, -1.0, 0.0], [0.0, 1.0, -2.0]]), np.array([0.5, 0.0, -0.5])
    both = np.vstack([W, b])
    normal, offset = W[:, 0] - W[:, 1], b[0] - b[1]
    along = np.array([-normal[1], normal[0]])
    border = -offset * normal / (normal @ normal) + np.array([[0.0], [1.0], [-3.0]]) * along
    S = fl.scores(both, border, bias=True, backend=backend)
    np.testing.assert_allclose(S[:, 0], S[:, 1], atol=1e-12)
    X = np.random.default_rng(0).standard_normal((300, 2))
    labels = fl.predict(both, X, bias=True, backend=backend)
    for k in range(3):
        mine = X[labels == k]
        assert (fl.predict(both, (mine + mine[::-1]) / 2, bias=True, backend=backend) == k).all()


@pytest.mark.parametrize("k", [1, 5])
def test_nearest_neighbours(k):
    """1-NN has every training digit right; on others both kNN are a little ahead of the linear classifier."""
    neighbors = pytest.importorskip("sklearn.neighbors")
    digits = fl.load_digits()
    model = neighbors.KNeighborsClassifier(k).fit(digits.X, digits.y)
    assert (model.score(digits.X, digits.y) == 1) == (k == 1)
    linear = fl.train(digits.X, digits.y, epochs=40, optimizer=fl.Adam(0.01))
    share = linear.accuracy(digits.X_test, digits.y_test)
    assert share > 0.95
    assert share <= model.score(digits.X_test, digits.y_test) < share + 0.04


def test_binary_rule(backend):
    w = np.array([[2.0], [-1.0]])
    X = np.array([[1.0, 0.0], [0.5, 1.0], [0.0, 1.0]])
    assert fl.predict(w, X, backend=backend).tolist() == [1, 1, 0]  # f = 2, 0 and -1: 1 if f >= 0


def test_one_versus_all(backend):
    """Each column of W is a binary classifier of its own: trained alone it is the same, and the losses add up."""
    rng = np.random.default_rng(0)
    middles = rng.standard_normal((4, 6))
    y = np.arange(120) % 4
    X = 2 * middles[y] + rng.standard_normal((120, 6))
    first = fl.train(X, y, loss="logistic", epochs=1, batch_size=120, optimizer=fl.SGD(0.5), backend=backend)
    downhill = -fl.logistic_loss(np.zeros((7, 4)), X, y, bias=True, backend=backend)[1]
    np.testing.assert_allclose(first.W, 0.5 * downhill, atol=1e-12)
    how = {"loss": "logistic", "epochs": 5, "batch_size": 32, "backend": backend}
    result = fl.train(X, y, optimizer=fl.SGD(0.5), **how)
    assert result.accuracy(X, y) > 0.9
    alone = [fl.train(X, (y == k).astype(float), optimizer=fl.SGD(0.5), **how).W for k in range(4)]
    np.testing.assert_allclose(np.hstack(alone), result.W, atol=1e-12)
    W = result.W[:-1]
    each = [
        fl.svm_loss(W[:, [k]], X, (y == k).astype(int), variant="one_vs_rest", backend=backend)[0] for k in range(4)
    ]
    assert fl.svm_loss(W, X, y, variant="one_vs_rest", backend=backend)[0] == pytest.approx(sum(each))
    s = X @ W[:, 0]
    assert each[0] == pytest.approx(np.where(y == 0, np.maximum(0, 1 - s), np.maximum(0, 1 + s)).mean())


# ---- The SVM ---------------------------------------------------------------------------------------------


def test_svm_losses(backend):
    each = [of_scores(fl.svm_loss, SCORES[i], i, backend=backend)[0] for i in range(3)]
    assert each == pytest.approx([2.9, 0.0, 12.9])
    mean = of_scores(fl.svm_loss, SCORES, [0, 1, 2], backend=backend)[0]
    assert round(mean, 2) == 5.27
    assert round(mean, 1) == 5.3


def test_svm_by_cases(backend):
    """0 if s_y >= s_j + 1, else s_j - s_y + 1: the hinge falls with slope -1 and ends at the margin."""
    for ahead, expected in ((-1.0, 2.0), (0.0, 1.0), (0.5, 0.5), (1.0, 0.0), (1.5, 0.0)):
        loss, dS = of_scores(fl.svm_loss, [ahead, 0.0], 0, backend=backend)
        assert loss == expected
        assert dS[0].tolist() == ([-1, 1] if ahead < 1 else [0, 0])


def test_loss_curves(backend):
    """Over the lead a of the right class the hinge is max(0, 1 - a), softmax log(1 + e^-a): one ends, one goes on."""
    lead = np.linspace(-20, 20, 81)
    curves = {}
    for loss in (fl.svm_loss, fl.softmax_loss):
        found = [of_scores(loss, [a, 0.0], 0, backend=backend) for a in lead]
        curves[loss] = np.array([value for value, _ in found]), np.array([dS[0, 0] for _, dS in found])
    hinge, slope = curves[fl.svm_loss]
    np.testing.assert_allclose(hinge, np.maximum(0, 1 - lead), atol=1e-12)
    assert slope.tolist() == [-1.0 if a < 1 else 0.0 for a in lead]
    softmax, slope = curves[fl.softmax_loss]
    np.testing.assert_allclose(softmax, np.log1p(np.exp(-lead)), rtol=1e-12, atol=1e-15)
    assert (slope < 0).all()  # it goes on falling, beyond the margin too
    assert (np.diff(slope) > 0).all()
    assert softmax[0] == pytest.approx(hinge[0] - 1)  # far below they run beside each other, a margin apart


def test_svm_of_one_row():
    def L_i_vectorized(x, y, W):  # the slide's code
        scores = W.dot(x)
        margins = np.maximum(0, scores - scores[y] + 1)
        margins[y] = 0
        return np.sum(margins)

    rng = np.random.default_rng(0)
    W, x = rng.standard_normal((10, 20)), rng.standard_normal(20)
    for y in range(10):
        assert fl.svm_loss(W.T, x[None], [y])[0] == pytest.approx(L_i_vectorized(x, y, W))


def test_svm_q1_car_scores_change(backend):
    car = SCORES[1]
    for change in (-0.5, -0.1, 0.1, 0.5):
        assert of_scores(fl.svm_loss, car + np.array([0, change, 0]), 1, backend=backend)[0] == 0.0


def test_svm_q2_least_and_most(backend):
    assert of_scores(fl.svm_loss, [[9.0, 0.0, 0.0]], 0, backend=backend)[0] == 0.0
    assert of_scores(fl.svm_loss, [[-1e300, 0.0, 0.0]], 0, backend=backend)[0] >= 1e300


def test_svm_q3_start(backend):
    rng = np.random.default_rng(0)
    W, X = 1e-6 * rng.standard_normal((20, 10)), rng.standard_normal((50, 20))
    assert fl.svm_loss(W, X, np.arange(50) % 10, backend=backend)[0] == pytest.approx(9.0, abs=1e-3)  # C - 1


def test_svm_q4_all_classes(backend):
    """With j = y each row's sum is 1 larger, the margin, and the gradient is the same."""
    rng = np.random.default_rng(0)
    W, X, y = rng.standard_normal((5, 4)), rng.standard_normal((9, 5)), np.arange(9) % 4

    def over_all(W):
        S = fl.scores(W, X, backend=backend)
        return np.maximum(0, S - S[np.arange(9), y][:, None] + 1).sum(axis=1).mean()

    loss, dW = fl.svm_loss(W, X, y, backend=backend)
    assert over_all(W) == pytest.approx(loss + 1)
    np.testing.assert_allclose(fl.numerical_gradient(over_all, W), dW, atol=1e-8)


def test_svm_q5_mean_instead_of_sum():
    """A factor 1 / (C - 1), and nothing else: it is sample_weight, and a reg that is as much smaller."""
    rng = np.random.default_rng(0)
    W, X, y = rng.standard_normal((5, 4)), rng.standard_normal((9, 5)), np.arange(9) % 4
    loss, dW = fl.svm_loss(W, X, y, 0.3)
    mean, dW_mean = fl.svm_loss(W, X, y, 0.1, sample_weight=np.full(9, 1 / 3))
    assert mean == pytest.approx(loss / 3)
    np.testing.assert_allclose(dW_mean, dW / 3)


def test_svm_q6_squared(backend):
    """Another loss, not a multiple: the ratio to the plain one differs from picture to picture."""
    squared = [of_scores(fl.svm_loss, SCORES[i], i, squared=True, backend=backend)[0] for i in range(3)]
    assert squared == pytest.approx([2.9**2, 0.0, 6.3**2 + 6.6**2])
    assert squared[0] / 2.9 != pytest.approx(squared[2] / 12.9, rel=0.1)


def test_svm_twice_the_weights(backend):
    for factor, margins in ((1, [-2.6, -1.9]), (2, [-6.2, -4.8])):
        np.testing.assert_allclose(factor * (SCORES[1, [0, 2]] - SCORES[1, 1]) + 1, margins)
        assert of_scores(fl.svm_loss, factor * SCORES[1], 1, backend=backend)[0] == 0.0


def test_svm_doubling_is_not_learning(backend):
    """Multiply W (and b) by 2: the loss of 0.5 is gone, and every prediction is what it was."""
    both, x = np.array([[1.0, 2.0, 1.5], [0.3, 0.5, 0.5]]), np.array([[1.0]])  # W and b: scores 1.3, 2.5, 2.0 of a car
    assert fl.svm_loss(both, x, [1], bias=True, backend=backend)[0] == pytest.approx(0.5)
    assert fl.svm_loss(2 * both, x, [1], bias=True, backend=backend)[0] == 0.0
    rng = np.random.default_rng(0)
    both, X, y = rng.standard_normal((6, 4)), rng.standard_normal((50, 5)), rng.integers(0, 4, 50)
    before = fl.predict(both, X, bias=True, backend=backend)
    assert (before == y).any()
    assert (before != y).any()
    assert (fl.predict(2 * both, X, bias=True, backend=backend) == before).all()  # what is wrong stays wrong
    only_W = np.vstack([2 * both[:-1], both[-1:]])
    assert (fl.predict(only_W, X, bias=True, backend=backend) != before).any()  # without b it is another classifier


def test_svm_variants(backend):
    """The slides sum over the other classes; others take the largest, or set one class against the rest."""
    for i in range(3):
        s = SCORES[i]
        others = [max(0.0, s[j] - s[i] + 1) for j in range(3) if j != i]
        sides = [max(0.0, 1 - (1 if j == i else -1) * s[j]) for j in range(3)]
        for variant, expected in {
            "weston_watkins": sum(others),
            "crammer_singer": max(others),
            "one_vs_rest": sum(sides),
        }.items():
            found = of_scores(fl.svm_loss, s, i, variant=variant, backend=backend)[0]
            assert found == pytest.approx(expected)


# ---- Softmax ---------------------------------------------------------------------------------------------


def test_softmax_probabilities(backend):
    P = fl.softmax(SCORES[0], backend=backend)
    unnormalised = P * np.exp(SCORES[0]).sum()
    assert [round(unnormalised[0], 1), round(unnormalised[1], 1), round(unnormalised[2], 2)] == [24.5, 164.0, 0.18]
    np.testing.assert_array_equal(P.round(2), [0.13, 0.87, 0.0])
    assert (P > 0).all()
    assert P.sum() == pytest.approx(1.0)


def test_softmax_cat_to_base_10(backend):
    loss = of_scores(fl.softmax_loss, SCORES[0], 0, backend=backend)[0]
    assert round(loss, 2) == 2.04
    assert round(loss / math.log(10), 2) == 0.89


def test_softmax_car_to_base_10(backend):
    P = fl.softmax(SCORES[1], backend=backend)
    np.testing.assert_array_equal((P * np.exp(SCORES[1]).sum()).round(2), [3.67, 134.29, 7.39])
    np.testing.assert_array_equal(P.round(3), [0.025, 0.924, 0.051])  # 0.02, 0.92 and 0.06 on the slide
    loss = of_scores(fl.softmax_loss, SCORES[1], 1, backend=backend)[0]
    assert round(loss, 2) == 0.08
    assert round(loss / math.log(10), 2) == 0.03


def test_softmax_least_and_most(backend):
    for gap in (1.0, 10.0, 30.0):
        assert of_scores(fl.softmax_loss, [gap, 0.0], 0, backend=backend)[0] > 0.0  # the infimum is not reached
    assert of_scores(fl.softmax_loss, [-1e300, 0.0], 0, backend=backend)[0] == 1e300


def test_softmax_start(backend):
    """log C whatever the row: for ten classes 2.3, not the 2 of one document."""
    for c in (3, 10):
        found = fl.softmax_loss(np.zeros((4, c)), np.ones((3, 4)), [0, 1, 2], backend=backend)[0]
        assert found == pytest.approx(math.log(c))
    assert round(found, 2) == 2.30


def test_softmax_is_maximum_likelihood(backend):
    """The sum of the losses is -log of the product of the probabilities of what was observed."""
    P = fl.softmax(SCORES, backend=backend)
    total = of_scores(fl.softmax_loss, SCORES, [0, 1, 2], reduction="sum", backend=backend)[0]
    assert total == pytest.approx(-math.log(P[0, 0] * P[1, 1] * P[2, 2]))


def test_softmax_is_a_divergence(backend):
    """H(P, Q) = H(P) + D_KL(P || Q); H(P) is 0 for a label, and not for a smoothed one."""
    for smoothing in (0.0, 0.3):
        P = np.full(3, smoothing / 3) + np.array([1 - smoothing, 0, 0])
        Q = fl.softmax(SCORES[0], backend=backend)
        some = P > 0
        entropy = -np.sum(P[some] * np.log(P[some]))
        divergence = np.sum(P[some] * np.log(P[some] / Q[some]))
        loss = of_scores(fl.softmax_loss, SCORES[0], 0, label_smoothing=smoothing, backend=backend)[0]
        assert loss == pytest.approx(entropy + divergence)


def test_softmax_beside_svm(backend):
    W = np.array([[0.01, -0.05, 0.1, 0.05], [0.7, 0.2, 0.05, 0.16], [0.0, -0.45, -0.2, 0.03]])
    W, x = np.vstack([W.T, [0.0, 0.2, -0.3]]), np.array([[-15.0, 22.0, -44.0, 56.0]])
    S = fl.scores(W, x, bias=True, backend=backend)
    np.testing.assert_allclose(S, [[-2.85, 0.86, 0.28]], atol=1e-12)
    assert round(fl.svm_loss(W, x, [2], bias=True, backend=backend)[0], 2) == 1.58
    np.testing.assert_allclose(np.exp(S), [[0.058, 2.36, 1.32]], atol=0.005)
    P = fl.softmax(S, backend=backend)
    np.testing.assert_array_equal(P.round(4), [[0.0154, 0.6312, 0.3534]])  # 0.016 on the slide
    loss = fl.softmax_loss(W, x, [2], bias=True, backend=backend)[0]
    assert (round(loss, 2), round(loss / math.log(10), 3)) == (1.04, 0.452)


def jiggled(loss, scores, size, backend):
    """The losses after each score, the right one first, was changed by -size and by +size."""
    changes = [sign * size * unit for unit in np.eye(3) for sign in (-1, 1)]
    return [of_scores(loss, np.array(scores, float) + change, 0, backend=backend)[0] for change in changes]


def test_jiggling(backend):
    """Every score both ways. Beyond the margin the SVM loss stays 0; on it, it has a kink. Softmax always moves."""
    for far in ([10, -2, 3], [10, -100, -100]):
        assert jiggled(fl.svm_loss, far, 0.5, backend) == [0.0] * 6
    assert of_scores(fl.svm_loss, [10, 9, 9], 0, backend=backend)[0] == 0.0
    assert jiggled(fl.svm_loss, [10, 9, 9], 0.5, backend) == [1.0, 0.0, 0.0, 0.5, 0.0, 0.5]
    assert jiggled(fl.svm_loss, [10, 9, 9], 0.01, backend) == pytest.approx([0.02, 0, 0, 0.01, 0, 0.01])
    for scores in ([10, -2, 3], [10, 9, 9]):
        before = of_scores(fl.softmax_loss, scores, 0, backend=backend)[0]
        rises = [moved > before for moved in jiggled(fl.softmax_loss, scores, 0.01, backend)]
        assert before > 0
        assert rises == [True, False, False, True, False, True]
    # 2 e^-110 beside 1: in float64 the loss is 0 wherever it is moved, while the slopes of the others are not.
    loss, slope = of_scores(fl.softmax_loss, [10, -100, -100], 0, backend=backend)
    assert [loss, *jiggled(fl.softmax_loss, [10, -100, -100], 0.5, backend)] == [0.0] * 7
    np.testing.assert_allclose(slope, [[0, np.exp(-110), np.exp(-110)]], rtol=1e-12)


def test_jiggling_with_a_wrong_class(backend):
    """One document has +100 in the third row: then the SVM loss is 91, softmax 90; both move with two scores."""
    scores = [10, 100, -100]
    assert of_scores(fl.svm_loss, scores, 0, backend=backend)[0] == 91.0
    assert of_scores(fl.softmax_loss, scores, 0, backend=backend)[0] == pytest.approx(90)
    for loss, before in ((fl.svm_loss, 91.0), (fl.softmax_loss, 90.0)):
        changes = np.array(jiggled(loss, scores, 0.5, backend)) - before
        np.testing.assert_allclose(changes, [0.5, -0.5, -0.5, 0.5, 0, 0], atol=1e-12)


def test_doubled_correct_score(backend):
    """From 10 to 20: the SVM loss is 0 in all rows, far from the kink; softmax falls, and is 0 in the third."""
    for others in ([-2, 3], [9, 9], [-100, -100]):
        assert jiggled(fl.svm_loss, [20, *others], 0.5, backend) == [0.0] * 6
        assert of_scores(fl.svm_loss, [20, *others], 0, backend=backend)[0] == 0.0
        before, after = (of_scores(fl.softmax_loss, [s, *others], 0, backend=backend)[0] for s in (10, 20))
        if others == [-100, -100]:
            assert before == after == 0.0
        else:
            assert 0.0 < after < 1e-3 * before
