from __future__ import annotations

import numpy as np
import pytest
from helpers.profiles import made_up

from layerwise.callbacks import scalars
from layerwise.errors import InvalidData, UnknownName


def test_the_usual_numbers_are_those_of_the_last_layer_by_split() -> None:
    profile = made_up(layers=3)
    found = scalars(profile)
    last = "encoder.stages.0.blocks.2"
    assert found[f"layerwise/train/nc1/{last}"] == float(profile["nc1"].sel(split="train", layer=last).item())
    assert found[f"layerwise/test/ncc_error/{last}"] == float(profile["ncc_error"].sel(split="test", layer=last).item())
    assert {key.rpartition("/")[0] for key in found if last in key} == {
        f"layerwise/{split}/{metric}" for split in ("train", "test") for metric in ("nc1", "ncc_error")
    }
    assert all(type(value) is float for value in found.values())


def test_the_last_layer_is_the_one_in_front_of_the_logits() -> None:
    profile = made_up(layers=3).assign_coords(role=("layer", ["block", "features", "logits"]))
    assert list(scalars(profile, ["nc1"])) == [
        f"layerwise/{split}/nc1/encoder.stages.0.blocks.1" for split in ("train", "test")
    ]


def test_effective_depth_is_logged_where_there_is_one() -> None:
    profile = made_up(layers=4)
    profile["ncc_error"][:] = 0.5
    profile["ncc_error"].loc[{"split": "train", "layer": profile["layer"].values[2:]}] = 0.0
    found = scalars(profile, ["effective_depth"])
    assert found == {"layerwise/train/effective_depth": 2.0}


def test_layers_are_chosen_by_name_or_glob_in_their_order() -> None:
    profile = made_up(layers=8, splits=("train",))
    assert len(scalars(profile, ["nc1"], layers="*")) == 8
    chosen = scalars(profile, ["nc1"], layers=["*.1.blocks.*", "encoder.stages.0.blocks.3"], prefix="lw")
    assert list(chosen) == [
        f"lw/train/nc1/encoder.stages.{name}" for name in ("0.blocks.3", "1.blocks.0", "1.blocks.1")
    ]


def test_several_targets_are_named_and_what_knows_none_is_not_repeated() -> None:
    profile = made_up(layers=2, splits=("train",), targets=("fine", "coarse"))
    assert list(scalars(profile, ["nc1", "stable_rank"])) == [
        "layerwise/train/fine/nc1/encoder.stages.0.blocks.1",
        "layerwise/train/coarse/nc1/encoder.stages.0.blocks.1",
        "layerwise/train/stable_rank/encoder.stages.0.blocks.1",
    ]


def test_what_is_not_finite_is_left_out() -> None:
    profile = made_up(layers=2)
    profile["nc1"].loc[{"split": "test"}] = np.nan
    assert list(scalars(profile, ["nc1"])) == ["layerwise/train/nc1/encoder.stages.0.blocks.1"]


def test_what_cannot_be_flattened_is_refused_with_what_there_is() -> None:
    with pytest.raises(InvalidData, match="2 epochs"):
        scalars(made_up(epochs=2))
    with pytest.raises(UnknownName, match="nearest: nc1"):
        scalars(made_up(), ["nc2"])
    with pytest.raises(UnknownName, match="layer 'head'"):
        scalars(made_up(), layers=["head"])
    with pytest.raises(InvalidData, match="class_variance"):
        scalars(made_up(), ["class_variance"])
