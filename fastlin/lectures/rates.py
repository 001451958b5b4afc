"""Figures of `fastlin lectures`: learning rates and their schedules."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

import fastlin as fl
from fastlin._check import Array
from fastlin.lectures.exhibit import COLOURS, GREY, Exhibit, digits, new, percent, tidy

RATES = {"very high": 0.088, "high": 0.086, "good": 0.04, "low": 0.001}

BATCH, REG, EPOCHS, START = 32, 1e-3, 100, 3.0  # of the schedules


def losses(rate: fl.schedules.Lr, **how: Any) -> Array:
    """The softmax loss of all training digits, penalty included, at W = 0 and after each epoch of SGD at a rate."""
    X, y, _, _ = digits()
    history = fl.train(X, y, optimizer=fl.SGD(rate), validation=(X, y), **how).history
    return np.array([math.log(10), *history["validation_loss"]])


def rate_losses() -> dict[str, Array]:
    """Squared errors of digits at each of RATES, at W = 0 and after each epoch: 1 is the target of the right class."""
    X, y, _, _ = digits()
    T = np.eye(10)[y]
    how: dict[str, Any] = {"loss": "squared_error", "epochs": 30, "batch_size": 64, "validation": (X, T)}
    runs = {name: fl.train(X, T, optimizer=fl.SGD(rate), **how).history for name, rate in RATES.items()}
    return {name: np.array([1.0, *history["validation_loss"]]) for name, history in runs.items()}


def learning_rates() -> Exhibit:
    """Loss over epochs for four learning rates."""
    found = rate_losses()
    figure, axes = new(size=(9, 4))
    ax = axes[0, 0]
    looks = (("#b00020", "--"), (COLOURS[3], "-."), (COLOURS[2], "-"), (COLOURS[0], ":"))
    for (name, values), (colour, dashes) in zip(found.items(), looks, strict=True):
        ax.plot(values, color=colour, linestyle=dashes, label=f"{name}: {RATES[name]:g}", linewidth=2)
    ax.set_yscale("log")
    ax.set_ylim(0.3, 30)
    ax.set_yticks([0.3, 1, 3, 10, 30], ["0.3", "1", "3", "10", "30"])
    ax.set_xlim(0, 30)
    tidy(ax, "squared error of all training digits (logarithmic axis); it starts at 1, with W = 0", "epoch")
    ax.legend(frameon=False, title="learning rate", loc="upper right")
    end = f"very high: {found['very high'][-1] / 1e6:.0f} million after 30 epochs"
    ax.text(5.8, 21, end, color="#b00020")
    high, good = found["high"][-10:], found["good"][-1]
    return Exhibit(
        title="The effect of the learning rate",
        source="“Loss function, Regularization, Optimization”, “The effects of step size”; Iglesias, “Which one of "
        "these learning rates is best to use?”",
        caption="Each curve is a training run of 30 epochs with batches of 64, seed 0, all the same but for the rate. "
        "Very high: the loss leaves the picture within six epochs and never comes back. High: it falls for an epoch, "
        f"and then jumps about, between {high.min():.2f} and {high.max():.2f} in the last ten epochs. Good: it falls "
        f"fastest and settles, at {good:.2f}. Low: it falls evenly, and has come to {found['low'][-1]:.2f} only. For "
        f"this loss the border is sharp: {RATES['high']:g} does not explode, {RATES['very high']:g} does. The squared "
        "error is summed over the ten scores of a digit, whose targets are 1 for its class and 0 for the others.",
        made_with="train, SGD",
        alt="Four curves of loss over 30 epochs: very high rises out of the picture, high jumps about between 0.4 "
        "and 1, good falls to 0.33 and stays, low sinks slowly to 0.6.",
        figure=figure,
    )


@cache
def lowest_loss() -> float:
    """The lowest possible loss of the runs below: softmax, the penalty included."""
    X, y, _, _ = digits()
    return fl.softmax_loss(fl.minimize(X, y, loss="softmax", reg=REG).W, X, y, REG, bias=True)[0]


@cache
def excess(rate: fl.schedules.Lr) -> Array:
    """How far the loss is above the lowest possible, before training and after each epoch; a schedule counts epochs."""
    steps = -(-len(digits()[0]) // BATCH)  # in an epoch
    by_step: fl.schedules.Lr = (lambda t: rate(t // steps)) if callable(rate) else rate
    return losses(by_step, epochs=EPOCHS, batch_size=BATCH, reg=REG) - lowest_loss()


def lowered() -> dict[str, Array]:
    """The excess of the stairs 3, 0.3, 0.03, 0.003 and of each of these rates alone."""
    stairs = fl.schedules.step(START)
    rates = sorted({stairs(t) for t in range(EPOCHS)}, reverse=True)
    return {"first high, then low": excess(stairs)} | {f"{rate:g} throughout": excess(rate) for rate in rates}


def lowered_rate() -> Exhibit:
    """A rate that starts high and ends low beside each of its rates alone."""
    found = lowered()
    figure, axes = new(size=(9, 4))
    ax = axes[0, 0]
    looks = (("#111111", "-"), (COLOURS[3], "-."), (COLOURS[2], "--"), (COLOURS[0], ":"), (GREY, "-"))
    for (name, values), (colour, dashes) in zip(found.items(), looks, strict=True):
        bold = 2.4 if name.startswith("first") else 1.4
        ax.plot(values, color=colour, linestyle=dashes, linewidth=bold, label=f"{name}: {plain(values[-1])} at the end")
    for reached in fl.schedules.step(START).at:
        ax.axvline(reached, color="#999", linewidth=0.7)
    ax.set_yscale("log")
    tidy(ax, "loss above the lowest possible (logarithmic axis)", "epoch")
    ax.legend(frameon=False, title="learning rate", loc="center left", bbox_to_anchor=(1, 0.5))
    return Exhibit(
        title="All of these are good learning rates",
        source="Iglesias, “Q: Which one of these learning rates is best to use?” “A: In reality, all of these are "
        "good learning rates”",
        caption="The black run starts with the rate 3 and divides it by 10 at the grey lines, after 30, 60 and 90 "
        "epochs; the others keep one of its four rates. After the first epoch the highest rate is ahead, but noise "
        "keeps it from settling; the lower a rate, the smoother its curve and the later it arrives. Each has its time: "
        f"the run that takes them in turn ends {times_closer(found):.0f} times closer to the lowest possible loss than "
        f"the best of them alone. Softmax loss of digits with L2 penalty {REG:g}, batches of {BATCH}, seed 0; the "
        f"lowest possible loss, {lowest_loss():.4f}, was found by minimize.",
        made_with="train, schedules.step, minimize",
        alt="Five curves over 100 epochs on a logarithmic axis. The black one drops when its rate is first divided, "
        "and ends lowest; two of the others level off far above it, and two are still on their way.",
        figure=figure,
    )


def times_closer(found: dict[str, Array]) -> float:
    """The last excess of the best of the others, divided by that of the first."""
    first, *others = (values[-1] for values in found.values())
    return float(min(others) / first)


def plain(number: float) -> str:
    """Two digits without an exponent, "0.000028"."""
    return np.format_float_positional(number, precision=2, fractional=False)


def scheduled() -> dict[str, fl.schedules.Schedule]:
    """The lectures' schedules over EPOCHS epochs, all from the same rate."""
    s = fl.schedules
    return {
        "constant": s.constant(START),
        "step": s.step(START),
        "cosine": s.cosine(START, EPOCHS),
        "linear": s.linear(START, EPOCHS),
        "inverse sqrt": s.inverse_sqrt(START),
    }


def schedules() -> Exhibit:
    """The lectures' learning-rate schedules, and the loss under each."""
    figure, axes = new(1, 2, size=(9, 4))
    looks = ((GREY, "-"), (COLOURS[1], "-"), (COLOURS[2], "--"), (COLOURS[0], "-."), (COLOURS[3], ":"))
    ends = {}
    for (name, schedule), (colour, dashes) in zip(scheduled().items(), looks, strict=True):
        how: dict[str, Any] = {"color": colour, "linestyle": dashes, "linewidth": 1.8}
        axes[0, 0].plot([schedule(t) for t in range(EPOCHS + 1)], label=name, **how)
        values = excess(schedule)
        ends[name] = values[-1]
        axes[0, 1].plot(values, label=f"{name}: {plain(values[-1])}", **how)
    axes[0, 1].set_yscale("log")
    tidy(axes[0, 0], "learning rate", "epoch")
    tidy(axes[0, 1], "loss above the lowest possible (logarithmic axis)", "epoch")
    axes[0, 0].legend(frameon=False, fontsize=9)
    axes[0, 1].legend(frameon=False, fontsize=9, title="at the end", loc="lower left")
    return Exhibit(
        title="Learning-rate schedules, and the loss under each",
        source="Iglesias, “Learning rate decays over time”",
        caption="All start at the rate 3. Step divides it by 10 after 30, 60 and 90 epochs; cosine and linear come "
        "to 0 at the end; inverse square root falls fast at first and then hardly. Right, what that does to the loss "
        f"of the problem of the figure before: with the constant rate it ends {plain(ends['constant'])} above its "
        "lowest value, and with all that fall far closer. Inverse square root is ahead at epoch 20, step at epoch 50, "
        "and cosine and linear, whose last steps are tiny, at the end. The order is that of this problem, start and "
        "seed.",
        made_with="schedules.step, schedules.cosine, schedules.linear, schedules.inverse_sqrt, train",
        alt="Left, five curves of the rate over 100 epochs: constant, stairs, cosine, a line, a steep fall that "
        "flattens. Right, the loss: the constant rate's stays high, cosine and linear dive at the end.",
        figure=figure,
    )


WARM_RATE, WARM_STEPS = 30.0, 225  # five epochs of 45 batches


def warmed() -> dict[str, Array]:
    """The mean loss of the batches of each epoch at a high rate, at once and warmed up, softmax on digits."""
    X, y, _, _ = digits()
    how: dict[str, Any] = {"epochs": 15, "batch_size": BATCH}
    rates: dict[str, fl.schedules.Lr] = {"at once": WARM_RATE, "warmed up": fl.schedules.warmup(WARM_RATE, WARM_STEPS)}
    runs = {name: fl.train(X, y, optimizer=fl.SGD(rate), **how).history for name, rate in rates.items()}
    return {name: np.array(history["loss"]) for name, history in runs.items()}


def warmup() -> Exhibit:
    """The loss at a high rate with and without warm-up."""
    found = warmed()
    schedule = fl.schedules.warmup(WARM_RATE, WARM_STEPS)
    figure, axes = new(1, 2, size=(9, 3.6), width_ratios=(1, 1.6))
    axes[0, 0].axhline(WARM_RATE, color=COLOURS[1], linestyle="--", label="at once")
    axes[0, 0].plot([schedule(t) for t in range(3 * WARM_STEPS + 1)], color=COLOURS[0], label="warmed up")
    axes[0, 0].set_ylim(0, 33)
    tidy(axes[0, 0], "learning rate", "step")
    for (name, values), colour, mark in zip(found.items(), (COLOURS[1], COLOURS[0]), ("s--", "o-"), strict=True):
        shown = f"{name}: {values[0]:.1f} in the first epoch"
        axes[0, 1].plot(range(1, len(values) + 1), values, mark, color=colour, markersize=4, label=shown)
    axes[0, 1].axhline(math.log(10), color="#555", linewidth=0.8, linestyle=":")
    axes[0, 1].text(15, math.log(10) + 0.3, "log 10 = 2.3, at W = 0", fontsize=9, color="#555", ha="right")
    tidy(axes[0, 1], "mean loss of the batches of an epoch", "epoch")
    axes[0, 0].legend(frameon=False, loc="lower right")
    axes[0, 1].legend(frameon=False)
    return Exhibit(
        title="Warm-up keeps a high rate from exploding",
        source="Iglesias, “Linear Warmup”, “High initial learning rates can make loss explode; linearly increasing "
        "learning rate from 0 over the first ~5,000 iterations can prevent this”",
        caption=f"Two runs at the rate {WARM_RATE:g}, softmax loss on digits in batches of {BATCH}, seed 0. With that "
        f"rate from the first step on, the mean loss of the first epoch is {found['at once'][0]:.1f}, and it began "
        f"with {math.log(10):.1f}. With a rate that climbs from 0 over the first {WARM_STEPS} steps, which are five "
        f"epochs, it is {found['warmed up'][0]:.1f}, and no epoch has more than {found['warmed up'].max():.1f}. "
        "Softmax on digits recovers from the explosion in the next epoch, so that warm-up changes the start here and "
        "not the end.",
        made_with="train, schedules.warmup, SGD",
        alt="Left, the rates: a flat line at 30 and a ramp to it. Right, the loss: it starts at 22 and falls at once; "
        "warmed up, it stays below 4.",
        figure=figure,
    )


def batch_losses() -> dict[str, tuple[Array, Array]]:
    """For batches N times as large the losses at a rate N times as high, and at the same rate."""
    found = {}
    for times in (1, 2, 4, 8):
        how: dict[str, Any] = {"epochs": 10, "batch_size": 16 * times}
        grown = fl.scale_lr(0.1, times)
        found[f"{16 * times}"] = losses(grown, **how), losses(0.1, **how)
    return found


def batch_scaling() -> Exhibit:
    """A larger batch with the rate grown as much, and without."""
    found = batch_losses()
    figure, axes = new(1, 2, size=(9, 3.6), sharey=True)
    marks = zip(found.items(), ("-", "--", "-.", ":"), (COLOURS[0], COLOURS[1], COLOURS[2], COLOURS[3]), strict=True)
    for (batch, both), dashes, colour in marks:
        rates = f"{0.1 * int(batch) / 16:g}", "0.1"
        for ax, values, rate in zip(axes[0], both, rates, strict=True):
            ax.plot(values, color=colour, linestyle=dashes, linewidth=2, label=f"batch {batch}, rate {rate}")
    tidy(axes[0, 0], "rate grown with the batch: loss of all training digits", "epoch")
    tidy(axes[0, 1], "rate left at 0.1", "epoch")
    for ax in axes[0]:
        ax.legend(frameon=False, fontsize=9)
    grown, left = (spread(column) for column in zip(*found.values(), strict=True))
    return Exhibit(
        title="Batch size times N, rate times N",
        source="Iglesias, “If you increase the batch size by N, also scale the initial learning rate by N”",
        caption="Of batches N times as large an epoch has an Nth as many steps; steps N times as long make up for "
        f"that. Left, the four curves differ by {percent(grown)} at most after any epoch and lie on each other. Right, "
        f"the rate is left alone, and they differ by up to {percent(left)} of the highest: the large batch falls "
        "behind. Softmax loss on digits, seed 0. It is a rule of thumb: 8 times 0.3 is too high a rate here, and that "
        "run falls behind.",
        made_with="scale_lr, train",
        alt="Left, four curves of the loss over ten epochs that lie on each other. Right, four curves that fan out: "
        "the larger the batch, the slower the fall.",
        figure=figure,
    )


def spread(curves: tuple[Array, ...]) -> float:
    """The largest difference of the curves after any epoch, as a share of the highest of them there."""
    together = np.array(curves)
    return float((np.ptp(together, axis=0) / together.max(axis=0)).max())
