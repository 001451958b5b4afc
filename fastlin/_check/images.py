"""Validation for fastlin/features.py: rows of X as images, and what is cut out of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastlin import _check
from fastlin._check import Array


def columns(name: str, X: Any, d: int, meaning: str) -> Array:
    """X (n, d) of real numbers."""
    found = _check.array(name, X, 2)
    if found.shape[1] != d or found.dtype.kind not in "iubf":
        raise ValueError(f"{name} must be (n, {d}) real numbers, {meaning}; found {found.dtype} {found.shape}")
    return found


def images(name: str, X: Any, image: Any, colours: bool = False) -> Array:
    """Rows X (n, d) as images (n, height, width) or (n, channels, height, width), at least one."""
    sizes = (3,) if colours else (2, 3)
    expected = "(3, height, width)" if colours else "(height, width) or (channels, height, width)"
    if not isinstance(image, (tuple, list)) or len(image) not in sizes or (colours and image[0] != 3):
        raise ValueError(f"image must be {expected}; found {image!r}")
    shape = tuple(_check.count("image", size) for size in image)
    found = columns(name, X, int(np.prod(shape)), f"flat images of shape image = {shape}")
    if not len(found):
        raise ValueError(f"{name} has 0 rows; there must be at least one image")
    return found.reshape(-1, *shape)


def fits(name: str, size: int, image: Any) -> None:
    """A square of `size` pixels fits into the image."""
    if size > min(image[-2:]):
        raise ValueError(f"{name} is {size} pixels, more than the image has; found image {tuple(image)}")


def at_most(name: str, value: int, limit: int, of: str) -> None:
    """`value` is no more than there are of something."""
    if value > limit:
        raise ValueError(f"{name} must be at most {limit}, the number of {of}; found {value}")


def fitted(owner: str, transformer: Any, attribute: str) -> None:
    """`fit` has been called."""
    if not hasattr(transformer, attribute):
        raise ValueError(f"{owner} is not fitted yet; call fit(X) with training images first")
