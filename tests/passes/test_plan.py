"""Which plan for which sizes, and refusals with numbers."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import pytest

from layerwise.errors import BudgetExceeded, InvalidData, NotRepeatable
from layerwise.passes.plan import make_plan
from layerwise.passes.workload import Workload
from layerwise.runtime.byte_sizes import parse_memory, readable

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
ALL = {"moments", "covariance", "span", "nearest", "probe"}


@pytest.fixture(autouse=True)
def free_disk(monkeypatch):
    """100 GiB free in the temporary folder."""
    disk = SimpleNamespace(free=100 * GIB)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: disk)
    return disk


def plan(widths, *, needs=frozenset({"moments", "span"}), classes=10, samples=1000, budget=GIB, **options):
    return make_plan(Workload(widths, classes, samples, needs, **options), budget)


# One sample of [1000] is 4000 bytes; means of ten classes take 480 kB with two passes.
@pytest.mark.parametrize(
    ("case", "passes", "second", "forwards"),
    [
        ({"widths": [1000], "needs": {"moments"}}, 1, "none", 1),
        ({"widths": [1000], "needs": ("moments", "covariance")}, 1, "none", 1),
        ({"widths": [1000]}, 2, "memory", 1),
        ({"widths": [1000], "needs": {"nearest"}}, 2, "memory", 1),
        ({"widths": [100], "needs": {"probe"}}, 2, "memory", 1),
        ({"widths": [1000], "samples": 200_000}, 2, "disk", 1),
        ({"widths": [1000], "samples": None}, 2, "disk", 1),
        ({"widths": [1000], "samples": None, "repeatable": False}, 2, "disk", 1),
        ({"widths": [1000], "samples": 10_000_000}, 2, "rerun", 2),
        ({"widths": [300_000]}, 2, "rerun", 2),
        ({"widths": [300_000], "samples": 10, "repeatable": False}, 2, "disk", 1),
        ({"widths": [1000], "samples": 140_000, "itemsize": 2}, 2, "memory", 1),
    ],
    ids=str,
)
def test_which_plan_for_which_sizes(case, passes, second, forwards):
    made = plan(**case)
    assert (made.passes, made.second, made.forwards) == (passes, second, forwards)


def test_the_plan_says_how_much_will_wait():
    assert plan([1000, 500], samples=1000).cache_bytes == 1500 * 4 * 1000
    assert plan([300_000]).cache_bytes == 0
    assert plan([1000], needs={"moments"}).cache_bytes == 0


def test_what_the_statistics_take_is_not_there_for_the_feature_cache():
    sizes = {"widths": [1000], "classes": 10, "samples": 100}
    roomy = plan(**sizes, budget=8 * MIB)
    assert roomy.second == "memory"
    taken = roomy.statistics_bytes + roomy.finishing_bytes
    assert plan(**sizes, budget=taken + 900 * KIB).second == "memory"
    assert plan(**sizes, budget=taken + 700 * KIB).second == "disk"


def test_statistics_grow_with_classes_and_targets():
    once = plan([1000]).statistics_bytes
    assert plan([1000], classes=20).statistics_bytes == 2 * once
    assert plan([1000], targets=3).statistics_bytes == 3 * once


@pytest.mark.parametrize(
    ("widths", "budget", "expected", "projected"),
    [
        ([512], GIB, 2048, 512),
        ([8192], GIB, 2048, 512),
        ([2048], 50 * MIB, 1024, 512),
        ([700] * 4, 40 * MIB, 512, 512),
        ([700] * 4, 20 * MIB, 256, 256),
    ],
)
def test_the_covariance_is_as_wide_as_the_budget_allows(widths, budget, expected, projected):
    made = plan(widths, needs={"moments", "covariance"}, budget=budget)
    assert (made.covariance_width, made.projected_width) == (expected, projected)
    assert made.statistics_bytes + made.finishing_bytes <= budget


WIDE = {"needs": ALL, "samples": 100_000}


def test_a_projection_is_as_wide_as_the_budget_allows_and_leaves_samples_to_compare_it_on():
    budgets = [300 * MIB, 500 * MIB, GIB, 64 * GIB]
    made = [plan([16_384] * 3, budget=budget, splits=2, **WIDE) for budget in budgets]
    widths, compared = [own.projected_width for own in made], [own.compared for own in made]
    assert widths == sorted(widths)
    assert compared == sorted(compared)
    assert (widths[0], widths[-1], compared[-1]) == (512, 1024, 2048)
    assert compared[0] > 0
    for own, budget in zip(made, budgets, strict=True):
        assert own.statistics_bytes + own.finishing_bytes <= budget
        assert own.projected_width == 512 or own.projected_width <= own.compared // 2


def test_wide_layers_of_many_samples_keep_their_own_covariance_up_to_what_a_span_costs():
    assert plan([512, 4096], budget=8 * GIB, **WIDE).covariance_width == 4096
    assert plan([512, 4097], budget=8 * GIB, **WIDE).covariance_width == 2048
    assert plan([4096], budget=500 * MIB, **WIDE).covariance_width == 2048


def test_what_fits_without_a_comparison_is_not_refused_for_one():
    made = plan([16_384] * 8, needs={"moments", "covariance"}, samples=100_000, budget=130 * MIB, splits=3)
    assert made.projected_width == 512
    assert made.compared < 100
    assert made.statistics_bytes + made.finishing_bytes <= 130 * MIB


def test_layers_whose_samples_span_them_exactly_are_compared_with_nothing():
    made = plan([8192], needs=ALL)
    assert (made.spans, made.compared) == ("memory", 0)


def test_no_covariance_is_kept_where_no_metric_needs_one():
    assert plan([512]).covariance_width == 0


def test_regression_takes_one_pass_and_its_covariances_are_counted():
    needs = {"regression", "readout", "head", "next_map"}
    made = plan([1000], needs=needs, targets=0, dimensions=[8])
    assert (made.passes, made.statistics_bytes, made.covariance_width) == (1, 40 * 1008**2, 2048)
    assert plan([1000], needs=needs, targets=0, dimensions=[8, 8]).statistics_bytes == 2 * made.statistics_bytes
    narrow = plan([1000], needs=needs, targets=0, dimensions=[8], budget=30 * MIB)
    assert (narrow.covariance_width, narrow.projected_width) == (512, 512)
    mixed = plan([1000], needs=needs | ALL, dimensions=[8])
    assert mixed.passes == 2
    assert mixed.statistics_bytes == plan([1000], needs=ALL).statistics_bytes + made.statistics_bytes


def test_class_means_beyond_the_budget_are_refused_with_numbers():
    with pytest.raises(BudgetExceeded) as caught:
        plan([200_704, 512], classes=1000, budget=GIB)
    message = str(caught.value)
    assert "1000 classes in 2 layers (widest: 200,704 features)" in message
    assert "9.0 GiB, the memory budget is 1.0 GiB" in message
    assert isinstance(caught.value, MemoryError)


def test_covariances_beyond_the_budget_are_refused_with_numbers():
    with pytest.raises(BudgetExceeded, match=r"covariances of 40 layers, .* take 60\.0 MiB.* budget is 10\.0 MiB"):
        plan([256] * 40, classes=2, needs=ALL, budget=10 * MIB)


@pytest.mark.parametrize("samples", [10_000_000, 100_000_000])
def test_data_that_runs_once_and_fits_nowhere_is_refused_with_numbers(samples):
    with pytest.raises(NotRepeatable, match=r"features of \d+\.\d GiB do not fit .*\(100\.0 GiB free\).* only once"):
        plan([1000], samples=samples, repeatable=False)


def test_a_full_disk_sends_the_data_through_the_network_again(free_disk):
    free_disk.free = MIB
    assert plan([1000], samples=200_000).second == "rerun"


@pytest.mark.parametrize("case", [{"widths": [64]}, {"widths": [300_000]}, {"widths": [64], "needs": {"moments"}}])
def test_the_reason_is_one_line_with_the_budget(case):
    reason = plan(**case).reason
    assert "\n" not in reason
    assert "of 1.0 GiB" in reason


def test_by_default_half_of_the_free_memory_is_the_budget(monkeypatch):
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=6 * GIB))
    assert "of 3.0 GiB" in make_plan(Workload([64], 2, 10, {"moments"})).reason


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        (4096, 4096),
        ("4096", 4096),
        ("4096B", 4096),
        ("8GiB", 8 * GIB),
        ("8 GiB", 8 * GIB),
        ("8gb", 8 * GIB),
        (" 500M ", 500 * MIB),
        ("1.5k", 1536),
        ("2TiB", 2048 * GIB),
    ],
)
def test_a_memory_budget_is_read(text, expected):
    assert parse_memory(text) == expected


@pytest.mark.parametrize("text", ["", "lots", "GiB", "8 gigs", "8XiB", "-1G", "0", 0, -5, "nan", "inf", "1,5G"])
def test_what_is_no_memory_budget_is_refused(text):
    with pytest.raises(InvalidData, match="written like '8GiB'"):
        parse_memory(text)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536 * KIB, "1.5 MiB"),
        (GIB, "1.0 GiB"),
        (5000 << 40, "5000.0 TiB"),
    ],
)
def test_bytes_are_written_as_a_person_reads_them(count, text):
    assert readable(count) == text
