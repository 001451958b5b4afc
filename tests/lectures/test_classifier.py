"""Rows of docs/lectures.md: the linear classifier, the SVM loss, the softmax loss, with the slides' numbers."""

import math

import numpy as np
import pytest

import fastlin as fl

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
    """The pixels of an image as one column, row by row; a stack of images as rows of X."""
    image = np.array([[56.0, 231.0], [24.0, 2.0]])
    assert image.reshape(-1).tolist() == [56, 231, 24, 2]
    W, images = np.arange(8.0).reshape(4, 2), np.stack([image, image.T])
    found = fl.scores(W, images.reshape(len(images), -1), backend=backend)
    np.testing.assert_allclose(found, np.einsum("nij,ijc->nc", images, W.reshape(2, 2, 2)))
    with pytest.raises(ValueError, match=r"flatten each sample with X.reshape\(len\(X\), -1\)"):
        fl.scores(W, images, backend=backend)


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
    assert fl.predict(SCORES, np.eye(3), backend=backend).tolist() == [1, 1, 1]


def test_scores_by_index(backend):
    """The score of picture i for class j, and for its right class."""
    S = fl.scores(SCORES, np.eye(3), backend=backend)
    assert S[0].tolist() == [3.2, 5.1, -1.7]
    assert S[[0, 1, 2], [0, 1, 2]].tolist() == [3.2, 4.9, -3.1]


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


def test_templates():
    """A class's column of W, drawn as an image, is bright where its pictures are."""
    rng = np.random.default_rng(0)
    y = np.arange(200) % 4
    images = 0.3 * rng.random((200, 2, 2))
    images[np.arange(200), y // 2, y % 2] += 0.7  # class k has its ink in pixel k
    result = fl.train(images.reshape(200, 4), y, epochs=20, optimizer=fl.Adam(0.05), bias=False)
    for k in range(4):
        template = result.W[:, k].reshape(2, 2)
        assert np.unravel_index(template.argmax(), (2, 2)) == (k // 2, k % 2)
        assert (template * images[5]).sum() == pytest.approx(fl.scores(result.W, images[5].reshape(1, 4))[0, k])


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


def test_one_versus_all():
    digits = fl.load_digits()
    result = fl.train(digits.X, digits.y, loss="logistic", epochs=20, batch_size=64, optimizer=fl.Adam(1e-2))
    assert result.accuracy(digits.X_test, digits.y_test) > 0.9


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
    """Softmax over the lead a of the right class is log(1 + e^-a): smooth, falling, beside the hinge far from it."""
    lead = np.linspace(-20, 20, 81)
    found = [of_scores(fl.softmax_loss, [a, 0.0], 0, backend=backend) for a in lead]
    losses, slopes = np.array([loss for loss, _ in found]), np.array([dS[0, 0] for _, dS in found])
    np.testing.assert_allclose(losses, np.log1p(np.exp(-lead)), rtol=1e-12, atol=1e-15)
    assert (np.diff(losses) < 0).all()
    assert (np.diff(slopes) > 0).all()
    assert losses[0] == pytest.approx(20)
    assert slopes[[0, -1]] == pytest.approx([-1, 0], abs=1e-8)


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


def test_svm_q4_all_classes():
    """With j = y each row's sum is 1 larger, the margin, and the gradient is the same."""
    for i, loss in enumerate([2.9, 0.0, 12.9]):
        over_all = np.maximum(0, SCORES[i] - SCORES[i, i] + 1).sum()
        assert over_all == pytest.approx(loss + 1)


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
    scores = np.array([1.3, 2.5, 2.0])  # the correct class is the car
    assert of_scores(fl.svm_loss, scores, 1, backend=backend)[0] == pytest.approx(0.5)
    assert of_scores(fl.svm_loss, 2 * scores, 1, backend=backend)[0] == 0.0
    rng = np.random.default_rng(0)
    W, X = rng.standard_normal((5, 4)), rng.standard_normal((50, 5))
    assert (fl.predict(W, X, backend=backend) == fl.predict(2 * W, X, backend=backend)).all()  # wrong stays wrong


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
    e = np.exp(SCORES[0])
    assert [round(e[0], 1), round(e[1], 1), round(e[2], 2)] == [24.5, 164.0, 0.18]
    P = fl.softmax(SCORES[0], backend=backend)
    np.testing.assert_array_equal(P.round(2), [0.13, 0.87, 0.0])
    assert (P > 0).all()
    assert P.sum() == pytest.approx(1.0)


def test_softmax_cat_to_base_10(backend):
    loss = of_scores(fl.softmax_loss, SCORES[0], 0, backend=backend)[0]
    assert round(loss, 2) == 2.04
    assert round(loss / math.log(10), 2) == 0.89


def test_softmax_car_to_base_10(backend):
    np.testing.assert_array_equal(np.exp(SCORES[1]).round(2), [3.67, 134.29, 7.39])
    P = fl.softmax(SCORES[1], backend=backend)
    np.testing.assert_allclose(P, [0.02, 0.92, 0.06], atol=0.01)  # rounded properly 0.03, 0.92, 0.05
    loss = of_scores(fl.softmax_loss, SCORES[1], 1, backend=backend)[0]
    assert round(loss, 2) == 0.08
    assert round(loss / math.log(10), 2) == 0.03


def test_softmax_least_and_most(backend):
    for gap in (1.0, 10.0, 30.0):
        assert of_scores(fl.softmax_loss, [gap, 0.0], 0, backend=backend)[0] > 0.0  # the infimum is not reached
    assert of_scores(fl.softmax_loss, [-1e300, 0.0], 0, backend=backend)[0] == 1e300


def test_softmax_start(backend):
    assert round(fl.softmax_loss(np.zeros((4, 10)), np.ones((3, 4)), [0, 1, 2], backend=backend)[0], 2) == 2.30


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
    np.testing.assert_allclose(fl.softmax(S, backend=backend), [[0.016, 0.631, 0.353]], atol=6e-4)
    loss = fl.softmax_loss(W, x, [2], bias=True, backend=backend)[0]
    assert (round(loss, 2), round(loss / math.log(10), 3)) == (1.04, 0.452)


@pytest.mark.parametrize("scores", [[10, -2, 3], [10, 9, 9], [10, -100, -100]])
def test_jiggling(scores, backend):
    """The SVM loss is 0 beyond the margin; the softmax loss goes on falling, until rounding hides it."""
    for change in (0.0, 0.5):
        s = np.array(scores, float) + np.array([change, 0, 0])
        assert of_scores(fl.svm_loss, s, 0, backend=backend)[0] == 0.0
    before, slope = of_scores(fl.softmax_loss, scores, 0, backend=backend)
    after, _ = of_scores(fl.softmax_loss, [scores[0] + 0.5, *scores[1:]], 0, backend=backend)
    if scores[1] == -100:
        assert before == after == 0.0  # 2 e^-110 beside 1 in float64
        assert (slope[0, 1:] > 0).all()
    else:
        assert 0.0 < after < before


def test_jiggling_with_a_wrong_class(backend):
    """One document has +100 in the third row: then the SVM loss is 91, and every jiggle counts."""
    assert of_scores(fl.svm_loss, [10, 100, -100], 0, backend=backend)[0] == 91.0
    assert of_scores(fl.svm_loss, [10.5, 100, -100], 0, backend=backend)[0] == 90.5


def test_doubled_correct_score(backend):
    for scores in ([20, -2, 3], [20, 9, 9]):
        assert of_scores(fl.svm_loss, scores, 0, backend=backend)[0] == 0.0
        half = of_scores(fl.softmax_loss, [10, *scores[1:]], 0, backend=backend)[0]
        assert 0.0 < of_scores(fl.softmax_loss, scores, 0, backend=backend)[0] < 1e-3 * half
