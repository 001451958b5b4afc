"""The page of the lectures: its figures show true results, and the page needs no other file."""

import pkgutil
import re
import sys
from html.parser import HTMLParser
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pytest

from fastlin import cli, compare, data, testing

pytest.importorskip("sklearn")
pytest.importorskip("skimage")
pytest.importorskip("matplotlib")
from fastlin.lectures import page

NAMES = [name for _, _, names in page.PARTS for name in names if name != page.OF_CIFAR]


class Page(HTMLParser):
    """The parts of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.links, self.images = set(), [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.add(tag)
        self.ids += [attrs["id"]] if "id" in attrs else []
        self.links += [attrs["href"]] if "href" in attrs else []
        self.images += [(attrs["src"], attrs["alt"])] if tag == "img" else []
        assert not [name for name in attrs if name.startswith("on")]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The page as the command writes it, with what the command prints; only the timing is kept short."""
    folder = tmp_path_factory.mktemp("lectures")
    case = testing.random_case(9, 5, 3).astype("float32")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compare, "PAUSE", 0.0)
        patch.setattr(compare, "BURST", 0.0)
        patch.setattr(compare, "digits_case", lambda dtype: case)
        said = []
        path = page.write(folder / "new", said.append)
    return path, path.read_text(encoding="utf-8"), said


@pytest.mark.slow
def test_the_page_needs_nothing_else(made):
    path, text, _ = made
    page = Page(text)
    assert path.stat().st_size < 6_000_000
    assert {file.name for file in path.parent.iterdir()} == {"index.html", "play.html"}
    assert not page.tags & {"script", "link", "iframe", "object", "base"}
    assert all(link.startswith("#") or link == "play.html" for link in page.links)
    assert all(source.startswith("data:image/svg+xml,") for source, _ in page.images)
    assert "url(" not in text
    assert "@import" not in text


@pytest.mark.slow
def test_every_figure_is_there_and_said_in_words(made):
    _, text, said = made
    page = Page(text)
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links if link.startswith("#")} == set(page.ids)  # the contents name everything
    assert set(NAMES) < set(page.ids)
    assert len(said) == len(NAMES) == text.count("<figcaption>")
    assert [words.partition(":")[0] for words in said] == [f"{k} of {len(NAMES)}" for k in range(1, len(NAMES) + 1)]
    figures = re.findall(r"<figure id=.*?</figure>", text, re.DOTALL)
    assert len(figures) == len(NAMES)
    assert all("<img" in figure or "<table" in figure for figure in figures)
    assert all(len(alt) > 60 for _, alt in page.images)
    for source, _ in page.images:
        svg = unquote(source.partition(",")[2])
        ElementTree.fromstring(svg)
        assert not re.search(r"""href=['"](?!#|data:)""", svg)


@pytest.mark.slow
def test_every_figure_says_what_it_was_made_with(made):
    _, text, _ = made
    captions = re.findall(r"<figcaption>.*?</figcaption>", text, re.DOTALL)
    for caption in captions:
        names = re.findall("<code>fastlin[.](.*?)</code>", caption)
        assert names
        for name in names:
            pkgutil.resolve_name(f"fastlin.{name}")


def test_the_command(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(page, "PARTS", (("Tables & <more>", "linear", ("algebra",)),))
    assert cli.main(["lectures", "--out", str(tmp_path / "x")]) == 0
    written = tmp_path / "x" / "index.html"
    assert f"wrote {written}" in capsys.readouterr().out
    assert '<h2 id="tables----more-">Tables &amp; &lt;more&gt;</h2>' in written.read_text(encoding="utf-8")


def test_templates_of_cifar10_are_drawn_where_its_files_are_given(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(page, "PARTS", (("Part", "linear", ("algebra", "colour_templates")),))
    folder = tmp_path / "cifar"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in data.CIFAR10_FILES:
        records = rng.integers(0, 10, (20, data.RECORD), dtype=np.uint8)
        (folder / f"{name}.bin").write_bytes(records.tobytes())
    for arguments, ids in (([], ["algebra"]), (["--data", f"cifar10:{folder}"], ["algebra", "colour_templates"])):
        assert cli.main(["lectures", "--out", str(tmp_path), *arguments]) == 0
        assert f"{len(ids)} of {len(ids)}: " in capsys.readouterr().out
        text = (tmp_path / "index.html").read_text(encoding="utf-8")
        assert re.findall('<figure id="(.*?)">', text) == ids


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("digits", "expected cifar10:FOLDER, or cifar10:FILE.tar.gz; found 'digits'"),
        ("cifar10:", "expected cifar10:FOLDER, or cifar10:FILE.tar.gz; found 'cifar10:'"),
        ("cifar10:absent", "absent"),
    ],
)
def test_other_data_are_refused_before_anything_is_computed(given, words, tmp_path, capsys):
    try:
        status = cli.main(["lectures", "--out", str(tmp_path / "x"), "--data", given])
    except SystemExit as stop:  # argparse
        status = stop.code
    assert status == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_an_absent_package_is_named_before_anything_is_written(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "skimage.feature", None)
    assert cli.main(["lectures", "--out", str(tmp_path / "x")]) == 2
    assert "pip install 'fastlin[features]'" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
