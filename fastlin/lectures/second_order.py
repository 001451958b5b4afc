"""Figures of `fastlin lectures`: Newton's step, saddles in many dimensions, L-BFGS in full and in mini-batches."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import fastlin as fl
from fastlin._check import Array
from fastlin._solvers import lbfgs
from fastlin._solvers.problem import Point, point
from fastlin.lectures.exhibit import COLOURS, GREY, Exhibit, digits, new, percent, tidy
from fastlin.lectures.optimizers import BOWL_LEVELS, BOWL_START, COLOUR, MARKERS, RULES, contours, draw, valley, walk

# ---- Newton's step ---------------------------------------------------------------------------------------

NEWTON_NEAR, NEWTON_FAR = -0.5, -2.0
SIZES = {
    "digits: 65 · 10": 650,
    "CIFAR-10: 3073 · 10": 30_730,
    "a ConvNet such as ResNet-50: about": 25_000_000,
    "hundreds of millions, as the slide has it": 100_000_000,
}


def curve(W: Array) -> tuple[float, Array]:
    """A loss of one weight, W (1,): the logistic loss of five points with a little L2."""
    X, y = np.array([[-2.0], [-0.5], [0.7], [1.5], [3.0]]), np.array([0, 1, 0, 1, 1])
    loss, dW = fl.logistic_loss(W[:, None], X, y, 0.05)
    return loss, dW[:, 0]


def touching(w0: float) -> tuple[float, float, float]:
    """The value, the slope and the curvature of `curve` at w0: of the line and of the parabola that touch it."""
    W = np.array([w0])
    value, slope = curve(W)
    return value, float(slope[0]), float(fl.numerical_hessian(curve, W)[0, 0])


def in_bytes(numbers: int) -> str:
    """The memory that so many float64 take."""
    size = 8.0 * numbers
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.3g} PB"


def _touch(ax: Any, w0: float, low: float, high: float) -> None:
    """The curve, the line and the parabola that touch it at w0, and Newton's step to the parabola's lowest point."""
    line = np.linspace(low, high, 200)
    value, slope, curvature = touching(w0)
    reached = float(fl.newton_step(curve, np.array([w0]))[0])
    parabola = np.polynomial.Polynomial([value, slope, curvature / 2])
    lowest, there = parabola(reached - w0), curve(np.array([reached]))[0]
    ax.plot(line, [curve(np.array([w]))[0] for w in line], color="#222", linewidth=2, label="loss")
    ax.plot(line, value + slope * (line - w0), color=COLOURS[0], linestyle="--", label="first order: a line")
    ax.plot(line, parabola(line - w0), color=COLOURS[1], linestyle="-.", label="second order: a parabola")
    ax.plot([reached] * 2, [lowest, there], color=GREY, linestyle=":")
    ax.plot(w0, value, "o", color="#222", markersize=8)
    ax.plot(reached, lowest, "v", color=COLOURS[1], markersize=9, label="its minimum")
    ax.plot(reached, there, "s", color=COLOURS[2], markersize=8, label="the loss there")
    ax.set_xlim(low, high)


def newton() -> Exhibit:
    """The parabola at a point of a curve, a bowl solved by one step, and the size of the Hessian."""
    figure, axes = new(1, 3, size=(12, 4))
    for ax, w0, low, high in zip(axes[0], (NEWTON_NEAR, NEWTON_FAR), (-2.0, -3.0), (3.0, 8.0), strict=False):
        _touch(ax, w0, low, high)
        tidy(ax, f"from w = {w0:g}", "w", "loss")
    axes[0, 0].set_ylim(-0.2, 3.2)
    axes[0, 1].set_ylim(-4.5, 7.5)
    axes[0, 0].legend(frameon=False, fontsize=8)
    ax = axes[0, 2]
    contours(ax, valley, (4.0, 0.9), BOWL_LEVELS)
    start = np.array(BOWL_START)
    draw(ax, walk(valley, RULES["SGD"](0.03), BOWL_START, 40), "SGD", label="40 steps of gradient descent")
    ax.plot(
        *np.array([start, fl.newton_step(valley, start)]).T, color=COLOURS[1], marker="s", label="1 step of Newton’s"
    )
    ax.plot(0, 0, marker="*", color="#222", markersize=10)
    ax.set(xlabel="w₀", ylabel="w₁")
    ax.set_title("a bowl", loc="left", fontsize=10)
    ax.legend(fontsize=8)
    near, far = (float(fl.newton_step(curve, np.array([w]))[0]) for w in (NEWTON_NEAR, NEWTON_FAR))
    rows = [("weights", "N", "entries of the Hessian, N²", "as float64")]
    rows += [(what, f"{n:,}", f"{n * n:.3g}", in_bytes(n * n)) for what, n in SIZES.items()]
    return Exhibit(
        title="Newton: a parabola instead of a line",
        source="Iglesias, “First-Order Optimization”, “Use gradient and Hessian to form quadratic approximation”, “Why "
        "is this bad for deep learning?”",
        caption="Left: the loss of one weight (logistic, five points) and what touches it at the black point. A line "
        "says which way is down, but not how far; the parabola, which bends as the loss does, has a lowest point "
        f"(triangle), and Newton’s step goes there. From {NEWTON_NEAR:g} it leads to {near:.2f}, near the minimum. "
        f"Middle: from {NEWTON_FAR:g}, where the loss is nearly straight, it leads far too far, to {far:.2f}, where "
        "the loss is higher than before: good methods check that. Right: a bowl is a parabola, so that one step "
        "reaches the star, whatever the condition number; gradient descent (rate 0.03) jitters and crawls. The table "
        "says why this is bad for deep learning: the Hessian has a row and a column for each weight. Two slips of the "
        "slide: its “BGFS” is BFGS; and BFGS adds matrices of rank 2 at each step, not rank 1 (a method that does is "
        "called SR1).",
        made_with="newton_step, numerical_hessian, logistic_loss, toys.bowl",
        alt="Two curves with a straight line and a parabola that touch them: near the minimum the parabola's lowest "
        "point is close to the curve's, far away it is far off. Beside them one straight step to the star of a bowl, "
        "and a zigzag.",
        figure=figure,
        table=rows,
    )


# ---- Saddles in many dimensions --------------------------------------------------------------------------

DIMENSIONS, MATRICES = tuple(range(1, 11)), 300


def _quadratic(A: Array, W: Array) -> tuple[float, Array]:
    """W A W / 2 and its gradient A W, for symmetric A."""
    return float(W @ A @ W) / 2, A @ W


def signs(n: int, count: int = MATRICES) -> tuple[float, float]:
    """Of `count` random quadratics of n weights, seeds 0, 1, ...: the shares that have a minimum, and a saddle, at 0.

    The matrices are symmetric; their entries are normal, with variance 2 on the diagonal and 1 elsewhere (a Gaussian
    orthogonal ensemble).
    """
    minima = saddles = 0
    for seed in range(count):
        A = np.random.default_rng(seed).standard_normal((n, n))
        A = (A + A.T) / np.sqrt(2)
        H = fl.numerical_hessian(partial(_quadratic, A), np.zeros(n))
        values = np.linalg.eigvalsh(H)
        minima += bool(values[0] > 0)
        saddles += bool(values[0] < 0 < values[-1])
    return minima / count, saddles / count


def many_dimensions() -> Exhibit:
    """The shares of minima and of saddles among random quadratics, over the number of weights."""
    figure, axes = new(size=(9, 3.4))
    ax = axes[0, 0]
    minima, saddles = np.array([signs(n) for n in DIMENSIONS]).T
    shown = ((saddles, "saddles", COLOURS[1], "s"), (minima, "minima", COLOURS[0], "o"))
    for shares, name, colour, marker in shown:
        ax.plot(DIMENSIONS, 100 * shares, color=colour, marker=marker, label=name)
    ax.plot(DIMENSIONS, 100 * (1 - minima - saddles), color=GREY, marker="^", linestyle=":", label="maxima")
    tidy(ax, "what the middle of a random quadratic is, %", "number of weights")
    ax.set_xticks(DIMENSIONS)
    ax.legend(frameon=False, fontsize=9, loc="center right")
    return Exhibit(
        title="Saddles are more common in high dimension",
        source="Iglesias, “Saddle points much more common in high dimension”",
        caption=f"For each number of weights, {MATRICES} random symmetric Hessians (normal entries, seeds 0 to "
        f"{MATRICES - 1}). Where the gradient is zero, eigenvalues that are all positive mean a minimum, all negative "
        f"a maximum, both signs a saddle. With one weight there is no saddle; with two {percent(saddles[1])} are "
        f"saddles, with three {percent(saddles[2])}, and with {DIMENSIONS[int(np.argmax(minima == 0))]} or more not "
        "one of them is a minimum: a minimum has to bend upwards in every direction at once. The Hessians of a "
        "network are not random matrices, and near a low loss they are more often minima; but it is why one meets "
        "saddles rather than bad minima.",
        made_with="numerical_hessian",
        alt="Over one to ten weights the share of saddles rises from 0 to nearly all, and the shares of minima and "
        "maxima fall from a half each to 0.",
        figure=figure,
    )


# ---- Full batches and mini-batches -----------------------------------------------------------------------

REG, PASSES, BATCH, CHUNK = 1e-3, 60, 128, 20
FULL_RATES: dict[str, tuple[float, ...]] = {"momentum": (0.1, 0.3, 1.0, 3.0), "Adam": (0.01, 0.03, 0.1, 0.3)}

Curve = tuple[Array, Array]  # passes over the rows, and the loss of all rows


def _all_rows(W: Array) -> float:
    """The softmax loss of all training digits, penalty included."""
    X, y, _, _ = digits()
    return fl.softmax_loss(W.reshape(X.shape[1] + 1, 10), X, y, REG, bias=True)[0]


def full_batch(name: str) -> tuple[float, Curve]:
    """The best of FULL_RATES for this rule in full batches, and its loss before each pass."""
    X, y, _, _ = digits()
    runs = {}
    for lr in FULL_RATES[name]:
        how: dict[str, Any] = {"reg": REG, "epochs": PASSES, "batch_size": len(X)}
        runs[lr] = np.array(fl.train(X, y, optimizer=RULES[name](lr), **how).history["loss"])
    best = min(runs, key=lambda lr: float(runs[lr][-1]))
    return best, (np.arange(PASSES), runs[best])


def quasi_newton(batch: int | None = None) -> Curve:
    """L-BFGS where each look at the loss takes all digits, or other `batch` random digits (seed 0) each time."""
    X, y, _, _ = digits()
    rng, n = np.random.default_rng(0), len(X)
    looks: list[tuple[float, Array]] = []
    found = []

    def loss(W: Array) -> Point:
        rows = slice(None) if batch is None else rng.choice(n, batch, replace=False)
        value, dW = fl.softmax_loss(W.reshape(-1, 10), X[rows], y[rows], REG, bias=True)
        looks.append((value, W.copy()))
        return point(W, value, dW.ravel())

    def note(value: float) -> None:
        W = next(W for seen, W in reversed(looks) if seen == value)
        found.append((len(looks) * (batch or n) / n, _all_rows(W)))

    start = loss(np.zeros((X.shape[1] + 1) * 10))
    note(start.value)
    lbfgs.minimize(loss, start, PASSES, 0.0, note)
    passes, losses = np.array([pair for pair in found if pair[0] <= PASSES]).T
    return passes, losses


def batch_by_batch() -> Curve:
    """L-BFGS by `fl.minimize`, CHUNK iterations on each mini-batch, which go on from the W of the one before."""
    X, y, _, _ = digits()
    rng, W = np.random.default_rng(0), np.zeros((X.shape[1] + 1, 10))
    passes, losses = [0.0], [_all_rows(W)]
    while passes[-1] < PASSES:
        rows = rng.choice(len(X), BATCH, replace=False)
        result = fl.minimize(X[rows], y[rows], solver="lbfgs", reg=REG, W=W, max_iter=CHUNK, tol=0.0)
        W = result.W
        passes.append(passes[-1] + len(result.history["loss"]) * BATCH / len(X))
        losses.append(_all_rows(W))
    return np.array(passes), np.array(losses)


def mini_batches() -> Curve:
    """Momentum in mini-batches, as they are usual: the loss of all rows after each pass."""
    X, y, _, _ = digits()
    losses = []
    how: dict[str, Any] = {"reg": REG, "epochs": PASSES - 1, "batch_size": BATCH, "seed": 0}
    note = lambda epoch, so_far: losses.append(_all_rows(so_far.W))  # noqa: E731
    fl.train(X, y, optimizer=RULES["momentum"](0.1), callback=note, **how)
    return np.arange(PASSES), np.array([_all_rows(np.zeros((X.shape[1] + 1, 10))), *losses])


def batches() -> Exhibit:
    """L-BFGS, Adam and momentum in full batches, and L-BFGS in mini-batches."""
    figure, axes = new(1, 2, size=(11, 3.9), sharex=True, sharey=True)
    X, y, _, _ = digits()
    lowest = fl.minimize(X, y, reg=REG, max_iter=1000, tol=1e-7).history["loss"][-1]
    full = {name: full_batch(name) for name in FULL_RATES}
    quasi = quasi_newton()
    noisy, each, usual = quasi_newton(BATCH), batch_by_batch(), mini_batches()
    left, right = axes[0]
    for name, (lr, (passes, losses)) in full.items():
        how = {"color": COLOUR[name], "marker": MARKERS[name], "markevery": 6}
        left.semilogy(passes, losses - lowest, label=f"{name}, rate {lr:g}", **how)
    for ax in axes[0]:
        ax.semilogy(quasi[0], quasi[1] - lowest, color="#222", linewidth=2, label="L-BFGS, all digits")
    shown = (
        (noisy, f"L-BFGS, {BATCH} other digits at each look", COLOURS[4], "v", 1),
        (each, f"L-BFGS, mini-batches of {BATCH}", COLOURS[3], "^", 4),
        (usual, f"momentum, mini-batches of {BATCH}", COLOURS[1], "s", 6),
    )
    for (passes, losses), label, colour, marker, every in shown:
        right.semilogy(passes, losses - lowest, color=colour, marker=marker, markevery=every, label=label)
    tidy(left, "full batches", "passes over the digits", "loss above the lowest")
    tidy(right, "mini-batches", "passes over the digits")
    for ax in axes[0]:
        ax.legend(frameon=False, fontsize=8)
    return Exhibit(
        title="L-BFGS in full batches and in mini-batches",
        source="Iglesias, “L-BFGS usually works very well in full batch, deterministic mode”, “Does not transfer very "
        "well to mini-batch setting”, “don’t forget to disable all sources of noise”",
        caption=f"Softmax on the training digits, λ = {REG:g}: how far the loss of all of them is above the lowest, "
        f"{lowest:.4f}, over the passes through the digits, on a logarithmic axis. Left, each step looks at all "
        f"digits; momentum and Adam have the best of {len(FULL_RATES['Adam'])} rates each. L-BFGS, which learns "
        f"the curvature from past gradients and needs no rate, is at {quasi[1][-1] - lowest:.1g} after {PASSES} "
        f"passes, Adam at {full['Adam'][1][1][-1] - lowest:.1g}. Right, with {BATCH} digits at a time (seed 0). If "
        f"each look is at {BATCH} other digits, L-BFGS takes the noise for curvature and soon finds no step that "
        f"lowers the loss: it gives up after {noisy[0][-1]:.1f} passes, at {noisy[1][-1] - lowest:.2f}. If it takes "
        f"{CHUNK} iterations on each mini-batch, it fits that one, forgets the others, and stays near "
        f"{each[1][-1] - lowest:.2f}. Momentum in mini-batches (rate 0.1), which averages the noise out, is at "
        f"{usual[1][-1] - lowest:.1g}.",
        made_with="minimize, train, SGD, Adam, softmax_loss",
        alt="Two panels of falling curves. Left, L-BFGS ends far below Adam and momentum. Right, both curves of L-BFGS "
        "in mini-batches stay high, one breaks off, while momentum in mini-batches falls on.",
        figure=figure,
    )
