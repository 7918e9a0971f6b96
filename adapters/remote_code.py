"""Code that comes with a model: it runs only if the caller allows it, and errors name it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from layerwise.errors import LayerwiseError, listed

__all__ = ["RemoteCode", "code_of", "refusing_code"]

_CONFIGS = ("config.json", "tokenizer_config.json", "preprocessor_config.json", "processor_config.json")


class RemoteCode(LayerwiseError, PermissionError):
    """A model needs code of its own, which was not allowed to run."""


def code_of(name: str) -> list[str]:
    """Return the code that the configurations of a local folder name, as ``file.py:Class``; skip unreadable ones."""
    classes = []
    for file in _CONFIGS:
        try:
            auto_map = json.loads((Path(name).expanduser() / file).read_text())["auto_map"]
            values = auto_map.values() if isinstance(auto_map, dict) else [auto_map]
            references = [item for value in values for item in (value if isinstance(value, list) else [value])]
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            continue
        for reference in references:
            if isinstance(reference, str):
                module, _, class_name = reference.rpartition(".")
                classes.append(f"{module}.py:{class_name}")
    return list(dict.fromkeys(classes))


@contextmanager
def refusing_code(name: str) -> Iterator[None]:
    """Raise the refusal of transformers to run a model's code as `RemoteCode`.

    Raises
    ------
    RemoteCode
        Names the code, and how to allow it.
    """
    try:
        yield
    except LayerwiseError:
        raise
    except Exception as error:
        if "trust_remote_code" not in str(error):
            raise
        code = listed(code_of(name)) or "as its configuration says"
        raise RemoteCode(
            f"{name!r:.200} wants to run Python code of its own ({code}), and no code runs unasked: read "
            "it, and allow it with --trust-remote-code, or trust_remote_code=True"
        ) from error
