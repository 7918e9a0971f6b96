import numpy as np
import pytest
import xarray as xr
from helpers.derived_cases import nan, over_layers
from helpers.profiles import made_up

from layerwise.derive import effective_depth
from layerwise.errors import SchemaMismatch, UnknownName


@pytest.mark.parametrize(
    ("values", "position"),
    [
        ([0.5, 0.2, 0.02, 0.0], 2),
        ([0.0, 0.0, 0.0, 0.0], 0),
        ([0.01, 0.3, 0.01, 0.01], 2),
        ([0.5, 0.0, 0.0, 0.03], nan),
        ([0.5, 0.5, 0.5, 0.01], 3),
        ([0.01], 0),
        ([0.1], nan),
        ([0.5, nan, 0.01, 0.0], 2),
        ([0.5, 0.01, nan, 0.0], 1),
        ([0.5, 0.01, 0.0, nan], 1),
        ([0.5, nan, nan, nan], nan),
        ([nan, nan], nan),
        ([0.5, np.inf, 0.0], 2),
    ],
)
def test_effective_depth_is_the_first_layer_after_which_the_error_stays_low(values: list[float], position: float):
    ds = over_layers("ncc_error", values)
    found = effective_depth(ds).squeeze()
    np.testing.assert_equal(found.item(), position)
    expected = "" if np.isnan(position) else ds["layer"].values[int(position)]
    assert found["effective_layer"].item() == expected


def test_every_epoch_split_target_and_seed_has_a_depth():
    seeds = [made_up(epochs=3, targets=("fine", "coarse"), seed=seed) for seed in range(2)]
    ds = xr.concat(seeds, "seed")
    found = effective_depth(ds, 0.3)
    assert found.dims == ("seed", "epoch", "split", "target")
    for seed, alone in enumerate(seeds):
        np.testing.assert_array_equal(found[seed], effective_depth(alone, 0.3))
    one = ds["ncc_error"].isel(seed=1, epoch=2, split=1, target=1).values
    by_hand = next(place for place in range(12) if (one[place:] <= 0.3).all())
    assert found[1, 2, 1, 1].item() == by_hand


def test_layers_are_taken_in_execution_order():
    ds = over_layers("ncc_error", [0.5, 0.2, 0.02, 0.0], ["stem", "b.1", "b.0", "a"])
    assert effective_depth(ds.isel(layer=[3, 1, 0, 2])).item() == 2


def test_metrics_without_layers_are_refused():
    with pytest.raises(UnknownName, match="nearest: ncc_error"):
        effective_depth(made_up(), metric="ncc_eror")
    with pytest.raises(SchemaMismatch, match="does not depend on 'layer'"):
        effective_depth(made_up().isel(layer=0))
