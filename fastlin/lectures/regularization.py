"""Figures of `fastlin lectures`: penalties, bias and variance."""

from __future__ import annotations

from typing import Any

import numpy as np

import fastlin as fl
from fastlin import toys
from fastlin._check import Array
from fastlin.lectures.exhibit import COLOURS, Exhibit, digits, new, tidy

DEGREES = tuple(range(13))
GRID = np.linspace(-1.0, 1.0, 201)
LAMBDAS = np.logspace(-4, -1, 10)


def penalty_path(kind: str) -> tuple[Array, Array, Array]:
    """For each of LAMBDAS with "L1" or "L2": the share of weights that are exactly 0, training and test accuracy."""
    X, y, X_test, y_test = digits()
    used = X.any(axis=0)  # pixels that are always blank keep weight 0 under any penalty
    X, X_test = X[:, used], X_test[:, used]
    found = []
    for lam in LAMBDAS:
        how: dict[str, Any] = {"optimizer": fl.SGD(0.5, momentum=0.9, prox=fl.L1(lam) if kind == "L1" else fl.L2(lam))}
        start = 0.01 * np.random.default_rng(0).standard_normal((X.shape[1], 10))
        result = fl.train(X, y, W=start, bias=False, epochs=200, batch_size=len(X), **how)
        zero = float(np.mean(result.W == 0))
        found.append((zero, result.accuracy(X, y), result.accuracy(X_test, y_test)))
    zeros, training, test = np.array(found).T
    return zeros, training, test


def penalties() -> Exhibit:
    """The weights that are exactly zero, and accuracy, over lambda."""
    figure, axes = new(1, 2, size=(9, 3.5))
    for kind, colour in (("L1", COLOURS[1]), ("L2", COLOURS[0])):
        zeros, training, test = penalty_path(kind)
        axes[0, 0].semilogx(LAMBDAS, 100 * zeros, color=colour, marker=".", label=kind)
        axes[0, 1].semilogx(LAMBDAS, 100 * test, color=colour, marker=".", label=f"{kind}, unseen digits")
        axes[0, 1].semilogx(LAMBDAS, 100 * training, color=colour, linestyle=":", label=f"{kind}, training digits")
    tidy(axes[0, 0], "weights that are exactly 0, %", "λ")
    tidy(axes[0, 1], "digits right, %", "λ")
    for ax in axes[0]:
        ax.legend(frameon=False, fontsize=9)
    return Exhibit(
        title="Regularisation: what L1 and L2 prefer",
        source="all five, “Regularization”; all but Kira and UIT, “Expressing Preferences”",
        caption="The same softmax classifier of digits with a growing λ. L1 puts more and more weights at exactly 0: "
        "it prefers few features. L2 makes all weights small and none zero: it prefers to spread them out. As λ grows "
        "the gap between training and unseen digits closes; with too much, both fall. (L1 by proximal steps, which "
        "reach 0 exactly.)",
        made_with="train, SGD, L1, L2",
        alt="Left, the share of zero weights rises with lambda for L1 and stays 0 for L2. Right, accuracy over lambda "
        "is flat and then falls.",
        figure=figure,
    )


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
    figure, axes = new(1, 4, size=(11, 3.1))
    for ax, degree in zip(axes[0], (1, 3, 10), strict=False):
        fits = polynomial_fits(degree)
        ax.plot(GRID, fits.T, color=COLOURS[0], alpha=0.18, linewidth=0.8)
        ax.plot(GRID, np.sin(np.pi * GRID), color="#222", linewidth=1.5, label="truth, sin(πx)")
        ax.plot(GRID, fits.mean(axis=0), color=COLOURS[1], linestyle="--", linewidth=1.8, label="mean of 50 fits")
        tidy(ax, f"degree {degree}", "x")
        ax.set_ylim(-1.4, 1.4)
    axes[0, 0].legend(frameon=False, fontsize=8, loc="lower right")
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
        caption="y = sin(πx) + noise (σ = 0.1), drawn 50 times with 20 points each. A straight line is always wrong in "
        "the same way (bias). Degree 10 is right on average, but each fit follows the noise of its points (variance). "
        f"Their sum is least at degree {best} here.",
        made_with="toys.noisy_sine",
        alt="Fifty fitted curves each for degrees 1, 3 and 10 over a sine: all wrong alike, all close, and close but "
        "scattered. Beside them bias falls and variance rises with the degree.",
        figure=figure,
    )
