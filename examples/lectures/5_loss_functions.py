"""
Lesson 5: loss functions, question by question
==============================================

This lesson follows document E of ``docs/lectures.md``, "Lecture 3: Loss Functions" (493G1), from its first slide to its
last. Its slides ask: Q1 to Q7 about the SVM loss, Q1 and Q2 about softmax, and four more about both. Answer each before
you read on.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastlin as fl
from fastlin import features, toys

# %%
# The algebraic viewpoint
# -----------------------
# A CIFAR-10 image is an array of 32x32x3 numbers, 3072 in total; f(x, W) = Wx + b gives 10 numbers, the class scores.
# The slide's W is (10, 3072) and x a column. Ours is (3072, 10), and each image is a row.

rng = np.random.default_rng(0)
images = rng.random((2, 32, 32, 3))  # two images
flat = images.reshape(2, -1)  # flatten tensors into vectors
W, b = rng.standard_normal((3072, 10)), rng.standard_normal(10)
scores = fl.scores(np.vstack([W, b]), flat, bias=True)
assert flat.shape == (2, 3072)
assert scores.shape == (2, 10)
assert np.allclose(scores[0], W.T @ flat[0] + b)

# %%
# Example with an image with 4 pixels, and 3 classes (cat/dog/ship); the numbers of the picture, term by term. The score
# of the ship is 60.75; the picture's 61.95 is before b is added.

x = np.array([[56, 231], [24, 2]]).reshape(-1)
W = np.array([[0.2, 1.5, 0.0], [-0.5, 1.3, 0.25], [0.1, 2.1, 0.2], [2.0, 0.0, -0.3]])  # a column for each class
b = np.array([1.1, 3.2, -1.2])
for k, name in enumerate(["cat", "dog", "ship"]):
    terms = " + ".join(f"{w:g} * {pixel}" for w, pixel in zip(W[:, k], x, strict=True))
    print(f"{name:4} {terms} + {b[k]} = {W[:, k] @ x + b[k]:.2f}")
assert np.allclose(fl.scores(np.vstack([W, b]), x[None], bias=True), [[-96.8, 437.9, 60.75]])

# %%
# The bias trick to simplify computation: put b into W and a 1 at the end of x, and a product is all there is. With
# ``bias=True`` the last row of W is b, and no 1 has to be stored.

with_one = np.append(x, 1)
assert np.allclose(fl.scores(np.vstack([W, b]), with_one[None]), fl.scores(np.vstack([W, b]), x[None], bias=True))

# %%
# Visual and geometric viewpoint
# ------------------------------
# Learning templates: a class's weights, as an image. The score of an image is how much ink it has where the template is
# bright, less that where it is dark. The mean 0 fits the template of class 0 best.

digits = fl.load_digits()
trained = fl.train(digits.X, digits.y, optimizer=fl.SGD(0.1, momentum=0.9), epochs=20, reg=1e-2)
mean_zero = digits.X[digits.y == 0].mean(axis=0)
print("scores of the mean 0:", trained.scores(mean_zero[None])[0].round(1))
assert trained.predict(mean_zero[None]) == 0

# %%
# Linear decision boundaries: each class has a line (in 3072 dimensions: a plane) where its score is 0, and its weights
# are the arrow across it, towards higher scores.

X, y = toys.blobs(150)
model = fl.train(X, y, loss="logistic", optimizer=fl.Adam(0.1), epochs=50)
figure, axis = plt.subplots(figsize=(4.5, 4.5), layout="constrained")
for k, (marker, colour) in enumerate(zip("o^s", ("tab:blue", "tab:orange", "tab:green"), strict=True)):
    axis.plot(*X[y == k].T, marker, color=colour, markersize=3)
    w, offset = model.W[:2, k], model.W[2, k]
    foot = -offset * w / (w @ w)  # the point of the line that is nearest to the origin
    axis.axline(foot, foot + np.array([-w[1], w[0]]), color=colour)
    axis.annotate("", foot + w / np.linalg.norm(w), foot, arrowprops={"arrowstyle": "->", "color": colour})
axis.set(xlim=(-4, 4), ylim=(-4, 4), xlabel="x1", ylabel="x2", title="Score 0, and where it grows")
plt.show()

# %%
# Hard cases: first and third quadrant; 1 <= L2 norm <= 2; three modes. No line separates the two classes. The titles
# say for how many points a trained line is right.

figure, axes = plt.subplots(1, 3, figsize=(9, 3.3), layout="constrained")
for axis, name in zip(axes, ("parity", "ring", "three_modes"), strict=True):
    X, y = getattr(toys, name)(400)
    right = fl.train(X, y, loss="svm", optimizer=fl.Adam(0.05), epochs=50).accuracy(X, y)
    axis.plot(*X[y == 0].T, "o", color="tab:blue", markersize=2)
    axis.plot(*X[y == 1].T, "^", color="tab:red", markersize=3)
    axis.set(title=f"{name}: {right:.0%}", xticks=[], yticks=[])
    assert right < 0.75
plt.show()

# %%
# Minsky's report, 1969: "unable to learn the XNOR function". The slide's table, 0, 1, 1, 0, is that of XOR; XNOR is
# 1, 0, 0, 1, and neither can be learned. With the product x y as a third feature both can.

X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
with_product = features.PolynomialFeatures(2, include_bias=False).fit_transform(X)
for name, y in {"XOR": [0, 1, 1, 0], "XNOR": [1, 0, 0, 1]}.items():
    for what, rows in (("x, y", X), ("x, y, x y", with_product)):
        result = fl.train(rows, y, loss="svm", optimizer=fl.SGD(0.1), epochs=2000, batch_size=4)
        print(f"{name:4} from {what:10} {result.accuracy(rows, y):.0%}")
    assert result.accuracy(with_product, y) == 1

# %%
# A loss function
# ---------------
# Scores of a random W in ten classes. "First column bad because dog is highest. Second column good. Third column bad
# because frog is highest": for the frog truck is highest, and frog is lowest but one.

names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
ten = np.array(
    [
        [-3.45, -8.87, 0.09, 2.9, 4.48, 8.02, 3.78, 1.06, -0.36, -0.72],
        [-0.51, 6.04, 5.31, -4.22, -4.19, 3.58, 4.49, -4.37, -2.09, -2.93],
        [3.42, 4.64, 2.65, 5.1, 2.64, 5.55, -4.34, -1.5, -4.79, 6.14],
    ]
)
highest = [names[k] for k in fl.predict(ten, np.eye(3))]
print("highest:", highest, " lowest two of the frog:", [names[k] for k in np.argsort(ten[2])[:2]])
assert highest == ["dog", "automobile", "truck"]

# %%
# Three images, three classes. The loss over the dataset is the average over its images. So that scores can be handed to
# a loss, image i is the i-th row of the identity: then the scores X @ W are W.

S = np.array([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]])  # rows: the images of a cat, a car, a frog


def svm(scores, label, **how):
    """The SVM loss of one image with these scores."""
    return fl.svm_loss(np.array([scores], float), [[1.0]], [label], **how)[0]


def softmax(scores, label):
    """The softmax loss of one image with these scores."""
    return fl.softmax_loss(np.array([scores], float), [[1.0]], [label])[0]


# %%
# Interpreting the multiclass SVM loss: it falls as the score of the right class rises, until this leads the highest of
# the others by 1. For the cat's image, with the other scores as they are:

right_scores = np.linspace(-3, 9, 121)
figure, axis = plt.subplots(figsize=(5.5, 3), layout="constrained")
axis.plot(right_scores, [svm([a, 5.1, -1.7], 0) for a in right_scores], color="black")
axis.plot(3.2, svm(S[0], 0), "o", label="the slide's 3.2: loss 2.9")
axis.axvline(5.1 + 1, linestyle=":", color="grey", label="car's score + 1")
axis.set(xlabel="score of the right class, cat", ylabel="SVM loss")
axis.legend()
plt.show()

# %%
# The losses: max(0, 2.9) + max(0, -3.9) = 2.9; max(0, -2.6) + max(0, -1.9) = 0; max(0, 6.3) + max(0, 6.6) = 12.9. Their
# mean is (2.9 + 0 + 12.9) / 3 = 5.27.

losses = [svm(S[i], i) for i in range(3)]
print("losses:", np.round(losses, 1), f"mean {fl.svm_loss(S, np.eye(3), [0, 1, 2])[0]:.2f}")
assert np.allclose(losses, [2.9, 0.0, 12.9])
assert round(fl.svm_loss(S, np.eye(3), [0, 1, 2])[0], 2) == 5.27

# %%
# Q1: what happens to the loss if car scores decrease by 0.5 for this training example (1.3, 4.9, 2.0)?
#
# Nothing: 4.4 still leads by more than 1.

assert svm([1.3, 4.4, 2.0], 1) == 0

# %%
# Q2: what is the min/max possible SVM loss L_i?
#
# 0, and infinity: there is no bound on how far the right class may be behind.

print("losses:", [svm([-behind, 0.0, 0.0], 0) for behind in (-1, 0, 100, 10_000)])

# %%
# Q3: at initialization W is small so all s are about 0. What is the loss L_i, assuming N examples and C classes?
#
# C - 1, whatever N is: each wrong class adds the margin, 1. A program that starts elsewhere has a bug.

for N, C in ((1, 3), (50, 3), (50, 10)):
    loss = fl.svm_loss(np.zeros((4, C)), rng.random((N, 4)), np.arange(N) % C)[0]
    print(f"N = {N}, C = {C}: {loss}")
    assert np.isclose(loss, C - 1)

# %%
# Q4: what if the sum was over all classes (including j = y_i)?
#
# Each loss is larger by max(0, s_y - s_y + 1) = 1, and its gradient is the same.

for i in range(3):
    print(f"{losses[i]:.1f} -> {np.maximum(0, S[i] - S[i, i] + 1).sum():.1f}")
all_classes = fl.numerical_gradient(lambda s: float(np.maximum(0, s - s[0] + 1).sum()), S[0])
assert np.allclose(fl.svm_loss(S[:1], [[1.0]], [0])[1][0], all_classes)

# %%
# Q5: what if we used mean instead of sum?
#
# Every loss is divided by C - 1 = 2; what is best stays best.

mean = fl.svm_loss(S, np.eye(3), [0, 1, 2], sample_weight=[0.5, 0.5, 0.5])[0]
assert np.isclose(mean, np.mean(losses) / 2)

# %%
# Q6: what if we used max(0, s_j - s_y + 1)^2?
#
# Another loss, not a multiple: a margin missed by little costs less, one missed by much costs a lot more.

print("squared:", [round(svm(S[i], i, squared=True), 2) for i in range(3)])
assert np.isclose(svm(S[2], 2, squared=True), 6.3**2 + 6.6**2)
missed = np.linspace(-1, 3, 81)
figure, axis = plt.subplots(figsize=(5, 3), layout="constrained")
axis.plot(missed, [svm([0.0, m - 1], 0) for m in missed], label="max(0, m)")
axis.plot(missed, [svm([0.0, m - 1], 0, squared=True) for m in missed], "--", label="max(0, m)²")
axis.set(xlabel="m = s_j - s_y + 1, by how much the margin is missed", ylabel="loss")
axis.legend()
plt.show()

# %%
# Example code. First calculate scores, then the margins; only sum j is not y_i, so when j = y_i, set to zero; sum
# across all j.


def L_i_vectorized(x, y, W):
    scores = W.dot(x)
    margins = np.maximum(0, scores - scores[y] + 1)
    margins[y] = 0
    loss_i = np.sum(margins)
    return loss_i


W = rng.standard_normal((10, 64))  # the slide's W
for x, y in zip(digits.X[:20], digits.y[:20], strict=True):
    assert np.isclose(fl.svm_loss(W.T, x[None], [y])[0], L_i_vectorized(x, y, W))

# %%
# Q7: suppose that we found a W such that L = 0. Is this W unique?
#
# No! 2W also has L = 0. Before: max(0, -2.6) + max(0, -1.9); with W twice as large: max(0, -6.2) + max(0, -4.8).

for factor in (1, 2):
    print("margins:", (factor * (S[1, [0, 2]] - S[1, 1]) + 1).round(1), " loss:", svm(factor * S[1], 1))
    assert svm(factor * S[1], 1) == 0

# %%
# Regularization
# --------------
# How do we choose between W and 2W? By lambda R(W): model predictions should match training data, but not too well. Of
# the L2 penalty 2W has four times as much.

for factor in (1, 2):
    print(f"{factor}W: full loss {fl.svm_loss(factor * S[1:2], [[1.0]], [1], 0.1)[0]:.2f}")

# %%
# Prefer simpler models, so we don't fit noise in the data. 30 % of 400 digits get a random label: a little
# regularization fits these labels less, and the test digits, whose labels are right, better.

noisy = np.where(rng.random(400) < 0.3, rng.integers(0, 10, 400), digits.y[:400])
accuracies = {}
for lam in (0.0, 0.01):
    fit = fl.minimize(digits.X[:400], noisy, reg=lam, max_iter=300)
    accuracies[lam] = fit.accuracy(digits.X[:400], noisy), fit.accuracy(digits.X_test, digits.y_test)
    print(f"lambda {lam}: training {accuracies[lam][0]:.1%}, test {accuracies[lam][1]:.1%}")
assert accuracies[0.0][0] > accuracies[0.01][0]
assert accuracies[0.0][1] < accuracies[0.01][1]

# %%
# L2, L1, elastic net. Which of w1 and w2 will the L2 regularizer prefer? And L1?
#
# L2 likes to "spread out" the weights: w2. To L1 they are the same.

w1, w2 = np.array([[1.0, 0.0, 0.0, 0.0]]).T, np.array([[0.25, 0.25, 0.25, 0.25]]).T
assert fl.scores(w1, np.ones((1, 4))) == fl.scores(w2, np.ones((1, 4))) == 1
for name, penalty in {"L2": fl.L2(1.0), "L1": fl.L1(1.0), "elastic net": fl.ElasticNet(1.0, beta=1.0)}.items():
    print(f"{name}: R(w1) = {penalty.value(w1)}, R(w2) = {penalty.value(w2)}")
assert fl.L2(1.0).value(w2) < fl.L2(1.0).value(w1)
assert fl.L1(1.0).value(w2) == fl.L1(1.0).value(w1)

# %%
# Of "more complex" ones dropout fits a linear model. Here each input is dropped with probability 1/4, and the others
# are scaled so that the mean stays.

print("ones with dropout:", fl.dropout(np.ones((1, 8)), 0.25, seed=1)[0].round(2))

# %%
# The softmax classifier
# ----------------------
# Scores 3.2, 5.1, -1.7 as probabilities: exp makes them >= 0 (24.5, 164.0, 0.18), to normalize makes them sum to 1
# (0.13, 0.87, 0.00).

unnormalized = np.exp(S[0])
P = fl.softmax(S[0])
print("exp", unnormalized.round(2), "-> normalize", P.round(2))
assert np.allclose(P, unnormalized / unnormalized.sum())
assert np.array_equal(P.round(2), [0.13, 0.87, 0.0])

# %%
# L_i = -log(0.13) = 2.04.

print(f"L_i = {softmax(S[0], 0):.2f}")
assert round(softmax(S[0], 0), 2) == 2.04

# %%
# Maximum likelihood estimation: choose weights to maximize the likelihood of the observed data. A step against the
# gradient of the loss makes the observed labels more probable.

before = fl.softmax_loss(S, np.eye(3), [0, 1, 2], reduction="sum")
after = fl.softmax_loss(S - 0.1 * before[1], np.eye(3), [0, 1, 2], reduction="sum")[0]
print(f"likelihood {np.exp(-before[0]):.6f} -> {np.exp(-after):.6f}")
assert after < before[0]

# %%
# Compare with the correct probabilities, 1, 0, 0: the Kullback-Leibler divergence is the sum of P log(P / Q). Cross
# entropy: H(P, Q) = H(P) + D_KL(P || Q), and H(P) = 0 for a label.

divergence = 1.0 * np.log(1.0 / P[0])
assert np.isclose(softmax(S[0], 0), 0 + divergence)

# %%
# Q1: what is the min/max possible softmax loss L_i?
#
# Above 0 for any finite scores, and no max.

print("losses:", [f"{softmax([lead, 0.0, 0.0], 0):.1e}" for lead in (30.0, 0.0, -1000.0)])
assert softmax([30.0, 0.0, 0.0], 0) > 0

# %%
# Q2: at initialization all s_j will be approximately equal; what is the softmax loss L_i, assuming C classes?
#
# -log(1 / C) = log(C). If C = 10, log(10) is about 2.3.

print(f"C = 10: {fl.softmax_loss(np.zeros((64, 10)), digits.X, digits.y)[0]:.1f}")

# %%
# Softmax vs. SVM
# ---------------
# The picture: matrix multiply + bias offset, scores -2.85, 0.86, 0.28, the last class is right. Hinge loss:
# max(0, -2.85 - 0.28 + 1) + max(0, 0.86 - 0.28 + 1) = 1.58. Cross-entropy: -log(0.353), 1.04 by the natural logarithm
# (one picture has 0.452, to base 10).

s = [-2.85, 0.86, 0.28]
print(f"hinge {svm(s, 2):.2f}, probability {fl.softmax(s)[2]:.3f}, cross-entropy {softmax(s, 2):.2f}")
assert (round(svm(s, 2), 2), round(fl.softmax(s)[2], 3), round(softmax(s, 2), 2)) == (1.58, 0.353, 1.04)
assert round(softmax(s, 2) / np.log(10), 3) == 0.452

# %%
# Assume scores [10, -2, 3], [10, 9, 9], [10, -100, -100] and y = 0. Q: what is the SVM loss? Q: is the softmax loss
# zero for any of them? And if I double the correct class score, 10 -> 20?
#
# The SVM loss is 0 for all six; [10, 9, 9] is exactly at the margin, so 9.5 instead of 10 makes it 1. The softmax loss
# is never zero, and doubling the score makes it much smaller. The computer has exactly 0 for the third, as 1 + 2 e^-110
# rounds to 1: rounding, not mathematics.

for scores in ([10, -2, 3], [10, 9, 9], [10, -100, -100], [20, -2, 3], [20, 9, 9], [20, -100, -100]):
    print(f"{scores!s:18} SVM {svm(scores, 0)}   softmax {softmax(scores, 0):.2g}")
    assert svm(scores, 0) == 0
assert svm([9.5, 9, 9], 0) == 1
assert softmax([10, -2, 3], 0) > softmax([20, -2, 3], 0) > 0
assert softmax([10, 9, 9], 0) > softmax([20, 9, 9], 0) > 0
assert softmax([10, -100, -100], 0) == 0

# %%
# Recap: a dataset of (x, y), a score function s = f(x; W), a loss function, L = mean of L_i + R(W). How do we find the
# best W? Next time: optimization. Until then, this is one line.

for loss in ("softmax", "svm"):
    result = fl.train(digits.X, digits.y, loss=loss, reg=1e-4, optimizer=fl.SGD(0.1, momentum=0.9))
    print(f"{loss}: test accuracy {result.accuracy(digits.X_test, digits.y_test):.1%}")
