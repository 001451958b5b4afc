"""
Lesson 4: regularization and optimization
=========================================

This lesson follows document D of ``docs/lectures.md``, "Lecture 3: Regularization and Optimization" (Universidad
Popular del Cesar), from its first slide to its last. Most of it is about optimizers: each is written as on its slide,
and compared with ours.
"""

import time

import matplotlib.pyplot as plt
import numpy as np

import fastlin as fl
from fastlin import toys

# %%
# Recall: data, and a linear classifier
# -------------------------------------
# Train, validation, test: choose by the validation rows, and look at the test rows once, at the end. Here a learning
# rate is chosen.

digits = fl.load_digits()
X, y = digits.X[:1100], digits.y[:1100]
validation = (digits.X[1100:], digits.y[1100:])
runs = {lr: fl.train(X, y, optimizer=fl.SGD(lr), validation=validation) for lr in (0.0001, 0.01, 1.0)}
for lr, run in runs.items():
    print(f"rate {lr}: validation accuracy {run.history['validation_accuracy'][-1]:.1%}")
best = max(runs.values(), key=lambda run: run.history["validation_accuracy"][-1])
print(f"test accuracy of the best: {best.accuracy(digits.X_test, digits.y_test):.1%}")

# %%
# Three viewpoints on f(x, W) = Wx + b. Algebraic: a product; ours is X @ W, so a class is a column of W. Visual: that
# column, as an image, is the template of the class, and the score is the sum of template times image. Geometric: where
# two classes have the same score there is a plane, whose normal is the difference of their columns.

template = best.W[:64, 3].reshape(8, 8)
image = digits.X_test[0].reshape(8, 8)
score = fl.scores(best.W, digits.X_test[:1], bias=True)[0, 3]
assert np.isclose(np.sum(template * image) + best.W[64, 3], score)

# %%
# The loss over the dataset is the average of the losses of its examples: of a cat, a car and a frog with these scores,
# (2.9 + 0 + 12.9) / 3. So that scores can be handed to a loss, X is the identity: X @ W is W.

three = np.array([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]])
print(f"L = {fl.svm_loss(three, np.eye(3), [0, 1, 2])[0]:.2f}")
assert round(fl.svm_loss(three, np.eye(3), [0, 1, 2])[0], 2) == 5.27

# %%
# Regularization
# --------------
# Suppose that we found a W with L = 0. Is this W unique? No! 2W also has L = 0. The car's scores are 1.3, 4.9, 2.0.

s = np.array([[1.3, 4.9, 2.0]])
for factor in (1, 2):
    left, right = factor * (s[0, 0] - s[0, 1]) + 1, factor * (s[0, 2] - s[0, 1]) + 1
    print(f"max(0, {left:.1f}) + max(0, {right:.1f}) = {fl.svm_loss(factor * s, [[1.0]], [1])[0]:.0f}")
    assert fl.svm_loss(factor * s, [[1.0]], [1])[0] == 0

# %%
# How do we choose between W and 2W? L(W) = data loss + lambda R(W): the penalty prefers the smaller. ``reg`` is lambda.

small, large = (fl.svm_loss(factor * s, [[1.0]], [1], 0.1)[0] for factor in (1, 2))
print(f"full loss of W {small:.2f}, of 2W {large:.2f}")
assert np.isclose(large, 4 * small)

# %%
# Prefer simpler models. The slides draw two curves through toy points: one that meets every point, and a simpler one.
# Both are polynomials of degree 9 here; only lambda differs.

points, noisy = toys.noisy_sine(10, sigma=0.3, seed=1)
places, truth = toys.noisy_sine(200, sigma=0.0)
powers, powers_at_places = points ** np.arange(10), places ** np.arange(10)
figure, axis = plt.subplots(figsize=(6, 3.5), layout="constrained")
axis.plot(points, noisy, "o", color="black", label="training points")
axis.plot(places, truth, ":", color="grey", label="where they come from")
for lam, style in ((0.0, "--"), (0.001, "-")):
    w = fl.newton_step(lambda w, lam=lam: fl.squared_error_loss(w, powers, noisy, lam), np.zeros((10, 1)))
    error = fl.squared_error_loss(w, powers_at_places, truth)[0]
    axis.plot(places, fl.scores(w, powers_at_places), style, label=f"lambda = {lam}: error {error:.3f}")
axis.set(ylim=(-2, 2), xlabel="x", ylabel="y")
axis.legend(fontsize=8)
plt.show()

# %%
# Simple examples: L2, L1, elastic net. Occam's razor prefers less of any of them. x = [1, 1, 1, 1] has the same score
# by w1 = [1, 0, 0, 0] and by w2 = [.25, .25, .25, .25].
# Q: which one will L2 prefer? w2: it likes to "spread out" the weights. Q: which one would L1 prefer? Neither.

w1, w2 = np.array([[1.0], [0.0], [0.0], [0.0]]), np.full((4, 1), 0.25)
for penalty in (fl.L2(1.0), fl.L1(1.0), fl.ElasticNet(1.0, beta=1.0)):
    print(f"{penalty!s:30} R(w1) = {penalty.value(w1)}, R(w2) = {penalty.value(w2)}")
assert (fl.L2(1.0).value(w1), fl.L2(1.0).value(w2)) == (1.0, 0.25)
assert fl.L1(1.0).value(w1) == fl.L1(1.0).value(w2) == 1.0

# %%
# Why regularize? To express preferences, to make the model simple, and to improve optimization by adding curvature:
# lambda sum(W^2) adds 2 lambda to every eigenvalue of the Hessian, the matrix of the second derivatives.

rng = np.random.default_rng(0)
X, y, W = rng.standard_normal((30, 3)), np.arange(30) % 2, np.zeros((3, 2))
bare, curved = (fl.numerical_hessian(lambda W, lam=lam: fl.softmax_loss(W, X, y, lam), W) for lam in (0.0, 0.1))
print("eigenvalues without:", np.linalg.eigvalsh(bare).round(3) + 0.0)
print("with lambda = 0.1:  ", np.linalg.eigvalsh(curved).round(3))
assert np.allclose(np.linalg.eigvalsh(curved), np.linalg.eigvalsh(bare) + 0.2)

# %%
# Strategy #1: random search
# --------------------------
# 1000 random W, keep the best: 15.5 % on CIFAR-10, where the state of the art is ~99.7 %. On digits, with a scale for
# pixels in [0, 1]:

search = fl.random_search(digits.X, digits.y, tries=1000, scale=0.1)
for attempt in range(3):
    loss, lowest = search.history["loss"][attempt], search.history["best"][attempt]
    print(f"in attempt {attempt} the loss was {loss:f}, best {lowest:f}")
print(f"accuracy {search.accuracy(digits.X_test, digits.y_test):.1%}")

# %%
# Strategy #2: follow the slope
# -----------------------------
# Add h = 0.0001 to the first, second and third weight: the loss 1.25347 becomes 1.25322, 1.25353, 1.25347.

first_three = (np.array([1.25322, 1.25353, 1.25347]) - 1.25347) / 0.0001
print("gradient dW:", first_three.round(2) + 0.0)
assert np.allclose(first_three, [-2.5, 0.6, 0.0])

# %%
# Later the slide has all nine: -2.5, 0.6, 0, 0.2, 0.7, -0.5, 1.1, 1.3, -2.1. A function with these slopes gives them
# back to ``fl.numerical_gradient``.

current = np.array([0.34, -1.11, 0.78, 0.12, 0.55, 2.81, -3.1, -1.5, 0.33])
slopes = np.array([-2.5, 0.6, 0, 0.2, 0.7, -0.5, 1.1, 1.3, -2.1])
found = fl.numerical_gradient(lambda W: 1.25347 + slopes @ (W - current), current, h=0.0001)
assert np.allclose(found, slopes)

# %%
# "Numeric gradient: slow! Approximate." And "this is silly, use calculus". How slow is it, for the 640 weights of the
# digits?


def full_loss(W):
    return fl.svm_loss(W, digits.X[:200], digits.y[:200], 1.0)


W = rng.standard_normal((64, 10))
full_loss(W)  # the first call prepares what later calls use
start = time.perf_counter()
analytic = full_loss(W)[1]
between = time.perf_counter()
numerical = fl.numerical_gradient(full_loss, W)
end = time.perf_counter()
print(f"the numerical gradient took {(end - between) / (between - start):.0f} times as long")
assert np.allclose(numerical, analytic, atol=1e-6)

# %%
# The slope in any direction is the dot product of the direction with the gradient; steepest descent is the negative
# gradient.

downhill = -analytic / np.linalg.norm(analytic)
along = fl.numerical_gradient(lambda t: full_loss(W + t[0] * downhill)[0], np.zeros(1))[0]
assert np.isclose(along, np.sum(downhill * analytic))
print(f"slope along the negative gradient {along:.3f}, minus the gradient's length {-np.linalg.norm(analytic):.3f}")

# %%
# In practice: always use the analytic gradient, but check it with the numerical one. This is a gradient check.

report = fl.check_gradient(full_loss, W)
print(report)
assert report

# %%
# Gradient descent and SGD
# ------------------------
# The slide's minibatch loop, with its names. Our W is W.T of the slide; ``weights_grad`` comes with the loss.

step_size, weights = 0.1, np.zeros((65, 10))
for _ in range(200):
    data_batch = rng.integers(0, len(digits.X), 256)  # sample 256 examples
    loss, weights_grad = fl.svm_loss(weights, digits.X[data_batch], digits.y[data_batch], 1e-4, bias=True)
    weights += -step_size * weights_grad  # perform parameter update
print(f"accuracy {np.mean(fl.predict(weights, digits.X_test, bias=True) == digits.y_test):.1%}")

# %%
# What if loss changes quickly in one direction and slowly in another? The condition number, the ratio of the largest to
# the smallest singular value of the Hessian, is large. This bowl has 20.


def walk(optimizer, f, start, steps):
    x = np.array(start)
    path = [x.copy()]
    for _ in range(steps):
        optimizer.step(x, f(x)[1])  # x -= learning_rate * dx, or what the rule says
        path.append(x.copy())
    return np.array(path)


print("condition number:", np.linalg.cond(fl.numerical_hessian(toys.bowl, np.zeros(2))).round(6))

# %%
# Very slow progress along the shallow dimension, jitter along the steep one; momentum gets further with the same rate.

figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
grid = np.meshgrid(np.linspace(-3.2, 1, 80), np.linspace(-1.2, 1.2, 80))
axis.contour(*grid, (grid[0] ** 2 + 20 * grid[1] ** 2) / 2, levels=10, colors="lightgrey")
for optimizer, style, name in ((fl.SGD(0.09), "o-", "SGD"), (fl.SGD(0.09, momentum=0.5), "^--", "SGD + momentum 0.5")):
    path = walk(optimizer, toys.bowl, [-3.0, 1.0], 15)
    axis.plot(*path.T, style, markersize=3, label=f"{name}, rate 0.09")
    print(f"{name}: height {toys.bowl(path[-1])[0]:.3f} after 15 steps")
axis.set(xlabel="shallow", ylabel="steep")
axis.legend(fontsize=8)
plt.show()

# %%
# A saddle point: f = x^2 - y^2 has gradient (2x, -2y), which is 0 at the origin. Gradient descent from y = 0 gets stuck
# there; the least noise leads it away. A Hessian with eigenvalues of both signs tells a saddle.

assert np.array_equal(toys.saddle(np.zeros(2))[1], [0, 0])
assert np.allclose(np.linalg.eigvalsh(fl.numerical_hessian(toys.saddle, np.zeros(2))), [-2, 2])
for y_start in (0.0, 0.001):
    print(f"from (1, {y_start}):", walk(fl.SGD(0.1), toys.saddle, [1.0, y_start], 30)[-1].round(3))

# %%
# Saddle points are much more common in high dimension: at a minimum all eigenvalues must be positive. Of 2000 random
# symmetric matrices, the share with all of one sign:

for dimension in (1, 2, 3, 5):
    A = rng.standard_normal((2000, dimension, dimension))
    eigenvalues = np.linalg.eigvalsh(A + A.transpose(0, 2, 1))
    same = np.all(eigenvalues > 0, axis=1) | np.all(eigenvalues < 0, axis=1)
    print(f"dimension {dimension}: {same.mean():.1%}")

# %%
# A local minimum: a dent on the way down. SGD stops in it; momentum runs through.


def dented(x):
    dent = 0.15 * np.exp(-8 * (x[0] - 2) ** 2)
    return 0.05 * x[0] ** 2 - dent, np.array([0.1 * x[0] + 16 * (x[0] - 2) * dent])


for rho in (0.0, 0.9):
    end = walk(fl.SGD(0.1, momentum=rho), dented, [4.0], 400)[-1]
    print(f"rho {rho}: ends at x = {end[0]:.2f}, slope {dented(end)[1][0]:.0e}")

# %%
# Gradients of minibatches are noisy; on average they are the gradient of all rows. Here are 14 of 100 rows each.

zeros = np.zeros((64, 10))
parts = [fl.softmax_loss(zeros, digits.X[i:1400:14], digits.y[i:1400:14])[1] for i in range(14)]
whole = fl.softmax_loss(zeros, digits.X[:1400], digits.y[:1400])[1]
mean = np.mean(parts, axis=0)
print(f"one is off by {np.linalg.norm(parts[0] - whole):.2f}, the mean of all by {np.linalg.norm(mean - whole):.0e}")
assert np.allclose(mean, whole)

# %%
# Momentum
# --------
# The slide: vx = rho * vx + dx; x -= learning_rate * vx. Rho gives "friction", typically 0.9 or 0.99. Ten gradients:

gradients = rng.standard_normal((10, 4))
learning_rate, rho = 0.1, 0.9


def ours(optimizer):
    x = np.ones(4)
    for dx in gradients:
        optimizer.step(x, dx)
    return x


x, vx = np.ones(4), 0
for dx in gradients:
    vx = rho * vx + dx
    x = x - learning_rate * vx
assert np.allclose(ours(fl.SGD(learning_rate, momentum=rho)), x)

# %%
# The alternative formulation, vx = rho * vx - learning_rate * dx; x += vx, gives the same sequence of x. (If the rate
# changes on the way they differ: the old velocity keeps the old rate.)

assert np.allclose(ours(fl.Momentum(learning_rate, momentum=rho)), x)

# %%
# Nesterov: the gradient at x + rho v, where the velocity would take us. "Annoying", so change variables to
# x~ = x + rho v: x~ <- x~ - rho v + (1 + rho) v'. That is what ours keeps.

x, v = np.array([-3.0, 1.0]), np.zeros(2)
path = walk(fl.SGD(0.01, momentum=rho, nesterov=True), toys.bowl, x, 15)
for step in range(15):
    assert np.allclose(path[step], x + rho * v)
    v = rho * v - 0.01 * toys.bowl(x + rho * v)[1]
    x = x + v

# %%
# AdaGrad, RMSProp, Adam
# ----------------------
# AdaGrad divides by the root of the sum of the squared gradients; RMSProp, "leaky AdaGrad", by that of their decaying
# mean. ``alpha`` is the slide's decay_rate.

x, grad_squared = np.ones(4), 0
x_leaky, leaky = np.ones(4), 0
for dx in gradients:
    grad_squared += dx * dx
    x = x - learning_rate * dx / (np.sqrt(grad_squared) + 1e-7)
    leaky = 0.9 * leaky + (1 - 0.9) * dx * dx
    x_leaky = x_leaky - learning_rate * dx / (np.sqrt(leaky) + 1e-7)
assert np.allclose(ours(fl.AdaGrad(learning_rate, eps=1e-7)), x)
assert np.allclose(ours(fl.RMSProp(learning_rate, alpha=0.9, eps=1e-7)), x_leaky)

# %%
# Q: what happens with AdaGrad? Steep directions are damped, flat ones accelerated: the first step is as long in both.

path = walk(fl.AdaGrad(0.1), toys.bowl, [1.0, 1.0], 1)
print("gradient:", toys.bowl(path[0])[1], " step:", (path[1] - path[0]).round(3))

# %%
# Q2: what happens to the step size over long time? It decays to zero, as 1 / sqrt(t) if the gradient stays the same.
# RMSProp's does not.

for optimizer in (fl.AdaGrad(0.1), fl.RMSProp(0.1, alpha=0.9)):
    path = walk(optimizer, lambda x: (0.0, np.ones(1)), [0.0], 10_000)[:, 0]
    steps = path[:-1] - path[1:]
    print(f"{type(optimizer).__name__:8} steps 1, 100, 10000: {steps[0]:.4f} {steps[99]:.4f} {steps[-1]:.4f}")

# %%
# Adam (almost). Q: what happens at first timestep? first_moment is 0.1 dx, the root of second_moment sqrt(0.001) dx:
# the step is 0.1 / sqrt(0.001) = 3.16 times too long. Bias correction, in the full form, makes it the learning rate.

for optimizer in (fl.AdamAlmost(0.01), fl.Adam(0.01)):
    path = walk(optimizer, lambda x: (0.0, np.array([5.0])), [0.0], 1)
    print(f"{type(optimizer).__name__}: first step {path[0, 0] - path[1, 0]:.4f}")

# %%
# Adam (full form), as on the slide.

beta1, beta2 = 0.9, 0.999
x, first_moment, second_moment = np.ones(4), 0, 0
for t, dx in enumerate(gradients, 1):
    first_moment = beta1 * first_moment + (1 - beta1) * dx
    second_moment = beta2 * second_moment + (1 - beta2) * dx * dx
    first_unbias = first_moment / (1 - beta1**t)
    second_unbias = second_moment / (1 - beta2**t)
    x = x - learning_rate * first_unbias / (np.sqrt(second_unbias) + 1e-7)
assert np.allclose(ours(fl.Adam(learning_rate, eps=1e-7)), x)

# %%
# All on the same bowl with the same rate, 0.05: AdaGrad is "stuck due to decaying lr", RMSProp jitters about the
# minimum, as its steps stay about as long as the rate. With another rate for each the picture would be another one.

figure, axis = plt.subplots(figsize=(6, 3.5), layout="constrained")
rules = (fl.SGD(0.05), fl.SGD(0.05, momentum=0.8), fl.AdaGrad(0.05), fl.RMSProp(0.05, alpha=0.9), fl.Adam(0.05))
names = ("SGD", "SGD + momentum 0.8", "AdaGrad", "RMSProp", "Adam")
for optimizer, name, style in zip(rules, names, ("-", ":", "--", "-.", "x-"), strict=True):
    heights = [toys.bowl(x)[0] for x in walk(optimizer, toys.bowl, [-3.0, 1.0], 150)]
    axis.plot(heights, style, markevery=10, label=name)
    print(f"{name:18} height {heights[-1]:.1e} after 150 steps")
axis.set(xlabel="step", ylabel="loss", yscale="log", ylim=(1e-5, 30), title="The same rate, 0.05, for all")
axis.legend(fontsize=8)
plt.show()

# %%
# Adam with beta1 = 0.9, beta2 = 0.999 and a rate of 1e-3 or 5e-4 is a great starting point. These are the defaults of
# ``fl.Adam()``; momentum does better on digits, once its rate has been found.

final = {}
for name, optimizer in (("Adam()", fl.Adam()), ("momentum", fl.SGD(0.1, momentum=0.9))):
    result = fl.train(digits.X, digits.y, optimizer=optimizer, epochs=20, batch_size=32)
    final[name] = result.history["loss"][-1]
    print(f"{name}: loss {final[name]:.3f}")
assert final["momentum"] < final["Adam()"]

# %%
# Learning rates
# --------------
# Q: which one of these learning rates is best to use? A: in reality, all of these are good: begin with a high one and
# let it decay. Step (x 0.1 after epochs 30, 60, 90), cosine, linear, inverse sqrt:

T, start = 100, 1.0
schedules = {
    "step": fl.schedules.step(start, at=(30, 60, 90), factor=0.1),
    "cosine": fl.schedules.cosine(start, T),
    "linear": fl.schedules.linear(start, T),
    "inverse sqrt": fl.schedules.inverse_sqrt(start),
}
figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
for (name, rate), style in zip(schedules.items(), ("-", "--", "-.", ":"), strict=True):
    axis.plot([rate(t) for t in range(T + 1)], style, label=name)
axis.set(xlabel="epoch t", ylabel="learning rate, of 1 at first")
axis.legend()
plt.show()
assert np.allclose([schedules["step"](t) for t in (29, 30, 60, 90)], [1, 0.1, 0.01, 0.001])
for t in (1, 25, 80):
    assert np.isclose(schedules["cosine"](t), 0.5 * start * (1 + np.cos(t * np.pi / T)))
    assert np.isclose(schedules["linear"](t), start * (1 - t / T))
    assert np.isclose(schedules["inverse sqrt"](t), start / np.sqrt(t))

# %%
# Linear warmup: a high rate can make the loss explode at first; rising from 0 over ~5,000 iterations it does not. Here
# an epoch has 23 iterations, and the warmup 60.

warm = fl.schedules.warmup(fl.schedules.constant(30.0), steps=60)
for name, rate in (("constant", 30.0), ("with warmup", warm)):
    run = fl.train(digits.X, digits.y, optimizer=fl.SGD(rate), epochs=1, batch_size=64)
    print(f"{name}: mean loss of the first epoch {run.history['loss'][0]:.1f}")

# %%
# Rule of thumb: if you increase the batch size by N, also scale the initial learning rate by N.

assert fl.scale_lr(0.1, 1024 / 256) == 0.4

# %%
# Second-order optimization
# -------------------------
# Use gradient and Hessian to form a quadratic approximation, and step to its minimum: theta* = theta_0 - H^-1 gradient.
# A quadratic is solved in one step, whatever its condition number.

print("Newton on the bowl, from (-3, 1):", fl.newton_step(toys.bowl, np.array([-3.0, 1.0])).round(6) + 0.0)

# %%
# Q: why is this bad for deep learning? The Hessian has O(N^2) elements, inverting takes O(N^3). For the softmax loss of
# 8 pixels and 3 classes N is 24; for a network of 10 million weights, in 8 bytes each:

H = fl.numerical_hessian(lambda W: fl.softmax_loss(W, digits.X[:50, 8:16], digits.y[:50] % 3), np.zeros((8, 3)))
assert H.shape == (24, 24)
print(f"8 * (10^7)^2 bytes = {8 * 1e7**2 / 1e12:.0f} terabytes")

# %%
# Quasi-Newton methods: BFGS (the slide's "BGFS") approximates the inverse Hessian by updates, of rank 2 rather than
# "rank 1". L-BFGS does not store it: ``solver="lbfgs"``. It works very well in full batch mode: gradient
# descent with twice as many steps gets less far. In minibatches it does not work well, and we do not offer it.

quasi = fl.minimize(digits.X, digits.y, solver="lbfgs", reg=1e-3, max_iter=60, tol=0)
descent = fl.train(
    digits.X, digits.y, reg=1e-3, epochs=120, batch_size=len(digits.X), optimizer=fl.SGD(0.1, momentum=0.9)
)
print(f"L-BFGS {quasi.history['loss'][-1]:.4f}, gradient descent with momentum {descent.history['loss'][-1]:.4f}")
assert quasi.history["loss"][-1] < descent.history["loss"][-1]

# %%
# In practice: Adam is a good default, also with a constant rate; SGD + momentum can outperform it, with more tuning;
# and if you can afford full batches, try L-BFGS, with all sources of noise disabled.
