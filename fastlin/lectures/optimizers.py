"""Figures of `fastlin lectures`: the paths of optimizers on surfaces."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

import fastlin as fl
from fastlin import toys
from fastlin._check import Array
from fastlin.lectures.exhibit import COLOURS, Exhibit, new, tidy

Surface = Callable[[Array], tuple[float, Array]]

MOMENTUM = 0.9
RULES: dict[str, Callable[[float], fl.Optimizer]] = {  # by their learning rate
    "SGD": lambda lr: fl.SGD(lr),
    "momentum": lambda lr: fl.SGD(lr, momentum=MOMENTUM),
    "Nesterov": lambda lr: fl.SGD(lr, momentum=MOMENTUM, nesterov=True),
    "AdaGrad": lambda lr: fl.AdaGrad(lr),
    "RMSProp": lambda lr: fl.RMSProp(lr, alpha=0.9),
    "Adam": lambda lr: fl.Adam(lr),
}
DESCENTS, ADAPTIVE = tuple(RULES)[:3], tuple(RULES)[3:]
MARKERS = dict(zip(RULES, "osD^vP", strict=True))
COLOUR = dict(zip(RULES, COLOURS, strict=True))
SAME = dict.fromkeys(DESCENTS, 0.02) | dict.fromkeys(ADAPTIVE, 0.1)  # one rate for each family
RATES = tuple(digit / power for power in (1000, 100, 10) for digit in (1, 2, 3, 5, 7, 9)) + (1.0,)

CONDITION, BOWL_START, BOWL_STEPS = 60.0, (-3.5, 0.5), 60
BOWL_LEVELS = (0.1, 0.5, 1.5, 4, 8, 14, 21)
SADDLE_START = (-1.5, 0.01)


def valley(W: Array) -> tuple[float, Array]:
    """The bowl of the figures, (w0^2 + 60 w1^2) / 2, and its gradient."""
    return toys.bowl(W, CONDITION)


def walk(surface: Surface, optimizer: fl.Optimizer, start: Sequence[float], steps: int) -> Array:
    """The points (steps + 1, len(start)) that an optimizer reaches."""
    W = np.array(start)
    places = [W.copy()]
    for _ in range(steps):
        optimizer.step(W, surface(W)[1])
        places.append(W.copy())
    return np.array(places)


def values(surface: Surface, places: Iterable[Array]) -> Array:
    """The values of the surface at these points."""
    return np.array([surface(place)[0] for place in places])


def noisy(surface: Surface, sigma: float, seed: int) -> Surface:
    """The surface with gradients to which normal noise of standard deviation sigma is added, as mini-batches add it."""
    rng = np.random.default_rng(seed)

    def noised(W: Array) -> tuple[float, Array]:
        value, gradient = surface(W)
        return value, gradient + sigma * rng.standard_normal(gradient.shape)

    return noised


def contours(ax: Any, surface: Surface, half: tuple[float, float], levels: Any) -> None:
    """Lines of equal value of the surface, within `half` of the origin."""
    across, up = np.linspace(-half[0], half[0], 81), np.linspace(-half[1], half[1], 81)
    height = np.array([[surface(np.array([w0, w1]))[0] for w0 in across] for w1 in up])
    ax.contour(across, up, height, levels=levels, cmap="Greys_r", linewidths=0.7, alpha=0.6)
    ax.set(xlim=(-half[0], half[0]), ylim=(-half[1], half[1]))


def draw(ax: Any, places: Array, name: str, **how: Any) -> None:
    """A path, in the colour and with the marker of its rule."""
    how = {"color": COLOUR[name], "marker": MARKERS[name], "markersize": 3, "linewidth": 1, "label": name} | how
    ax.plot(*places.T, **how)


def draw_values(ax: Any, found: Array, name: str, **how: Any) -> None:
    """Values over the steps, in the colour and with the marker of their rule."""
    every = max(1, len(found) // 8)
    first = list(RULES).index(name) * every // len(RULES)  # so that no marker hides another
    how = {"color": COLOUR[name], "marker": MARKERS[name], "markevery": (first, every), "markersize": 5} | how
    ax.plot(found, **({"label": name, "linewidth": 1.5} | how))


# ---- An ill-conditioned bowl -----------------------------------------------------------------------------


def bowl_ends(name: str, rates: Sequence[float] = RATES) -> Array:
    """The value of the bowl after BOWL_STEPS steps at each of the rates; huge or infinite where the rule ran away."""
    with np.errstate(over="ignore"):
        return values(valley, [walk(valley, RULES[name](lr), BOWL_START, BOWL_STEPS)[-1] for lr in rates])


def best_rate(name: str) -> float:
    """That of RATES with which the rule is lowest in the bowl after BOWL_STEPS steps."""
    return RATES[int(bowl_ends(name).argmin())]


def bowl() -> Exhibit:
    """Six optimizers in an ill-conditioned bowl: three at their best rates, three at the same."""
    figure, axes = new(2, 4, size=(12, 5))
    rates = {name: best_rate(name) if name in DESCENTS else SAME[name] for name in RULES}
    ends = {}
    for row, family in zip(axes, (DESCENTS, ADAPTIVE), strict=True):
        for ax, name in zip(row, family, strict=False):
            places = walk(valley, RULES[name](rates[name]), BOWL_START, BOWL_STEPS)
            found = values(valley, places)
            ends[name] = found[-1]
            contours(ax, valley, (4.0, 0.9), BOWL_LEVELS)
            draw(ax, places, name)
            ax.plot(0, 0, marker="*", color="#222", markersize=10)
            ax.set_title(f"{name}, rate {rates[name]:g}", loc="left", fontsize=10)
            ax.set(xlabel="w₀", ylabel="w₁")
            draw_values(row[3], found, name)
        row[3].set(yscale="log", ylim=(1e-5, 40))
        tidy(row[3], "value over the steps", "step")
        row[3].legend(frameon=False, fontsize=9, loc="lower left")
    return Exhibit(
        title="An ill-conditioned bowl",
        source="Iglesias, “What if loss changes quickly in one direction and slowly in another?”, “SGD + Momentum”, "
        "“AdaGrad (stuck due to decaying lr)”, “RMSProp”, “Adam”",
        caption=f"The bowl (w₀² + {CONDITION:g} w₁²) / 2 is {CONDITION:g} times as steep up and down as sideways. Each "
        f"rule takes {BOWL_STEPS} steps from the left towards the star, where the value is 0. On the right is the "
        "value over the steps: lower is better, and each line of the grid is a hundred times lower than the one above. "
        f"In the upper row each rule has the best of {len(RATES)} rates (1, 2, 3, 5, 7 and 9 thousandths, hundredths "
        f"and tenths, and 1). SGD jitters along the steep direction, crawls along the shallow one and ends at "
        f"{ends['SGD']:.2g}. Momentum {MOMENTUM} overshoots, comes back and ends at {ends['momentum']:.2g}; Nesterov "
        f"looks ahead, overshoots less and ends at {ends['Nesterov']:.1g}. In the lower row all three have the rate "
        "0.1. Their first step is as long along w₀ as along w₁. AdaGrad’s steps get shorter and shorter: it is stuck "
        f"at {ends['AdaGrad']:.2g}. RMSProp forgets old slopes and arrives, but by a constant rate now and then jumps "
        f"away again; Adam, which has momentum too, overshoots and ends at {ends['Adam']:.2g}.",
        made_with="toys.bowl, SGD, AdaGrad, RMSProp, Adam",
        alt="Six paths over the contours of a flat ellipse: SGD zigzags, momentum overshoots and returns, Nesterov "
        "less; AdaGrad stops half way, RMSProp and Adam reach the middle. Beside them the values over the steps, "
        "SGD's and AdaGrad's far above the others.",
        figure=figure,
    )


def rates_that_work() -> Exhibit:
    """The value of the bowl after as many steps, over the learning rate, for six rules."""
    figure, axes = new(1, 2, size=(11, 3.9), sharex=True, sharey=True)
    enough = 0.1
    rows = [("rule", f"rates of {len(RATES)} that end below {enough:g}", "best rate", "value there", "value at 0.1")]
    for ax, family in zip(axes[0], (DESCENTS, ADAPTIVE), strict=True):
        for name in family:
            ends = bowl_ends(name)
            how = {"color": COLOUR[name], "marker": MARKERS[name], "markersize": 5, "label": name}
            ax.loglog(RATES, ends, **how)
            at_tenth = ends[RATES.index(0.1)]
            ran_away = "runs away" if at_tenth > ends[0] else f"{at_tenth:.2g}"
            rows.append((name, str(int((ends < enough).sum())), f"{best_rate(name):g}", f"{ends.min():.1g}", ran_away))
        ax.axhline(enough, color="#555", linewidth=0.9, linestyle=":")
        ax.set_ylim(1e-6, 1e3)
        tidy(ax, f"value of the bowl after {BOWL_STEPS} steps", "learning rate")
        ax.legend(frameon=False, fontsize=9, loc="lower left")
    return Exhibit(
        title="Which learning rates work, for each rule",
        source="Iglesias, “Adam is a good default choice in many cases”, “SGD+Momentum can outperform Adam but may "
        "require more tuning of LR and schedule”",
        caption=f"The same bowl and start. Each mark is the value after {BOWL_STEPS} steps at one learning rate; lower "
        "is better, and both axes are logarithmic. A curve that leaves the picture at the top runs away. With too "
        "high a rate the rules on the left explode; those on the right divide by the size of the slope and cannot. "
        f"Adam ends below {enough:g} (dotted) at more rates than any other: a good default. AdaGrad is stuck "
        f"far from the star at most rates and is the best of all at {best_rate('AdaGrad'):g}, which nobody knows before "
        "trying.",
        made_with="toys.bowl, SGD, AdaGrad, RMSProp, Adam",
        alt="Curves of the final value over the learning rate. Left, SGD, momentum and Nesterov fall and then shoot up "
        "at once. Right, AdaGrad falls only at rates near 1, RMSProp has a narrow dip near 0.1, Adam is low from "
        "0.1 on.",
        figure=figure,
        table=rows,
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


# ---- Four difficulties -----------------------------------------------------------------------------------

DENT_START, DENT_RATE, DENT_STEPS = (4.0,), 0.1, 150
HARD_RATE, HARD_STEPS, SIGMA, DRAWS = 0.02, 100, 2.0, 100


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
        draw(ax, at, name, linestyle="none")
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
            draw(ax, walk(surface, RULES[name](HARD_RATE), start, HARD_STEPS), name)
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
    left = {name: int(np.argmax(curve < -1)) for name, curve in found["a saddle point"].items() if curve.min() < -1}
    return Exhibit(
        title="Four difficulties, without and with momentum",
        source="Iglesias, “SGD + Momentum”: “Local Minima, Saddle points, Poor Conditioning, Gradient Noise”; UIT, "
        "“Tìm cực tiểu cục bộ” (finds a local minimum)",
        caption=f"SGD (circles) beside SGD with momentum {MOMENTUM} (squares), both by the same rate: {DENT_RATE:g} in "
        f"the first column, {HARD_RATE:g} in the others. Above are the paths, below the values: lower is better. In a "
        "local minimum the slope is zero, so that SGD, coming from the right (drawn a little above the curve), "
        f"stays in the dent at {stuck:.2g}; momentum runs through to the minimum at {through:.1g}. Near a saddle "
        f"(cross) the slope is nearly zero: momentum has fallen below −1 after {left['momentum']} steps, SGD has not "
        f"after {HARD_STEPS}. In the bowl, {CONDITION:g} times as steep along w₁, momentum is faster along w₀. With "
        f"noise in the gradient (normal, standard deviation {SIGMA:g}; the path of seed 0, and the mean value of "
        f"{DRAWS} seeds) momentum is sooner near the star, {noise['momentum'][30]:.2g} against "
        f"{noise['SGD'][30]:.2g} after 30 steps, but rests no nearer: its steps are ten times as long in the long run, "
        f"and it goes on jumping about at {noise['momentum'][-1]:.2g}. There a lower rate helps.",
        made_with="toys.dented, toys.saddle, toys.bowl, SGD",
        alt="Four pairs of paths: SGD stays in a dent, rests at a saddle, crawls along a bowl, and creeps on under "
        "noise; momentum runs through the dent, leaves the saddle, reaches the star, and jumps about it.",
        figure=figure,
    )
