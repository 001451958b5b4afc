"""The lessons of examples/lectures run, warn of nothing, and are written as sphinx-gallery splits them into cells."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "examples" / "lectures"

if not FOLDER.is_dir():
    pytest.skip("the lessons are not beside the tests", allow_module_level=True)

LESSONS = sorted(FOLDER.glob("*.py"))
each_lesson = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)


def cells(path):
    """(text, code) of each cell: the docstring with the imports, then a part for each line "# %%"."""
    source = path.read_text()
    title = ast.get_docstring(ast.parse(source))
    imports, *parts = re.split(r"^# %%\n", source[source.index('"""', 3) + 3 :], flags=re.MULTILINE)
    found = [(title, imports)]
    for part in parts:
        comments = re.match(r"(?:#(?: .*)?\n)*", part).group()
        found.append((re.sub("^# ?", "", comments, flags=re.MULTILINE), part[len(comments) :]))
    return found


def documents():
    """The letter and the title of each lecture document in docs/lectures.md."""
    return re.findall(r'^\| ([A-Z]) \| "([^"]+)"[^"|]* \|$', (ROOT / "docs" / "lectures.md").read_text(), re.MULTILINE)


def test_one_for_each_document():
    """Numbered in the order of the documents, each in its own file, and listed in the README."""
    assert [path.name[:2] for path in LESSONS] == [f"{i}_" for i in range(1, len(documents()) + 1)]
    readme = (ROOT / "README.md").read_text()
    assert all(f"`{path.name}`" in readme for path in LESSONS)


@each_lesson
def test_names_its_document(path):
    letter, title = documents()[LESSONS.index(path)]
    docstring = " ".join(cells(path)[0][0].split())
    assert f'document {letter} of ``docs/lectures.md``, "{title}"' in docstring


@each_lesson
def test_is_split_into_cells(path):
    """A title, underlined; then cells that begin with text, which all but a closing remark go on with code."""
    found = cells(path)
    title, line = found[0][0].splitlines()[:2]
    assert line == "=" * len(title)
    assert len(found) > 30
    for text, code in found[1:]:
        assert text.strip()
        assert code.strip() or text == found[-1][0]
        assert "# %%" not in code


@each_lesson
def test_text_is_restructured_text(path):
    core = pytest.importorskip("docutils.core")
    whole = "\n\n".join(text for text, _ in cells(path))
    core.publish_doctree(whole, settings_overrides={"report_level": 2, "halt_level": 2})  # raises at a warning


@each_lesson
def test_needs_no_more_than_it_says(path):
    """Only fastlin, NumPy, matplotlib and Python's own modules."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module.split(".")[0])
    assert found <= {"fastlin", "numpy", "matplotlib", *sys.stdlib_module_names}


@pytest.mark.slow
@each_lesson
def test_runs(path, tmp_path):
    """Without a warning, a window or a file; what the slides say is asserted inside."""
    for module in ("matplotlib", "sklearn", "skimage"):
        pytest.importorskip(module)
    windowless = "ignore:FigureCanvasAgg is non-interactive"  # what plt.show() says of Agg where there is a display
    done = subprocess.run(
        [sys.executable, "-W", "error", "-W", windowless, str(path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=os.environ | {"MPLBACKEND": "Agg"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") > 20
    assert not done.stderr
    assert not list(tmp_path.iterdir())
