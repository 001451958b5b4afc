"""The page to play with: a linear classifier of nine points, in one HTML file that needs no other.

`model.js` computes, `view.js` shows, `controls.js` listens; the numbers are those of fastlin's losses, see
tests/lectures/test_play.py.
"""

from __future__ import annotations

from importlib.resources import files

SCRIPTS = ("model.js", "view.js", "controls.js")


def page() -> str:
    """The page as HTML: page.html with the style and the scripts inside."""
    folder = files(__name__)
    style = folder.joinpath("style.css").read_text(encoding="utf-8")
    scripts = "\n</script>\n<script>\n".join(folder.joinpath(name).read_text(encoding="utf-8") for name in SCRIPTS)
    text = folder.joinpath("page.html").read_text(encoding="utf-8")
    return text.replace("/* style.css */", style).replace("/* scripts */", scripts)
