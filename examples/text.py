"""Which module does a docstring come from? The texts are those of Python's own library (needs fastlin[sklearn])."""

import argparse
import ast
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

import fastlin as fl

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--classes", type=int, default=12, help="so many modules, those with the most docstrings")
parser.add_argument("--plot", metavar="FILE", help="draw the words of largest weight (needs fastlin[plot])")
arguments = parser.parse_args()
OTHERS = ("test", "tests", "idlelib", "lib2to3", "site-packages", "dist-packages")  # no library to import from


def docstrings() -> Iterator[tuple[str, str]]:
    """(module, docstring) of every module, class and function, read from the files; nothing is imported."""
    library = Path(sysconfig.get_path("stdlib"))
    for path in sorted(library.rglob("*.py")):
        parts = path.relative_to(library).with_suffix("").parts
        if any(part in OTHERS or part.startswith(("_", "config-")) for part in parts[:-1]) or parts[0][0] == "_":
            continue
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node)
                if text and len(text) >= 40:
                    yield parts[0], text


found = list({text: module for module, text in docstrings()}.items())  # each text once
if len(found) < 1000:
    sys.exit("this Python has no sources of its library to read docstrings from")
kept = [module for module, _ in Counter(module for _, module in found).most_common(arguments.classes)]
texts, modules = zip(*((text, module) for text, module in found if module in kept), strict=True)
seen, unseen, y, y_unseen = train_test_split(texts, modules, random_state=0, stratify=modules)

words = TfidfVectorizer(sublinear_tf=True, token_pattern=r"[A-Za-z_]{2,}")
with_l2, classifier = fl.SoftmaxClassifier(reg=3e-5), fl.SoftmaxClassifier(reg=fl.L1(3e-4))
for name, each in (("L2", with_l2), ("L1", classifier)):
    accuracy = make_pipeline(words, each).fit(seen, y).score(unseen, y_unseen)
    used = (each.coef_ != 0).mean()
    print(f"{name}: accuracy on unseen docstrings {accuracy:.3f}, {used:.1%} of the weights not 0")

names = words.get_feature_names_out()
largest = np.argsort(-classifier.coef_, axis=1)[:, :8]
print(f"{len(seen)} docstrings, {len(names)} words, {len(kept)} modules; the words of largest weight with L1:")
for module, row in zip(classifier.classes_, largest, strict=True):
    print(f"  {module:16} {' '.join(names[row])}")

if arguments.plot:
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(-(-len(kept) // 4), 4, figsize=(11, 2.1 * -(-len(kept) // 4)), layout="constrained")
    for ax, module, weights, row in zip(axes.flat, classifier.classes_, classifier.coef_, largest, strict=False):
        ax.barh(names[row], weights[row], color="#4c72b0")
        ax.invert_yaxis()
        ax.set_title(module, fontsize=10)
        ax.tick_params(labelsize=8)
        ax.spines[["top", "right"]].set_visible(False)
    for ax in axes.flat[len(kept) :]:
        ax.axis("off")
    figure.suptitle("Words by which a docstring is told to be of a module: the largest weights")
    figure.savefig(arguments.plot, dpi=100)
    print(f"wrote {arguments.plot}")
