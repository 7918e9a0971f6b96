import numpy as np
import pytest
import xarray as xr
from helpers.derived_cases import nan, over_layers
from helpers.profiles import made_up

from layerwise.derive import separation_law
from layerwise.errors import UnknownName


def test_an_exact_line_is_recovered():
    found = separation_law(over_layers("separation", [2.0, 1.5, 1.0, 0.5])).squeeze()
    np.testing.assert_allclose(found["slope"], -0.5)
    np.testing.assert_allclose(found["intercept"], 2.0)
    np.testing.assert_allclose(found["rate"], 10**-0.5)
    np.testing.assert_allclose(found["r_squared"], 1.0)
    assert found["fitted"].item() == 4


def test_a_line_by_hand():
    # Of (0, 0), (1, 2), (2, 1): covariance 1, variances 2 and 2.
    found = separation_law(over_layers("separation", [0.0, 2.0, 1.0])).squeeze()
    assert found["slope"].item() == pytest.approx(0.5)
    assert found["intercept"].item() == pytest.approx(0.5)
    assert found["r_squared"].item() == pytest.approx(0.25)


@pytest.mark.parametrize("bad", [nan, -np.inf, np.inf])
def test_a_layer_without_a_finite_value_keeps_its_place(bad: float):
    found = separation_law(over_layers("separation", [3.0, bad, 1.0, 0.0])).squeeze()
    assert found["slope"].item() == pytest.approx(-1.0)
    assert found["r_squared"].item() == pytest.approx(1.0)
    assert found["fitted"].item() == 3


@pytest.mark.parametrize("values", [[1.0], [1.0, nan, nan], [nan, nan]])
def test_fewer_than_two_values_give_no_line(values: list[float]):
    found = separation_law(over_layers("separation", values)).squeeze()
    assert found[["slope", "intercept", "rate", "r_squared"]].to_array().isnull().all()


def test_equal_values_have_a_slope_but_no_share_explained():
    found = separation_law(over_layers("separation", [0.1, 0.1, 0.1])).squeeze()
    assert found["slope"].item() == pytest.approx(0.0, abs=1e-15)
    assert np.isnan(found["r_squared"].item())


@pytest.mark.parametrize(
    ("names", "roles", "fitted"),
    [
        (["stem", "a.0", "a.1", "fc:input", "fc"], ["stem", "block", "block", "features", "logits"], 3),
        (["stem", "a.0", "a.1", "a.2", "fc"], ["stem", "block", "block", "features", "logits"], 4),
        (["a.0:input", "a.0", "a.1", "a.2", "a.3"], ["inner", "block", "block", "block", "features"], 5),
    ],
    ids=["pooled features", "features of a block", "no classifier"],
)
def test_the_line_is_of_the_steps_from_input_to_features(names: list[str], roles: list[str], fitted: int):
    ds = over_layers("separation", [3.0, 2.0, 1.0, 0.0, -1.0], names).assign_coords(role=("layer", roles))
    assert separation_law(ds)["fitted"].item() == fitted
    assert separation_law(ds, every=True)["fitted"].item() == 5


def test_the_caller_chooses_layers_and_their_index_starts_anew():
    ds = over_layers("separation", [9.0, 3.0, 5.0, 1.0])
    found = separation_law(ds.isel(layer=[1, 3]))
    assert found["slope"].item() == pytest.approx(-2.0)
    assert found["intercept"].item() == pytest.approx(3.0)


def test_every_epoch_and_seed_has_a_line():
    lines = np.array([[[2.0, 1.0, 0.0], [3.0, 3.0, 3.0]], [[0.0, 1.0, nan], [nan, 4.0, 2.0]]])
    ds = xr.concat([over_layers("separation", rows.tolist()) for rows in lines], "seed")
    found = separation_law(ds)
    assert found["slope"].dims == ("seed", "epoch", "split", "target")
    np.testing.assert_allclose(found["slope"].squeeze(), [[-1.0, 0.0], [1.0, -2.0]], atol=1e-15)


def test_a_profile_without_separation_is_refused():
    with pytest.raises(UnknownName, match="not measured"):
        separation_law(made_up())
