"""Compacting beside others: nothing that they write is lost, and nobody is turned away."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import icechunk
import pytest
import xarray as xr
from helpers.command_line import TypeIn
from helpers.profiles import made_up
from helpers.store_cases import compact_and_write, run_at_once

from layerwise.store import NotWritable, open_store, transactions, write


def test_writers_that_all_compact_lose_nothing(tmp_path: Path) -> None:
    names = [f"vit/seed{seed}" for seed in range(3)]
    run_at_once(compact_and_write, [(tmp_path / "runs.lw", run) for run in names])
    for run in names:
        xr.testing.assert_identical(open_store(tmp_path / "runs.lw")[run].load(), made_up(4))


def test_the_command_frees_what_was_replaced_longer_ago_than_it_keeps(tmp_path: Path, type_in: TypeIn) -> None:
    path = tmp_path / "runs.lw"
    for epoch in range(3):
        open_store(path).write(made_up(3).isel(epoch=[epoch]), "a")
    before = sum(item.stat().st_size for item in path.rglob("*"))
    assert type_in("compact", path) == (0, f"freed 0.0 MB in {path}\n", "")
    assert sum(item.stat().st_size for item in path.rglob("*")) == before
    assert type_in("compact", path, "--keep", 0)[0] == 0
    assert sum(item.stat().st_size for item in path.rglob("*")) < before
    xr.testing.assert_identical(open_store(path)["a"].load(), made_up(3))


def test_compacting_spares_uncommitted_chunks(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    original, other = write.write_run, open_store(f"{bucket}/runs")

    def interrupted(*arguments: object, **options: object) -> None:
        original(*arguments, **options)  # type: ignore[arg-type]
        other.compact(timedelta(0))

    monkeypatch.setattr(write, "write_run", interrupted)
    # Large enough for chunks of its own, which lie there before the commit that names them.
    open_store(f"{bucket}/runs").write(made_up(9), "a")
    xr.testing.assert_identical(open_store(f"{bucket}/runs")["a"].load(), made_up(9))


def test_a_write_starts_anew_where_others_wrote_and_compacted(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions, "_LEAST_KEPT", timedelta(0))
    original, other, rivals = write.write_run, open_store(f"{bucket}/runs"), iter("bc")
    other.write(made_up(), "first")

    def interrupted(target: object, run: str, *arguments: object, **options: object) -> None:
        original(target, run, *arguments, **options)  # type: ignore[arg-type]
        if run == "a" and (rival := next(rivals, None)):
            other.write(made_up(), rival)
            other.compact(timedelta(0))

    monkeypatch.setattr(write, "write_run", interrupted)
    open_store(f"{bucket}/runs").write(made_up(), "a")
    assert open_store(f"{bucket}/runs").runs() == ["a", "b", "c", "first"]


def test_compacting_is_tried_again_and_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store("memory://")
    tries: list[int] = []

    class Collector:
        def __init__(self, failures: int) -> None:
            self.failures = failures

        def reopen(self) -> Collector:
            return self

        def expire_snapshots(self, **_: object) -> None:
            tries.append(len(tries))
            if len(tries) <= self.failures:
                raise icechunk.IcechunkError("  x repository error: gone")

        def garbage_collect(self, *_: object) -> object:
            return type("Summary", (), {"bytes_deleted": 7})

    monkeypatch.setattr(transactions, "_PAUSE", 0)
    monkeypatch.setattr(store._transactions, "repository", Collector(3))
    assert store.compact() == 7
    monkeypatch.setattr(store._transactions, "repository", Collector(10**6))
    with pytest.raises(NotWritable, match="nothing was compacted in memory://, .*: repository error: gone"):
        store.compact()
