"""A process that examines one architecture after the other: names come in by line, records go out by line."""

from __future__ import annotations

import json
import os
import sys
import warnings
from dataclasses import asdict
from pathlib import Path

__all__ = ["serve"]


def serve(zoo: str, cache: Path) -> None:
    """Answer every line of the standard input, until it is closed; the cache says what is known already."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    warnings.filterwarnings("ignore")
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever models print is no record
    import torch

    torch.set_num_threads(1)
    from benchmarks.coverage import timm_zoo, transformers_zoo
    from benchmarks.coverage.record import Record, finding, load

    done = load(cache).values()
    known = {record.structure: record.name for record in done if record.zoo == zoo and record.state == "found"}
    examine = {"timm": timm_zoo.examine, "transformers": transformers_zoo.examine}[zoo]
    for line in sys.stdin:
        name = line.strip()
        try:
            record = examine(name, known)
        except Exception as error:
            # No error of the examination may pass for a model that does not run.
            record = Record(zoo, name, name).failed("faulty", error)
        record.finding = finding()
        if record.state == "found" and record.structure:
            known[record.structure] = record.name
        print(json.dumps(asdict(record)), file=answers, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1], Path(sys.argv[2]))
