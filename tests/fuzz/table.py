"""Every row of the table, and the names that need none."""

from __future__ import annotations

from . import rows_losses, rows_optim, rows_plain, rows_training
from .harness import Row

ROWS: tuple[Row, ...] = (*rows_losses.ROWS, *rows_optim.ROWS, *rows_plain.ROWS, *rows_training.ROWS)
