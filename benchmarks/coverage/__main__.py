"""Find the layers of every architecture of timm and transformers, and write what came of it.

    python -m benchmarks.coverage [--zoo timm] [--cache FILE] [--again] [--stale] [NAMES]

Goes on where it was stopped: what the cache has is not examined again. `docs/coverage.md` is written at the end, and
with `--table` alone from what the cache has.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterable
from itertools import chain, zip_longest
from pathlib import Path

from benchmarks.coverage import timm_zoo, transformers_zoo
from benchmarks.coverage.record import Record, add, finding, load
from benchmarks.coverage.run import examine_all

_ROOT = Path(__file__).parents[2]
_CACHE = Path.home() / ".cache" / "layerwise" / "coverage.jsonl"
#: The most seconds that one architecture may take.
_LONGEST = {"timm": 120.0, "transformers": 150.0}


def main() -> None:
    """Examine and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="these only")
    parser.add_argument("--zoo", choices=["timm", "transformers"], action="append")
    parser.add_argument("--cache", type=Path, default=_CACHE)
    parser.add_argument("--again", action="store_true", help="examine once more what was not right")
    parser.add_argument("--stale", action="store_true", help="examine once more what an older finding of blocks found")
    parser.add_argument("--table", action="store_true", help="write the table of what the cache has, and nothing else")
    options = parser.parse_args()
    names = {"timm": timm_zoo.names, "transformers": transformers_zoo.names}
    for zoo in [] if options.table else options.zoo or list(names):
        known = load(options.cache)
        done = {
            name
            for (place, name), record in known.items()
            if place == zoo
            and (record.right or record.like or not options.again)
            and (record.finding == finding() or not options.stale)
        }
        every = names[zoo]()
        wanted = options.names or [name for name in _in_turn(zoo, every) if name not in done]
        for record in examine_all(zoo, (name for name in wanted if name in every), options.cache, _LONGEST[zoo]):
            add(options.cache, [record])
            _tell(record)
    if not options.names:
        from benchmarks.coverage.table import written

        (_ROOT / "docs" / "coverage.md").write_text(written(load(options.cache).values()))


def _in_turn(zoo: str, names: Iterable[str]) -> list[str]:
    """One of each family, then another of each, so that what is wrong is seen early."""
    families: dict[str, list[str]] = {}
    for name in names:
        families.setdefault(timm_zoo.family(name) if zoo == "timm" else name.partition("/")[0], []).append(name)
    for members in families.values():
        random.Random(0).shuffle(members)
    if zoo == "transformers":
        return list(chain(*families.values()))
    return [name for turn in zip_longest(*families.values()) for name in turn if name is not None]


def _tell(record: Record) -> None:
    said = (
        f"like {record.like}"
        if record.like
        else "right"
        if record.right
        else f"{record.state} {record.error} {'; '.join(record.faults)}"
    )
    print(f"{record.zoo} {record.name}: {record.layers} layers, {said}", flush=True)


if __name__ == "__main__":
    main()
