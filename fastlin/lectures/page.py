"""`fastlin lectures`: the pictures of the five lectures, computed here and put on one page that opens offline."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable, Mapping, Sequence
from html import escape
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastlin import machine
from fastlin._check import Array
from fastlin._extras import need
from fastlin.data import Dataset
from fastlin.lectures import play

LECTURES = {
    "“Loss function, Regularization, Optimization”": "“Lecture 3”, which names no author",
    "Kira": "Zsolt Kira, CS 4803-DL / 7643-A, “Linear Classification, Loss functions, Gradient Descent”",
    "UIT": "UIT TP.HCM, “Loss Functions and Optimization”",
    "Iglesias": "José Ramón Iglesias, “Lecture 3: Regularization and Optimization”",
    "493G1": "CSE 493G1, “Lecture 3: Loss Functions”",
}

# Each part of the page with the module of its figures and these, in the order in which the lectures go.
PARTS = (
    (
        "A linear classifier, seen three ways",
        "linear",
        ("neighbours", "algebra", "templates", "colour_templates", "geometry", "ten_scores"),
    ),
    ("What it cannot separate", "hard_cases", ("hard_cases", "xor")),
    (
        "Losses",
        "losses",
        (
            "three_pictures",
            "loss_curves",
            "probabilities",
            "softmax_beside_svm",
            "jiggling",
            "doubling",
            "regression_curves",
            "house_prices",
        ),
    ),
    (
        "Regularisation",
        "regularization",
        ("preferences", "simpler_models", "penalties", "curvature", "bias_variance", "double_descent"),
    ),
    ("Searching", "searches", ("loss_lines", "random_weights", "ways_to_search")),
    ("Gradients", "gradients", ("one_slope", "slide_table", "differences", "gradient_checks")),
    ("Gradient descent", "descent", ("descent_path", "noise", "progress")),
    ("Where gradient descent has difficulties", "difficulties", ("condition", "difficulties", "saddle", "vectors")),
    ("Optimizers", "optimizers", ("bowl", "rates_that_work", "update_formulas")),
    ("Learning rates", "rates", ("learning_rates", "lowered_rate", "schedules", "warmup", "batch_scaling")),
    ("Second order: Newton and L-BFGS", "second_order", ("newton", "many_dimensions", "batches")),
    ("Features of images", "features", ("ring_in_polar", "image_features", "codebook")),
    ("Four backends", "backends", ("backends",)),
)
OF_CIFAR = "colour_templates"  # the exhibit that is drawn from CIFAR-10, and is left out without it

STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --soft: #5b6168; --ground: #fff; --line: #d9dce0; --link: #0b57a4; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8eb; --soft: #a7adb5; --ground: #16181b; --line: #3a3f45; --link: #8ab8ee; }
}
body { font: 17px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--ground); margin: 0 auto;
  padding: 1rem 1.2rem 4rem; max-width: 62rem; }
h1 { line-height: 1.2; } h2 { margin-top: 3.5rem; border-bottom: 1px solid var(--line); } h3 { margin: 2rem 0 .6rem; }
a { color: var(--link); } nav ul { list-style: none; padding-left: 1.2rem; } nav > ul { padding: 0; }
nav > ul > li { margin-top: .5rem; }
figure { margin: 0 0 2.5rem; } figcaption { max-width: 46rem; }
.source { color: var(--soft); font-size: .88em; }
.scroll { overflow-x: auto; margin: .8rem 0; }
.narrow { display: none; color: var(--soft); }
@media (max-width: 44rem) { .narrow { display: block; } }
img { display: block; background: #fff; border-radius: 6px; width: 100%; min-width: 40rem; height: auto; }
table { border-collapse: collapse; font-size: .92em; font-variant-numeric: tabular-nums; }
code { font-size: .95em; }
th, td { text-align: left; padding: .3rem .9rem .3rem 0; border-bottom: 1px solid var(--line); }
"""


def write(folder: str | Path, say: Callable[[str], Any], cifar: Dataset[Array] | None = None) -> Path:
    """Compute every figure and write folder/index.html, with play.html beside it. Returns the path of index.html.

    say : is called with progress texts.
    cifar : `fl.load_cifar10`'s, for its templates in colour; the page has none without it.
    """
    for module, extra in (
        ("matplotlib.figure", "plot"),
        ("sklearn.pipeline", "features"),
        ("skimage.feature", "features"),
    ):
        need(module, extra, "fastlin lectures")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    parts = _exhibits(say, cifar)
    page = folder / "index.html"
    page.write_text(_page(parts), encoding="utf-8")
    (folder / "play.html").write_text(play.page(), encoding="utf-8")
    return page


def _exhibits(say: Callable[[str], Any], cifar: Dataset[Array] | None) -> dict[str, dict[str, Any]]:
    """The exhibits of each part, computed now, by name."""
    wanted = [(title, module, name) for title, module, names in PARTS for name in names]
    wanted = [row for row in wanted if cifar is not None or row[2] != OF_CIFAR]
    found: dict[str, dict[str, Any]] = {}
    for number, (title, module, name) in enumerate(wanted, 1):
        start = time.perf_counter()
        make = getattr(import_module(f"fastlin.lectures.{module}"), name)
        exhibit = make(cifar) if name == OF_CIFAR else make()
        found.setdefault(title, {})[name] = exhibit
        say(f"{number} of {len(wanted)}: {exhibit.title} ({time.perf_counter() - start:.1f} s)")
    return found


def _part(title: str, exhibits: Mapping[str, Any]) -> str:
    shown = "".join(_exhibit(name, exhibit) for name, exhibit in exhibits.items())
    return f'<section>\n<h2 id="{_anchor(title)}">{escape(title)}</h2>\n{shown}</section>\n'


def _exhibit(name: str, exhibit: Any) -> str:
    image = "" if exhibit.figure is None else _image(exhibit.figure, exhibit.alt)
    source = f' <span class="source">From: {escape(exhibit.source)}.</span>' if exhibit.source else ""
    calls = ", ".join(f"<code>fastlin.{call}</code>" for call in exhibit.made_with.split(", "))
    made = f' <span class="source">Made with {calls}.</span>'
    caption = f"<figcaption>{escape(exhibit.caption)}{made}{source}</figcaption>"
    title = f"<h3>{escape(exhibit.title)}</h3>"
    return f'<figure id="{name}">\n{title}\n{image}{_table(exhibit.table)}{caption}\n</figure>\n'


def _image(figure: Any, alt: str) -> str:
    """The figure as SVG inside the page; letters are drawn as paths, so that no font is needed."""
    content = io.StringIO()
    with need("matplotlib", "plot", "fastlin lectures").rc_context({"svg.hashsalt": "fastlin", "svg.fonttype": "path"}):
        figure.savefig(content, format="svg", metadata={"Date": None})
    svg = re.sub(' d="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), content.getvalue())
    data = quote(svg.replace("\n", " ").replace('"', "'"), safe=" /:;,=+<>'")  # a third shorter than base64
    image = f'<img alt="{escape(alt)}" src="data:image/svg+xml,{data}">'
    return f'<div class="scroll" role="group" aria-label="figure" tabindex="0">{image}</div>\n'


def _table(rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    head, *body = (("th", rows[0]), *(("td", row) for row in rows[1:]))
    lines = ["<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in row) + "</tr>" for tag, row in (head, *body)]
    return (
        '<div class="scroll" role="group" aria-label="table" tabindex="0"><table>\n'
        + "\n".join(lines)
        + "\n</table></div>\n"
    )


def _anchor(title: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in title.lower())


def _contents(title: str, exhibits: Mapping[str, Any]) -> str:
    inner = "".join(f'<li><a href="#{name}">{escape(exhibit.title)}</a></li>\n' for name, exhibit in exhibits.items())
    return f'<li><a href="#{_anchor(title)}">{escape(title)}</a>\n<ul>\n{inner}</ul></li>\n'


def _page(parts: Mapping[str, Mapping[str, Any]]) -> str:
    facts = machine.describe()
    lectures = "".join(f"<li><b>{escape(short)}</b>: {escape(full)}</li>\n" for short, full in LECTURES.items())
    contents = "".join(_contents(title, exhibits) for title, exhibits in parts.items())
    body = "".join(_part(title, exhibits) for title, exhibits in parts.items())
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Linear classifiers in pictures</title>
<style>{STYLE}</style>
</head>
<body>
<header>
<h1>Linear classifiers in pictures</h1>
<p>The figures of five lectures on linear classifiers, losses and optimization, computed by fastlin
{escape(facts["fastlin"])} when this page was made. Digits are scikit-learn's
8 × 8 images where nothing else is said; the other data are toys.</p>
<p class="narrow">Pictures and tables that are wider than the screen scroll sideways.</p>
<p><a href="play.html">A linear classifier to play with</a>: drag points, move weights, and run gradient descent.</p>
</header>
<nav aria-label="Contents">
<h2>Contents</h2>
<ul>
{contents}<li><a href="#lectures">The five lectures</a></li>
</ul>
</nav>
<main>
{body}</main>
<footer>
<h2 id="lectures">The five lectures</h2>
<ul>
{lectures}</ul>
</footer>
</body>
</html>
"""
