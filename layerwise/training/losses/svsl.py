"""Variability of intermediate layers as a term of the loss, read from the training's own forward."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from layerwise.arguments import checked, number, whole
from layerwise.errors import InvalidArgument, InvalidLabels, LayerNeverFired
from layerwise.features.reduction import DENSE
from layerwise.network.layer import Layer
from layerwise.settings import KINDS
from layerwise.training.losses.training_features import TrainingFeatures
from layerwise.training.losses.variability import within_class_variability

__all__ = ["SVSL"]


class SVSL:
    """Stochastic variability-simplification loss: a term that collapses intermediate layers while a network is trained.

    ``alpha/L sum_{j >= gamma} 1/K sum_c mean_{i in c} ||g_j(x_i) - mean_c g_j||^2`` over the ``L`` chosen layers
    ``g_j``, with the class means of the batch (`within_class_variability`). The layers are chosen and read as by
    `layerwise.profile`, within the training's own forward, with their gradients. A context manager: the network has
    hooks while it is open, and none afterwards. In ``[0, inf)``; 0 at collapse.

    Under `DistributedDataParallel` each process takes the means of its own share of the batch. Forwards without
    gradients, such as those of a validation, are skipped. Code that was compiled before runs no hooks.

    Parameters
    ----------
    model : Module
        The network, wrapped or not.
    alpha : float
        Weight of the term, which grows with the square of the features; no one weight suits all networks.
    layers : str, sequence of str or callable
        ``"blocks"``, ``"stages"``, ``"leaves"``, names, globs or a function of a layer, as for `layerwise.profile`.
    gamma : int
        The first of the chosen layers that takes part, counted from 0; earlier ones have no term.
    warmup : int
        Steps without the term; calls are counted in `steps`, which a resumed training sets.
    reduce : str
        How activations become features, as for `layerwise.profile`.

    Raises
    ------
    InvalidArgument
        If a number is out of its range, or the network would cut batches over devices in threads.
    UnknownName, LayerNeverFired
        If there is no such reduction; in the first forward, if there is no such layer, or it never ran.

    References
    ----------
    Ben-Shaul & Dekel 2022, Nearest class-center simplification through intermediate layers, arXiv:2201.08924.

    Examples
    --------
    >>> net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    >>> x, y = torch.randn(30, 8), torch.arange(30) % 3
    >>> with SVSL(net, alpha=0.1) as svsl:
    ...     loss = nn.functional.cross_entropy(net(x), y) + svsl(y)
    ...     loss.backward()
    """

    @checked(
        KINDS,
        alpha=number("alpha is a finite weight of 0 or more", 0),
        gamma=whole("gamma is a whole number of 0 or more"),
        warmup=whole("warmup is a whole number of 0 or more"),
    )
    def __init__(
        self,
        model: nn.Module,
        *,
        alpha: float,
        layers: str | Sequence[str] | Callable[[Layer], bool] = "blocks",
        gamma: int = 0,
        warmup: int = 0,
        reduce: str = "auto",
    ) -> None:
        if reduce in DENSE:
            raise InvalidArgument(f"the term has one label a sample, and reduce={reduce!r} makes many samples of one")
        if isinstance(model, nn.DataParallel) and len(model.device_ids) > 1:
            raise InvalidArgument(
                "DataParallel cuts each batch over devices; train with DistributedDataParallel instead"
            )
        self.alpha, self.gamma, self.warmup = alpha, gamma, warmup
        self.steps = 0
        self._reader = TrainingFeatures(model, layers, reduce, gamma, lambda: self.steps >= self.warmup)

    @property
    def layers(self) -> list[str]:
        """Names of the layers that take part, in execution order; none before the first forward."""
        return self._reader.layers

    def __enter__(self) -> SVSL:
        self._reader.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the hooks."""
        self._reader.close()

    def __call__(self, labels: Tensor) -> Tensor:
        """Return the term for the last forward, and count one step.

        Parameters
        ----------
        labels : Tensor
            Classes of the batch, integers, shape ``(n,)``.

        Returns
        -------
        Tensor
            A scalar; 0 during warm-up.

        Raises
        ------
        LayerNeverFired
            If no forward with gradients was run since the last call.
        InvalidLabels
            If labels are no integers, or not as many as the samples of the forward.
        """
        self.steps += 1
        if self.steps <= self.warmup:
            return torch.zeros((), device=labels.device)
        features = self._reader.take()
        if not features:
            raise LayerNeverFired(
                "no forward was read since the last call: run the network first, with gradients, while the term is "
                "open, and not as compiled code, which skips hooks"
            )
        for name, values in features.items():
            if len(values) != len(labels):
                raise InvalidLabels(f"layer {name!r} gives {len(values)} rows in this batch, for {len(labels)} labels")
        terms = [within_class_variability(values, labels) for values in features.values()]
        return self.alpha / self._reader.chosen * torch.stack([term.to(labels.device) for term in terms]).sum()
