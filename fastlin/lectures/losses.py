"""Figures of `fastlin lectures`: the losses."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

import fastlin as fl
from fastlin import toys
from fastlin._check import Array
from fastlin.lectures.exhibit import COLOURS, GREY, Exhibit, new, tidy


def loss_of_scores(loss: Any, scores: Array, **hyper: Any) -> Array:
    """The loss of each row of scores (n, c) whose right class is the first."""
    one = np.ones((1, 1))
    return np.array([loss(row[None, :], one, [0], **hyper)[0] for row in scores])


PICTURES = {"cat": (3.2, 5.1, -1.7), "car": (1.3, 4.9, 2.0), "frog": (2.2, 2.5, -3.1)}  # the slides' scores


def losses_of_pictures() -> tuple[Array, Array, float]:
    """The SVM loss and the softmax loss of each of PICTURES, and the mean of the SVM losses."""
    S = np.array(list(PICTURES.values()))
    X = np.eye(3)  # so that X @ S are the scores S
    each = [[loss(S, X[[i]], [i])[0] for i in range(3)] for loss in (fl.svm_loss, fl.softmax_loss)]
    return np.array(each[0]), np.array(each[1]), fl.svm_loss(S, X, [0, 1, 2])[0]


def three_pictures() -> Exhibit:
    """The slides' three pictures with their scores and losses."""
    svm, softmax, mean = losses_of_pictures()
    rows: list[tuple[str, ...]] = [
        ("a picture of a", *(f"score of {name}" for name in PICTURES), "SVM loss", "softmax loss")
    ]
    for i, (name, scores) in enumerate(PICTURES.items()):
        margins = [score - scores[i] + 1 for j, score in enumerate(scores) if j != i]
        terms = " + ".join(f"max(0, {margin:.1f})" for margin in margins)
        row = *(f"{score:.1f}" for score in scores), f"{terms} = {svm[i]:.1f}", f"{softmax[i]:.2f}"
        rows.append((name, *(cell.replace("-", "−") for cell in row)))
    return Exhibit(
        title="Three pictures, three classes",
        source="all five, “Suppose: 3 training examples, 3 classes”",
        caption="SVM: each wrong class whose score comes nearer than 1 to that of the right one costs as much as it is "
        "too near. The car is ahead of the others by more than 1: loss 0. For the frog both others are ahead. The loss "
        f"of the data is the mean, {mean:.2f}. Softmax charges for all that is short of certainty, the car too.",
        made_with="svm_loss, softmax_loss",
        table=rows,
    )


def loss_curves() -> Exhibit:
    """Hinge, squared hinge and softmax over the margin, two classes."""
    ahead = np.linspace(-3, 3, 241)
    scores = np.column_stack([ahead, np.zeros_like(ahead)])
    figure, axes = new(size=(9, 3.8))
    ax = axes[0, 0]
    curves: tuple[tuple[str, Any, dict[str, Any]], ...] = (
        ("hinge, max(0, 1 − a)", fl.svm_loss, {}),
        ("squared hinge", fl.svm_loss, {"squared": True}),
        ("softmax, log(1 + e⁻ᵃ)", fl.softmax_loss, {}),
    )
    for (name, loss, hyper), colour in zip(curves, COLOURS, strict=False):
        ax.plot(ahead, loss_of_scores(loss, scores, **hyper), color=colour, label=name, linewidth=2)
    ax.step(ahead, ahead < 0, where="post", color=GREY, linestyle=":", label="wrong answer, 0 or 1")
    ax.axvline(1, color=GREY, linewidth=0.8)
    ax.text(1.03, 4.6, "margin 1", color="#555", fontsize=9)
    tidy(ax, x="a: how far the right class's score is ahead of the other's", y="loss of the row")
    ax.set_ylim(-0.1, 5)
    ax.legend(frameon=False, loc="upper right", bbox_to_anchor=(1, 0.9))
    return Exhibit(
        title="Hinge and softmax loss",
        source="all five, “Multiclass SVM loss”; all but Iglesias, “Softmax vs. SVM”; UIT and 493G1, "
        "“Q6: What if we used” the square",
        caption="Two classes. To the right of margin 1 the hinge is exactly 0 and no longer cares; softmax always "
        "wants a little more. To the left the hinge and softmax grow along straight lines, the squared hinge much "
        "faster, so that a few bad rows count for more with it. At a = 0, where W = 0 starts, they are c − 1 = 1 and "
        "log c = 0.69.",
        made_with="svm_loss, softmax_loss",
        alt="Curves of three losses over the lead of the right class: the hinge bends to zero at lead 1, the squared "
        "hinge rises steeply to the left, softmax falls smoothly and never reaches zero.",
        figure=figure,
    )


def probabilities() -> Exhibit:
    """cat 3.2, car 5.1, frog -1.7: scores, exponentials, probabilities."""
    scores = np.array([3.2, 5.1, -1.7])
    shares = fl.softmax(scores[None, :])[0]
    loss = float(loss_of_scores(fl.softmax_loss, scores[None, :])[0])
    steps = (("scores s", scores, "{:.1f}"), ("exp(s)", np.exp(scores), "{:.2f}"), ("softmax: sum 1", shares, "{:.2f}"))
    figure, axes = new(1, 3, size=(9, 2.8))
    for ax, (title, values, shown) in zip(axes[0], steps, strict=True):
        bars = ax.bar(("cat", "car", "frog"), values, color=(COLOURS[0], GREY, GREY))
        ax.bar_label(bars, [shown.format(value) for value in values], padding=2, fontsize=9)
        ax.margins(y=0.18)
        ax.axhline(0, color="#555", linewidth=0.8)
        tidy(ax, title)
    return Exhibit(
        title="From scores to probabilities",
        source="“Loss function, Regularization, Optimization”, Kira, UIT and 493G1, “Softmax Classifier”",
        caption="The picture is of a cat (blue), but the car has the highest score. Exponentials make the scores "
        f"positive, dividing by their sum makes them probabilities: the cat gets {shares[0]:.2f}, and its loss is "
        f"−log {shares[0]:.2f} = {loss:.2f}. (One lecture says 0.89: there the logarithm is to base 10.)",
        made_with="softmax, softmax_loss",
        alt="Three bar charts for cat, car and frog: scores 3.2, 5.1, −1.7; exponentials 24.5, 164, 0.18; "
        "probabilities 0.13, 0.87, 0.00.",
        figure=figure,
    )


SLIDE_W = np.array([[0.01, -0.05, 0.1, 0.05], [0.7, 0.2, 0.05, 0.16], [0.0, -0.45, -0.2, 0.03]])  # a row for each class
SLIDE_X, SLIDE_B, SLIDE_CLASS = np.array([-15.0, 22.0, -44.0, 56.0]), np.array([0.0, 0.2, -0.3]), 2


def softmax_beside_svm() -> Exhibit:
    """The slides' one picture with four pixels, from W, x and b to both losses."""
    W, X = np.vstack([SLIDE_W.T, SLIDE_B]), SLIDE_X[None]
    scores = fl.scores(W, X, bias=True)[0]
    shares = fl.softmax(scores[None])[0]
    svm, softmax = (loss(W, X, [SLIDE_CLASS], bias=True)[0] for loss in (fl.svm_loss, fl.softmax_loss))
    rows: list[tuple[str, ...]] = [
        ("class", "its row of W", "its b", "score w·x + b", "hinge", "exp(score)", "divided by their sum")
    ]
    for j, score in enumerate(scores):
        margin = score - scores[SLIDE_CLASS] + 1
        hinge = "the right class" if j == SLIDE_CLASS else f"max(0, {margin:.2f}) = {max(0.0, margin):.2f}"
        weights = ", ".join(f"{w:g}" for w in SLIDE_W[j])
        steps = (f"{score:.2f}", hinge, f"{np.exp(score):.3f}", f"{shares[j]:.4f}")
        rows.append(tuple(cell.replace("-", "−") for cell in (f"{j}", weights, f"{SLIDE_B[j]:g}", *steps)))
    total = f"{np.exp(scores).sum():.3f}", f"−log {shares[SLIDE_CLASS]:.4f} = {softmax:.2f}"
    rows.append(("", "", "", "", f"SVM loss: {svm:.2f}", f"sum: {total[0]}", f"softmax loss: {total[1]}"))
    pixels = ", ".join(f"{value:g}" for value in SLIDE_X).replace("-", "−")
    return Exhibit(
        title="One picture, both losses",
        source="“Loss function, Regularization, Optimization” and 493G1, “Softmax vs. SVM”",
        caption=f"A picture of four pixels, x = ({pixels}), is of class {SLIDE_CLASS}. Class 1 has a higher score, so "
        f"both losses are above 0. The SVM compares scores and charges {svm:.2f}; softmax turns them into "
        f"probabilities and charges minus the logarithm of the right one, {softmax:.2f}. The slides say "
        f"{softmax / np.log(10):.3f}, which is that logarithm to base 10; and one has 0.016 for the first probability, "
        f"which is {shares[0]:.4f}.",
        made_with="scores, softmax, svm_loss, softmax_loss",
        table=rows,
    )


JIGGLE = 0.5  # how far each score goes up and down
JIGGLED = {  # the slides' scores, of which the first is of the right class, and the lectures that have them
    (10.0, -2.0, 3.0): "A, C, E",
    (10.0, 9.0, 9.0): "A, C, E",
    (10.0, -100.0, -100.0): "A, E",
    (10.0, 100.0, -100.0): "C",
    (20.0, -2.0, 3.0): "E",
    (20.0, 9.0, 9.0): "E",
    (20.0, -100.0, -100.0): "E",
}


def jiggled(loss: Any, scores: tuple[float, ...]) -> tuple[float, float, float]:
    """The loss of these scores; and the least and the largest where each score is moved by -JIGGLE, 0 or JIGGLE."""
    moves = np.array(list(product((-JIGGLE, 0.0, JIGGLE), repeat=len(scores))))
    moved = loss_of_scores(loss, np.array(scores) + moves)
    return float(loss_of_scores(loss, np.array([scores]))[0]), float(moved.min()), float(moved.max())


def exact_softmax(scores: tuple[float, ...]) -> float:
    """log(1 + sum exp(s_j - s_0)) where it is too small for 1 + it: what the softmax loss is in mathematics."""
    return float(np.log1p(np.exp(np.array(scores[1:]) - scores[0]).sum()))


def remark(scores: tuple[float, ...]) -> str:
    """What the table of jiggled scores says of a row of it."""
    svm, least, most = jiggled(fl.svm_loss, scores)
    found = ["SVM stays 0"] if most == 0 else []
    if scores[0] - max(scores[1:]) == 1:
        found.append("exactly on the SVM's kink: both move")
    elif least < svm < most:
        found.append("both move")
    if jiggled(fl.softmax_loss, scores)[0] == 0:
        found.append(f"softmax rounds to 0, in mathematics {exact_softmax(scores):.1e}".replace("-", "−"))
    elif most == 0:
        found.append("softmax moves a little")
    return "; ".join(found)


def jiggling() -> Exhibit:
    """Both losses of the slides' scores before and after they are jiggled."""
    losses = ("SVM loss", "SVM, jiggled", "softmax loss", "softmax, jiggled")
    rows: list[tuple[str, ...]] = [("scores, the right class first", "in", *losses, "what is seen")]
    for scores, documents in JIGGLED.items():
        cells = [f"[{', '.join(f'{score:g}' for score in scores)}]", documents]
        for loss in (fl.svm_loss, fl.softmax_loss):
            now, least, most = jiggled(loss, scores)
            cells += [f"{now:.2g}", f"{least:.2g} to {most:.2g}"]
        rows.append((*(cell.replace("-", "−") for cell in cells), remark(scores)))
    one_up, one_down = (float(loss_of_scores(fl.svm_loss, np.array([row]))[0]) for row in ((10, 9.5, 9), (9.5, 9, 9)))
    return Exhibit(
        title="Jiggle the scores a little",
        source="“Loss function, Regularization, Optimization” (A), UIT (C) and 493G1 (E), “Softmax vs. SVM”",
        caption=f"Each score is moved by −{JIGGLE}, 0 or {JIGGLE} in all combinations; the table has the least and the "
        "largest loss. Where the right class leads by much more than 1 the SVM loss stays 0, and doubling its score to "
        "20 changes nothing. [10, 9, 9] is no such case: there the lead is exactly 1, the kink of the hinge, so that "
        f"the loss is 0, and {one_up:g} with one wrong score {JIGGLE} higher, {one_down:g} with the right one {JIGGLE} "
        "lower. Doubled to 20 it is safe. The softmax loss is above 0 for every row, if only in mathematics: with −100 "
        "it is so small that a computer rounds it to exactly 0. In the row of lecture C a wrong class is ahead, and "
        "both losses are large.",
        made_with="svm_loss, softmax_loss",
        table=rows,
    )


DOUBLED = {"car": (1.3, 2.5, 2.0)}  # the slide's car with a loss; the scores of PICTURES follow


def doubling() -> Exhibit:
    """SVM losses and answers with W and with 2W."""
    names = tuple(PICTURES)
    rows: list[tuple[str, ...]] = [
        ("a picture of a", "scores", "SVM loss", "answer", "scores of 2W", "SVM loss of 2W", "answer of 2W")
    ]
    for name, scores in (*DOUBLED.items(), *PICTURES.items()):
        cells = [name]
        for times in (1, 2):
            S = times * np.array([scores])
            loss = fl.svm_loss(S, np.ones((1, 1)), [names.index(name)])[0]
            answer = names[int(fl.predict(S, np.ones((1, 1)))[0])]
            cells += [", ".join(f"{s:.1f}" for s in S[0]).replace("-", "−"), f"{loss:.1f}", answer]
        rows.append(tuple(cells))
    return Exhibit(
        title="Twice the weights: other losses, the same answers",
        source="“Loss function, Regularization, Optimization”, “What is the loss? (POLL)”; all five, “Is W unique?”",
        caption="Scores are of cat, car and frog. The first picture, a car, is answered rightly but leads by only 0.5: "
        "loss 0.5. Doubling W and b doubles the lead, and the loss is 0. Nothing has been learned, for no answer "
        "changes, and pictures that were wrong, the cat and the frog, now cost more. The second car had loss 0 before "
        "and has it still, so W with loss 0 is not unique.",
        made_with="svm_loss, predict",
        table=rows,
    )


def over_scores(loss: Any, scores: Array, target: float) -> tuple[Array, Array]:
    """The loss of each score for this target, and its slope by the score."""
    X, found = np.ones((1, 1)), []
    for score in scores:
        value, slope = loss(np.full((1, 1), score), X, [target])
        found.append((value, slope[0, 0]))
    values, slopes = np.array(found).T
    return values, slopes


def regression_curves() -> Exhibit:
    """Losses of a value and of a probability, and their slopes."""
    figure, axes = new(2, 2, size=(9, 5.4), sharex="col")
    values = (("absolute error, L1", fl.absolute_error_loss), ("squared error, L2", fl.squared_error_loss))
    shares = (("logistic, −log σ(s)", fl.logistic_loss), ("squared, (1 − σ(s))²", fl.sigmoid_squared_loss))
    columns: tuple[tuple[Any, Array, float], ...] = (
        (values, np.unique([*np.linspace(-3, 3, 121), -1e-9, 1e-9]), 0.0),  # with both sides of the jump at 0
        (shares, np.linspace(-6, 6, 121), 1.0),
    )
    for column, (losses, scores, target) in enumerate(columns):
        for (name, loss), colour, style in zip(losses, COLOURS, ("-", "--"), strict=False):
            for ax, curve in zip(axes[:, column], over_scores(loss, scores, target), strict=True):
                ax.plot(scores, curve, style, color=colour, linewidth=2, label=name)
        axes[0, column].legend(frameon=False, fontsize=9)
        axes[1, column].axhline(0, color=GREY, linewidth=0.8)
    tidy(axes[0, 0], "a value: house prices", y="loss of the row")
    tidy(axes[1, 0], x="error, s − y", y="slope of the loss by s")
    tidy(axes[0, 1], "a probability: the target is 1")
    tidy(axes[1, 1], x="score s; the model says σ(s) = 1 / (1 + e⁻ˢ)")
    stuck = [abs(float(over_scores(loss, np.array([-6.0]), 1.0)[1][0])) for _, loss in shares]
    return Exhibit(
        title="Losses for values and for probabilities",
        source="Kira, “If we are performing regression” and “Adding a Non-Linear Function”",
        caption="Left, the score s is itself the answer, such as a price. The slope, below, is how hard a row pulls at "
        "the fit: with L1 all rows pull alike, up or down, however wrong they are; with L2 a row twice as wrong "
        "pulls twice as hard. Right, the score becomes a probability first. Where the model is surely wrong (far left) "
        f"the logistic loss still pulls with {stuck[0]:.2f} at s = −6, but the squared one with {stuck[1]:.3f}: it is "
        "nearly flat there, and descent gets stuck. (On its slide the formula of “Logistic” is that of softmax.)",
        made_with="absolute_error_loss, squared_error_loss, logistic_loss, sigmoid_squared_loss",
        alt="Four panels. Left, the L1 loss is a V with slope −1 or 1, the L2 loss a parabola with a straight slope. "
        "Right, the logistic loss falls from 6 to 0 and its slope from −1 to 0; the squared loss of a sigmoid is "
        "flat at both ends.",
        figure=figure,
    )


GIVEN_AWAY = 5  # houses
FITS: tuple[str, ...] = ("L2, true prices", "L2, false prices", "L1, false prices")


def house_data() -> tuple[Array, Array, Array]:
    """80 houses X, their prices, and the same prices but for the largest houses, which went for 1 thousand each."""
    X, y = toys.houses(80, seed=0)
    false = y.copy()
    false[np.argsort(X[:, 0])[-GIVEN_AWAY:]] = 1.0
    return X, y, false


def fit_prices(X: Array, y: Array, loss: str) -> Any:
    """A regression of y by L-BFGS, on features of mean 0 and standard deviation 1."""
    scale = 1 / X.std(axis=0)
    return fl.minimize(X, y, loss=loss, x_scale=scale, x_shift=-X.mean(axis=0) * scale)


def house_fits(columns: int) -> dict[str, Any]:
    """The fit by each of FITS, on the first columns."""
    X, y, false = house_data()
    given = zip(FITS, ("squared_error", "squared_error", "absolute_error"), (y, false, false), strict=True)
    return {name: fit_prices(X[:, :columns], prices, loss) for name, loss, prices in given}


def rates(result: Any) -> list[float]:
    """What a unit of each feature adds to the price."""
    return [float(rate) for rate in result.W[:-1, 0] * result.x_scale]


def house_prices() -> Exhibit:
    """Prices over the area with three lines, and the prices of new houses by two fits of all features."""
    X, _, false = house_data()
    X_new, y_new = toys.houses(100, seed=1)
    figure, axes = new(1, 2, size=(10, 4.1))
    left, right = axes[0]
    left.scatter(X[:, 0], false, s=12, color=GREY, label="houses")
    left.scatter(X[false == 1.0, 0], false[false == 1.0], s=55, facecolors="none", edgecolors="#222")
    left.annotate("given away", (X[false == 1.0, 0].min(), 1.0), (115, 25), arrowprops={"arrowstyle": "-"}, fontsize=9)
    ends = np.array([[50.0], [200.0]])
    styles: dict[str, tuple[str, str]] = dict(
        zip(FITS, ((COLOURS[2], ":"), (COLOURS[1], "--"), (COLOURS[0], "-")), strict=True)
    )
    for name, result in house_fits(1).items():
        colour, style = styles[name]
        left.plot(ends[:, 0], result.predict(ends), style, color=colour, linewidth=2.2, label=name)
    tidy(left, "one feature: the area", "area, m²", "price, thousands")
    left.legend(frameon=False, fontsize=8, loc="upper left")
    fits = house_fits(X.shape[1])
    for name, marker in zip(FITS[1:], ("x", "o"), strict=True):
        right.scatter(y_new, fits[name].predict(X_new), s=14, marker=marker, color=styles[name][0], label=name)
    right.plot([100, 600], [100, 600], color="#222", linewidth=1, label="as it should be")
    tidy(right, "four features: new houses", "true price, thousands", "predicted price, thousands")
    right.legend(frameon=False, fontsize=8, loc="upper left")
    missed = {name: float(np.abs(result.predict(X_new) - y_new).mean()) for name, result in fits.items()}
    noise = float(np.abs(toys.HOUSE_BASE + X_new @ toys.HOUSE_RATES - y_new).mean())
    table: list[tuple[str, ...]] = [
        ("", "a m² adds", "a room", "a year of age", "a km to the centre", "mean error on 100 new houses")
    ]
    table.append(("the truth", *(f"{rate:.1f}".replace("-", "−") for rate in toys.HOUSE_RATES), f"{noise:.0f}"))
    for name, result in fits.items():
        table.append((name, *(f"{rate:.1f}".replace("-", "−") for rate in rates(result)), f"{missed[name]:.0f}"))
    return Exhibit(
        title="House prices: what an absolute and a squared error do",
        source="Kira, “House price prediction”",
        caption=f"80 invented houses; the {GIVEN_AWAY} largest (ringed) went to relatives for 1 thousand each, and say "
        "nothing of the market. With true prices L2 finds the dotted line. With the false ones it bends down to them "
        "(dashed), for a miss of 400 counts as much as 400 misses of 20. L1 (solid) stays with the many. Right: the "
        "predictions for 100 new houses, from all four features, are on the black line if they are perfect: they miss "
        f"it by {missed[FITS[1]]:.0f} thousand on average with L2 and by {missed[FITS[2]]:.0f} with L1. Prices scatter "
        f"around the true rule by σ = 20, so that even that rule misses by {noise:.0f}.",
        made_with="toys.houses, minimize",
        alt="Left, prices rise with the area, but five large houses lie at the bottom; the dashed L2 line bends to "
        "them, the solid L1 line does not. Right, predicted over true prices: crosses of L2 lie in a flatter cloud, "
        "circles of L1 along the diagonal.",
        figure=figure,
        table=table,
    )
