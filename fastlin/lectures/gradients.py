"""Figures of `fastlin lectures`: slopes, numerical gradients, what they cost, and checks by them."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

import fastlin as fl
from fastlin._check import Array
from fastlin.lectures.exhibit import COLOURS, GREY, Exhibit, new, tidy
from fastlin.testing import random_case

Surface = Callable[[Array], tuple[float, Array]]

# Six points of two classes that no threshold separates, for a loss of one weight.
POINTS, CLASSES = np.array([[-4.0], [-2.0], [-1.0], [1.0], [2.0], [3.0]]), np.array([0.0, 1.0, 0.0, 0.0, 1.0, 1.0])
AT, STEPS = -0.9, (2.0, 1.0, 0.5, 0.1, 0.01, 0.0001)

# "current W", its loss, and the slopes of the slides: nine in most documents, six in UIT's, whose last is the ninth.
SLIDE_W = np.array([0.34, -1.11, 0.78, 0.12, 0.55, 2.81, -3.1, -1.5, 0.33])
SLIDE_LOSS, SLIDE_H = 1.25347, 0.0001
NINE = np.array([-2.5, 0.6, 0, 0.2, 0.7, -0.5, 1.1, 1.3, -2.1])
SIX, SIX_AT = np.array([-2.5, 0.6, 0, -10.0, 4.0, -0.1]), [0, 1, 2, 3, 4, 8]


def loss_of_one_weight(w: float) -> tuple[float, float]:
    """The logistic loss of the six points and its slope, exactly."""
    loss, dW = fl.logistic_loss(np.array([[w]]), POINTS, CLASSES)
    return loss, float(dW[0, 0])


def one_slope() -> Exhibit:
    """A loss of one weight, its tangent, and secants for smaller and smaller h."""
    figure, axes = new(size=(9, 4.2))
    ax = axes[0, 0]
    w = np.linspace(-1.7, 1.9, 200)
    ax.plot(w, [loss_of_one_weight(v)[0] for v in w], color="#222", linewidth=2, label="loss f(w)")
    here, slope = loss_of_one_weight(AT)
    rows = [("h", "f(a + h)", "(f(a + h) − f(a)) / h", "its distance from f′(a)")]
    for h, colour, dashes in zip(STEPS[:3], (COLOURS[1], COLOURS[3], COLOURS[2]), (":", "-.", "--"), strict=True):
        quotient = (loss_of_one_weight(AT + h)[0] - here) / h
        ends = np.array([AT - 0.5, AT + 2.4])
        shown = f"secant, h = {h:g}: slope {quotient:.3f}"
        ax.plot(ends, here + quotient * (ends - AT), color=colour, linestyle=dashes, label=shown)
        ax.plot(AT + h, loss_of_one_weight(AT + h)[0], "o", color=colour)
    ends = np.array([AT - 0.5, AT + 2.4])
    ax.plot(ends, here + slope * (ends - AT), color=COLOURS[0], linewidth=2, label=f"tangent: slope {slope:.3f}")
    ax.plot(AT, here, "o", color="#222", markersize=7)
    ax.annotate("a", (AT, here), (AT + 0.04, here + 0.04), fontsize=12)
    ax.set_ylim(0, 2)
    tidy(ax, "loss", "the weight w")
    ax.legend(frameon=False, loc="upper right")
    for h in STEPS:
        there = loss_of_one_weight(AT + h)[0]
        quotient = (there - here) / h
        rows.append((f"{h:g}", f"{there:.6f}", f"{quotient:.6f}", f"{abs(quotient - slope):.6f}"))
    return Exhibit(
        title="The slope of a loss",
        source="“Loss function, Regularization, Optimization”, Kira and Iglesias, “Follow the slope”: df(x)/dx = lim "
        "(f(x + h) − f(x)) / h as h → 0",
        caption=f"The black curve is a loss over its only weight, the logistic loss of six points. At a = {AT:g} it "
        f"falls with the slope f′(a) = {slope:.6f}, that of the blue tangent. A line through the curve at a and at "
        "a + h has the slope (f(a + h) − f(a)) / h; the smaller h, the closer it turns to the tangent, and in the "
        "table its distance falls with h. The slope is negative, so that a larger weight means a smaller loss: a step "
        "downhill goes against the sign of the slope.",
        made_with="logistic_loss",
        alt="A curve that falls and rises again, with three secants through one point of it that turn towards the "
        "tangent there as their second point comes closer.",
        figure=figure,
        table=rows,
    )


def sloped(W: Array, slopes: Array) -> Callable[[Array], float]:
    """A function with the slides' loss at W and these slopes."""
    return lambda V: float(SLIDE_LOSS + slopes @ (V - W))


def slide_gradients() -> list[tuple[Array, Array, Array]]:
    """For nine weights and for six: W, the losses with h added to one weight after another, and dW."""
    found = []
    for W, slopes in ((SLIDE_W, NINE), (SLIDE_W[SIX_AT], SIX)):
        f = sloped(W, slopes)
        above = np.array([f(W + SLIDE_H * e) for e in np.eye(len(W))])
        found.append((W, above, fl.numerical_gradient(f, W, h=SLIDE_H)))
    return found


def slide_table() -> Exhibit:
    """The numerical gradient of the slides, weight by weight."""
    (W, above, dW), (_, above_six, dW_six) = slide_gradients()
    rows: list[tuple[str, ...]] = [("weight", "W", "loss of W + h", "dW", "loss of W + h, UIT", "dW, UIT")]
    for i, value in enumerate(W):
        where = SIX_AT.index(i) if i in SIX_AT else None
        six = ("–", "–") if where is None else (f"{above_six[where]:.5f}", tenth(dW_six[where]))
        rows.append((f"{i + 1}", f"{value:g}", f"{above[i]:.5f}", tenth(dW[i]), *six))
    return Exhibit(
        title="The numerical gradient of the slides",
        source="all but 493G1, “current W”, “W + h (first dim)”, “gradient dW”; UIT goes on otherwise",
        caption=f"The loss of W is {SLIDE_LOSS}. Each weight in turn is raised by h = {SLIDE_H:.4f}, all others stay "
        f"as they are; the change of the loss, divided by h, is the entry of dW: (1.25322 − {SLIDE_LOSS}) / "
        f"{SLIDE_H:.4f} = {tenth(dW[0])}. The slides do not say which function this is; here it is one that has their "
        "slopes. They print the losses of the first three weights, and UIT those of its six; the others follow. UIT "
        "writes “second dim” above W + h whichever weight it raises, and one of its slides still has 0.7 where the "
        "other documents go on.",
        made_with="numerical_gradient",
        table=rows,
    )


def tenth(slope: float) -> str:
    """With one decimal, and without a minus before 0.0."""
    return f"{round(slope, 1) + 0.0:.1f}"


H = 10.0 ** np.arange(-13, 0.01, 0.5)


def difference_errors() -> tuple[Array, Array]:
    """The largest error of forward and of central differences for each of H, as shares of the largest slope."""
    case = random_case(12, 7, 4).astype("float64")
    W, X, y = case.W, case.X, case.y
    dW = fl.softmax_loss(W, X, y)[1]

    def f(W: Array) -> float:
        return fl.softmax_loss(W, X, y)[0]

    forward = [abs(fl.numerical_gradient(f, W, h, "forward") - dW).max() for h in H]
    central = [abs(fl.numerical_gradient(f, W, h) - dW).max() for h in H]
    return np.array(forward) / abs(dW).max(), np.array(central) / abs(dW).max()


class Counted:
    """A loss of 1000 weights that counts its evaluations."""

    def __init__(self) -> None:
        case = random_case(100, 100, 10).astype("float64")
        self.W, self._X, self._y = case.W, case.X, case.y
        self.calls = 0

    def __call__(self, W: Array) -> tuple[float, Array]:
        self.calls += 1
        return fl.softmax_loss(W, self._X, self._y)


def power(number: float) -> str:
    """With one digit, "3·10⁻⁸"."""
    digit, exponent = f"{number:.0e}".split("e")
    return f"{digit}·10{str(int(exponent)).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"


def costs() -> list[tuple[str, int, float]]:
    """Of the ways to a gradient of 1000 weights: the name, the evaluations of the loss, and seconds."""
    found = []
    f = Counted()
    ways: dict[str, Callable[[], object]] = {
        "analytic": lambda: f(f.W),
        "numerical, forward": lambda: fl.numerical_gradient(f, f.W, method="forward"),
        "numerical, central": lambda: fl.numerical_gradient(f, f.W),
    }
    for name, way in ways.items():
        seconds = []
        for _ in range(20 if name == "analytic" else 2):
            f.calls = 0
            start = time.perf_counter()
            way()
            seconds.append(time.perf_counter() - start)
        found.append((name, f.calls, min(seconds)))
    return found


def differences() -> Exhibit:
    """The error of difference quotients over h, and what they cost."""
    forward, central = difference_errors()
    figure, axes = new(size=(9, 4))
    ax = axes[0, 0]
    ax.plot(H, forward, "s--", color=COLOURS[1], markersize=4, label="forward: (f(W + h) − f(W)) / h")
    ax.plot(H, central, "o-", color=COLOURS[0], markersize=4, label="central: (f(W + h) − f(W − h)) / 2h")
    for h, words, side in (
        (1e-5, "the slides' code: h = 10⁻⁵  ", "right"),
        (1e-4, "  their numbers: h = 10⁻⁴", "left"),
    ):
        ax.axvline(h, color=GREY, linewidth=0.8, linestyle=":")
        ax.text(h, 1e-12, words, fontsize=9, color="#555", ha=side)
    ax.set(xscale="log", yscale="log", ylim=(1e-13, 5))
    ax.text(1e-12, 1e-7, "rounding:\n~ 1 / h", fontsize=9, color="#555")
    ax.text(0.05, 1e-7, "cut off:\n~ h and ~ h²", fontsize=9, color="#555")
    tidy(ax, "largest error of the gradient, as a share of its largest entry", "step h (both axes are logarithmic)")
    ax.legend(frameon=False, loc="upper center", fontsize=9)
    best = [(power(H[np.argmin(errors)]), power(errors.min())) for errors in (forward, central)]
    found = costs()
    evaluations = {"analytic": "1", "numerical, forward": "N + 1", "numerical, central": "2N"}
    rows = [
        ("gradient of N weights", "evaluations of the loss", "for N = 1000", "time, measured", "times the analytic")
    ]
    for name, calls, seconds in found:
        row = (evaluations[name], str(calls), f"{1000 * seconds:.2f} ms", f"{seconds / found[0][2]:.0f}")
        rows.append((name, *row))
    return Exhibit(
        title="The error and the cost of a numerical gradient",
        source="“Loss function, Regularization, Optimization” and Iglesias, “Numerical gradient: approximate, slow, "
        "easy to write. Analytic gradient: exact, fast, error-prone”",
        caption="The differences of a softmax loss are compared with its analytic gradient. From right to left, a "
        "smaller h follows the slope more closely: the error of forward differences falls with h, that of central "
        "ones with h². Then the losses differ in their last digits only, and rounding takes over, the more the smaller "
        f"h. Forward differences are best at h = {best[0][0]}, with an error of {best[0][1]}, central ones at "
        f"{best[1][0]}, with {best[1][1]}. The table has the price, measured when this page was made: a numerical "
        f"gradient of 1000 weights took {found[2][2] / found[0][2]:.0f} times as long as the analytic one.",
        made_with="numerical_gradient, softmax_loss",
        alt="Two curves in the shape of a V. Central differences reach an error some hundred times smaller than "
        "forward ones, at a larger h; left of their lowest points both rise alike.",
        figure=figure,
        table=rows,
    )


def checked_gradients() -> list[tuple[str, fl.GradientCheck]]:
    """The names of functions and the results of `check_gradient`; the last gradient is wrong on purpose."""
    case = random_case(12, 7, 4).astype("float64")
    W, X, y = case.W, case.X, case.y

    def forgets_the_penalty(W: Array) -> tuple[float, Array]:
        return fl.softmax_loss(W, X, y, 0.1)[0], fl.softmax_loss(W, X, y)[1]

    functions: dict[str, Surface] = {
        "softmax_loss(W, X, y)": lambda W: fl.softmax_loss(W, X, y),
        "softmax_loss(W, X, y, reg=0.1)": lambda W: fl.softmax_loss(W, X, y, 0.1),
        "softmax_loss(W, X, y, label_smoothing=0.2)": lambda W: fl.softmax_loss(W, X, y, label_smoothing=0.2),
        "svm_loss(W, X, y)": lambda W: fl.svm_loss(W, X, y),
        "svm_loss(W, X, y, reg=fl.L1(0.1))": lambda W: fl.svm_loss(W, X, y, fl.L1(0.1)),
        "svm_loss(W, X, y, squared=True)": lambda W: fl.svm_loss(W, X, y, squared=True),
        "a gradient that forgets the penalty": forgets_the_penalty,
    }
    return [(name, fl.check_gradient(f, W)) for name, f in functions.items()]


def gradient_checks() -> Exhibit:
    """The analytic beside the numerical gradient."""
    rows = [("loss", "largest relative error", "analytic there", "numerical there", "verdict")]
    for name, found in checked_gradients():
        pair = f"{found.analytic:.8f}", f"{found.numerical:.8f}"
        rows.append((name, f"{found.max_error:.1e}", *pair, "agrees" if found else "DISAGREES"))
    weights = random_case(12, 7, 4).W.size
    return Exhibit(
        title="Gradient check",
        source="all but 493G1, “always use analytic gradient, but check implementation with numerical gradient”",
        caption="The numerical gradient moves one weight by h = 10⁻⁵ up and down and divides the change of the loss by "
        f"2h: slow and approximate, but hard to get wrong. Each row compares all {weights} entries on random data and "
        "shows the one whose relative error is largest; up to 10⁻⁵ it agrees. The last row has a mistake built in, to "
        "show what one looks like: its loss has a penalty with reg = 0.1, its gradient has none.",
        made_with="check_gradient",
        table=rows,
    )
