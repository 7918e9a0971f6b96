"""Quantities derived from finished profiles: effective depth, monotonicity, onset, intervals, comparisons."""

from layerwise.derive._unlike import differences_text, refuse_data
from layerwise.derive.align import align
from layerwise.derive.by_class_size import by_class_size
from layerwise.derive.compare import compare
from layerwise.derive.effective_depth import effective_depth
from layerwise.derive.interval import interval
from layerwise.derive.monotonicity import monotonicity
from layerwise.derive.onset import onset
from layerwise.derive.pooling import pooled_layers, pooling_text
from layerwise.derive.separation_law import separation_law
from layerwise.derive.tunnel import tunnel

__all__ = [
    "align",
    "by_class_size",
    "compare",
    "differences_text",
    "effective_depth",
    "interval",
    "monotonicity",
    "onset",
    "pooled_layers",
    "pooling_text",
    "refuse_data",
    "separation_law",
    "tunnel",
]
