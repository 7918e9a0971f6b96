"""Rows and labels that go into a statistic together are equally many."""

from __future__ import annotations

from torch import Tensor

__all__ = ["check_paired"]


def check_paired(rows: Tensor, labels: Tensor) -> None:
    """Refuse a batch whose rows and labels are not equally many: some would be counted under another's label.

    Raises
    ------
    ValueError
        With both numbers.
    """
    if len(rows) != len(labels):
        raise ValueError(f"{len(rows)} rows and {len(labels)} labels go into a statistic together")
