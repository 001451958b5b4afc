"""Typeset digits of 28 x 28 pixels for the figures of `fastlin lectures`, drawn in matplotlib's own fonts."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import get_data_path
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from fastlin._check import Array
from fastlin._extras import need

SIZE = 28  # pixels of a side, as in MNIST
FINER = 3  # a digit is drawn with so many times as many pixels a side before it is turned
POINTS = 76  # of a digit's height, in a picture of 72 points
TYPEFACES = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique"),
    *("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic"),
    *("DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique"),
    *("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta"),
    *("cmr10", "cmb10", "cmss10", "cmtt10"),
)


@cache
def _typeset() -> Array:
    """The digits 0 to 9 in each typeface, (typefaces, 10, side, side): 0 is paper, 1 is ink."""
    side = SIZE * FINER
    figure = Figure(figsize=(1, 1), dpi=side)
    canvas: Any = FigureCanvasAgg(figure)
    text = figure.text(0.5, 0.385, "", ha="center", va="center")
    drawn = np.empty((len(TYPEFACES), 10, side, side))
    for images, name in zip(drawn, TYPEFACES, strict=True):
        file = Path(get_data_path(), "fonts", "ttf", f"{name}.ttf")
        text.set_fontproperties(FontProperties(fname=file, size=POINTS))
        for digit, image in enumerate(images):
            text.set_text(str(digit))
            canvas.draw()
            image[:] = 1.0 - np.asarray(canvas.buffer_rgba())[..., 0] / 255.0
    ndimage = need("scipy.ndimage", "features", "fastlin lectures")
    smooth: Array = ndimage.uniform_filter(drawn, (0, 0, FINER, FINER))  # a pixel is the mean of the finer ones
    return smooth


def typeset_digits(n: int, *, seed: int) -> tuple[Array, Array]:
    """X (n, 784) and y: digits in random typefaces, turned by up to 6 degrees, shifted by up to 1 pixel, scaled by up
    to a tenth."""
    transform = need("scipy.ndimage", "features", "fastlin lectures").affine_transform
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 10
    sources = _typeset()[rng.integers(0, len(TYPEFACES), n), y]
    angles, scales = np.deg2rad(rng.uniform(-6.0, 6.0, n)), rng.uniform(0.9, 1.1, n)
    shifts = FINER * rng.uniform(-1.0, 1.0, (n, 2))
    images = np.empty((n, SIZE, SIZE))
    for image, source, angle, scale, shift in zip(images, sources, angles, scales, shifts, strict=True):
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * FINER / scale
        offset = (len(source) - 1) / 2 + shift - turn @ np.full(2, (SIZE - 1) / 2)
        transform(source, turn, offset, image.shape, image, order=1)
    return np.clip(images, 0.0, 1.0).reshape(n, -1), y
