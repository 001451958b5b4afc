"""
Lesson 3: loss functions and optimization, index by index
=========================================================

This lesson follows document C of ``docs/lectures.md``, "Loss functions and optimization" (UIT-Together), from its first
slide to its last. The slides count from 0, write ``s_j^(i)`` for the score of image i and class j, and compute step by
step; so does this lesson: ``s[i, j]``.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastlin as fl
from fastlin import features, toys

# %%
# Recall: nearest neighbours
# --------------------------
# The 1-NN classifier gives an image the label of the training image that is nearest; 5-NN lets the five nearest vote.
# Here they are in NumPy, on 8 x 8 digits. There is nothing to train, but every training image has to be kept.

digits = fl.load_digits()
distances = np.array([np.sum((digits.X - x) ** 2, axis=1) for x in digits.X_test])
nearest = np.argsort(distances, axis=1)
for k in (1, 5):
    votes = [np.bincount(digits.y[some]).argmax() for some in nearest[:, :k]]
    print(f"{k}-NN: accuracy {np.mean(votes == digits.y_test):.1%}")

# %%
# The linear classifier: f(x, W) = Wx + b. For CIFAR-10 W is 10 x 3073, x is 3073 x 1 with a 1 at its end, and the
# scores are 10 x 1. Our W is the transpose, 3073 x 10, its last row is b, and ``bias=True`` stands for the 1.

rng = np.random.default_rng(0)
W_slide = rng.standard_normal((10, 3073))
x = rng.random(3072)
s = W_slide @ np.append(x, 1.0)
assert np.allclose(fl.scores(W_slide.T, x[None], bias=True)[0], s)

# %%
# Is this W good or bad? Ten scores for a cat, an automobile and a frog. By the highest score only the automobile is
# right; a loss function says how bad the others are. (To hand scores to a loss: x is the number 1, W the scores.)

names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
ten = {
    "cat": [-3.45, -8.87, 0.09, 2.90, 4.48, 8.02, 3.78, 1.06, -0.36, -0.72],
    "automobile": [-0.51, 6.04, 5.31, -4.22, -4.19, 3.58, 4.49, -4.37, -2.09, -2.93],
    "frog": [3.42, 4.64, 2.65, 5.10, 2.64, 5.55, -4.34, -1.50, -4.79, 6.14],
}
for name, row in ten.items():
    best = fl.predict([row], [[1.0]])[0]
    loss = fl.svm_loss([row], [[1.0]], [names.index(name)])[0]
    print(f"{name:10} highest score: {names[best]:10} SVM loss {loss:.2f}")

# %%
# The multiclass SVM loss, step by step
# -------------------------------------
# Three datapoints, three classes: cat 0, car 1, frog 2. The slides' table has a column for each image; s has a row.

s = np.array([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]])

# %%
# Question: y^(0), y^(1), y^(2), the right labels of the first, the second and the third image? Answer: 0, 1, 2.

y = np.array([0, 1, 2])

# %%
# Question: the score of image i on its right label? Answer: 3.2, 4.9, -3.1.

right = s[[0, 1, 2], y]
print("s_y of images 0, 1, 2:", right)
assert right.tolist() == [3.2, 4.9, -3.1]

# %%
# Question: s_0^(0), s_1^(0), s_2^(0)? Answer: 3.2, 5.1, -1.7. The slides leave those of images 1 and 2 to the reader.

for i in range(3):
    for j in range(3):
        print(f"s_{j}^({i}) = {s[i, j]}", end="   ")
    print()

# %%
# L^(0) = max(0, 5.1 - 3.2 + 1) + max(0, -1.7 - 3.2 + 1) = max(0, 2.9) + max(0, -3.9) = 2.9

L0 = max(0, s[0, 1] - s[0, 0] + 1) + max(0, s[0, 2] - s[0, 0] + 1)
assert np.isclose(L0, 2.9)

# %%
# L^(1) = max(0, 1.3 - 4.9 + 1) + max(0, 2.0 - 4.9 + 1) = max(0, -2.6) + max(0, -1.9) = 0

L1 = max(0, s[1, 0] - s[1, 1] + 1) + max(0, s[1, 2] - s[1, 1] + 1)
assert L1 == 0

# %%
# L^(2) = max(0, 2.2 - (-3.1) + 1) + max(0, 2.5 - (-3.1) + 1) = 6.3 + 6.6 = 12.9

L2 = max(0, s[2, 0] - s[2, 2] + 1) + max(0, s[2, 1] - s[2, 2] + 1)
assert np.isclose(L2, 12.9)

# %%
# L = (2.9 + 0 + 12.9) / 3 = 5.27, and the same by ``fl.svm_loss``: with the identity as X, row i of W is s^(i).

loss, dW = fl.svm_loss(s, np.eye(3), y)
print(f"L = {loss:.2f}")
assert np.isclose(loss, (L0 + L1 + L2) / 3)
assert round(loss, 2) == 5.27

# %%
# Q1: what happens to the loss if car scores change a bit? That of the car's image stays 0; that of the others moves
# with them, as there the car is a wrong class that is within the margin.

for i in range(3):
    changed = s[i] + np.array([0.0, 0.1, 0.0])
    print(f"image {i}: loss {fl.svm_loss(changed[None], [[1.0]], [i])[0]:.1f}, before {[L0, L1, L2][i]:.1f}")

# %%
# Q2: min/max? 0, and no bound. Q3: W small, so all s about 0? C - 1: here 2, for digits 9.

assert fl.svm_loss([[-1000.0, 0.0, 0.0]], [[1.0]], [0])[0] == 2002
assert fl.svm_loss(np.zeros((3, 3)), np.eye(3), y)[0] == 2
assert fl.svm_loss(np.zeros((64, 10)), digits.X, digits.y)[0] == 9

# %%
# Q4: the sum over all classes? Each loss is 1 larger. Q5: mean instead of sum? Each loss is divided by C - 1. Neither
# changes which W is best. Q6: squares? Then it is another loss: large errors weigh more.

for i, plain in enumerate([L0, L1, L2]):
    margins = np.maximum(0, s[i] - s[i, i] + 1)
    squared = fl.svm_loss(s[i : i + 1], [[1.0]], [i], squared=True)[0]
    print(f"image {i}: {plain:4.1f}  all {margins.sum():4.1f}  mean {plain / 2:4.2f}  squared {squared:5.2f}")
assert np.isclose(squared, 6.3**2 + 6.6**2)

# %%
# The slide's code, for one image; W has a row for each class there, so ours is given transposed.


def L_i_vectorized(x, y, W):
    scores = W.dot(x)
    margins = np.maximum(0, scores - scores[y] + 1)
    margins[y] = 0
    loss_i = np.sum(margins)
    return loss_i


W = rng.standard_normal((64, 10))
by_the_slide = np.mean([L_i_vectorized(x, label, W.T) for x, label in zip(digits.X, digits.y, strict=True)])
assert np.isclose(fl.svm_loss(W, digits.X, digits.y)[0], by_the_slide)

# %%
# Q: suppose that L = 0. Is W unique? No, 2W has L = 0 too. Before: max(0, -2.6) + max(0, -1.9); with W twice as large:
# max(0, -6.2) + max(0, -4.8).

for factor in (1, 2):
    print("margins:", (factor * (s[1, [0, 2]] - s[1, 1]) + 1).round(1))
    assert fl.svm_loss(factor * s[1:2], [[1.0]], [1])[0] == 0

# %%
# Regularization
# --------------
# The model should be "simple", so it works on test data. Occam's razor: among competing hypotheses, the simplest is the
# best. Ten noisy points of a curve and a polynomial of degree 9: without a penalty it meets every point, and is worse
# on the curve between them.

points, noisy = toys.noisy_sine(10, sigma=0.3, seed=1)
between, curve = toys.noisy_sine(200, sigma=0.0)
powers, powers_between = points ** np.arange(10), between ** np.arange(10)
for lam in (0.0, 0.001):
    w = fl.newton_step(lambda w, lam=lam: fl.squared_error_loss(w, powers, noisy, lam), np.zeros((10, 1)))
    seen, unseen = (fl.squared_error_loss(w, *rows)[0] for rows in ((powers, noisy), (powers_between, curve)))
    print(f"lambda {lam}: error on the points {seen:.4f}, on the curve {unseen:.4f}")

# %%
# In common use: L2, L1, elastic net, max norm, dropout. The first three are penalties, max norm shrinks columns of W
# that are too long, dropout removes inputs at random.

W = np.array([[3.0, 0.3], [4.0, 0.4]])
print("L2 ", fl.L2(1.0).value(W), " L1", fl.L1(1.0).value(W), " elastic net", fl.ElasticNet(1.0, beta=0.5).value(W))
print("length of the columns:", np.linalg.norm(W, axis=0), "->", np.linalg.norm(fl.max_norm(W, 1.0), axis=0))
print("a row with dropout:", fl.dropout(np.ones((1, 8)), 0.5, seed=0)[0])

# %%
# L2 regularization, or weight decay: w1 = [1, 0, 0, 0] and w2 = [.25, .25, .25, .25] have the same score for
# x = [1, 1, 1, 1]; R(w1) = 1 and R(w2) = 0.25. One step on loss + lambda R(W) makes W decay by 2 lr lambda W.

w1, w2 = np.array([[1.0], [0.0], [0.0], [0.0]]), np.full((4, 1), 0.25)
assert fl.scores(w1, np.ones((1, 4))) == fl.scores(w2, np.ones((1, 4))) == 1
assert (fl.L2(1.0).value(w1), fl.L2(1.0).value(w2)) == (1.0, 0.25)
penalised, decayed = s.copy(), s.copy()
fl.SGD(0.1).step(penalised, fl.svm_loss(s, np.eye(3), y, 0.02)[1])
fl.SGD(0.1, weight_decay=2 * 0.02).step(decayed, fl.svm_loss(s, np.eye(3), y)[1])
assert np.allclose(penalised, decayed)

# %%
# If you are a Bayesian: L2 is MAP inference with a Gaussian prior on W. Of variance v, the prior adds sum(W^2) / 2v to
# -log of the likelihood of all n rows, so lambda of the mean is 1 / (2 v n). Two W differ alike in both:

v, n = 0.5, len(digits.X)
posterior, penalised = [], []
for W in (np.zeros((64, 10)), 0.1 * rng.standard_normal((64, 10))):
    likelihood = fl.softmax_loss(W, digits.X, digits.y, reduction="sum")[0]
    posterior.append(likelihood + np.sum(W**2) / (2 * v))
    penalised.append(n * fl.softmax_loss(W, digits.X, digits.y, 1 / (2 * v * n))[0])
assert np.isclose(posterior[1] - posterior[0], penalised[1] - penalised[0])

# %%
# Softmax, image by image
# -----------------------
# P(Y = k | X = x^(i)): the probability that image i has label k. L^(i) = -log P(Y = y^(i) | X = x^(i)).

for i in range(3):
    P, loss = fl.softmax(s[i]), fl.softmax_loss(s[i : i + 1], [[1.0]], [y[i]])[0]
    print(f"image {i}: e^s {np.exp(s[i]).round(2)}, P {P.round(3)}, -log({P[y[i]]:.4f}) = {loss:.2f}")

# %%
# Of the car the slide has 3.67, 134.29, 7.39 and 0.02, 0.92, 0.06: the outer two are 0.025 and 0.051. Its
# -log(0.92) = 0.03 is to base 10; by the formula, with the natural logarithm, it is 0.08.

car_loss = fl.softmax_loss(s[1:2], [[1.0]], [1])[0]
assert np.array_equal(np.exp(s[1]).round(2), [3.67, 134.29, 7.39])
assert np.array_equal(fl.softmax(s[1]).round(3), [0.025, 0.924, 0.051])
assert (round(car_loss, 2), round(car_loss / np.log(10), 2)) == (0.08, 0.03)

# %%
# Q1: min/max of the softmax loss? Above 0, and no bound: this is -log of the probability of the right class.
# Q2: all s about 0? Every probability is 1 / C, and the loss log(C).

probability = np.linspace(0.002, 1, 500)
figure, axis = plt.subplots(figsize=(5, 3), layout="constrained")
axis.plot(probability, -np.log(probability), color="black")
for i, name in enumerate(["cat", "car", "frog"]):
    P = fl.softmax(s[i])[i]
    axis.plot(P, -np.log(P), "o^s"[i], label=f"{name}: {-np.log(P):.2f}")
axis.set(xlabel="probability of the right class", ylabel="softmax loss")
axis.legend()
plt.show()
assert np.isclose(fl.softmax_loss(np.zeros((64, 10)), digits.X, digits.y)[0], np.log(10))

# %%
# Softmax vs. SVM: [10, -2, 3], [10, 9, 9], [10, 100, -100] with y = 0, jiggled a bit. In this document the third row
# has +100 (in others -100, which is probably what is meant): the wrong class is far ahead, the SVM loss is 91, and both
# losses move with every jiggle. In the first row only softmax moves. The second is exactly at the margin: SVM moves
# when the right score falls, and not when it rises.

for row in ([10, -2, 3], [10, 9, 9], [10, 100, -100]):
    for change in (-0.1, 0.0, 0.1):
        jiggled = [[row[0] + change, row[1], row[2]]]
        svm, softmax = (loss(jiggled, [[1.0]], [0])[0] for loss in (fl.svm_loss, fl.softmax_loss))
        print(f"{jiggled[0]!s:18} SVM {svm:5.1f}   softmax {softmax:.5f}")
assert fl.svm_loss([[10.0, 100.0, -100.0]], [[1.0]], [0])[0] == 91

# %%
# Strategy 01: random search
# --------------------------
# Define the space of parameters (a scale), sample, evaluate, repeat. The slides' scale of 0.0001 is for pixels up to
# 255 and 3073 weights a class; our pixels are up to 1 and we have 65, so we take 0.1.

random = fl.random_search(digits.X, digits.y, tries=1000, scale=0.1, seed=0)
for attempt in range(3):
    loss, best = random.history["loss"][attempt], random.history["best"][attempt]
    print(f"in attempt {attempt} the loss was {loss:f}, best {best:f}")
print(f"accuracy {random.accuracy(digits.X_test, digits.y_test):.1%} (15.5 % on the slide's CIFAR-10)")

# %%
# Strategy 02: random local search
# --------------------------------
# Start anywhere, try a random step, keep it if the loss is lower. The slides go on: or keep a worse one with some
# probability, so as not to stay in a local minimum, and stop at a wanted loss (``temperature=`` and ``target=``). With
# as many evaluations it is better: 21.4 % there.

local = fl.random_local_search(digits.X, digits.y, tries=1000, scale=0.001, step=0.02, seed=0)
print(f"accuracy {local.accuracy(digits.X_test, digits.y_test):.1%}")
assert local.loss < random.loss

# %%
# Strategy 03: follow the slope
# -----------------------------
# theta_new = theta_old - eta * gradient, until the loss hardly changes or the most steps have been taken. The names are
# the slide's.

step_size, weights, losses = 0.1, np.zeros((65, 10)), []
for _ in range(1000):
    loss, weights_grad = fl.svm_loss(weights, digits.X, digits.y, bias=True)
    losses.append(loss)
    if len(losses) > 1 and abs(losses[-2] - losses[-1]) < 0.0001:
        break
    weights += -step_size * weights_grad
accuracy = np.mean(fl.predict(weights, digits.X_test, bias=True) == digits.y_test)
print(f"{len(losses)} evaluations: loss {losses[-1]:.3f}, accuracy {accuracy:.1%}")
assert losses[-1] < local.loss
figure, axis = plt.subplots(figsize=(6, 3.5), layout="constrained")
axis.plot(random.history["best"], ":", label="random search")
axis.plot(local.history["best"], "--", label="random local search")
axis.plot(losses, label="gradient descent")
axis.set(xlabel="evaluations of the loss", ylabel="lowest SVM loss", title="Three strategies")
axis.legend()
plt.show()

# %%
# It depends on the learning rate: too small converges slowly, too large may not converge; and it may stop at a local
# minimum. (Of the SVM loss every minimum is a global one.) f(w) = w^2 from w = 1:

for eta in (0.01, 0.4, 1.1):
    w = np.array([1.0])
    for _ in range(20):
        fl.SGD(eta).step(w, 2 * w)
    print(f"eta {eta}: w = {w[0]:.3g} after 20 steps")

# %%
# Variants: batch (all rows for each step), stochastic (one row), mini-batch (32/64/128/256/512 rows). After one pass:

for name, size in (("batch", len(digits.X)), ("mini-batch", 64), ("stochastic", 1)):
    result = fl.train(digits.X, digits.y, loss="svm", epochs=1, batch_size=size, optimizer=fl.SGD(0.01))
    loss = fl.svm_loss(result.W, digits.X, digits.y, bias=True)[0]
    print(f"{name:10} {-(-len(digits.X) // size):4} steps, loss {loss:.2f}")

# %%
# The gradient of the full loss is that of the data plus lambda times that of R(W).

W = rng.standard_normal((64, 10))
data, full = (fl.svm_loss(W, digits.X, digits.y, lam)[1] for lam in (0.0, 0.1))
assert np.allclose(full, data + 0.1 * 2 * W)

# %%
# How to compute the gradient
# ---------------------------
# Want dL/dw_00 by (L(W with w_00 + epsilon) - L(W)) / epsilon. Class 0, pixel 0 is ``W[0, 0]`` in either convention; we
# take pixel 20, since pixel 0 of every digit is blank.

epsilon, changed = 1e-5, W.copy()
changed[20, 0] += epsilon
L_here, L_changed = (fl.svm_loss(some, digits.X, digits.y)[0] for some in (W, changed))
print(f"numerical {(L_changed - L_here) / epsilon:.6f}, analytic {data[20, 0]:.6f}")
assert np.isclose((L_changed - L_here) / epsilon, data[20, 0], rtol=1e-3)

# %%
# The slides' table: loss 1.25347; with 0.0001 added to one weight after the other 1.25322, 1.25353, 1.25347, 1.25247,
# 1.25387, 1.25346. (Every column is headed "second dim"; they are the first to the last.)

h = 0.0001
losses = np.array([1.25322, 1.25353, 1.25347, 1.25247, 1.25387, 1.25346])
gradient = (losses - 1.25347) / h
print("gradient dW:", gradient.round(1) + 0.0)
assert np.allclose(gradient, [-2.5, 0.6, 0.0, -10.0, 4.0, -0.1])

# %%
# The slope in any direction is the dot product of the direction with the gradient. Steepest descent is the negative
# gradient: no other direction of length 1 goes down as fast.

direction = rng.standard_normal(W.shape)
direction /= np.linalg.norm(direction)
along = fl.numerical_gradient(lambda t: fl.svm_loss(W + t[0] * direction, digits.X, digits.y)[0], np.zeros(1))
print(f"slope {along[0]:.4f}, dot product {np.sum(direction * data):.4f}, steepest {-np.linalg.norm(data):.4f}")
assert np.isclose(along[0], np.sum(direction * data), rtol=1e-3)

# %%
# This is silly: use calculus for an analytic gradient, exact and fast but error-prone, and check it with the numerical
# one. L = mean of L^(i) + sum of W^2:

report = fl.check_gradient(lambda W: fl.svm_loss(W, digits.X[:30], digits.y[:30], 1.0), W)
print(report)
assert report

# %%
# The interactive web demo of the slides: ``fastlin lectures`` writes one too, play.html, which opens offline.
#
# Image features
# --------------
# Red and blue points that no line separates; after the transform to radius and angle a line does.

X, label = toys.disk_in_ring(300)
polar = features.Polar().fit_transform(X)
figure, axes = plt.subplots(1, 2, figsize=(8, 3.5), layout="constrained")
for axis, rows, name in zip(axes, (X, polar), (("x", "y"), ("radius", "angle")), strict=True):
    result = fl.train(rows, label, optimizer=fl.Adam(0.05), epochs=100)
    axis.plot(*rows[label == 0].T, "o", color="tab:red", markersize=3)
    axis.plot(*rows[label == 1].T, "^", color="tab:blue", markersize=3)
    axis.set(xlabel=name[0], ylabel=name[1], title=f"the trained line is right for {result.accuracy(rows, label):.0%}")
plt.show()
assert result.accuracy(polar, label) == 1

# %%
# Color histogram: how many pixels have each hue. An image of 4 x 4 pixels, the upper half red, the lower half green:

image = np.zeros((3, 4, 4))
image[0, :2], image[1, 2:] = 1, 1
print("share of each hue:", features.ColorHistogram((3, 4, 4), bins=6).fit_transform(image.reshape(1, -1))[0])

# %%
# HoG: 8 x 8 pixel regions, edge direction in 9 bins. A 320 x 240 image gives 40 x 30 bins with 9 numbers: 10,800.

hog = features.HOG((240, 320)).fit_transform(rng.random((1, 240 * 320)))
assert hog.shape == (1, 10_800)

# %%
# Bag of words. Step 1: build a codebook of patches. Step 2: encode images by how often each "word" occurs.

bag = features.BagOfWords((8, 8), words=20, patch=4).fit(digits.X[:300])
print("the first digit in words:", bag.transform(digits.X[:1])[0].round(2))

# %%
# Image features vs. ConvNets: a ConvNet learns its features, and its last layer is a linear classifier, as here.
