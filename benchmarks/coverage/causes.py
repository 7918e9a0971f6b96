"""Why the layers of some architectures are not right: what a reader of the table asks first."""

from __future__ import annotations

__all__ = ["CAUSES"]

_STREAMS = "its blocks give a picture's stream beside the text's, and a layer is one tensor, of one of them"

#: By type of transformers.
CAUSES = {
    "grounding-dino": _STREAMS,
    "lxmert": _STREAMS,
    "mask2former": "its pixel decoder gives three resolutions at once, and a layer is one tensor, of one of them",
    "mimi": "a codec: its encoder reaches the output by indices alone, which carry no features",
    "mm-grounding-dino": _STREAMS,
}
