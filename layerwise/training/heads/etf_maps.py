"""Hidden linear maps fixed to a turned simplex ETF."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from layerwise.arguments import checked
from layerwise.errors import InvalidArgument
from layerwise.theory.frames import simplex_etf_gram

__all__ = ["etf_map", "fix_to_etf"]


@checked()
def etf_map(
    out_features: int, in_features: int, vectors: int | None = None, *, turn_outputs: bool = True, seed: int = 0
) -> Tensor:
    """Return a linear map that is a simplex ETF, turned by random orthonormal matrices at both ends.

    ``W = sqrt(m / (m - 1)) U (I - 1 1^T / m) V^T`` with ``m`` vectors, ``U`` of shape ``(out, m)`` and ``V`` of shape
    ``(in, m)``, both with orthonormal columns. The Gram matrix of ``U^T W`` is ``m / (m - 1) (I - 1 1^T / m)``.

    Parameters
    ----------
    out_features, in_features : int
    vectors : int, optional
        ``m``, from 2 to the smaller of both widths, which is the default.
    turn_outputs : bool
        Whether the outputs are turned. Without, ``U`` is the identity on the first `m` outputs: the outputs of a head
        are classes, and stay apart as the rows of an ETF.
    seed : int
        Seed of both turns.

    Returns
    -------
    Tensor
        Shape ``(out, in)``, of the default type.

    Raises
    ------
    InvalidArgument
        If there are too few or too many vectors.

    References
    ----------
    Liu 2024, Leveraging intermediate neural collapse with simplex ETFs for efficient deep neural networks
    (arXiv:2412.00884).

    Examples
    --------
    >>> rows = etf_map(3, 8, turn_outputs=False)
    >>> (rows @ rows.T).round(decimals=4)
    tensor([[ 1.0000, -0.5000, -0.5000],
            [-0.5000,  1.0000, -0.5000],
            [-0.5000, -0.5000,  1.0000]])
    """
    most = min(out_features, in_features)
    count = most if vectors is None else vectors
    if not 2 <= count <= most:
        raise InvalidArgument(f"vectors={count}: a map from {in_features} to {out_features} features has 2 to {most}")
    generator = torch.Generator().manual_seed(seed)
    # The Gram matrix is a multiple of a projection, so that it is its own root up to a factor.
    root = torch.from_numpy(simplex_etf_gram(count, 1.0)) / math.sqrt(count / (count - 1))
    outputs = _orthonormal(out_features, count, generator) if turn_outputs else _identity(out_features, count)
    inputs = _orthonormal(in_features, count, generator)
    return (outputs @ root @ inputs.T).to(torch.get_default_dtype())


@checked()
def fix_to_etf(
    linear: nn.Linear, vectors: int | None = None, *, turn_outputs: bool = True, scale: float = 1.0, seed: int = 0
) -> nn.Linear:
    """Fix the weight of a linear map to a turned simplex ETF, in place; its bias stays as it is.

    The weight stays a parameter without a gradient, so that checkpoints and optimisers that know it fit as before; an
    optimiser passes over it, decay included.

    Parameters
    ----------
    linear : Linear
    vectors : int, optional
        See `etf_map`.
    turn_outputs : bool
        False for a head, whose outputs are classes.
    scale : float
        Length of the vectors.
    seed : int

    Returns
    -------
    Linear
        The same module.

    Raises
    ------
    InvalidArgument
        If the module has no weight of two axes, or there are too few or too many vectors.

    References
    ----------
    Liu 2024, Leveraging intermediate neural collapse with simplex ETFs for efficient deep neural networks
    (arXiv:2412.00884).

    Examples
    --------
    >>> linear = fix_to_etf(nn.Linear(16, 16), seed=1)
    >>> linear.weight.requires_grad, torch.linalg.matrix_rank(linear.weight).item()
    (False, 15)
    """
    weight = getattr(linear, "weight", None)
    if not isinstance(weight, nn.Parameter) or weight.ndim != 2:
        raise InvalidArgument(
            f"a map that can be fixed is a Linear with a weight of its own, not {type(linear).__name__}"
        )
    outputs, inputs = weight.shape
    frame = scale * etf_map(outputs, inputs, vectors, turn_outputs=turn_outputs, seed=seed)
    with torch.no_grad():
        weight.copy_(frame)
    weight.requires_grad_(False)
    weight.grad = None
    return linear


def _orthonormal(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    normal = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    frame, triangle = torch.linalg.qr(normal)
    # The signs make it uniform over all orthonormal frames.
    uniform: Tensor = frame * triangle.diagonal().sign()
    return uniform


def _identity(rows: int, columns: int) -> Tensor:
    return torch.eye(rows, columns, dtype=torch.float64)
