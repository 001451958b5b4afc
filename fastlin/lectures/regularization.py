"""Figures of `fastlin lectures`: penalties, simpler models, bias and variance, double descent."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

import fastlin as fl
from fastlin import toys
from fastlin._check import Array
from fastlin._extras import need
from fastlin.lectures.exhibit import COLOURS, GREY, Exhibit, digits, new, percent, tidy

GRID = np.linspace(-1.0, 1.0, 201)

SLIDE_WEIGHTS = {"w₁ = [1, 0, 0, 0]": (1.0, 0.0, 0.0, 0.0), "w₂ = [¼, ¼, ¼, ¼]": (0.25, 0.25, 0.25, 0.25)}
BETA = 0.5  # of the elastic net
ALIKE = (1.0, 0.3)  # the lambdas of L2 and L1 in `alike_columns`
TEMPLATE = 3, 0.01  # the digit whose weights are drawn, and their lambda


def descent(X: Array, y: Array, penalty: Any, columns: int, steps: int, lr: float, loss: str = "softmax") -> Any:
    """Full-batch descent with momentum from W = 0, where the penalty is a proximal step: L1 then reaches 0 exactly."""
    optimizer = fl.SGD(lr, momentum=0.9, prox=penalty)
    start = np.zeros((X.shape[1], columns))
    return fl.train(X, y, loss=loss, W=start, bias=False, epochs=steps, batch_size=len(X), optimizer=optimizer)


def alike_columns() -> tuple[Array, Array]:
    """Weights (4,) under L2 and under L1: four columns that are nearly the same, of which y is the first."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 1)) + 0.2 * rng.standard_normal((60, 4))
    y = X[:, 0] + 0.1 * rng.standard_normal(60)
    l2, l1 = (
        descent(X, y, penalty, 1, 300, 0.02, "squared_error").W[:, 0] for penalty in (fl.L2(ALIKE[0]), fl.L1(ALIKE[1]))
    )
    return l2, l1


@cache
def templates() -> tuple[Array, Array]:
    """The weights (8, 8) of the digit TEMPLATE under L2 and under L1."""
    X, y, _, _ = digits()
    digit, lam = TEMPLATE
    l2, l1 = (descent(X, y, penalty, 10, 200, 0.3).W[:, digit].reshape(8, 8) for penalty in (fl.L2(lam), fl.L1(lam)))
    return l2, l1


def preferences() -> Exhibit:
    """The slides' w1 and w2, and what the penalties leave of columns that are alike and of pixels."""
    x = np.ones(4)
    kinds = (
        ("L1: Σ|w|", fl.L1(1.0)),
        ("L2: Σw²", fl.L2(1.0)),
        (f"elastic net: Σ {BETA:g} w² + |w|", fl.ElasticNet(1.0, BETA)),
    )
    rows: list[tuple[str, ...]] = [("weights", "w · x for x = [1, 1, 1, 1]", *(name for name, _ in kinds))]
    figure, axes = new(1, 4, size=(11, 3.0))
    places = np.arange(1, 5)
    for shift, (name, w), colour in zip((-0.2, 0.2), SLIDE_WEIGHTS.items(), COLOURS, strict=False):
        values = (fl.squared_error_loss(np.array([w]).T, np.zeros((1, 4)), [0.0], penalty)[0] for _, penalty in kinds)
        rows.append((name, f"{x @ np.array(w):g}", *(f"{value:.4g}" for value in values)))
        axes[0, 0].bar(places + shift, w, 0.4, color=colour, label=name)
    tidy(axes[0, 0], "the slides' weights", "column", "its weight")
    for shift, name, fitted, colour in zip((-0.2, 0.2), ("L1", "L2"), alike_columns()[::-1], COLOURS, strict=False):
        axes[0, 1].bar(places + shift, fitted, 0.4, color=colour, label=name)
    tidy(axes[0, 1], "fitted, four like columns", "column")
    for ax in axes[0, :2]:
        ax.set_ylim(-0.05, 1.35)
        ax.set_xticks(places)
        ax.legend(frameon=False, fontsize=8, loc="upper right")
    zeros = []
    for ax, name, image in zip(axes[0, 2:], ("L2", "L1"), templates(), strict=True):
        limit = np.abs(image).max()
        ax.imshow(image, cmap="RdBu_r", vmin=-limit, vmax=limit)
        ax.set_title(f"weights of the digit {TEMPLATE[0]}, {name}", loc="left", fontsize=10)
        ax.set(xticks=[], yticks=[])
        zeros.append(int((image == 0).sum()))
    l2, l1 = alike_columns()
    return Exhibit(
        title="Regularisation: weights that are spread out or sparse",
        source="“Loss function, Regularization, Optimization”, Iglesias and 493G1, “Expressing Preferences”",
        caption="Both w₁ and w₂ give the score 1. L2 prefers the spread-out w₂: its penalty is a quarter. To L1 they "
        "are the same; the elastic net, which adds both, prefers w₂ a little. Second panel: four columns that differ "
        f"by a little noise, and y is the first of them (60 rows). L2 with λ = {ALIKE[0]:g} gives each some weight, "
        f"{l2.min():.2f} to {l2.max():.2f}; L1 with λ = {ALIKE[1]} keeps {np.count_nonzero(l1)} of the four. "
        f"Right: the 64 weights that say “{TEMPLATE[0]}” on handwritten digits, red for, blue against, λ = "
        f"{TEMPLATE[1]}: with L2 {zeros[0]} are exactly 0 (pixels that are always blank), with L1 {zeros[1]}.",
        made_with="L1, L2, ElasticNet, train, SGD",
        alt="Two bar charts: w1 is one bar of 1, w2 four of a quarter; fitted to like columns, L1 has one large bar "
        "and L2 four. Two images of the weights of a digit: smooth with L2, a few single pixels with L1.",
        figure=figure,
        table=rows,
    )


ROWS, WRONG, SEEDS = 200, 40, 5
LAMBDAS = {"L2": np.logspace(-5, -0.5, 7), "L1": np.logspace(-3, -0.5, 7)}


def noisy_digits(seed: int) -> tuple[Array, Array]:
    """ROWS training digits without the pixels that are blank in all, and labels of which WRONG are wrong."""
    X, y, _, _ = digits()
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(X))[:ROWS]
    labels = y[rows].copy()
    labels[:WRONG] = (labels[:WRONG] + rng.integers(1, 10, WRONG)) % 10
    return X[rows], labels


def penalized(kind: str, lam: float, seed: int) -> tuple[float, float, float]:
    """The share of weights that are exactly 0, accuracy on the noisy labels and on the test digits."""
    X, labels = noisy_digits(seed)
    _, _, X_test, y_test = digits()
    used = X.any(axis=0)  # pixels that are always blank keep weight 0 under any penalty
    X = X[:, used]
    if kind == "L2":
        result = fl.minimize(X, labels, reg=lam, bias=False)
    else:
        result = descent(X, labels, fl.L1(lam), 10, 300, 0.3)
    return float(np.mean(result.W == 0)), result.accuracy(X, labels), result.accuracy(X_test[:, used], y_test)


@cache
def penalty_paths(kind: str) -> Array:
    """What `penalized` finds, (lambdas, seeds, 3)."""
    return np.array([[penalized(kind, lam, seed) for seed in range(SEEDS)] for lam in LAMBDAS[kind]])


def penalties() -> Exhibit:
    """Accuracy and the weights that are exactly zero over the lambda of each penalty."""
    figure, axes = new(2, 2, size=(9, 5.4), sharex="col", sharey="row")
    said = {}
    for column, (kind, lams) in enumerate(LAMBDAS.items()):
        top, bottom = axes[:, column]
        found = 100 * penalty_paths(kind)
        for index, name, colour, style, ax in (
            (2, "unseen digits, labels right", COLOURS[0], "-", top),
            (1, f"training digits, {WRONG} of {ROWS} labels wrong", COLOURS[1], "--", top),
            (0, "weights", COLOURS[0], "-", bottom),
        ):
            values = found[:, :, index]
            ax.fill_between(lams, values.min(axis=1), values.max(axis=1), color=colour, alpha=0.2, linewidth=0)
            ax.semilogx(lams, values.mean(axis=1), style, color=colour, marker=".", label=name)
        tidy(top, kind)
        tidy(bottom, x=f"λ of {kind}")
        unseen = found[:, :, 2].mean(axis=1)
        best = int(unseen.argmax())
        said[kind] = f"{unseen[0]:.0f} % at the smallest λ to {unseen[best]:.0f} % at λ = {lams[best]:.2g}"
    axes[0, 0].set_ylabel("right, %")
    axes[1, 0].set_ylabel("weights exactly 0, %")
    axes[0, 0].legend(frameon=False, fontsize=8, loc="lower left")
    sparse = penalty_paths("L1")
    best = int(sparse[:, :, 2].mean(axis=1).argmax())
    return Exhibit(
        title="Regularisation against noise: L2 and L1",
        source="all five, “Regularization”; all but Kira and UIT, “Expressing Preferences”",
        caption=f"A softmax classifier learns from {ROWS} digits, {WRONG} of which have a wrong label, and is asked "
        f"for 359 others (lines: means of {SEEDS} draws; bands: the least and the most). With hardly any penalty it "
        f"learns the wrong labels too, and pays for it on unseen digits. On those, L2 takes it from {said['L2']}, L1 "
        f"from {said['L1']}; too much of either makes both curves fall. That unseen digits can beat the training "
        f"digits has a reason: whoever reads all training digits rightly misses the {WRONG} wrong labels and has "
        f"{100 * (1 - WRONG / ROWS):.0f} % there. Below: L2 makes weights small but none 0, L1 makes "
        f"{percent(float(sparse[best, :, 0].mean()))} of them exactly 0 where it is best. (L2 by L-BFGS to its "
        "minimum; L1 by 300 proximal steps, which hold back too, so that its curve starts higher.)",
        made_with="minimize, train, SGD, L1",
        alt="Four panels. Above, accuracy over lambda: on training labels it falls from 100 % for L2; on unseen digits "
        "it rises to a peak and falls. Below, the share of zero weights stays 0 for L2 and rises for L1.",
        figure=figure,
    )


DEGREE, SIMPLE = 9, 0.003  # of both curves of `simpler_models`, and the lambda of the simpler one


def two_models() -> tuple[Any, Any]:
    """f1, a polynomial through 10 noisy points, and f2 of the same degree with L2; each maps x (n,) to values."""
    X, y = toys.noisy_sine(DEGREE + 1, sigma=0.3, seed=1)
    wild = np.polynomial.Polynomial.fit(X[:, 0], y, DEGREE, domain=(-1, 1))
    powers = np.arange(1, DEGREE + 1)
    tame = fl.minimize(X**powers, y, loss="squared_error", reg=SIMPLE)
    return wild, lambda x: tame.predict(x[:, None] ** powers)


def model_errors() -> Array:
    """The mean squared errors of f1 and f2 on their 10 points and on 40 new ones, (2, 2)."""
    data = toys.noisy_sine(DEGREE + 1, sigma=0.3, seed=1), toys.noisy_sine(40, sigma=0.3, seed=2)
    return np.array([[np.mean((f(X[:, 0]) - y) ** 2) for X, y in data] for f in two_models()])


def simpler_models() -> Exhibit:
    """A curve through all points and a simpler one; then new points."""
    X, y = toys.noisy_sine(DEGREE + 1, sigma=0.3, seed=1)
    X_new, y_new = toys.noisy_sine(40, sigma=0.3, seed=2)
    figure, axes = new(1, 2, size=(9, 3.6), sharey=True)
    for ax in axes[0]:
        ax.scatter(X[:, 0], y, s=36, color="#222", zorder=3, label=f"the {DEGREE + 1} training points")
        for f, name, colour, style in zip(two_models(), ("f₁", "f₂"), COLOURS[1::-1], ("--", "-"), strict=True):
            ax.plot(GRID, f(GRID), style, color=colour, linewidth=2, label=name)
        ax.set_ylim(-2, 2)
        ax.set_xticks((-1, -0.5, 0, 0.5, 1))
    axes[0, 1].scatter(X_new[:, 0], y_new, s=18, marker="x", color=GREY, label="40 new points")
    tidy(axes[0, 0], "the training points", "x", "y")
    tidy(axes[0, 1], "and new ones", "x")
    axes[0, 1].legend(frameon=False, fontsize=8, loc="upper left")
    (wild, wild_new), (tame, tame_new) = model_errors()
    return Exhibit(
        title="Prefer simpler models",
        source="“Loss function, Regularization, Optimization”, Iglesias and 493G1, “Prefer Simpler Models”",
        caption=f"Both curves are polynomials of degree {DEGREE} in x. f₁ (dashed) goes through all {DEGREE + 1} "
        f"points, error {abs(wild):.2f}; f₂ (solid) was fitted with an L2 penalty on its coefficients, λ = {SIMPLE}, "
        f"and misses them by {tame:.2f} (mean square). The points are sin(πx) with noise, σ = 0.3, and new points do "
        f"not repeat the noise: on them f₁ is wrong by {wild_new:.2f} and f₂ by {tame_new:.2f}. f₁ had learned the "
        "noise. No rule could get below 0.09 on average, the square of σ.",
        made_with="toys.noisy_sine, minimize",
        alt="Ten points; a dashed curve goes through each of them with large swings near the ends, a smooth curve goes "
        "between them. On the right, 40 new points lie around the smooth curve and away from the swings.",
        figure=figure,
    )


def along_a_flat_direction(lam: float, places: Array) -> Array:
    """The softmax loss where all classes have the same added to their weights, which changes no probability."""
    X, y = toys.blobs(60, seed=0)
    W = np.array([[-0.5, 0.2, 0.3], [0.6, -0.3, -0.3]])
    return np.array([fl.softmax_loss(W + place, X, y, lam)[0] for place in places])


PRIOR = 0.02  # lambda


def prior_curves(places: Array) -> tuple[Array, Array]:
    """The logistic loss of one weight on separable points, and the penalty PRIOR w^2."""
    X, y = np.array([[-2.0], [-1.0], [1.0], [2.0]]), np.array([0, 0, 1, 1])
    data, both = (
        np.array([fl.logistic_loss(np.full((1, 1), place), X, y, lam)[0] for place in places]) for lam in (0.0, PRIOR)
    )
    return data, both - data


def curvature() -> Exhibit:
    """A flat direction with and without L2, and L2 as a prior."""
    figure, axes = new(1, 2, size=(9, 3.4))
    places = np.linspace(-3, 3, 61)
    for lam, style, colour in zip((0.0, 0.01, 0.03), ("-", "--", ":"), COLOURS, strict=False):
        loss = along_a_flat_direction(lam, places)
        axes[0, 0].plot(places, loss, style, color=colour, linewidth=2, label=f"λ = {lam:g}")
    tidy(axes[0, 0], "L2 adds curvature", "a, added to the weights of all classes", "loss")
    axes[0, 0].legend(frameon=False, fontsize=9)
    weights = np.linspace(-2, 8, 101)
    data, prior = prior_curves(weights)
    right = axes[0, 1]
    right.plot(weights, data, "--", color=COLOURS[0], linewidth=2, label="data: −log likelihood / n")
    right.plot(weights, prior, ":", color=COLOURS[1], linewidth=2, label="penalty: −log prior / n")
    right.plot(weights, data + prior, color="#222", linewidth=2, label="their sum")
    best = float(weights[(data + prior).argmin()])
    right.plot(best, (data + prior).min(), "o", color="#222")
    tidy(right, "L2 is a Gaussian prior", "w", "loss")
    right.legend(frameon=False, fontsize=9)
    return Exhibit(
        title="What L2 does to the loss",
        source="“Loss function, Regularization, Optimization”, Iglesias and 493G1, “Improve optimization by adding "
        "curvature”; UIT, “MAP inference”",
        caption="Left: softmax does not change when the weights of all classes get the same a added, so the loss is "
        "flat there and no single W is the best. λΣW² makes the flat line a bowl, the steeper the larger λ, and W has "
        "one place to go. Right: one weight w, four points (at −2, −1, 1, 2) that a rule separates. Their likelihood "
        "grows for ever with w. The penalty is what a Gaussian prior says, that w is likely near 0: its variance is "
        f"1 / (2nλ), n = 4, λ = {PRIOR}. The sum has its minimum at w = {best:.1f}, the most probable w (MAP).",
        made_with="softmax_loss, logistic_loss, toys.blobs",
        alt="Left, a horizontal line without L2 and two bowls with it. Right, a falling curve, a parabola, and their "
        "sum with a minimum that is marked.",
        figure=figure,
    )


DEGREES = tuple(range(13))


def polynomial_fits(degree: int, sets: int = 50, n: int = 20) -> Array:
    """Least-squares polynomials on `sets` draws of `noisy_sine`, evaluated on GRID: (sets, grid)."""
    fits = []
    for seed in range(sets):
        X, y = toys.noisy_sine(n, seed=seed)
        fits.append(np.polynomial.Polynomial.fit(X[:, 0], y, degree, domain=(-1, 1))(GRID))
    return np.array(fits)


def bias_and_variance(fits: Array) -> tuple[float, float]:
    """Means over the grid: of (mean fit - truth)^2, and of the variance of the fits."""
    truth = np.sin(np.pi * GRID)
    return float(np.mean((fits.mean(axis=0) - truth) ** 2)), float(fits.var(axis=0).mean())


def bias_variance() -> Exhibit:
    """Polynomials of three degrees on fifty draws, and bias and variance over the degree."""
    figure, axes = new(1, 4, size=(11, 3.4))
    X, y = toys.noisy_sine(20, seed=0)
    for ax, degree in zip(axes[0], (1, 3, 10), strict=False):
        fits = polynomial_fits(degree)
        ax.plot(GRID, fits.T, color=COLOURS[0], alpha=0.18, linewidth=0.8)
        ax.plot(GRID, np.sin(np.pi * GRID), color="#222", linewidth=1.5, label="truth, sin(πx)")
        ax.plot(GRID, fits.mean(axis=0), color=COLOURS[1], linestyle="--", linewidth=1.8, label="mean of 50 fits")
        ax.plot(GRID, fits[0], color=COLOURS[2], linewidth=1.2, label="the fit of one set")
        ax.scatter(X[:, 0], y, s=10, color=COLOURS[2], zorder=3, label="its 20 points")
        tidy(ax, f"degree {degree}", "x")
        ax.set_ylim(-1.4, 1.4)
    axes[0, 0].legend(frameon=False, fontsize=7, loc="lower right")
    both = np.array([bias_and_variance(polynomial_fits(degree)) for degree in DEGREES])
    ax = axes[0, 3]
    for values, name, colour in ((both[:, 0], "bias²", COLOURS[1]), (both[:, 1], "variance", COLOURS[0])):
        ax.semilogy(DEGREES, values, color=colour, marker=".", label=name)
    ax.semilogy(DEGREES, both.sum(axis=1), color="#222", label="sum")
    tidy(ax, "error over the degree", "degree")
    ax.legend(frameon=False, fontsize=8)
    best = DEGREES[int(both.sum(axis=1).argmin())]
    return Exhibit(
        title="Bias and variance of polynomials",
        source="“Loss function, Regularization, Optimization”, “Bias Variance Tradeoff for Polynomials”",
        caption="y = sin(πx) + noise (σ = 0.1). The slide says “50 samples”; here that is 50 sets of 20 points, of "
        "which one is drawn (dots), and a polynomial is fitted to each set (thin lines). A straight line is always "
        "wrong in the same way: bias. Degree 10 is right on average, but each fit follows the noise of its own points: "
        f"variance. Right, on a logarithmic axis: bias² falls and variance rises with the degree; their sum is least "
        f"at {best}.",
        made_with="toys.noisy_sine",
        alt="Fifty fitted curves each for degrees 1, 3 and 10 over a sine and the points of one set: all wrong alike, "
        "all close, and close but scattered. Beside them bias falls and variance rises with the degree.",
        figure=figure,
    )


FEATURES = (1, 2, 4, 6, 8, 10, 12, 14, 16, 18, 19, 20, 21, 22, 24, 30, 40, 60, 100, 200, 1000)
POINTS, DRAWS, GAMMA = 20, 20, 50.0


def random_cosines(features: int, seed: int) -> tuple[Array, Array, Array, Array]:
    """The minimum-norm least squares fit of one draw: points x, their y, the fit there, and the fit on GRID."""
    X, y = toys.noisy_sine(POINTS, seed=seed)
    kernel = need("sklearn.kernel_approximation", "features", "fastlin lectures")
    cosines = kernel.RBFSampler(gamma=GAMMA, n_components=features, random_state=seed).fit(X)
    A = cosines.transform(X)
    w = np.linalg.lstsq(A, y, rcond=None)[0]  # of all w that are best, the shortest
    return X[:, 0], y, A @ w, cosines.transform(GRID[:, None]) @ w


@cache
def double_descent_errors() -> tuple[Array, Array]:
    """Medians over DRAWS of the mean squared error on the points, and to the truth on GRID, for each of FEATURES."""
    found = []
    for features in FEATURES:
        draws = (random_cosines(features, seed) for seed in range(DRAWS))
        truth = np.sin(np.pi * GRID)
        errors = [(np.mean((fit - y) ** 2), np.mean((curve - truth) ** 2)) for _, y, fit, curve in draws]
        found.append(np.median(errors, axis=0))
    training, test = np.array(found).T
    return training, test


def double_descent() -> Exhibit:
    """Training and test error over the number of features, and three fits."""
    training, test = double_descent_errors()
    figure = new(1, 1, size=(11, 5.6))[0]
    figure.clear()
    grid = figure.add_gridspec(2, 3, height_ratios=(1.25, 1))
    ax = figure.add_subplot(grid[0, :])
    ax.loglog(FEATURES, test, color=COLOURS[1], marker=".", label="test error")
    ax.loglog(FEATURES, np.maximum(training, 1e-6), "--", color=COLOURS[0], marker=".", label="training error")
    ax.axvline(POINTS, color=GREY, linewidth=1)
    ax.text(POINTS * 1.04, test.max(), f"{POINTS} features for {POINTS} points", fontsize=9, va="top")
    tidy(ax, "", "number of features", "mean squared error")
    ax.set_ylim(0.6e-6, None)
    ax.legend(frameon=False, fontsize=9, loc="upper right")
    few = FEATURES[int(np.where(np.array(FEATURES) < POINTS, test, np.inf).argmin())]
    for column, features in enumerate((few, POINTS, FEATURES[-1])):
        below = figure.add_subplot(grid[1, column])
        x, y, _, curve = random_cosines(features, 0)
        below.plot(GRID, np.sin(np.pi * GRID), ":", color="#222", linewidth=1.5, label="truth")
        below.plot(GRID, curve, color=COLOURS[1], linewidth=1.5, label="fit")
        below.scatter(x, y, s=12, color="#222", zorder=3)
        tidy(below, f"{features} features", "x")
        below.set_ylim(-2.5, 2.5)
    figure.axes[-1].legend(frameon=False, fontsize=8, loc="upper left")
    said = dict(zip(FEATURES, test, strict=True))
    return Exhibit(
        title="Double descent",
        source="“Loss function, Regularization, Optimization”, “But things can be complicated!”",
        caption=f"A linear model of random cosines of x, fitted to {POINTS} points of sin(πx) with noise, σ = 0.1, by "
        f"least squares; medians over {DRAWS} draws of noise and cosines (seeds 0 to {DRAWS - 1}). Both axes are "
        f"logarithmic. To the left is the usual picture: the test error falls to {said[few]:.3f} at {few} features and "
        f"rises as the fit takes up the noise. With {POINTS} features the curve has just enough freedom to go through "
        f"all points, and only one way to do so, a wild one: test error {said[POINTS]:.1f}. With more features there "
        f"are many ways, least squares takes the one with the shortest w, and the error falls again: {said[100]:.3f} "
        f"at 100, {said[1000]:.4f} at 1000 features. Here that is not quite as good as {few} features. Below: the fits "
        "of one draw, seed 0, and its points. (Training errors below 10⁻⁶ are drawn there; from 20 features on they "
        "are 0 but for rounding.)",
        made_with="toys.noisy_sine",
        alt="Above, the test error over the number of features falls, rises to a sharp peak at 20, and falls again, "
        "while the training error drops to zero at 20. Below, three fits: close to the sine, wild, and close again.",
        figure=figure,
    )
