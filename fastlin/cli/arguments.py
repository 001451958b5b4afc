"""Types of command-line arguments that argparse does not have."""

from __future__ import annotations

import argparse
from pathlib import Path


def path(text: str) -> Path:
    """A path; an empty one, which stands for the current folder elsewhere, is a slip here."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"expected a path; found {text!r}")
    return Path(text)
