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
        Height and width of the layer where every pixel is read, its number of tokens where every token is (another
        batch may have another number), else empty.
    virtual : bool
        Whether the prefix belongs to no sample, as the trained tokens of prompt tuning.
    rescale : callable
        Takes an attention mask to a layer whose positions are fewer or more by a factor.
    end : End or None
        The rule that picks the token to read, where the numbers of the tokens decide.
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
        """Name of the layer."""
        return self.layer.name

    @property
    def stated(self) -> str:
        """The reduction as the Dataset records it."""
        return f"sketch:{self.projection.width}" if self.projection else self.reduction

    def read(
        self,
        activation: Tensor,
        mask: Tensor | None = None,
        ids: Tensor | None = None,
        masks: Mapping[str, Tensor] = MappingProxyType({}),
    ) -> Tensor:
        """Read features from an activation with its samples in front.

        Parameters
        ----------
        activation : Tensor
        mask : Tensor, optional
            The mask of padding of the batch, shape ``(n, tokens)``.
        ids : Tensor, optional
            The numbers of its tokens, shape ``(n, tokens)``.
        masks : mapping of str to Tensor
            The masks of a batch that has several.

        Returns
        -------
        Tensor
            Shape ``(n, d)``; ``(n, tokens, d)`` or ``(n, h, w, d)`` where every token or pixel is read.

        Raises
        ------
        InvalidData
            If the features or pixels are not as many as in the first batch, as in a flattened layer of texts of unequal
            length.
        """
        if self.reduction in DENSE:
            rows = positions(activation, self.reduction, self.layer.channels, self.prefix, self.positions)
            shape = () if rows is None else tuple(rows.shape[1:-1])
            if rows is None or (self.reduction == "pixels" and shape != self.positions):
                raise InvalidData(
                    f"layer {self.name!r} has pixels of shape {shape} in this batch and had {self.positions}; "
                    "reduction 'pixels' needs pictures of one size"
                )
            return rows
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
        """Return the mask at the layer's positions."""
        axes, tokens = self.layer.axes, is_tokens(self.layer)
        if masks and axes.masked != () and (axes.masked or tokens):
            mask = mask_that_follows(mask, masks, axes.masks, activation.shape[1] - self.prefix)
        return mask_of_layer(
            mask, axes, activation.shape, self.prefix, self.rescale, tokens=tokens, virtual=self.virtual
        )

    def _end_mask(self, ids: Tensor | None) -> Tensor:
        """Return the mask of the one position that the numbers of the tokens pick."""
        assert self.end is not None
        if ids is None:
            raise InvalidData(
                f"layer {self.name!r} is read at the token that the network picks by the numbers of the tokens, "
                "and this batch has no 'input_ids'; choose another reduction"
            )
        return self.end.mask(ids)
