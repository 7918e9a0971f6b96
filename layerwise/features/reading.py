"""A layer and how it is read: from its activation to features of samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from torch import Tensor

from layerwise.errors import InvalidData
from layerwise.features.end import End
from layerwise.features.masks import Rescale, mask_of_layer, mask_that_follows
from layerwise.features.reduction import DENSE, Tokens, is_tokens, positions, reduce
from layerwise.features.sketch import Sketch
from layerwise.network.layer import Layer
from layerwise.runtime.tensors import resampled

__all__ = ["LayerReading"]


@dataclass(frozen=True)
class LayerReading:
    """A layer and how it is read.

    Attributes
    ----------
    layer : Layer
    reduction : str
        As `layerwise.features.reduction.reduce` takes it; never ``auto``.
    features : int
        Features after reduction and projection, ``d``.
    projection : Sketch or None
        The random projection that ``sketch:k`` asks for.
    prefix : int
        Class and register tokens in front of the layer's other tokens.
    positions : tuple of int
        Height and width, or none, of what a layer holds of a sample where every pixel is read; of tokens only their
        number, which may differ from batch to batch.
    virtual : bool
        Whether the prefix is none of the sample's, as the trained tokens of prompt tuning.
    rescale : callable
        Takes an attention mask to a layer whose positions are fewer or more by a factor.
    end : End or None
        The rule that picks the token to read, where it is picked by the numbers of the tokens.
    rounding : float
        Relative rounding of the coarsest arithmetic that makes the layer.
    """

    layer: Layer
    reduction: str
    features: int
    projection: Sketch | None = None
    prefix: int = 0
    positions: tuple[int, ...] = ()
    virtual: bool = False
    rescale: Rescale = field(default=resampled, compare=False)
    end: End | None = None
    rounding: float = 0.0

    @property
    def name(self) -> str:
        """The layer's name."""
        return self.layer.name

    @property
    def stated(self) -> str:
        """The reduction as the Dataset states it."""
        return f"sketch:{self.projection.width}" if self.projection else self.reduction

    def read(
        self,
        activation: Tensor,
        mask: Tensor | None = None,
        ids: Tensor | None = None,
        masks: Mapping[str, Tensor] = MappingProxyType({}),
    ) -> Tensor:
        """Features of shape ``(n, d)`` from an activation with its samples in front, and its batch's masks and tokens.

        Where every token or pixel is read, of shape ``(n, tokens, d)`` or ``(n, h, w, d)``.

        Raises
        ------
        InvalidData
            If they are not as many as in the first batch: a flattened layer of texts of unequal length, say.
        """
        if self.reduction in DENSE:
            apart = positions(activation, self.reduction, self.layer.channels, self.prefix, self.positions)
            found = () if apart is None else apart.shape[1:-1]
            if apart is None or (self.reduction == "pixels" and found != self.positions):
                raise InvalidData(
                    f"layer {self.name!r} has pixels of shape {tuple(found)} in this batch and had {self.positions}; "
                    "reduction 'pixels' needs pictures of one size"
                )
            return apart
        mask = self._end_mask(ids) if self.end else self._mask(activation, mask, masks)
        tokens = Tokens(mask, self.prefix, self.layer.axes.masked or (1,))
        features = reduce(activation, self.reduction, self.layer.channels, tokens)
        if self.projection is not None:
            features = self.projection(features)
        if features.shape[1] != self.features:
            raise InvalidData(
                f"layer {self.name!r} has {features.shape[1]:,} features in this batch and had {self.features:,}; "
                f"reduction {self.stated!r} needs inputs of one size, 'mean' or 'gap' do not"
            )
        return features

    def _mask(self, activation: Tensor, mask: Tensor | None, masks: Mapping[str, Tensor]) -> Tensor | None:
        """The mask at the layer's positions."""
        axes, tokens = self.layer.axes, is_tokens(self.layer)
        if masks and axes.masked != () and (axes.masked or tokens):
            mask = mask_that_follows(mask, masks, axes.masks, activation.shape[1] - self.prefix)
        form = (mask, axes, activation.shape, self.prefix, self.rescale)
        return mask_of_layer(*form, tokens=tokens, virtual=self.virtual)

    def _end_mask(self, ids: Tensor | None) -> Tensor:
        """The mask of the one position that is picked by the numbers of the tokens."""
        assert self.end is not None
        if ids is None:
            raise InvalidData(
                f"layer {self.name!r} is read at the token that the network picks by the numbers of the tokens, "
                "and this batch has no 'input_ids'; choose another reduction"
            )
        return self.end.mask(ids)
