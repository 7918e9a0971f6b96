import numpy as np
import pytest
from helpers.derived_cases import in_groups, nan, over_layers
from helpers.profiles import made_up

from layerwise.derive import compare, interval
from layerwise.errors import InvalidData, UnknownName


@pytest.mark.parametrize(
    ("bias", "low", "high"),
    [(0.0, 1.0 - 0.226, 1.0 + 0.226), (0.5, 0.5 - 0.226, 1.0 + 0.226), (-0.5, 1.0 - 0.226, 1.5 + 0.226)],
)
def test_interval_covers_the_value_with_and_without_bias(bias: float, low: float, high: float):
    # Student's t of nine degrees of freedom is 2.26.
    found = interval(in_groups(over_layers("nc1", [1.0, 1.0]), bias=bias), "nc1")
    np.testing.assert_allclose(found["low"].squeeze(), low, rtol=1e-3)
    np.testing.assert_allclose(found["high"].squeeze(), high, rtol=1e-3)
    assert found["low"].dims == ("epoch", "split", "target", "layer")
    assert "depth" in found.coords


def test_interval_without_bias_is_symmetric():
    ds = in_groups(over_layers("nc1", [1.0, 2.0]), bias=5.0).drop_vars("nc1_bias")
    found = interval(ds, "nc1")
    np.testing.assert_allclose((found["low"] + found["high"]) / 2, ds["nc1"])


def test_interval_widens_with_the_level():
    ds = in_groups(over_layers("nc1", [1.0]))
    widths = [float((interval(ds, "nc1", level)["high"] - ds["nc1"]).squeeze()) for level in (0.5, 0.95, 0.995)]
    assert widths == pytest.approx([0.0703, 0.226, 0.369], rel=1e-3)


def test_interval_of_a_difference_uses_both_biases():
    a = in_groups(over_layers("nc1", [1.0]), error=0.3, bias=0.2)
    b = in_groups(over_layers("nc1", [3.0]), error=0.4, bias=0.5)
    found = interval(compare(a, b), "nc1").squeeze()
    assert float(found["low"]) == pytest.approx(1.7 - 2.262 * 0.5, rel=1e-3)
    assert float(found["high"]) == pytest.approx(2.0 + 2.262 * 0.5, rel=1e-3)


def test_unknown_error_makes_nan():
    found = interval(in_groups(over_layers("nc1", [1.0]), error=nan, bias=nan), "nc1")
    assert found["low"].isnull().all()
    assert found["high"].isnull().all()


def test_metrics_without_error_and_bad_levels_are_refused():
    ds = in_groups(made_up())
    with pytest.raises(UnknownName, match=r"'ncc_error'; there are: nc1. jackknife=10 measures what it takes"):
        interval(ds, "ncc_error")
    # Of random directions, not of samples.
    ds["stable_rank_se"] = ds["stable_rank"]
    with pytest.raises(UnknownName, match="stable_rank"):
        interval(ds, "stable_rank")
    with pytest.raises(UnknownName, match="there are none"):
        interval(made_up(), "nc1")
    with pytest.raises(InvalidData, match="level=95: "):
        interval(ds, "nc1", level=95)
