"""The rooms of the package, from the bottom up, and the imports between them.

`python tests/helpers/rooms.py` prints the map of CONTRIBUTING.md and the number of arrows between rooms.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]

#: Where a folder of the checkout is installed.
FOLDERS = {"layerwise": "layerwise", "adapters": "layerwise.adapters", "studies": "layerwise.studies"}

#: What lives in each room; a room imports from those above it in this list, and from no other.
ROOMS = {
    "errors": "what was asked, what there is, and the nearest match",
    "arguments": "kinds of arguments, and how each is read",
    "schema": "the form of a profile as an xarray Dataset",
    "theory": "closed forms, with numpy and scipy only",
    "runtime": "processes, progress, files, nested tensors, environment; it knows no network",
    "checkpoints": "files of a training, and their weights put into a module",
    "adapters": "names to models, and how each kind of model takes a batch; found by entry point",
    "data": "names to batches: labels, subsets, fingerprints",
    "network": "a module ready to be watched: layers, capture, answers; `graph/` finds blocks, heads and axes",
    "features": "an activation to `(samples, features)`: readings, masks, poolings; `derivatives/`",
    "statistics": "streaming, mergeable sums in float64",
    "metrics": "finished statistics to numbers: the registry",
    "settings": "the options of everything that measures",
    "store": "runs on disk or in object storage; it knows no model",
    "derive": "quantities of finished profiles, such as the effective depth; it knows no model",
    "plot": "pictures of finished profiles; it knows no model",
    "passes": "sweeps over the data: plan, memory, feature cache, resumption; `positions/` for tokens and pixels",
    "evaluation": "finished statistics to a Dataset: numbers, standard errors, chance",
    "profiling": "the front doors: profile, similarity, rank, forecast",
    "testing": "tests that an adapter of another package has to pass; it needs pytest",
    "training": "what goes into a loop of the user's own: tracker, callbacks, losses, fixed heads",
    "studies": "claims of papers, measured",
    "cli": "words on a command line to one call",
}

#: Short names of parts of a room.
SHORT_NAMES = {"callbacks": "training", "heads": "training", "losses": "training", "__main__": "cli"}


def modules() -> dict[str, Path]:
    """Return the files of the package by the names of their modules."""
    paths = {}
    for folder, package in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            paths[".".join((package, *parts)).removesuffix(".__init__")] = path
    return paths


def room(module: str) -> str:
    """Return the room of a module; empty for the package itself, which imports nothing before it is used."""
    first = module.partition(".")[2].partition(".")[0]
    return SHORT_NAMES.get(first, first)


def imports() -> Iterator[tuple[str, str]]:
    """Yield pairs of a module and one that it imports, wherever in the file the import stands."""
    known = modules()
    for module, path in known.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((module, alias.name) for alias in node.names if alias.name in known)
            elif isinstance(node, ast.ImportFrom) and node.module in known:
                for alias in node.names:
                    whole = f"{node.module}.{alias.name}"
                    yield module, whole if whole in known else node.module


def arrows() -> Counter[tuple[str, str]]:
    """Count the imports that lead from one room to another."""
    between = Counter((room(module), room(imported)) for module, imported in imports())
    return Counter({pair: count for pair, count in between.items() if pair[0] and pair[1] and pair[0] != pair[1]})


def house_map() -> str:
    """Return the table of rooms, top floor first, as CONTRIBUTING.md shows it."""
    rows = [f"| `{name}` | {text} |" for name, text in reversed(ROOMS.items())]
    return "\n".join(["| room | what lives there |", "| --- | --- |", *rows])


if __name__ == "__main__":
    print(house_map())
    print(f"\n{len(ROOMS)} rooms, {len(arrows())} arrows")
