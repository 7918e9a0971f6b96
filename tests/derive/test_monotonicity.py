import numpy as np
import pytest
import xarray as xr
from helpers.derived_cases import nan, over_layers
from helpers.profiles import made_up

from layerwise.derive import monotonicity


@pytest.mark.parametrize(
    ("values", "correlation"),
    [
        ([4.0, 3.0, 2.0, 1.0], -1.0),
        ([1.0, 2.0, 30.0], 1.0),
        # Ranks (1, 2, 3, 4) and (4, 2, 3, 1): 1 - 6 (9 + 0 + 0 + 9) / (4 * 15).
        ([9.0, 4.0, 5.0, 1.0], -0.8),
        ([4.0, nan, 2.0, 1.0], -1.0),
        ([np.inf, 2.0, 0.0], -1.0),
        # A tie: ranks (3, 1.5, 1.5), covariance -1.5, variances 2 and 1.5.
        ([2.0, 1.0, 1.0], -1.5 / np.sqrt(3.0)),
        ([0.1, 0.1, 0.1], nan),
        ([1.0, nan, nan], nan),
        ([1.0], nan),
        ([nan, nan], nan),
    ],
)
def test_monotonicity_is_the_rank_correlation_with_depth(values: list[float], correlation: float):
    found = monotonicity(over_layers("nc1", values), "nc1")
    np.testing.assert_allclose(found.item(), correlation, atol=1e-12)


def test_every_epoch_split_target_and_seed_has_a_correlation():
    ds = xr.concat([made_up(epochs=3, targets=("fine", "coarse"), seed=seed) for seed in range(2)], "seed")
    found = monotonicity(ds, "nc1")
    assert found.dims == ("seed", "epoch", "split", "target")
    place = {"seed": 1, "epoch": 0, "split": 1, "target": 1}
    one = ds["nc1"].isel(place).values
    ranks = np.argsort(np.argsort(one))
    by_hand = np.corrcoef(ranks, np.arange(12))[0, 1]
    assert found.isel(place).item() == pytest.approx(by_hand)
