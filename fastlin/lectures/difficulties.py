"""Figures of `fastlin lectures`: what is hard for gradient descent, and momentum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

import fastlin as fl
from fastlin import toys
from fastlin._check import Array
from fastlin.lectures.exhibit import COLOURS, Exhibit, new, tidy
from fastlin.lectures.optimizers import (
    BOWL_LEVELS,
    BOWL_START,
    COLOUR,
    CONDITION,
    MARKERS,
    MOMENTUM,
    RULES,
    SADDLE_START,
    SAME,
    Surface,
    contours,
    draw,
    draw_values,
    valley,
    values,
    walk,
)

# ---- The condition number --------------------------------------------------------------------------------


def tuned(name: str, condition: float) -> fl.Optimizer:
    """Gradient descent, or momentum, with the constants that are best for a bowl of this condition number."""
    if name == "SGD":
        return fl.SGD(2 / (1 + condition))
    root = np.sqrt(condition)
    return fl.SGD((2 / (1 + root)) ** 2, momentum=((root - 1) / (root + 1)) ** 2)  # Polyak 1964


def steps_needed(name: str, condition: float, most: int = 4000) -> int:
    """Steps from (1, 1) until the value of the bowl is a thousandth of what it was at the start."""
    W, optimizer = np.ones(2), tuned(name, condition)
    goal = toys.bowl(W, condition)[0] / 1000
    for step in range(most):
        value, gradient = toys.bowl(W, condition)
        if value <= goal:
            return step
        optimizer.step(W, gradient)
    raise ValueError(f"{name} needs more than {most} steps for a condition number of {condition:g}")


def condition() -> Exhibit:
    """Paths in three bowls, and the steps that descent needs over the condition number."""
    figure, axes = new(1, 4, size=(12, 3.3))
    for ax, number in zip(axes[0], (2.0, 10.0, 50.0), strict=False):
        surface = lambda W, number=number: toys.bowl(W, number)  # noqa: E731
        contours(ax, surface, (1.2, 1.2), number / 2 * np.array([0.03, 0.1, 0.3, 0.6, 1.0]))
        draw(ax, walk(surface, tuned("SGD", number), (1.0, 1.0), 20), "SGD")
        ax.plot(0, 0, marker="*", color="#222", markersize=10)
        tidy(ax, f"condition number {number:g}", "w₀", "w₁")
        ax.grid(False)
    numbers = np.geomspace(2, 1000, 10)
    ax = axes[0, 3]
    for name in ("SGD", "momentum"):
        steps = [steps_needed(name, number) for number in numbers]
        ax.loglog(numbers, steps, color=COLOUR[name], marker=MARKERS[name], markersize=5, label=name)
    tidy(ax, "steps to a thousandth", "condition number")
    ax.legend(frameon=False, fontsize=9)
    few, many = (steps_needed("SGD", number) for number in (10.0, 1000.0))
    root_few, root_many = (steps_needed("momentum", number) for number in (10.0, 1000.0))
    return Exhibit(
        title="The condition number",
        source="Iglesias, “Loss function has high condition number: ratio of largest to smallest singular value of the "
        "Hessian matrix is large”",
        caption="(w₀² + κ w₁²) / 2: its Hessian has the singular values 1 and κ, so that κ is its condition number. "
        "Left, the first 20 steps of gradient descent from (1, 1) by the rate that is best for each bowl, 2 / (1 + κ). "
        "Where κ is 2 it is at the star at once; the larger κ, the more it jitters along w₁ and the less it moves "
        "along w₀. Right, on logarithmic axes, the steps until the value is a thousandth of that at the start: for "
        f"κ = 10 gradient descent needs {few}, for κ = 1000 {many}, in proportion to κ. Momentum, with the constants "
        f"that are best for each κ, needs {root_few} and {root_many}: about as its root. A step of Newton’s needs 1.",
        made_with="toys.bowl, SGD",
        alt="Three bowls, each flatter than the one before; the path is a short hop in the first and a long zigzag in "
        "the last. Beside them the steps needed rise with the condition number, those of momentum half as steeply.",
        figure=figure,
    )


def left_after(curve: Array) -> int | None:
    """The first step at which the value is below -1; None if there is none."""
    low = np.flatnonzero(curve < -1)
    return int(low[0]) if len(low) else None


# ---- Four difficulties -----------------------------------------------------------------------------------

DENT_START, DENT_RATE, DENT_STEPS = (4.0,), 0.1, 150
HARD_RATE, HARD_STEPS, SIGMA, DRAWS = 0.02, 100, 2.0, 100


def noisy(surface: Surface, sigma: float, seed: int) -> Surface:
    """The surface with gradients to which normal noise of standard deviation sigma is added, as mini-batches add it."""
    rng = np.random.default_rng(seed)

    def noised(W: Array) -> tuple[float, Array]:
        value, gradient = surface(W)
        return value, gradient + sigma * rng.standard_normal(gradient.shape)

    return noised


def difficulties_values() -> dict[str, dict[str, Array]]:
    """For each difficulty and for SGD and momentum, by the same rate: the values over the steps."""
    found: dict[str, dict[str, Array]] = {}
    for name in ("SGD", "momentum"):
        rule = RULES[name]

        def along(surface: Surface, start: Sequence[float], steps: int = HARD_STEPS, lr: float = HARD_RATE) -> Array:
            return values(surface, walk(surface, rule(lr), start, steps))  # noqa: B023

        noised = []
        for seed in range(DRAWS):
            places = walk(noisy(valley, SIGMA, seed), rule(HARD_RATE), BOWL_START, HARD_STEPS)
            noised.append(values(valley, places))
        curves = {
            "a local minimum": along(toys.dented, DENT_START, DENT_STEPS, DENT_RATE),
            "a saddle point": along(toys.saddle, SADDLE_START),
            "poor conditioning": along(valley, BOWL_START),
            "gradient noise": np.mean(noised, axis=0),
        }
        for kind, curve in curves.items():
            found.setdefault(kind, {})[name] = curve
    return found


def _ball_on_curve(ax: Any) -> None:
    """The dented curve with the places of SGD and of momentum on it."""
    line = np.linspace(-2.6, 4.2, 300)
    ax.plot(line, [toys.dented(np.array([w]))[0] for w in line], color="#555", linewidth=1)
    for name, lift in (("SGD", 0.05), ("momentum", 0.0)):
        places = walk(toys.dented, RULES[name](DENT_RATE), DENT_START, DENT_STEPS)
        at = np.column_stack([places[:, 0], values(toys.dented, places) + lift])
        draw(ax, at, name, linestyle="none", markevery=2)
        ax.plot(*at[-1], color=COLOUR[name], marker=MARKERS[name], markersize=10, markeredgecolor="#222")
    ax.set(xlabel="w", ylabel="value")


def difficulties() -> Exhibit:
    """SGD beside momentum in the four situations of the slide, each by one rate."""
    figure, axes = new(2, 4, size=(12, 5.4))
    found = difficulties_values()
    _ball_on_curve(axes[0, 0])
    pictures: tuple[tuple[Surface, Surface, Sequence[float], tuple[float, float], Any], ...] = (
        (toys.saddle, toys.saddle, SADDLE_START, (1.6, 1.6), np.linspace(-2.4, 2.4, 13)),
        (valley, valley, BOWL_START, (4.0, 0.9), BOWL_LEVELS),
        (valley, noisy(valley, SIGMA, 0), BOWL_START, (4.0, 0.9), BOWL_LEVELS),
    )
    for ax, (ground, surface, start, half, levels) in zip(axes[0, 1:], pictures, strict=True):
        contours(ax, ground, half, levels)
        for name in ("momentum", "SGD"):
            draw(ax, walk(surface, RULES[name](HARD_RATE), start, HARD_STEPS), name, markevery=2)
        ax.plot(0, 0, marker="x" if ground is toys.saddle else "*", color="#222", markersize=10)
        ax.set(xlabel="w₀", ylabel="w₁")
    for above, below, (kind, curves) in zip(axes[0], axes[1], found.items(), strict=True):
        for name, curve in curves.items():
            draw_values(below, curve, name)
        above.set_title(kind, loc="left", fontsize=10)
        tidy(below, "value over the steps", "step")
    axes[1, 1].set_ylim(-3, 2.4)
    for ax in axes[1, 2:]:
        ax.set(yscale="log", ylim=(1e-4, 40))
    for ax in axes[1]:
        ax.legend(frameon=False, fontsize=9)
    noise = found["gradient noise"]
    stuck, through = (found["a local minimum"][name][-1] for name in ("SGD", "momentum"))
    return Exhibit(
        title="Four difficulties, without and with momentum",
        source="Iglesias, “SGD + Momentum”: “Local Minima, Saddle points, Poor Conditioning, Gradient Noise”; UIT, "
        "“Tìm cực tiểu cục bộ” (finds a local minimum)",
        caption=f"SGD (circles) beside SGD with momentum {MOMENTUM} (squares), both by the same rate: {DENT_RATE:g} in "
        f"the first column, {HARD_RATE:g} in the others. Above are the paths, every other step marked; below the "
        "values: lower is better. In a local minimum the slope is zero, so that SGD, coming from the right (drawn a "
        f"little above the curve), stays in the dent at {stuck:.2g}; momentum runs through to the minimum at "
        f"{through:.1g}. Near a saddle (cross) the slope is nearly zero: momentum has fallen below −1 after "
        f"{left_after(found['a saddle point']['momentum'])} steps, SGD has not after {HARD_STEPS}. In the bowl, "
        f"{CONDITION:g} times as steep along w₁, momentum is faster along w₀. With noise in the gradient (normal, "
        f"standard deviation {SIGMA:g}; the path of seed 0, and the mean value of {DRAWS} seeds) momentum is sooner "
        f"near the star, {noise['momentum'][30]:.2g} against {noise['SGD'][30]:.2g} after 30 steps, but then comes no "
        "nearer: its steps are ten times as long in the long run, and it goes on jumping about at "
        f"{noise['momentum'][-1]:.2g}. There a lower rate helps.",
        made_with="toys.dented, toys.saddle, toys.bowl, SGD",
        alt="Four pairs of paths: SGD stays in a dent, rests at a saddle, crawls along a bowl, and creeps on under "
        "noise; momentum runs through the dent, leaves the saddle, reaches the star, and jumps about it.",
        figure=figure,
    )


# ---- The saddle ------------------------------------------------------------------------------------------

SADDLE_STEPS, SADDLE_SIGMA = 200, 0.1


def saddle_walks() -> dict[str, dict[str, Array]]:
    """The places of each rule from the ridge, from beside it, and from the ridge with noise in the gradient."""
    ridge = (SADDLE_START[0], 0.0)
    return {
        name: {
            "on the ridge": walk(toys.saddle, RULES[name](lr), ridge, SADDLE_STEPS),
            "0.01 beside it": walk(toys.saddle, RULES[name](lr), SADDLE_START, SADDLE_STEPS),
            "ridge with noise": walk(noisy(toys.saddle, SADDLE_SIGMA, 0), RULES[name](lr), ridge, SADDLE_STEPS),
        }
        for name, lr in SAME.items()
    }


def saddle() -> Exhibit:
    """Six optimizers that start on the ridge of a saddle, beside it, and on it with noise."""
    figure, axes = new(1, 4, size=(12, 3.5))
    walks = saddle_walks()
    contours(axes[0, 0], toys.saddle, (1.6, 1.6), np.linspace(-2.4, 2.4, 13))
    for (kind, places), colour, up in zip(
        walks["SGD"].items(), ("#222", *COLOURS[3:5]), (0.12, 1.0, -1.1), strict=True
    ):
        axes[0, 0].plot(*places.T, color=colour, marker=".", markevery=5, linewidth=0.9)
        axes[0, 0].text(-1.5 if colour == "#222" else 0.08, up, kind, color=colour, fontsize=8)
    axes[0, 0].plot(0, 0, marker="x", color=COLOURS[1], markersize=10, markeredgewidth=2, linestyle="none")
    axes[0, 0].set(xlabel="w₀", ylabel="w₁")
    axes[0, 0].set_title("SGD’s three paths", loc="left", fontsize=10)
    for ax, kind in zip(axes[0, 1:], walks["SGD"], strict=True):
        for name in RULES:
            found = values(toys.saddle, walks[name][kind])
            draw_values(ax, found[: (left_after(found) or SADDLE_STEPS) + 9], name)
        ax.set(xscale="log", xlim=(1, SADDLE_STEPS), ylim=(-2, 2.4))
        tidy(ax, kind, "step, from 1 on a logarithmic axis", "value")
    axes[0, 1].legend(frameon=False, fontsize=8, ncols=2, loc="lower left")
    rows = [("rule", "rate", *(f"steps to −1, {kind}" for kind in walks["SGD"]))]
    for name, lr in SAME.items():
        counts = [left_after(values(toys.saddle, places)) for places in walks[name].values()]
        rows.append((name, f"{lr:g}", *("never" if count is None else str(count) for count in counts)))
    return Exhibit(
        title="A saddle",
        source="Iglesias, “What if the loss function has a local minima or saddle point?”, “Zero gradient, gradient "
        "descent gets stuck”",
        caption="w₀² − w₁² is lowest along w₀ and highest along w₁ at the cross, where its gradient is zero, and it "
        f"falls for ever along w₁. SGD, momentum and Nesterov have the rate {SAME['SGD']:g}, the adaptive rules "
        f"{SAME['Adam']:g}. From a start exactly on the ridge, w₁ = 0, the gradient along w₁ is exactly zero: every "
        "rule walks to the cross and stays. From a hundredth beside the ridge all leave in the end, the table says "
        "when the value is below −1: SGD, whose steps are as small as the slope, last; the adaptive rules, which "
        "divide by the size of the slope, first. Noise in the gradient (normal, standard deviation "
        f"{SADDLE_SIGMA:g}, seed 0), as mini-batches have it, pushes every rule off the ridge too: gradient descent "
        "with noise does not stay at a saddle, it only loses time there.",
        made_with="toys.saddle, SGD, AdaGrad, RMSProp, Adam",
        alt="Three paths of SGD over the contours of a saddle, one ends at the cross and two turn off. Beside it the "
        "values of six rules: on the ridge all stay at zero, beside it and with noise all fall, the adaptive ones "
        "first and SGD last.",
        figure=figure,
        table=rows,
    )


# ---- Momentum and Nesterov as vectors --------------------------------------------------------------------

ARROWS_LR, ARROWS_START, ARROWS_CONDITION = 0.15, (-3.0, 0.6), 6.0


def arrows_bowl(W: Array) -> tuple[float, Array]:
    """The bowl of the pictures with arrows, and its gradient."""
    return toys.bowl(W, ARROWS_CONDITION)


class Arrows(NamedTuple):
    """One step in the lecture's words: from x by rho v, and by -lr times the gradient at `looked_at`, to `reached`."""

    x: Array
    looked_at: Array
    velocity: Array  # rho v
    gradient: Array  # -lr times the gradient
    reached: Array


def arrows(nesterov: bool) -> Arrows:
    """The second step of `fl.SGD`, taken apart. The first, from rest, is the same with and without nesterov.

    `fl.SGD` keeps the sum of gradients v of the first formulation; the lecture's velocity is -lr times it. With
    nesterov its W is x + rho v.
    """
    optimizer = fl.SGD(ARROWS_LR, momentum=MOMENTUM, nesterov=nesterov)
    W = walk(arrows_bowl, optimizer, ARROWS_START, 1)[-1]

    def carried() -> Array:
        return np.asarray(-ARROWS_LR * MOMENTUM * optimizer.state_dict()["v.0"])

    looked_at, velocity, gradient = W.copy(), carried(), -ARROWS_LR * arrows_bowl(W)[1]
    optimizer.step(W, arrows_bowl(W)[1])
    if nesterov:
        return Arrows(looked_at - velocity, looked_at, velocity, gradient, W - carried())
    return Arrows(looked_at, looked_at, velocity, gradient, W)


def both_sequences(steps: int = 20) -> tuple[Array, Array, Array]:
    """x of the lecture's formula, the x + rho v that it looks at, and the W of `fl.SGD(nesterov=True)`."""
    x, v = np.array(ARROWS_START), np.zeros(2)
    xs, ahead = [x], [x]
    for _ in range(steps):
        v = MOMENTUM * v - ARROWS_LR * arrows_bowl(x + MOMENTUM * v)[1]
        x = x + v
        xs.append(x)
        ahead.append(x + MOMENTUM * v)
    ours = walk(arrows_bowl, fl.SGD(ARROWS_LR, momentum=MOMENTUM, nesterov=True), ARROWS_START, steps)
    return np.array(xs), np.array(ahead), ours


def _arrow(ax: Any, start: Array, move: Array, colour: str, text: str, offset: tuple[float, float]) -> None:
    """An arrow with its name, `offset` points from its middle."""
    how = {"arrowstyle": "-|>", "color": colour, "linewidth": 2.2, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 16}
    ax.annotate("", start + move, start, arrowprops=how)
    ax.annotate(text, start + move / 2, offset, textcoords="offset points", color=colour, fontsize=10, ha="center")


def _picture_of(ax: Any, step: Arrows, offsets: Sequence[tuple[float, float]]) -> None:
    """The three arrows of a step, over the contours."""
    contours(ax, arrows_bowl, (4.0, 2.4), np.arange(0.2, 8, 0.3))
    start = np.array(ARROWS_START)
    ax.plot(*np.array([start, step.x]).T, color="#777", linestyle="--", linewidth=1, marker="o", markersize=5)
    _arrow(ax, step.x, step.velocity, COLOURS[2], "velocity ρv", offsets[0])
    _arrow(ax, step.looked_at, step.gradient, COLOURS[1], "gradient, −α∇f", offsets[1])
    _arrow(ax, step.x, step.reached - step.x, COLOURS[0], "actual step", offsets[2])
    ax.plot(*step.x, "o", color="#222", markersize=7)
    ax.set(xlim=(-3.15, -1.5), ylim=(-0.62, 0.75), xlabel="w₀", ylabel="w₁")


def vectors() -> Exhibit:
    """Momentum's and Nesterov's step as arrows, and the change of variables."""
    figure, axes = new(1, 3, size=(12, 4))
    _picture_of(axes[0, 0], arrows(nesterov=False), ((-30, -22), (36, 6), (38, 0)))
    _picture_of(axes[0, 1], arrows(nesterov=True), ((-30, -22), (28, -32), (10, 12)))
    axes[0, 0].set_title("momentum: the gradient at x", loc="left", fontsize=10)
    axes[0, 1].set_title("Nesterov: the gradient at x + ρv", loc="left", fontsize=10)
    xs, ahead, ours = both_sequences()
    ax = axes[0, 2]
    ax.plot(*xs.T, color=COLOURS[3], marker=".", linewidth=1, label="x of the formula")
    ax.plot(*ahead.T, color="#222", marker="o", markersize=9, markerfacecolor="none", linestyle="none", label="x + ρv")
    ax.plot(*ours.T, color=COLOUR["Nesterov"], marker=".", linewidth=1, label="W of fl.SGD(nesterov=True)")
    ax.plot(0, 0, marker="*", color="#222", markersize=10)
    tidy(ax, "the change of variables", "w₀", "w₁")
    ax.legend(frameon=False, fontsize=9)
    low = {nesterov: arrows(nesterov).reached[1] for nesterov in (False, True)}
    return Exhibit(
        title="Momentum and Nesterov as arrows",
        source="Iglesias, “Combine gradient at current point with velocity to get step used to update weights”, "
        "“Nesterov Momentum”, “Change of variables x̃ = x + ρv and rearrange”",
        caption=f"The second step in the bowl (w₀² + {ARROWS_CONDITION:g} w₁²) / 2, with rate α = {ARROWS_LR:g} and "
        f"ρ = {MOMENTUM}. The first (dashed) starts at rest and is the same for both, so that both are at the same x "
        "(black) with the same velocity. Momentum adds the gradient at x to the velocity. Nesterov first looks where "
        "the velocity leads to, at x + ρv, and takes the gradient from there: it finds that it would be past the "
        f"floor of the bowl, w₁ = 0, and turns back, to w₁ = {low[True]:.2f}, where momentum goes on to "
        f"{low[False]:.2f}. Right: x (small points) and x + ρv (rings) by the slide’s formula over 20 steps, and what "
        "SGD with nesterov=True gives. It is x + ρv: the formula in terms of x̃ = x + ρv is the same method. (v is a "
        "running sum of gradients, in which old ones fade; the slide says “running mean”.)",
        made_with="toys.bowl, SGD.step, SGD.state_dict",
        alt="Two pictures with three arrows each: velocity and gradient from one point add up to momentum's step; "
        "Nesterov's gradient starts at the tip of the velocity and points back. Beside them a curl of points, in "
        "which the rings and the points of SGD coincide.",
        figure=figure,
    )
