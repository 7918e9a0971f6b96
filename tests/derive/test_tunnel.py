"""The tunnel starts at the first layer that separates the classes nearly as well as the last."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from layerwise.derive import tunnel
from layerwise.errors import InvalidArgument, SchemaMismatch, UnknownName

ERRORS = st.lists(st.one_of(st.floats(0, 1), st.just(float("nan"))), min_size=1, max_size=8)


def profile(errors) -> xr.Dataset:
    return xr.Dataset({"probe_error": ("layer", errors)}, {"layer": [f"l{place}" for place in range(len(errors))]})


@given(ERRORS, st.floats(0.05, 1.0))
def test_it_is_the_first_layer_with_a_share_of_the_last_accuracy(errors, share):
    accuracy = 1 - np.array(errors)
    found = [
        place for place in range(len(errors)) if accuracy[place] >= share * accuracy[~np.isnan(accuracy)][-1:].sum()
    ]
    start = tunnel(profile(errors), share)
    if np.isnan(accuracy).all():
        assert np.isnan(start)
        assert start["tunnel_layer"] == ""
    else:
        assert int(start) == found[0]
        assert start["tunnel_layer"] == f"l{found[0]}"


def test_every_epoch_has_its_own_on_one_split():
    errors = xr.DataArray(
        [[[0.5, 0.1], [0.9, 0.9]], [[0.1, 0.1], [0.9, 0.1]]],
        dims=("epoch", "split", "layer"),
        coords={"split": ["train", "test"], "layer": ["a", "b"], "epoch": [0, 1]},
    )
    ds = errors.to_dataset(name="probe_error")
    assert tunnel(ds).values.tolist() == [1.0, 0.0]
    assert tunnel(ds, split="test").values.tolist() == [0.0, 1.0]


def test_what_cannot_be_compared_is_refused():
    ds = profile([0.1, 0.2])
    with pytest.raises(UnknownName, match="no metric 'probe_eror'; nearest: probe_error"):
        tunnel(ds, metric="probe_eror")
    with pytest.raises(InvalidArgument, match="share=1.5"):
        tunnel(ds, 1.5)
    with pytest.raises(UnknownName, match="no split 'train'; nearest: training"):
        tunnel(ds.expand_dims(split=["training"]))
    with pytest.raises(SchemaMismatch, match="does not depend on 'layer'"):
        tunnel(xr.Dataset({"probe_error": 1.0}))
