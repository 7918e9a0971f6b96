"""From a csv file to a picture with the packages of a plain install."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def test_a_csv_file_is_profiled_listed_and_drawn(type_in):
    rows = np.random.default_rng(0).normal(size=(60, 4)).round(3)
    lines = [",".join([*map(str, row), "xyz"[number % 3]]) for number, row in enumerate(rows)]
    Path("rows.csv").write_text("\n".join(["a,b,c,d,label", *lines]), encoding="utf-8")
    words = ("given:iris", "csv:rows.csv?columns=a,b,c,d&label=label&test=0.2", "--store", "runs.lw", "--run", "a")
    code, out, err = type_in("profile", *words)
    assert (code, "ncc_error" in out) == (0, True), err
    assert "a" in type_in("ls", "runs.lw")[1]
    assert type_in("plot", "runs.lw", "a", "-o", "a.png")[0] == 0
    assert Path("a.png").stat().st_size > 5_000
