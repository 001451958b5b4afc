"""
Lesson 2: linear classification, loss functions, gradient descent
=================================================================

This lesson follows document B of ``docs/lectures.md``, "Linear Classification, Loss functions; Gradient Descent"
(CS 4803-DL / 7643-A), from its first slide to its last. Each cell says what a slide says, computes it, and prints or
asserts what the slide shows.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastlin as fl
from fastlin import toys

# %%
# A parametric model: the linear classifier
# -----------------------------------------
# f(x, W) = Wx + b. Procedure: calculate the score per class, return the label of the maximum score. The slides' W has a
# row for each class; "implementations can use xW instead, assuming a different shape for W", and ours do: X @ W, with a
# row for each image and a column for each class.

rng = np.random.default_rng(0)
W_slide, x = rng.standard_normal((3, 4)), rng.standard_normal(4)
s = W_slide @ x
assert np.allclose(fl.scores(W_slide.T, x[None]), s)
assert fl.predict(W_slide.T, x[None]) == np.argmax(s)

# %%
# The capacity of such a model does not grow with the training data: W for 8 x 8 digits has 65 * 10 numbers, whether
# there are 100 digits or 1000.

digits = fl.load_digits()
for rows in (100, 1000):
    print(rows, "digits: W has the shape", fl.train(digits.X[:rows], digits.y[:rows], epochs=1).W.shape)

# %%
# Binary classification: y = 1 if f(x, w) >= 0, otherwise 0. W then has a single column. The model w . x + b is a line:
# here 2 x1 - x2 with scores 2, 0 and -1.

w = np.array([[2.0], [-1.0]])
points = np.array([[1.0, 0.0], [0.5, 1.0], [0.0, 1.0]])
print("f(x, w):", fl.scores(w, points)[:, 0], " y:", fl.predict(w, points))
assert fl.predict(w, points).tolist() == [1, 1, 0]

# %%
# An image of n x n pixels is x_1 ... x_m with m = n n. We can move b into the matrix, as a last column of W with a 1 at
# the end of x. Here b is the last row of W, and with ``bias=True`` the column of ones need not be there.

W = rng.standard_normal((65, 10))
with_ones = np.hstack([digits.X_test, np.ones((len(digits.X_test), 1))])
assert np.allclose(fl.scores(W, digits.X_test, bias=True), fl.scores(W, with_ones))

# %%
# Example with an image with 4 pixels, and 3 classes (cat/dog/ship); the numbers of the picture. For the ship it
# has 61.95: its b = -1.2 was left out, and with it the score is 60.75.

W_slide = np.array([[0.2, -0.5, 0.1, 2.0], [1.5, 1.3, 2.1, 0.0], [0.0, 0.25, 0.2, -0.3]])
both = np.vstack([W_slide.T, [1.1, 3.2, -1.2]])
print("cat, dog, ship:", fl.scores(both, [[56.0, 231.0, 24.0, 2.0]], bias=True)[0].round(2))
assert np.allclose(fl.scores(both, [[56.0, 231.0, 24.0, 2.0]], bias=True), [[-96.8, 437.9, 60.75]])

# %%
# Three viewpoints
# ----------------
# Visual viewpoint: convert the weights of a class back into the shape of the image. Bright pixels speak for the class,
# dark ones against it.

templates = fl.train(digits.X, digits.y, optimizer=fl.SGD(0.1, momentum=0.9), epochs=20, reg=1e-2)
figure, axes = plt.subplots(2, 5, figsize=(7, 3), layout="constrained")
for k, axis in enumerate(axes.flat):
    axis.imshow(templates.W[:64, k].reshape(8, 8), cmap="gray")
    axis.set(title=f"class {k}", xticks=[], yticks=[])
plt.show()

# %%
# Geometric viewpoint: hyperplanes cut up space. Here are three classes of points, and what a linear classifier says
# everywhere.

X, y = toys.blobs(150)
regions = fl.train(X, y, optimizer=fl.Adam(0.1), epochs=50)
grid = np.stack(np.meshgrid(np.linspace(-4, 4, 150), np.linspace(-4, 4, 150)), axis=-1)
labels = regions.predict(grid.reshape(-1, 2)).reshape(150, 150)
figure, axis = plt.subplots(figsize=(4, 4), layout="constrained")
axis.contourf(grid[..., 0], grid[..., 1], labels, levels=[-0.5, 0.5, 1.5, 2.5], cmap="Set3")
for k, marker in enumerate("o^s"):
    axis.plot(*X[y == k].T, marker, color="black", markersize=3)
axis.set(xlabel="x1", ylabel="x2", title="Straight lines between the classes")
plt.show()

# %%
# Hard cases for a linear classifier: class 1 where the number of pixels > 0 is odd; where 1 <= L2 norm <= 2; in three
# modes. No line separates them: a trained one stays far from 100 %.

for name in ("parity", "ring", "three_modes"):
    X, y = getattr(toys, name)(400)
    line = fl.train(X, y, loss="svm", optimizer=fl.Adam(0.05), epochs=50)
    print(f"{name:12} accuracy of a trained line {line.accuracy(X, y):.1%}")
    assert line.accuracy(X, y) < 0.75

# %%
# Performance measure: scores and probabilities
# ---------------------------------------------
# The binary rule serves for many classes by one versus all: each class has a score against the rest, trained with the
# logistic loss of each score. Or take the maximum score of a loss for all classes.

for loss in ("logistic", "softmax"):
    result = fl.train(digits.X, digits.y, loss=loss, optimizer=fl.Adam(0.01), epochs=20)
    print(f"{loss}: accuracy {result.accuracy(digits.X_test, digits.y_test):.1%}")
    assert result.accuracy(digits.X_test, digits.y_test) > 0.9

# %%
# Scores are not bounded. The softmax function turns them into probabilities: P(Y = k) = e^s_k / sum of e^s_j.

P = result.scores(digits.X_test[:1])
print("scores:       ", P[0].round(1))
print("probabilities:", fl.softmax(P)[0].round(3))
assert np.isclose(fl.softmax(P).sum(), 1)

# %%
# Empirical risk minimization: reduce the average of the loss over the training data. The loss of all rows is the mean
# of the losses of each.

W = result.W
each = [fl.softmax_loss(W, digits.X[i : i + 1], digits.y[i : i + 1], bias=True)[0] for i in range(100)]
assert np.isclose(np.mean(each), fl.softmax_loss(W, digits.X[:100], digits.y[:100], bias=True)[0])

# %%
# The multiclass SVM loss, by cases: 0 if s_y >= s_j + 1, otherwise s_j - s_y + 1. The picture of this "hinge", with the
# softmax loss of two classes beside it.

lead = np.linspace(-3, 3, 121)
hinge = [fl.svm_loss([[a, 0.0]], [[1.0]], [0])[0] for a in lead]
smooth = [fl.softmax_loss([[a, 0.0]], [[1.0]], [0])[0] for a in lead]
assert np.allclose(hinge, np.where(lead >= 1, 0, 1 - lead))
figure, axis = plt.subplots(figsize=(5, 3), layout="constrained")
axis.plot(lead, hinge, label="SVM (hinge)")
axis.plot(lead, smooth, "--", label="softmax (cross-entropy)")
axis.set(xlabel="s_y - s_j, the lead of the right class", ylabel="loss")
axis.legend()
plt.show()

# %%
# The worked example, as a table: three images, their scores, and max(0, s_j - s_y + 1) for each wrong class. To hand
# scores to a loss, let x be a single 1: then W is the row of scores.

classes = ["cat", "car", "frog"]
table = np.array([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]])
losses = []
print("image   cat   car  frog    loss")
for i, s in enumerate(table):
    losses.append(fl.svm_loss(s[None], [[1.0]], [i])[0])
    terms = [f"{max(0, s[j] - s[i] + 1):.1f}" for j in range(3) if j != i]
    print(f"{classes[i]:5} {s[0]:5} {s[1]:5} {s[2]:5}    {' + '.join(terms)} = {losses[i]:.1f}")
print(f"L = (2.9 + 0 + 12.9) / 3 = {np.mean(losses):.2f}")
assert np.allclose(losses, [2.9, 0.0, 12.9])
assert round(np.mean(losses), 2) == 5.27

# %%
# Q: what happens to the loss if the car image's scores change a bit? No change for small values.

for change in (-0.1, 0.1):
    assert fl.svm_loss(table[1:2] + change * np.eye(3)[1], [[1.0]], [1])[0] == 0

# %%
# Q: what is min/max of the loss value? [0, inf]: 0 with a lead of 1, and as large as the right class is behind.

for behind in (-1.0, 10.0, 1e6):
    print(f"behind by {behind:g}: loss {fl.svm_loss([[-behind, 0.0]], [[1.0]], [0])[0]:g}")

# %%
# Q: at initialization W is small so all s are about 0. What is the loss? C - 1.

assert fl.svm_loss(np.zeros((64, 10)), digits.X, digits.y)[0] == 9

# %%
# Q: what if the sum was over all classes (including j = y_i)? No difference but a constant 1: max(0, s_y - s_y + 1).

over_all = [np.maximum(0, s - s[i] + 1).sum() for i, s in enumerate(table)]
print("over all classes:", np.round(over_all, 1))
assert np.allclose(over_all, np.add(losses, 1))

# %%
# Q: what if we used mean instead of sum? Scaling by a constant, 1 / (C - 1): with ``sample_weight`` for every row, the
# gradient is scaled alike, so the best W is the same.

loss, dW = fl.svm_loss(table, np.eye(3), [0, 1, 2])
mean, dW_mean = fl.svm_loss(table, np.eye(3), [0, 1, 2], sample_weight=np.full(3, 1 / 2))
assert np.isclose(mean, loss / 2)
assert np.allclose(dW_mean, dW / 2)

# %%
# Q: we found a W with L = 0. Is this W unique? No, 2W also has L = 0.

assert fl.svm_loss(table[1:2], [[1.0]], [1])[0] == fl.svm_loss(2 * table[1:2], [[1.0]], [1])[0] == 0

# %%
# Cross-entropy
# -------------
# For probabilities the right loss is cross-entropy, L_i = -log P(Y = y_i). To maximize the log likelihood is to
# minimize the sum of these.

P = fl.softmax(table)
likelihood = P[0, 0] * P[1, 1] * P[2, 2]
assert np.isclose(fl.softmax_loss(table, np.eye(3), [0, 1, 2], reduction="sum")[0], -np.log(likelihood))

# %%
# It is also a distance between two distributions, the truth p = (1, 0, 0) and the model's q: H(p) + D_KL(p || q), and
# H(p) = 0.

q = fl.softmax(table[0])
divergence = 1.0 * np.log(1.0 / q[0])  # the other terms have p = 0
cat_loss = fl.softmax_loss(table[:1], [[1.0]], [0])[0]
print(f"cat: L_i = -log({q[0]:.2f}) = {cat_loss:.2f}")
assert np.isclose(cat_loss, divergence)
assert round(q[0], 2) == 0.13

# %%
# Q: what is the min/max of L_i? Infimum is 0, max is unbounded.
# Q: at initialization all s will be approximately equal; what is the loss? Log(C). The slide has "log(10) about 2"; to
# one more digit it is 2.3.

assert fl.softmax_loss([[30.0, 0.0]], [[1.0]], [0])[0] > 0
assert fl.softmax_loss([[-1e6, 0.0]], [[1.0]], [0])[0] == 1e6
print(f"log(10) = {fl.softmax_loss(np.zeros((64, 10)), digits.X, digits.y)[0]:.2f}")

# %%
# Softmax vs. SVM: the picture's scores are -2.85, 0.86, 0.28, and the last class is right. Hinge loss 1.58,
# cross-entropy 1.04 (the picture has 0.452: the logarithm to base 10).

s = [[-2.85, 0.86, 0.28]]
hinge, cross_entropy = fl.svm_loss(s, [[1.0]], [2])[0], fl.softmax_loss(s, [[1.0]], [2])[0]
print(f"hinge {hinge:.2f}, cross-entropy {cross_entropy:.2f}, to base 10 {cross_entropy / np.log(10):.3f}")
assert round(hinge, 2) == 1.58
assert round(cross_entropy / np.log(10), 3) == 0.452

# %%
# Regression
# ----------
# House price prediction: match the value itself. L1 is abs(y - Wx), L2 its square: small errors count less and large
# ones more, as in the picture of the curves.

for error in (0.1, 1.0, 10.0):
    L1, L2 = (loss([[error]], [[1.0]], [0.0])[0] for loss in (fl.absolute_error_loss, fl.squared_error_loss))
    print(f"error {error:4}: L1 {L1:.2f}, L2 {L2:.2f}")

# %%
# We draw 40 houses: size in 100 m², price in 100,000. One palace at a tenfold price pulls the line of L2 away, and
# hardly moves that of L1.

size = rng.uniform(0.5, 2.0, (40, 1))
price = 0.5 + 1.5 * size[:, 0] + 0.1 * rng.standard_normal(40)
with_palace = price.copy()
with_palace[0] *= 10
for loss in ("squared_error", "absolute_error"):
    for name, y in (("houses", price), ("with a palace", with_palace)):
        optimizer = fl.Adam(fl.schedules.linear(0.1, T=600))  # a rate that falls to 0 in 600 steps
        fit = fl.train(size, y, loss=loss, optimizer=optimizer, epochs=600, batch_size=40)
        print(f"{loss:15} {name:14} price = {fit.W[1, 0]:.2f} + {fit.W[0, 0]:.2f} size")

# %%
# "For probabilities: Logistic." The slide's formula mixes abs(y - Wx) with a softmax fraction; what is meant is the
# logistic loss of a probability sigma(Wx). Of large houses (over 1.2) and small ones:

large = (size[:, 0] > 1.2).astype(int)
classifier = fl.minimize(size, large, loss="logistic", reg=1e-3)
print(f"large or not: accuracy {classifier.accuracy(size, large):.0%}")

# %%
# Often we add a regularization term. The slide: L_i = abs(y - Wx)^2 + abs(W).

w = np.array([[1.5]])
data, with_penalty = (fl.squared_error_loss(w, size, price, reg)[0] for reg in (0.0, fl.L1(1.0)))
assert np.isclose(with_penalty, data + 1.5)

# %%
# Gradient descent
# ----------------
# Finding the best W is a search problem: random search, genetic algorithms, gradient-based optimization. Compare the
# loss after 200 evaluations each. ``fl.random_local_search`` is a genetic algorithm with one parent and one child.

how = {"loss": "softmax", "tries": 200, "scale": 0.1}
blind, local = fl.random_search(digits.X, digits.y, **how), fl.random_local_search(digits.X, digits.y, step=0.02, **how)
descent = fl.train(digits.X, digits.y, optimizer=fl.SGD(0.5), epochs=200, batch_size=len(digits.X))
print(f"random {blind.loss:.2f}, local {local.loss:.2f}, gradient {descent.history['loss'][-1]:.2f}")
assert blind.loss > local.loss > descent.history["loss"][-1]

# %%
# As weights change, the loss changes, somewhat smoothly. Follow the slope: choose f(x, W) = Wx and
# L_i = abs(y - Wx_i)^2, calculate dL/dw_i, update w_i = w_i - alpha dL/dw_i, repeat. On the houses, with two weights:

alpha, W, path = 0.2, np.zeros((2, 1)), []
for _ in range(60):
    path.append(W[:, 0].copy())
    loss, dW = fl.squared_error_loss(W, size, price, bias=True)
    W = W - alpha * dW
grid = np.stack(np.meshgrid(np.linspace(-0.5, 3, 60), np.linspace(-0.8, 2, 60)), axis=-1)
surface = [fl.squared_error_loss(some[:, None], size, price, bias=True)[0] for some in grid.reshape(-1, 2)]
figure, axis = plt.subplots(figsize=(5, 3.5), layout="constrained")
axis.contour(
    grid[..., 0], grid[..., 1], np.reshape(surface, (60, 60)), levels=np.geomspace(0.02, 10, 12), colors="grey"
)
axis.plot(*np.transpose(path), "o-", color="black", markersize=3)
axis.set(xlabel="weight of the size", ylabel="b", title="The loss, and 60 steps of gradient descent")
plt.show()
print("W =", W[:, 0].round(2))
assert np.allclose(W[:, 0], [1.5, 0.5], atol=0.2)  # the price was drawn as 0.5 + 1.5 size, with noise

# %%
# Without a learning rate (alpha = 1) the steps are too big here: the loss grows.

W = np.zeros((2, 1))
for _ in range(3):
    loss, dW = fl.squared_error_loss(W, size, price, bias=True)
    print(f"loss {loss:.1f}")
    W = W - dW

# %%
# Full batch, L over all N examples; mini-batch, over M of them. One pass over the digits either way: many small steps
# get further than a single step.

for M in (len(digits.X), 64):
    result = fl.train(digits.X, digits.y, optimizer=fl.SGD(0.1), epochs=1, batch_size=M)
    print(f"M = {M:4}: loss {fl.softmax_loss(result.W, digits.X, digits.y, bias=True)[0]:.2f}")

# %%
# It converges under some conditions; for example the learning rate is reduced throughout training. On a bowl with noisy
# gradients a constant rate keeps jittering; a rate that falls as 1 / sqrt(t) comes closer.
# The minimum that is found may be a local one. The softmax, SVM and squared losses of a linear model have no others.

heights = {}
for name, rate in (("constant", 0.05), ("reduced", fl.schedules.inverse_sqrt(0.05))):
    optimizer, W, seen = fl.SGD(rate), np.array([2.0, 1.0]), []
    for noise in np.random.default_rng(0).standard_normal((3000, 2)):
        optimizer.step(W, toys.bowl(W)[1] + noise)
        seen.append(toys.bowl(W)[0])
    heights[name] = np.mean(seen[-500:])
    print(f"{name}: mean height of the last 500 steps {heights[name]:.4f}")
assert heights["reduced"] < heights["constant"]

# %%
# Computing gradients
# -------------------
# The numerical way: the loss 1.25347 becomes 1.25322, 1.25353 and 1.25347 as 0.0001 is added to the first, the second
# and the third weight.

slopes = (np.array([1.25322, 1.25353, 1.25347]) - 1.25347) / 0.0001
print("gradient dW:", slopes.round(2))
assert np.allclose(slopes, [-2.5, 0.6, 0])

# %%
# Of the ways on the slide (manual, symbolic, numerical, automatic) ours were derived by hand, once for each loss.
# Numerical gradient: slow, approximate, easy to write. Analytic: fast, exact, error-prone. So derive the analytic one
# and check it: a gradient check.

W = rng.standard_normal((64, 10))
report = fl.check_gradient(lambda W: fl.svm_loss(W, digits.X[:20], digits.y[:20], 0.1), W)
print(report)
assert report

# %%
# Derivation of the update rule: L = sum of (y_k - w x_k)^2, delta_k = y_k - w x_k, dL/dw_j = -2 sum of delta_k x_kj, so
# w_j <- w_j + 2 eta sum of delta_k x_kj. One step of ours, by the rule of the slide and by ``fl.SGD``:

eta, X, y, w = 0.001, rng.standard_normal((30, 4)), rng.uniform(0, 1, 30), rng.standard_normal(4)
delta = y - X @ w
by_the_slide = w + 2 * eta * delta @ X
ours = w[:, None].copy()
fl.SGD(eta).step(ours, fl.squared_error_loss(ours, X, y, reduction="sum")[1])
assert np.allclose(ours[:, 0], by_the_slide)

# %%
# With a non-linearity: sigma(x) = 1 / (1 + e^-x), whose slope is sigma (1 - sigma). The sigmoid perceptron's rule is
# w_j <- w_j + 2 eta sum of delta_i sigma_i (1 - sigma_i) x_ij, with delta_i = y_i - sigma_i.


def sigma(x):
    return 1 / (1 + np.exp(-x))


slope = fl.numerical_gradient(lambda x: float(sigma(x[0])), np.array([0.7]))
assert np.isclose(slope[0], sigma(0.7) * (1 - sigma(0.7)))
sigmas = sigma(X @ w)
by_the_slide = w + 2 * eta * ((y - sigmas) * sigmas * (1 - sigmas)) @ X
ours = w[:, None].copy()
fl.SGD(eta).step(ours, fl.sigmoid_squared_loss(ours, X, y, reduction="sum")[1])
assert np.allclose(ours[:, 0], by_the_slide)

# %%
# Decomposing a function: -log(1 / (1 + e^-w.x)), from simple functions, one after the other. It is the logistic loss
# of a row whose target is 1.

u = X[0] @ w
p = sigma(u)
L = -np.log(p)
print(f"u = w.x = {u:.3f}, p = sigma(u) = {p:.3f}, L = -log(p) = {L:.3f}")
assert np.isclose(fl.logistic_loss(w[:, None], X[:1], [1])[0], L)

# %%
# Matrix sizes
# ------------
# W is c x (d + 1) on the slide, (d + 1) x c here. The derivative of the scores by the pixels is a matrix, the Jacobian:
# row i, column j is the slope of score i along pixel j, which is W without b.

W, x = rng.standard_normal((5, 3)), rng.standard_normal(4)  # d = 4, c = 3
jacobian = [fl.numerical_gradient(lambda x, i=i: fl.scores(W, x[None], bias=True)[0, i], x) for i in range(3)]
assert np.allclose(jacobian, W[:4].T)

# %%
# The size of dv/ds, a vector by a scalar, is m x 1; of ds/dv, 1 x m; of ds/dM the size of M. NumPy leaves the 1 out.
# The loss is a scalar, so dL/dW has the size of W.

assert fl.numerical_gradient(lambda v: v @ v, np.ones(4)).shape == (4,)
loss, dW = fl.softmax_loss(W, x[None], [0], bias=True)
assert dW.shape == W.shape

# %%
# Batches: instances of size m make [B x m]; grey images [B x W x H]; with channels [B x C x W x H]. Instead of
# Jacobians that are tensors: flatten each input to a vector.

batch = rng.random((8, 3, 4, 4))  # 8 images, 3 channels, 4 x 4 pixels
flat = batch.reshape(8, -1)
assert fl.scores(np.zeros((48, 10)), flat).shape == (8, 10)
