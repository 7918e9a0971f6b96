"""Seeds are measured once, kept, and stand in front."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
import xarray as xr

from layerwise.store import open_store
from layerwise.studies.frame.running import Seed, over_seeds, side_by_side


@dataclass(frozen=True)
class Settings:
    size: int = 3
    seeds: int = 2


def test_seeds_that_the_store_has_are_not_measured_again(tmp_path):
    measured = []

    def measure(settings: Settings, seed: Seed) -> xr.Dataset:
        if len(measured) == 2:
            raise KeyboardInterrupt
        measured.append(seed.number)
        values = np.random.default_rng(seed.number).normal(size=settings.size)
        return xr.Dataset({"gap": ("penalty", values)}, {"penalty": [f"p{i}" for i in range(settings.size)]})

    with pytest.raises(KeyboardInterrupt):
        over_seeds("layerwise.studies.own", measure, Settings(seeds=3), open_store(tmp_path / "s.lw"))
    assert measured == [0, 1]
    ds = over_seeds("layerwise.studies.own", measure, Settings(), open_store(tmp_path / "s.lw"))
    assert measured == [0, 1]
    assert ds["gap"].dims == ("seed", "penalty")
    assert ds["penalty"].values.tolist() == ["p0", "p1", "p2"]
    np.testing.assert_array_equal(ds["gap"].sel(seed=1), np.random.default_rng(1).normal(size=3))
    assert (ds["seconds"] >= 0).all()
    assert (ds["processor_seconds"] >= 0).all()
    assert (ds["threads"] == torch.get_num_threads()).all()
    assert (ds.attrs["study"], ds.attrs["size"]) == ("own", 3)


def test_other_settings_are_other_seeds():
    store = open_store("memory://")

    def measure(settings: Settings, seed: Seed) -> xr.Dataset:
        return xr.Dataset({"size": settings.size})

    first = over_seeds("own", measure, Settings(), store)
    second = over_seeds("own", measure, Settings(size=4), store)
    assert (first["size"].values.tolist(), second["size"].values.tolist()) == ([3, 3], [4, 4])
    assert store.runs() == []


def test_a_seed_names_runs_and_checkpoints_and_clears_them(tmp_path):
    seed = Seed(0, open_store(tmp_path / "s.lw"), "own/abc/seed0")
    assert seed.run("deep") == "own/abc/seed0/deep"
    path = seed.checkpoint("deep")
    assert path == tmp_path / "s.lw.partial/own/abc/seed0/deep.pt"
    path.parent.mkdir(parents=True)
    path.touch()
    seed.clear()
    assert not path.exists()
    assert Seed(0, open_store("memory://"), "own").checkpoint("deep") is None


def test_what_stands_side_by_side_keeps_the_first_ones_coordinates():
    one = xr.Dataset({"nc1": ("layer", [2.0, 1.0])}, {"layer": ["a", "b"], "kind": ("layer", ["x", "y"])})
    ds = side_by_side({"one": one, "other": one.assign_coords(kind=("layer", ["x", "z"]))}, "arm")
    assert ds["arm"].values.tolist() == ["one", "other"]
    assert ds["kind"].values.tolist() == ["x", "y"]
