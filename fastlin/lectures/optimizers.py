"""Figures of `fastlin lectures`: six optimizers beside each other, and what figures of paths share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

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
RATES = (*(digit / power for power in (1000, 100, 10) for digit in (1, 2, 3, 5, 7, 9)), 1.0)

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


def contours(ax: Any, surface: Surface, half: tuple[float, float], levels: Any) -> None:
    """Lines of equal value of the surface, within `half` of the origin."""
    across, up = np.linspace(-half[0], half[0], 45), np.linspace(-half[1], half[1], 45)
    height = np.array([[surface(np.array([w0, w1]))[0] for w0 in across] for w1 in up])
    ax.contour(across, up, height, levels=levels, cmap="Greys_r", linewidths=0.7, alpha=0.6)
    ax.set(xlim=(-half[0], half[0]), ylim=(-half[1], half[1]))


def draw(ax: Any, places: Array, name: str, **how: Any) -> None:
    """A path, in the colour and with the marker of its rule."""
    how = {"color": COLOUR[name], "marker": MARKERS[name], "markersize": 3, "linewidth": 1, "label": name} | how
    ax.plot(*places.T, **how)


def draw_values(ax: Any, found: Array, name: str, **how: Any) -> None:
    """Values over the steps, in the colour and with the marker of their rule."""
    first = 0.02 * list(RULES).index(name)  # so that no marker hides another; shares of the size of the picture
    how = {"color": COLOUR[name], "marker": MARKERS[name], "markevery": (first, 0.12), "markersize": 5} | how
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
        f"far from the star at most rates and is the best of all at {best_rate('AdaGrad'):g}, which nobody knows "
        "before trying.",
        made_with="toys.bowl, SGD, AdaGrad, RMSProp, Adam",
        alt="Curves of the final value over the learning rate. Left, SGD, momentum and Nesterov fall and then shoot up "
        "at once. Right, AdaGrad falls only at rates near 1, RMSProp has a narrow dip near 0.1, Adam is low from "
        "0.1 on.",
        figure=figure,
        table=rows,
    )


# ---- All update formulas in one picture ------------------------------------------------------------------


FORMULA_STEPS = {"bowl": 60, "saddle": 35}
FORMULA_GROUNDS: dict[str, tuple[Surface, tuple[float, float]]] = {
    "bowl": (valley, BOWL_START),
    "saddle": (toys.saddle, SADDLE_START),
}


def formula_ends() -> dict[str, dict[str, float]]:
    """The value of the bowl and of the saddle where each rule ends."""
    return {
        kind: {
            name: surface(walk(surface, RULES[name](lr), start, FORMULA_STEPS[kind])[-1])[0]
            for name, lr in SAME.items()
        }
        for kind, (surface, start) in FORMULA_GROUNDS.items()
    }


def update_formulas() -> Exhibit:
    """Six rules over one another, in the bowl and on the saddle."""
    figure, axes = new(1, 2, size=(11, 4.6))
    pictures: tuple[tuple[tuple[float, float], Any], ...] = (((4.0, 0.9), BOWL_LEVELS), ((1.6, 1.6), 13))
    for ax, (kind, (surface, start)), (half, levels) in zip(axes[0], FORMULA_GROUNDS.items(), pictures, strict=True):
        contours(ax, surface, half, levels)
        for name, lr in SAME.items():
            places = walk(surface, RULES[name](lr), start, FORMULA_STEPS[kind])
            draw(ax, places, name, markevery=5, markersize=5, label=f"{name}, rate {lr:g}")
            ax.plot(*places[-1], marker=MARKERS[name], color=COLOUR[name], markersize=10, markeredgecolor="#222")
        ax.set(xlabel="w₀", ylabel="w₁")
    axes[0, 0].plot(0, 0, marker="*", color="#222", markersize=12)
    axes[0, 1].plot(0, 0, marker="x", color="#222", markersize=10)
    axes[0, 0].set_title(f"a bowl, {FORMULA_STEPS['bowl']} steps", loc="left", fontsize=10)
    axes[0, 1].set_title(f"a saddle, {FORMULA_STEPS['saddle']} steps", loc="left", fontsize=10)
    axes[0, 0].legend(fontsize=8, loc="upper right")
    ends = formula_ends()
    order = sorted(RULES, key=lambda name: ends["bowl"][name])
    fallen = sorted(RULES, key=lambda name: ends["saddle"][name])
    return Exhibit(
        title="The effects of different update formulas",
        source="“Loss function, Regularization, Optimization”, “The effects of different update form formulas (image "
        "credits to Alec Radford)”",
        caption="All six rules from one start, by one rate for each family: "
        f"{SAME['SGD']:g} for SGD, momentum and Nesterov, {SAME['Adam']:g} for the adaptive ones. There is a mark "
        f"every 5 steps and a large one at the end. In the bowl (w₀² + {CONDITION:g} w₁²) / 2 the order from the "
        "lowest value is "
        + ", ".join(f"{name} ({ends['bowl'][name]:.1g})" for name in order)
        + ". SGD creeps along the "
        "floor, AdaGrad stops on the way. On the saddle w₀² − w₁², from a hundredth beside the ridge, the order is "
        + ", ".join(f"{name} ({ends['saddle'][name]:.2g})" for name in fallen)
        + ": RMSProp, Adam and AdaGrad turn off at once, momentum and Nesterov overshoot the cross and then fall, and "
        "SGD is still on its way to it. Other rates give another order, as the figures above show.",
        made_with="toys.bowl, toys.saddle, SGD, AdaGrad, RMSProp, Adam",
        alt="Two pictures with six paths each: in the bowl AdaGrad and SGD end before the star and the others at it; "
        "on the saddle all but SGD have turned off upwards.",
        figure=figure,
    )
