"""Regressions: teachers with targets of a chosen rank, and the flows of a river."""

from __future__ import annotations

import torch
from torch import Tensor

from layerwise.data import loaders, read
from layerwise.studies.data.pictures import Splits
from layerwise.studies.data.places import locate

__all__ = ["load_river_flow", "teacher_regression"]


def teacher_regression(
    samples: int, features: int, targets: int, rank: int, *, hidden: int = 32, seed: int = 0
) -> Splits:
    """Targets that a random network of one hidden layer makes of Gaussian inputs, in a subspace of their own.

    Parameters
    ----------
    samples, features, targets : int
        Sizes of the inputs ``(samples, features)`` and targets ``(samples, targets)``.
    rank : int
        Dimension of the subspace that the targets lie in; each direction of it has variance 1.
    hidden : int
        Width of the teacher.
    seed : int

    Returns
    -------
    dict of str to (Tensor, Tensor)
        The split ``train``.

    Examples
    --------
    >>> inputs, targets = teacher_regression(100, 4, targets=5, rank=2)["train"]
    >>> int(torch.linalg.matrix_rank(targets, rtol=1e-4))
    2
    """
    draw = torch.Generator().manual_seed(seed)
    inputs = torch.randn(samples, features, generator=draw)
    first = torch.randn(features, hidden, generator=draw) / features**0.5
    second = torch.randn(hidden, rank, generator=draw) / hidden**0.5
    frame, _ = torch.linalg.qr(torch.randn(targets, rank, generator=draw))
    return {"train": (inputs, _standardised((inputs @ first).tanh() @ second) @ frame.T)}


def load_river_flow(name: str = "river-flow") -> Splits:
    """River Flow 1: flows at eight places of the Mississippi, 48 hours ahead, from 64 measurements before.

    Rows with gaps are left out; inputs and targets are in units of their spread.

    Parameters
    ----------
    name : str
        The short name, with options such as ``?limit=1000``; or a data name of `layerwise.data.read`.

    Returns
    -------
    dict of str to (Tensor, Tensor)
        The split ``train``: inputs ``(n, 64)`` and targets ``(n, 8)``, float32.
    """
    loader = loaders(read(locate(name)), batch_size=1000)["train"]
    inputs, targets = (torch.cat(parts).float() for parts in zip(*loader, strict=True))
    whole = inputs.isfinite().all(1) & targets.isfinite().all(1)
    return {"train": (_standardised(inputs[whole]), _standardised(targets[whole]))}


def _standardised(values: Tensor) -> Tensor:
    return (values - values.mean(0)) / values.std(0, correction=0)
