"""Code that comes with a model: it runs for those who ask for it, and is named to all others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from layerwise.errors import LayerwiseError, listed

__all__ = ["RemoteCode", "code_of", "refusing_code"]

_CONFIGS = ("config.json", "tokenizer_config.json", "preprocessor_config.json", "processor_config.json")


class RemoteCode(LayerwiseError, PermissionError):
    """A model brings code of its own, which was not allowed to run."""


def code_of(name: str) -> list[str]:
    """What the configurations of a local folder ask to run, as ``file.py:Class``; none of what cannot be read."""
    found = []
    for file in _CONFIGS:
        try:
            said = json.loads((Path(name).expanduser() / file).read_text())["auto_map"]
            values = said.values() if isinstance(said, dict) else [said]
            wanted = [item for value in values for item in (value if isinstance(value, list) else [value])]
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            continue
        for item in wanted:
            if isinstance(item, str):
                module, _, own = item.rpartition(".")
                found.append(f"{module}.py:{own}")
    return list(dict.fromkeys(found))


@contextmanager
def refusing_code(name: str) -> Iterator[None]:
    """Name the code that a model of transformers brings where the library refuses it.

    Raises
    ------
    RemoteCode
        Saying what would run, and how it is allowed.
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
