"""The oracle against closed forms, an example done by hand, and what must leave its numbers unchanged."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from helpers import oracle
from helpers.feature_cases import CASES, Case, clusters, labelled_features
from hypothesis import given, settings
from hypothesis import strategies as st

# Class means (-2, 0) and (2, 0); S_W = [[1, -1/2], [-1/2, 1/2]], S_B = [[4, 0], [0, 0]].
BY_HAND = np.array([[-3.0, 1.0], [-1.0, -1.0], [1.0, 0.0], [3.0, 0.0]]), np.array([0, 0, 1, 1])

COMPARING = (
    "between_rank",
    "nc1",
    "nc1_trace",
    "cdnv",
    "separation",
    "vci",
    "equinorm",
    "equiangularity",
    "max_angle",
    "etf_error",
    "orthogonality_error",
    "hyperspherical_energy",
    "ncc_error",
)
SPREAD = ("stable_rank", "effective_rank", "participation_ratio", "numerical_rank")
CLOUDS = [name for name in CASES if "simplex" not in name]
# The top C-1 directions of class means of lower rank are rounding errors.
CONVENTIONS = [
    (name, convention)
    for name in CLOUDS
    for convention in oracle.CONVENTIONS
    if (name, convention) != ("rank_deficient", "papyan")
]


def moved(case: Case, padding: int) -> Case:
    """The case turned, scaled and padded with zeros."""
    dims = case.features.shape[1]
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((dims, dims)))[0]
    features = np.pad(2.0**20 * case.features @ rotation, ((0, 0), (0, padding)))
    return Case(features, case.labels, case.classes)


def tolerance(name: str) -> float:
    """Turning what lies at an offset rounds it, which no oracle can undo."""
    return 1e-6 if name in ("collapsed_offset", "far_clusters_sorted") else 1e-8


@pytest.mark.parametrize(
    ("name", "value"),
    {
        "between_rank": 1,
        "nc1": 1 / 8,
        "nc1_trace": 3 / 8,
        "cdnv": 3 / 32,
        "separation": np.log10(1 / 4),
        "vci": 1 / 9,
        "equinorm": 0,
        "equiangularity": 0,
        "max_angle": 0,
        "etf_error": 0,
        "orthogonality_error": np.sqrt(2 - np.sqrt(2)),
        "hyperspherical_energy": -np.log(2),
        "ncc_error": 0,
        "class_norm": [2, 2],
        "class_variance": [2, 1],
        "class_ncc_error": [0, 0],
    }.items(),
)
def test_two_classes_of_two_points_done_by_hand(name: str, value: object) -> None:
    assert getattr(oracle, name)(*BY_HAND) == pytest.approx(value, rel=1e-14, abs=1e-15)


def test_ranks_of_a_covariance_done_by_hand() -> None:
    features = np.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]]) + 5.0
    assert oracle.stable_rank(features) == pytest.approx(5 / 4)
    assert oracle.participation_ratio(features) == pytest.approx(25 / 17)
    assert oracle.effective_rank(features) == pytest.approx(5 / 4 ** (4 / 5))
    assert oracle.numerical_rank(features) == 2
    assert oracle.numerical_rank(features * [1.0, 0.01]) == 1
    assert oracle.feature_norm(np.array([[3.0, 4.0], [0.0, 1.0]])) == 3


def test_conventions_differ_where_classes_are_unequal() -> None:
    # Class means -1 and 1 on a line, 4 and 2 samples, v_0 = 4 and v_1 = 1; the mean of the samples is -1/3.
    features, labels = np.array([[-3.0], [1.0], [-3.0], [1.0], [0.0], [2.0]]), np.array([0, 0, 0, 0, 1, 1])
    within = {"samples": (4 * 4 + 2 * 1) / 6, "classes": (4 + 1) / 2}
    from_samples = {"samples": (4 * (2 / 3) ** 2 + 2 * (4 / 3) ** 2) / 6, "classes": (4 / 9 + 16 / 9) / 2}
    expected = {
        "default": within["samples"] / 2,
        "papyan": within["samples"],
        "he_su": within["classes"] / from_samples["classes"],
        "he_su_imbalanced": within["samples"] / from_samples["samples"],
    }
    found = {name: oracle.nc1(features, labels, convention=name) for name in expected}
    assert found == pytest.approx(expected)
    assert oracle.separation(features, labels) == pytest.approx(np.log10(expected["he_su_imbalanced"]))


def test_papyan_divides_the_spread_of_norms_by_one_less() -> None:
    case = CASES["random"]()
    ratio = oracle.equinorm(case.features, case.labels, convention="papyan") / oracle.equinorm(
        case.features, case.labels
    )
    assert ratio == pytest.approx(np.sqrt(5 / 4))


@pytest.mark.parametrize("name", [name for name in CASES if "simplex" in name])
def test_a_simplex_without_variability_is_collapsed_in_every_measure(name: str) -> None:
    case = CASES[name]()
    for metric in ("nc1", "nc1_trace", "cdnv", "vci", "ncc_error"):
        # The rotation itself rounds, and what is measured is its square.
        assert getattr(oracle, metric)(case.features, case.labels) == pytest.approx(0, abs=(50 * oracle.EPS) ** 2)
    for metric in ("equinorm", "equiangularity", "max_angle", "etf_error"):
        assert getattr(oracle, metric)(case.features, case.labels) == pytest.approx(0, abs=1e-15)
    assert oracle.separation(case.features, case.labels) == -np.inf
    assert oracle.between_rank(case.features, case.labels) == case.classes - 1
    for metric in SPREAD:
        assert getattr(oracle, metric)(case.features) == pytest.approx(case.classes - 1)
    # Equal angles: every pair of unit vectors is sqrt(2 C/(C-1)) apart.
    energy = -np.log(2 * case.classes / (case.classes - 1)) / 2
    assert oracle.hyperspherical_energy(case.features, case.labels) == pytest.approx(energy)


def test_orthogonal_class_means_of_one_length_have_no_orthogonality_error() -> None:
    assert oracle.orthogonality_error(3 * np.eye(4, 6), np.arange(4)) == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("metric", [*COMPARING, *SPREAD])
@pytest.mark.parametrize("name", CLOUDS)
def test_rotation_scale_and_zero_padding_change_nothing(name: str, metric: str) -> None:
    case = CASES[name]()
    # vci divides by min(d, C-1), so there padding counts where d is the smaller.
    twin = moved(case, padding=0 if metric == "vci" else 3)
    arguments = [(each.features, each.labels)[: 1 if metric in SPREAD else 2] for each in (case, twin)]
    value, again = (getattr(oracle, metric)(*each) for each in arguments)
    assert again == pytest.approx(value, rel=tolerance(name), abs=1e-14)


@pytest.mark.parametrize(("name", "convention"), CONVENTIONS)
def test_rotation_scale_and_zero_padding_change_no_convention(name: str, convention: str) -> None:
    case = CASES[name]()
    twin = moved(case, padding=3)
    value = oracle.nc1(case.features, case.labels, convention=convention)
    again = oracle.nc1(twin.features, twin.labels, convention=convention)
    assert again == pytest.approx(value, rel=tolerance(name))


@pytest.mark.parametrize("name", CLOUDS)
def test_rotation_and_scale_do_not_change_what_the_probe_gets_wrong(name: str) -> None:
    case = CASES[name]()
    twin = moved(case, padding=0)
    error = oracle.probe_error(case.features, case.labels, case.features, case.labels, 1e-2)
    assert oracle.probe_error(twin.features, twin.labels, twin.features, twin.labels, 1e-2) == error


@given(case=labelled_features(), seed=st.integers(0, 2**16))
@settings(max_examples=60, deadline=None)
def test_order_and_names_of_classes_do_not_matter(case: Case, seed: int) -> None:
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(case.labels))
    features, labels = case.features[order], generator.permutation(case.classes)[case.labels[order]]
    for metric in COMPARING:
        value = getattr(oracle, metric)(case.features, case.labels)
        assert getattr(oracle, metric)(features, labels) == pytest.approx(value, rel=1e-9, abs=1e-13), metric


@given(case=labelled_features(), seed=st.integers(0, 2**16), sizes=st.integers(1, 9) | st.lists(st.integers(1, 5)))
@settings(max_examples=60, deadline=None)
def test_batches_hold_every_sample_once(case: Case, seed: int, sizes: int | list[int]) -> None:
    parts = list(oracle.batches(case.features, case.labels, sizes, seed=seed))
    rows = np.concatenate([np.column_stack([labels, features]) for features, labels in parts])
    given_rows = np.column_stack([case.labels, case.features])
    assert np.array_equal(np.unique(rows, axis=0), np.unique(given_rows, axis=0))
    assert len(rows) == len(case.labels)


def test_batches_keep_order_and_sizes_where_not_seeded() -> None:
    features, labels = np.arange(10.0)[:, None], np.arange(10)
    assert [list(part) for _, part in oracle.batches(features, labels, [3, 4])] == [[0, 1, 2], [3, 4, 5, 6], [7, 8, 9]]
    assert [len(part) for _, part in oracle.batches(features, labels, 4)] == [4, 4, 2]


@pytest.mark.parametrize("name", ["random", "offset", "collapsed_offset", "outlier_first", "far_clusters_sorted"])
def test_within_and_between_equal_rational_arithmetic(name: str) -> None:
    case = CASES[name]()
    within = between = Fraction(0)
    rows = [[Fraction(value) for value in row] for row in case.features]
    groups = [[row for row, y in zip(rows, case.labels, strict=True) if y == c] for c in range(case.classes)]
    means = [[sum(column) / len(group) for column in zip(*group, strict=True)] for group in groups]
    centre = [sum(column) / len(means) for column in zip(*means, strict=True)]
    for group, mean in zip(groups, means, strict=True):
        within += sum((h - mu) ** 2 for row in group for h, mu in zip(row, mean, strict=True)) / len(rows)
        between += sum((mu - g) ** 2 for mu, g in zip(mean, centre, strict=True)) / len(means)
    assert oracle.nc1_trace(case.features, case.labels) == pytest.approx(float(within / between), rel=1e-13)


@pytest.mark.parametrize("name", ["random", "offset", "unequal_classes", "more_classes_than_dims", "huge_scale"])
def test_nc1_and_vci_equal_the_scatter_matrices_written_out(name: str) -> None:
    case = CASES[name]()
    features = case.features - case.features.mean(axis=0)
    means = np.array([features[case.labels == c].mean(axis=0) for c in range(case.classes)])
    centred = means - means.mean(axis=0)
    residuals = features - means[case.labels]
    within, between = residuals.T @ residuals / len(residuals), centred.T @ centred / case.classes
    rank = min(features.shape[1], case.classes - 1)
    nc1 = np.trace(within @ np.linalg.pinv(between, rcond=1e-10)) / case.classes
    vci = 1 - np.trace(np.linalg.pinv(within + between, rcond=1e-10) @ between) / rank
    assert oracle.nc1(case.features, case.labels) == pytest.approx(nc1, rel=1e-9)
    assert oracle.vci(case.features, case.labels) == pytest.approx(vci, rel=1e-9)


@pytest.mark.parametrize("eps", [np.finfo(np.float32).eps, oracle.EPS])
def test_directions_that_class_means_lack_are_dropped(eps: float) -> None:
    case = CASES["rank_deficient"]()
    assert oracle.between_rank(case.features, case.labels, eps=eps) == 3
    noisy = case.features + 1e-9 * np.random.default_rng(0).standard_normal((8, 16))[case.labels]
    assert oracle.between_rank(noisy, case.labels, eps=eps) == (3 if eps > 1e-8 else 7)


@pytest.mark.parametrize("classes", [2, 3, 5, 10])
@pytest.mark.parametrize("dims", [2, 8, 100])
@pytest.mark.parametrize("noise", [1e-4, 1.0])
def test_least_squares_loss_equals_its_closed_form(classes: int, dims: int, noise: float) -> None:
    case = clusters([40] * classes, dims, noise=noise, offset=10.0, seed=classes)
    fitted, closed = oracle.han_identities(case.features, case.labels)
    assert fitted.total == pytest.approx(closed.total, rel=1e-10)
    assert fitted.within == pytest.approx(closed.within, rel=1e-10)
    assert fitted.means == pytest.approx(closed.means, rel=1e-6)


def test_centres_of_another_split_judge_this_one() -> None:
    means = oracle.class_means(np.array([[0.0], [10.0]]), np.array([3, 7]))
    features, labels = np.array([[1.0], [2.0], [6.0], [9.0]]), np.array([3, 7, 7, 5])
    assert list(oracle.nearest_class(features, means)) == [3, 3, 7, 7]
    assert oracle.ncc_error(features, labels, means=means) == 0.5
    assert list(oracle.class_ncc_error(features, labels, means=means)) == [0, 1, 0.5]
    assert oracle.ncc_mismatch(features, labels, np.array([3, 3, 7, 3]), means=means) == 0.25


def test_self_duality_is_zero_for_aligned_weights_and_two_for_orthogonal_ones() -> None:
    features, labels = CASES["simplex"]().features, CASES["simplex"]().labels
    means = np.array([features[labels == c][0] for c in range(8)])
    assert oracle.self_duality(features, labels, 0.1 * means) == pytest.approx(0, abs=1e-30)
    # The means fill the first seven features; these weights read the five that are always zero.
    assert oracle.self_duality(features, labels, np.eye(8, 12, 7)) == pytest.approx(2)


def test_weight_alignment_is_the_cosine_between_subspaces() -> None:
    features, labels = BY_HAND
    angle = 0.3
    rotated = 5 * np.array([[np.cos(angle), np.sin(angle)]])
    assert oracle.weight_alignment(features, labels, rotated) == pytest.approx(np.cos(angle))
    assert oracle.weight_alignment(features, labels, np.diag([3.0, 1.0])) == pytest.approx(1)
    assert oracle.weight_alignment(features, labels, np.diag([1.0, 3.0])) == pytest.approx(0, abs=1e-15)


def test_probe_separates_what_is_linear_and_gives_up_under_a_heavy_penalty() -> None:
    case = clusters([30, 20, 10], 6, distance=5.0, seed=0)
    fit = case.features, case.labels
    assert oracle.probe_error(*fit, *fit, 1e-6) == 0
    assert oracle.probe_error(*fit, *fit, 1e9) == 0.5
    assert oracle.probe_error(*fit, case.features, np.full_like(case.labels, 9), 1e-6) == 1


def test_probe_solves_its_normal_equations() -> None:
    case = clusters([50, 20, 10, 5, 3], 12, distance=0.5, seed=6)
    ridge = 0.3
    centred = case.features - case.features.mean(axis=0)
    covariance = centred.T @ centred / len(centred)
    onehot = np.eye(5)[case.labels]
    penalty = ridge * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    weight = np.linalg.solve(covariance + penalty, centred.T @ onehot / len(centred))
    wrong = np.argmax(centred @ weight + onehot.mean(axis=0), axis=1) != case.labels
    assert 0 < wrong.mean() < 1
    assert oracle.probe_error(case.features, case.labels, case.features, case.labels, ridge) == wrong.mean()


@pytest.mark.parametrize("metric", [*COMPARING, "class_norm", "class_ncc_error"])
def test_one_class_is_not_a_number(metric: str) -> None:
    features = np.random.default_rng(0).standard_normal((6, 3))
    assert np.all(np.isnan(getattr(oracle, metric)(features, np.full(6, 4))))


def test_one_class_is_not_a_number_where_weights_are_needed() -> None:
    features, labels = np.random.default_rng(0).standard_normal((6, 3)), np.zeros(6, dtype=int)
    assert np.isnan(oracle.self_duality(features, labels, np.ones((1, 3))))
    assert np.isnan(oracle.weight_alignment(features, labels, np.eye(3)))
    assert np.isnan(oracle.probe_error(features, labels, features, labels, 1e-3))


def test_a_class_of_one_sample_has_no_variance_and_an_absent_one_is_left_out() -> None:
    case = CASES["one_sample_class"]()
    assert oracle.class_variance(case.features, case.labels)[3] == 0
    absent = CASES["absent_class"]()
    assert oracle.class_norm(absent.features, absent.labels).shape == (4,)
    assert oracle.between_rank(absent.features, absent.labels) == 3
    assert 2 not in absent.labels


def test_constant_features_have_no_rank() -> None:
    features = np.full((5, 3), 7.0)
    assert oracle.numerical_rank(features) == 0
    for metric in ("stable_rank", "effective_rank", "participation_ratio"):
        assert np.isnan(getattr(oracle, metric)(features))


def test_coinciding_class_means_have_no_directions() -> None:
    features, labels = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, -2.0]]), np.array([0, 0, 1, 1])
    assert np.isnan(oracle.nc1(features, labels))
    assert oracle.nc1_trace(features, labels) == np.inf
    assert oracle.vci(features, labels) == 1
