"""Maps are fixed from the last back as layers stay separated, the head last, and again in a training that goes on."""

from __future__ import annotations

import copy

import pytest
import torch
import xarray as xr
from torch import nn

from layerwise.errors import InvalidArgument, UnknownName
from layerwise.heads import AdaptiveETF
from layerwise.profiling import profile

MAPS = ["1", "2", "3"]


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3))


def measured(*errors: float) -> xr.Dataset:
    return xr.Dataset({"ncc_error": ("layer", list(errors))}, {"layer": ["a", "b", "c"], "next_map": ("layer", MAPS)})


def test_a_map_waits_until_its_layers_stay_accurate_and_the_head_is_last():
    adaptive = AdaptiveETF(network(), MAPS, patience=1)
    assert adaptive.update(measured(0.5, 0.01, 0.0)) == ()
    assert adaptive.update(measured(0.5, 0.01, 0.0)) == ("2",)
    assert adaptive.update(measured(0.0, 0.01, 0.0)) == ("3",)
    assert adaptive.update(measured(0.0, 0.01, 0.0)) == ("1",)
    assert adaptive.update(measured(0.9, 0.9, 0.9)) == ()
    assert adaptive.fixed == ("2", "3", "1")


def test_an_epoch_below_the_level_begins_anew():
    adaptive = AdaptiveETF(network(), MAPS, patience=1)
    for error in (0.0, 0.03, 0.0):
        assert adaptive.update(measured(0.5, error, 0.5)) == ()
    assert adaptive.update(measured(0.5, 0.0, 0.0)) == ()
    assert adaptive.update(measured(0.5, 0.0, 0.0)) == ("2",)


def test_a_training_that_goes_on_has_the_same_maps_and_streaks():
    model = network()
    adaptive = AdaptiveETF(model, MAPS, patience=1, seed=4)
    for _ in range(2):
        adaptive.update(measured(0.5, 0.0, 0.0))
    state, weights = copy.deepcopy(adaptive.state_dict()), copy.deepcopy(model.state_dict())
    other = network()
    resumed = AdaptiveETF(other, MAPS, patience=1)
    resumed.load_state_dict(state)
    assert torch.equal(other[2].weight, model[2].weight)
    assert [item.requires_grad for item in other.parameters()] == [item.requires_grad for item in model.parameters()]
    other.load_state_dict(weights)
    assert resumed.update(measured(0.5, 0.0, 0.0)) == adaptive.update(measured(0.5, 0.0, 0.0)) == ("3",)
    assert torch.equal(other[3].weight, model[3].weight)


def test_it_reads_a_profile_as_it_is_measured():
    model = network()
    labels = torch.arange(30) % 3
    inputs = nn.functional.one_hot(labels, 6).float() * 30 + torch.randn(30, 6)
    ds = profile(model, {"train": [(inputs, labels)]}, layers=["0", "1", "2"], metrics="ncc_error")
    adaptive = AdaptiveETF(model, MAPS, patience=0)
    assert adaptive.update(ds) == ("1", "2")
    assert adaptive.update(ds) == ("3",)
    with pytest.raises(UnknownName, match="no split 'test'"):
        AdaptiveETF(model, MAPS, split="test").update(ds)


@pytest.mark.parametrize(
    ("maps", "options", "message"),
    [
        (["4"], {}, "no module '4'"),
        ([""], {}, "is no Linear but Sequential"),
        ([], {}, "name at least one Linear"),
        (MAPS, {"level": 1.0}, "level=1.0"),
        (MAPS, {"patience": -1}, "patience=-1"),
    ],
)
def test_what_cannot_be_fixed_is_refused(maps, options, message):
    with pytest.raises((InvalidArgument, UnknownName), match=message):
        AdaptiveETF(network(), maps, **options)


def test_layers_that_no_map_reads_are_one_error():
    with pytest.raises(UnknownName, match="no map that reads a measured layer '3'"):
        AdaptiveETF(network(), MAPS).update(measured(0, 0, 0).isel(layer=slice(2)))
