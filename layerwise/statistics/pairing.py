"""A check that a batch has as many labels as rows."""

from __future__ import annotations

from torch import Tensor

__all__ = ["check_paired"]


def check_paired(rows: Tensor, labels: Tensor) -> None:
    """Refuse a batch with another number of labels than of rows: some rows would have wrong labels.

    Raises
    ------
    ValueError
        With both numbers.
    """
    if len(rows) != len(labels):
        raise ValueError(f"{len(rows)} rows and {len(labels)} labels go into a statistic together")
