"""Why the layers of some architectures are not right: what a reader of the table asks first."""

from __future__ import annotations

__all__ = ["CAUSES"]

_STREAMS = "its blocks give a picture's stream beside the text's, and a layer is one tensor, of one of them"
_DEPTHS = "every block reads what all before it gave, so that none is a cut"

#: By type of transformers.
CAUSES = {
    "grounding-dino": _STREAMS,
    "inkling2": _DEPTHS,
    "inkling2_loop": _DEPTHS,
    "inkling2_loop_text": _DEPTHS,
    "inkling2_text": _DEPTHS,
    "lxmert": _STREAMS,
    "mask2former": "its pixel decoder gives three resolutions at once, and a layer is one tensor, of one of them",
    "mimi": "a codec: its encoder reaches the output by indices alone, which carry no features",
    "mm-grounding-dino": _STREAMS,
}
