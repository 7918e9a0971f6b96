"""Pictures of a profile: Datasets in, matplotlib Axes out."""

from layerwise.plot.class_heatmap import class_heatmap
from layerwise.plot.compare_heatmap import compare_heatmap
from layerwise.plot.depth_curve import depth_curve
from layerwise.plot.depth_heatmap import depth_heatmap
from layerwise.plot.epoch_heatmap import epoch_heatmap
from layerwise.plot.phase_diagram import phase_diagram
from layerwise.plot.phase_plot import phase_plot
from layerwise.plot.similarity_heatmap import similarity_heatmap

__all__ = [
    "class_heatmap",
    "compare_heatmap",
    "depth_curve",
    "depth_heatmap",
    "epoch_heatmap",
    "phase_diagram",
    "phase_plot",
    "similarity_heatmap",
]
