"""
Lesson 1: loss function, regularization, optimization
=====================================================

This lesson follows document A of ``docs/lectures.md``, "Lecture 3: Loss function, Regularization, Optimization", from
its first slide to its last. Each cell says what a slide says, computes it, and prints or asserts what the slide shows.
Run it as a script, or cell by cell in an editor that knows ``# %%``.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastlin as fl
from fastlin import toys

# %%
# Recall: the linear classifier
# -----------------------------
# The slide stretches an image of 4 pixels into a column, 56, 231, 24, 2, and multiplies it by W, which has a row for
# each class: f(x, W) = Wx + b. Our functions take a row for each image and a column for each class, X @ W, so W is
# transposed; with ``bias=True`` the last row of W is b.

W_slide = np.array([[0.2, -0.5, 0.1, 2.0], [1.5, 1.3, 2.1, 0.0], [0.0, 0.25, 0.2, -0.3]])
b = np.array([1.1, 3.2, -1.2])
image = np.array([[56.0, 231.0], [24.0, 2.0]])
x = image.reshape(1, -1)  # one row of 4 pixels
W = np.vstack([W_slide.T, b])
scores = fl.scores(W, x, bias=True)
print("cat, dog and ship score:", scores[0].round(2))
assert np.allclose(scores, [[-96.8, 437.9, 60.75]])

# %%
# The slide has 61.95 as the score of the ship. That is the product alone: its b = -1.2 was left out.

assert round(fl.scores(W_slide.T, x)[0, 2], 2) == 61.95

# %%
# Ten scores for a cat, an automobile and a frog. How unhappy should we be with them? Each picture is named after the
# class of its highest score; only the automobile is right.

names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
ten_scores = np.array(
    [
        [-3.45, -8.87, 0.09, 2.9, 4.48, 8.02, 3.78, 1.06, -0.36, -0.72],  # the cat
        [-0.51, 6.04, 5.31, -4.22, -4.19, 3.58, 4.49, -4.37, -2.09, -2.93],  # the automobile
        [3.42, 4.64, 2.65, 5.1, 2.64, 5.55, -4.34, -1.5, -4.79, 6.14],  # the frog
    ]
)
unit_images = np.eye(3)  # image i is 1 at place i, so that X @ W is W: a way to hand scores to our functions
predicted = fl.predict(ten_scores, unit_images)
print("predicted:", [names[k] for k in predicted])
assert [names[k] for k in predicted] == ["dog", "automobile", "truck"]

# %%
# The multiclass SVM loss
# -----------------------
# L_i is the sum over j other than y_i of max(0, s_j - s_y + 1). This is the slide's code for one example, with the
# slide's W: a row for each class.


def L_i_vectorized(x, y, W):
    scores = W.dot(x)
    margins = np.maximum(0, scores - scores[y] + 1)
    margins[y] = 0
    loss_i = np.sum(margins)
    return loss_i


# %%
# Three images (columns), three classes (rows: cat, car, frog). With unit images the table itself is W.

table = np.array([[3.2, 1.3, 2.2], [5.1, 4.9, 2.5], [-1.7, 2.0, -3.1]])
y = np.array([0, 1, 2])
losses = [L_i_vectorized(unit_images[i], y[i], table) for i in range(3)]
print("losses by the slide's code:", np.round(losses, 2))
assert np.allclose(losses, [2.9, 0.0, 12.9])

# %%
# L is their mean, (2.9 + 0 + 12.9) / 3 = 5.3. ``fl.svm_loss`` returns it with its gradient for all rows at once.

loss, dW = fl.svm_loss(table.T, unit_images, y)
print(f"L = {loss:.1f}")
assert round(loss, 1) == 5.3

# %%
# Coding tip: keep track of dimensions. (N, D) times (D, C) is (N, C), and the gradient has the shape of W.

N, D, C = 5, 3072, 10
X_random, W_random = np.random.default_rng(0).random((N, D)), np.zeros((D, C))
assert fl.scores(W_random, X_random).shape == (N, C)
assert fl.svm_loss(W_random, X_random, np.arange(N))[1].shape == (D, C)

# %%
# The softmax classifier
# ----------------------
# Scores are unnormalized log probabilities. For the cat: 3.2, 5.1, -1.7; exp gives 24.5, 164.0, 0.18; divided by their
# sum 0.13, 0.87, 0.00.

cat = table[:, 0]
print("exp:       ", np.exp(cat).round(2))
print("normalized:", fl.softmax(cat).round(2))
assert np.array_equal(fl.softmax(cat).round(2), [0.13, 0.87, 0.0])

# %%
# We want to maximize the log likelihood, or to minimize -log of the probability of the right class. The slide has
# -log(0.13) = 0.89: that is the logarithm to base 10. The formula has the natural one, and then the loss is 2.04.

loss = fl.softmax_loss(cat[:, None].T, [[1.0]], [0])[0]
print(f"natural logarithm: {loss:.2f}, to base 10: {loss / np.log(10):.2f}")
assert round(loss, 2) == 2.04
assert round(loss / np.log(10), 2) == 0.89

# %%
# Q: what is the min/max possible loss L_i? The least is 0, which no finite scores reach; there is no most.

for lead in (5.0, 20.0, -20.0, -1000.0):
    print(f"right class ahead by {lead:6.0f}: loss {fl.softmax_loss([[lead, 0.0]], [[1.0]], [0])[0]:.3g}")

# %%
# Q2: usually at initialization W are small numbers, so all s are about 0. What is the loss? log(C), 2.30 for ten
# classes: a good first check of a program.

digits = fl.load_digits()
start = fl.softmax_loss(np.zeros((64, 10)), digits.X, digits.y)[0]
assert np.isclose(start, np.log(10))

# %%
# Softmax vs. SVM
# ---------------
# One image of 4 numbers, three classes, the right one is the last. Scores -2.85, 0.86, 0.28: the hinge loss is 1.58.

W_slide = np.array([[0.01, -0.05, 0.1, 0.05], [0.7, 0.2, 0.05, 0.16], [0.0, -0.45, -0.2, 0.03]])
W = np.vstack([W_slide.T, [0.0, 0.2, -0.3]])
x = np.array([[-15.0, 22.0, -44.0, 56.0]])
scores = fl.scores(W, x, bias=True)
hinge = fl.svm_loss(W, x, [2], bias=True)[0]
print("scores", scores[0].round(2), f"hinge loss {hinge:.2f}")
assert np.allclose(scores, [[-2.85, 0.86, 0.28]])
assert round(hinge, 2) == 1.58

# %%
# The probabilities are 0.015, 0.631, 0.353 (the slide's 0.016 comes of rounded numbers). Its 0.452 is to base 10 again;
# the cross-entropy is 1.04.

cross_entropy = fl.softmax_loss(W, x, [2], bias=True)[0]
print("probabilities", fl.softmax(scores)[0].round(3), f"cross-entropy {cross_entropy:.2f}")
assert np.array_equal(fl.softmax(scores)[0].round(3), [0.015, 0.631, 0.353])
assert round(cross_entropy, 2) == 1.04
assert round(cross_entropy / np.log(10), 3) == 0.452

# %%
# Q: scores [10, -2, 3], [10, 9, 9], [10, -100, -100] and y = 0. Suppose I jiggle a datapoint a bit. What happens?
# The softmax loss answers every jiggle. The SVM loss is 0 and stays 0 in the first and third row. In the second the
# margin is met exactly: it stays 0 upwards and rises downwards. And in the third the softmax loss is so small
# (2 e^-110) that floating point has no other number for it than 0.

for scores in ([10, -2, 3], [10, 9, 9], [10, -100, -100]):
    for change in (-0.5, 0.0, 0.5):
        s = np.array([scores]) + np.array([[change, 0.0, 0.0]])
        svm, softmax = fl.svm_loss(s, [[1.0]], [0])[0], fl.softmax_loss(s, [[1.0]], [0])[0]
        print(f"{s[0]!s:22} SVM {svm:.1f}   softmax {softmax:.3g}")
assert fl.svm_loss([[9.5, 9.0, 9.0]], [[1.0]], [0])[0] == 1.0
assert fl.softmax_loss([[10.0, -100.0, -100.0]], [[1.0]], [0])[0] == 0.0

# %%
# Regularization
# --------------
# There is a "bug" with the loss: a W with L = 0 is not unique. The car before, and with W twice as large:

car = table[:, 1]
print("margins before:", (car - car[1] + 1).round(1), " twice as large:", (2 * car - 2 * car[1] + 1).round(1))
assert fl.svm_loss(car[None], [[1.0]], [1])[0] == fl.svm_loss(2 * car[None], [[1.0]], [1])[0] == 0.0

# %%
# Poll: scores 1.3, 2.5, 2.0, and the car is right. What is the loss? 0.5. How could we change W to eliminate it?
# Multiply W (and b) by 2!

s = np.array([[1.3, 2.5, 2.0]])
assert np.isclose(fl.svm_loss(s, [[1.0]], [1])[0], 0.5)
assert fl.svm_loss(2 * s, [[1.0]], [1])[0] == 0.0

# %%
# Wait a minute! Have we done anything useful? No: what was wrong is still wrong. The highest score of every digit
# stays where it was.

W_any = np.random.default_rng(0).standard_normal((65, 10))
before, after = (fl.predict(factor * W_any, digits.X, bias=True) for factor in (1, 2))
assert np.array_equal(before, after)

# %%
# So a penalty is added: L(W) = data loss + lambda R(W). L2: the sum of W^2. L1: the sum of abs(W). Elastic net: the
# sum of beta W^2 + abs(W). Every loss takes one as ``reg``; a number means L2.

for reg in (0.0, fl.L2(0.1), fl.L1(0.1), fl.ElasticNet(0.1, beta=2.0)):
    print(f"{reg!s:32} full loss {fl.svm_loss(table.T, unit_images, y, reg)[0]:.2f}")
assert np.isclose(fl.svm_loss(table.T, unit_images, y, 0.1)[0], 15.8 / 3 + 0.1 * np.sum(table**2))

# %%
# Of the "more complex" ones dropout makes sense for a linear model too: it sets some inputs to zero, at random. (Batch
# normalization and stochastic depth are for the layers of a network.)

dropped = fl.dropout(digits.X, 0.5, seed=0)
print(f"share of the inked pixels that are left: {np.mean(dropped[digits.X > 0] > 0):.2f}")

# %%
# Why regularize? To express preferences, to make the model simple, and to improve optimization by adding curvature
# (lesson 4 shows the last). Preferences: w1 = [1, 0, 0, 0] and w2 = [.25, .25, .25, .25] have the same score, 1, for
# x = [1, 1, 1, 1]. L2 likes to "spread out" the weights: it prefers w2.

x_ones = np.ones((1, 4))
w1, w2 = np.array([[1.0], [0.0], [0.0], [0.0]]), np.full((4, 1), 0.25)
assert fl.scores(w1, x_ones) == fl.scores(w2, x_ones) == 1.0
print(f"L2 of w1: {fl.L2(1.0).value(w1)}, of w2: {fl.L2(1.0).value(w2)}")
assert fl.L2(1.0).value(w2) < fl.L2(1.0).value(w1)

# %%
# Prefer simpler models; bias and variance. y = sin(pi x) + noise, sigma = 0.1, "50 samples". We read this as 50 sets of
# 20 points, and fit polynomials g_n of degree 1, 3 and 12 to each. Degree 1 is off in the same way every time (bias);
# degree 12 wiggles differently every time (variance).

figure, axes = plt.subplots(1, 3, figsize=(10, 3.2), sharey=True, layout="constrained")
for axis, degree in zip(axes, (1, 3, 12), strict=True):
    curves = []
    for seed in range(50):
        X, targets = toys.noisy_sine(20, sigma=0.1, seed=seed)
        powers = X ** np.arange(degree + 1)
        theta = np.linalg.lstsq(powers, targets, rcond=None)[0]
        curves.append(powers @ theta)
        axis.plot(X[:, 0], curves[-1], color="tab:blue", alpha=0.15)
    truth = np.sin(np.pi * X[:, 0])
    bias, variance = np.mean((np.mean(curves, axis=0) - truth) ** 2), np.mean(np.var(curves, axis=0))
    axis.plot(X[:, 0], truth, color="black")
    axis.set_title(f"degree {degree}\nbias² {bias:.1g}, variance {variance:.1g}")
    axis.set_xlabel("x")
plt.show()

# %%
# But things can be complicated: double descent. With random cosines as features, the error on new points falls, is
# huge where there are about as many features as points (20), and falls again far beyond.

X, targets = toys.noisy_sine(20, sigma=0.1, seed=0)
X_new, new = toys.noisy_sine(200, sigma=0.0)
errors = {}
for count in (4, 12, 20, 1000):
    each = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        frequency, phase = 10 * rng.standard_normal((1, count)), rng.uniform(0, 2 * np.pi, count)
        theta = np.linalg.lstsq(np.cos(X @ frequency + phase), targets, rcond=1e-12)[0]
        each.append(np.mean((np.cos(X_new @ frequency + phase) @ theta - new) ** 2))
    errors[count] = np.median(each)
    print(f"{count:4} features: median error on new points {errors[count]:.3g}")
assert errors[4] > 10 * errors[12]
assert errors[20] > 10 * errors[12]
assert errors[20] > 10 * errors[1000]

# %%
# Optimization, strategy #1: random search
# ----------------------------------------
# The slide draws 1000 random W and keeps the best; the lowest loss so far is printed after each attempt. We search on
# 8 x 8 digits instead of CIFAR-10. Their 64 pixels are in [0, 1], so W is drawn with a scale of 0.1, not 0.0001.

search = fl.random_search(digits.X, digits.y, tries=1000, scale=0.1)
for attempt in range(7):
    loss, best = search.history["loss"][attempt], search.history["best"][attempt]
    print(f"in attempt {attempt} the loss was {loss:.6f}, best {best:.6f}")

# %%
# Let's see how well this works on the test set. The slide has 15.5 % on CIFAR-10, "not bad!": guessing has 10 %.

scores = fl.scores(search.W, digits.X_test, bias=True)  # here a row for each example; the slide has columns
predicted = np.argmax(scores, axis=1)
print(f"accuracy {np.mean(predicted == digits.y_test):.1%}")
assert np.mean(predicted == digits.y_test) == search.accuracy(digits.X_test, digits.y_test)

# %%
# How often will a random search succeed? Ten times as many tries gain less and less.

for tries in (1, 10, 100, 1000):
    print(f"best loss of {tries:4} tries: {search.history['best'][tries - 1]:.2f}")

# %%
# Strategy #2: follow the slope
# -----------------------------
# In one dimension the slope is the limit of (f(x + h) - f(x)) / h; in several it is the gradient, the vector of the
# partial derivatives. The preview of backpropagation: z = x^2 + y^2 has the gradient (2x, 2y), (10, 6) at (5, 3).

gradient = fl.numerical_gradient(lambda v: v[0] ** 2 + v[1] ** 2, np.array([5.0, 3.0]))
print("gradient at (5, 3):", gradient.round(6))
assert np.allclose(gradient, [10, 6])

# %%
# The slides add h = 0.0001 to one entry of W after the other. The loss was 1.25347, and becomes 1.25322, 1.25353,
# 1.25347: slopes -2.5, 0.6, 0. They go on with 0.2, 0.7, -0.5, 1.1, 1.3, -2.1.

h = 0.0001
slopes = (np.array([1.25322, 1.25353, 1.25347]) - 1.25347) / h
print("slopes:", slopes.round(2))
assert np.allclose(slopes, [-2.5, 0.6, 0.0])

# %%
# The slide's ``eval_numerical_gradient``, shortened: one loop over all entries of x.


def eval_numerical_gradient(f, x, h=0.00001):
    fx = f(x)  # evaluate function value at original point
    grad = np.zeros(x.shape)
    for ix in np.ndindex(x.shape):
        old_value = x[ix]
        x[ix] = old_value + h  # increment by h
        grad[ix] = (f(x) - fx) / h  # the slope
        x[ix] = old_value  # restore to previous value (very important!)
    return grad


# %%
# ``fl.numerical_gradient`` takes the difference on both sides, (f(x + h) - f(x - h)) / 2h, which is closer; it also has
# ``method="forward"`` for the slide's way. Both are approximate and very slow: they evaluate the loss for every weight.


def full_loss(W):
    return fl.svm_loss(W, digits.X[:50], digits.y[:50], 1.0)  # mean of L_i, plus the sum of W^2


W = 0.1 * np.random.default_rng(1).standard_normal((64, 10))
analytic = full_loss(W)[1]
forward = eval_numerical_gradient(lambda W: full_loss(W)[0], W)
central = fl.numerical_gradient(full_loss, W)
print(f"largest error: forward {abs(forward - analytic).max():.1e}, both sides {abs(central - analytic).max():.1e}")
assert abs(central - analytic).max() < abs(forward - analytic).max() < 1e-4

# %%
# This is silly: the loss is just a function of W, so use calculus. Analytic gradients are exact and fast, but
# error-prone. In practice: always use the analytic gradient, but check it with the numerical one: a gradient check. It
# finds a gradient that is wrong by 1 %.

report = fl.check_gradient(full_loss, W)
print(report)
assert report
assert not fl.check_gradient(lambda W: (full_loss(W)[0], 1.01 * full_loss(W)[1]), W)

# %%
# Gradient descent
# ----------------
# "Vanilla Gradient Descent", in the slide's names. ``fl.SGD(step_size).step(weights, weights_grad)`` is its last line.

step_size = 0.1
weights = np.zeros((65, 10))
for _ in range(100):
    data_loss, weights_grad = fl.svm_loss(weights, digits.X, digits.y, bias=True)
    weights += -step_size * weights_grad  # perform parameter update
accuracy = np.mean(fl.predict(weights, digits.X_test, bias=True) == digits.y_test)
print(f"after 100 evaluations: loss {data_loss:.2f}, accuracy {accuracy:.1%}")
assert data_loss < 0.1 * search.loss

# %%
# Mini-batch gradient descent: sample 256 examples, and step. The losses of the batches go down over time, not at every
# step: here is the slide's picture.

rng = np.random.default_rng(0)
weights, progress = np.zeros((65, 10)), []
optimizer = fl.SGD(step_size)
for _ in range(300):
    data_batch = rng.integers(0, len(digits.X), 256)  # sample 256 examples
    batch_loss, weights_grad = fl.softmax_loss(weights, digits.X[data_batch], digits.y[data_batch], bias=True)
    optimizer.step(weights, weights_grad)
    progress.append(batch_loss)
figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
axis.plot(progress)
axis.set(xlabel="step", ylabel="loss of the batch", title="Loss over mini-batches goes down over time")
plt.show()
assert np.mean(progress[-50:]) < np.mean(progress[:50])

# %%
# Why is a small portion enough? The goal is to estimate the gradient. Four times the examples cost four times the
# computation and halve the error.

weights = np.zeros((65, 10))
whole = fl.softmax_loss(weights, digits.X, digits.y, bias=True)[1]
for size in (16, 64, 256):
    distances = []
    for _ in range(200):
        batch = rng.integers(0, len(digits.X), size)
        part = fl.softmax_loss(weights, digits.X[batch], digits.y[batch], bias=True)[1]
        distances.append(np.linalg.norm(part - whole))
    print(f"{size:3} examples: distance from the gradient of all {np.mean(distances):.3f}")

# %%
# The effects of step size, on a bowl that is 20 times steeper in one direction than in the other. A low rate is slow, a
# good one is good, a high one jumps to and fro and hardly gets lower, and a very high one (over 2 / 20) explodes.

figure, axis = plt.subplots(figsize=(6, 3.5), layout="constrained")
for lr, word, style in ((0.002, "low", "--"), (0.05, "good", "-"), (0.0999, "high", ":"), (0.102, "very high", "-.")):
    W, heights = np.array([-3.0, 1.2]), []
    optimizer = fl.SGD(lr)
    for _ in range(60):
        height, slope = toys.bowl(W, condition=20.0)
        heights.append(height)
        optimizer.step(W, slope)
    axis.plot(heights, style, label=f"{word}: {lr}")
axis.set(xlabel="step", ylabel="loss", yscale="log", title="The effects of step size")
axis.legend()
plt.show()

# %%
# Coming next: more fancy update formulas (momentum, Adagrad, RMSProp, Adam), on the same bowl, each with
# a rate of its own, which its label says.

figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
first, second = np.meshgrid(np.linspace(-3.2, 1.5, 80), np.linspace(-1.6, 1.6, 80))
axis.contour(first, second, (first**2 + 20 * second**2) / 2, levels=12, colors="lightgrey")
rules = {
    "SGD, rate 0.03": fl.SGD(0.03),
    "momentum 0.8, rate 0.03": fl.SGD(0.03, momentum=0.8),
    "AdaGrad, rate 0.3": fl.AdaGrad(0.3),
    "RMSProp, rate 0.1": fl.RMSProp(0.1),
    "Adam, rate 0.1": fl.Adam(0.1),
}
for (name, optimizer), marker in zip(rules.items(), "ov^sx", strict=True):
    W, path = np.array([-3.0, 1.2]), []
    for _ in range(60):
        path.append(W.copy())
        optimizer.step(W, toys.bowl(W, condition=20.0)[1])
    axis.plot(*np.transpose(path), marker=marker, markersize=3, label=name)
axis.set(xlabel="w0", ylabel="w1", title="60 steps of different update formulas")
axis.legend(fontsize=8, loc="upper right")
plt.show()
