"""The planner: how many passes, where the features wait for the second, and what fits into the memory budget."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, replace
from typing import Literal

import psutil

from layerwise.errors import BudgetExceeded, NotRepeatable
from layerwise.passes.memory import MemoryModel
from layerwise.passes.workload import Workload
from layerwise.runtime.byte_sizes import readable
from layerwise.runtime.distributed import processes_on_this_machine

__all__ = ["Plan", "make_plan"]

# Wider samples are not worth keeping: to run the network again costs about as much as to read them back.
_WIDEST_KEPT = 1 << 20
# Features that wait in memory take at most this share of what the statistics leave of the budget.
_CACHE_SHARE = 0.5
# A feature cache on disk takes at most this share of the free space of the temporary folder.
_DISK_SHARE = 0.25
# Eigenvalues cost the cube of the width: wider layers are read through the span of their samples, or projected.
_WIDEST_COVARIANCE = 2048
_NARROWEST_COVARIANCE = 256
# The covariance of the span of all samples costs the cube of their number.
_MOST_SPANNED = 4096
# Where samples are more, a layer of this width costs no more than the span would, and keeps its own covariance.
_WIDEST_OWN = 4096
# What a projection changes is measured on this many samples: their span costs what a layer of this width does.
_MOST_COMPARED = 2048
# Layers are projected to this width at least, and to no more than half of those samples: a fit to more features than
# that would explain the labels of half of them in any case.
_PROJECTED = 512


@dataclass(frozen=True)
class Plan:
    """What was chosen, and why.

    Attributes
    ----------
    passes : {1, 2}
        Sweeps over the data, or over the feature cache.
    second : {"none", "memory", "disk", "rerun"}
        Where pass 2 takes the features from: nowhere, a feature cache, or a second forward.
    covariance_width : int
        Layers up to this width keep their own covariance, wider ones that of a random projection; 0 keeps none.
    statistics_bytes, finishing_bytes, cache_bytes : int
        Forecast of the memory of the statistics, of what one layer takes in addition while it is finished, and of the
        feature cache.
    reason : str
        One line for the log.
    class_bytes, budget : int
        Memory that each class takes, and that all statistics may take.
    spans : {"", "memory", "disk"}
        Where the features of wider layers wait until all samples are there, which are few enough for the covariance of
        their span; nowhere, if a random projection is taken instead.
    samples : int or None
        Samples of the largest split, as far as it was known.
    projected_width : int
        Features of the random projection.
    compared : int
        Samples of each split whose wide features are kept, to measure what the projection changes; 0 for none.
    """

    passes: int
    second: Literal["none", "memory", "disk", "rerun"]
    covariance_width: int
    statistics_bytes: int
    finishing_bytes: int
    cache_bytes: int
    reason: str
    class_bytes: int = 0
    budget: int = 0
    spans: Literal["", "memory", "disk"] = ""
    samples: int | None = None
    projected_width: int = _PROJECTED
    compared: int = 0

    @property
    def keeps_features(self) -> bool:
        """Whether the features of all layers wait for pass 2."""
        return self.second in ("memory", "disk")

    @property
    def feature_cache(self) -> Literal["", "memory", "disk"]:
        """Where features wait, those of all layers or of the wide ones."""
        return self.second if self.second in ("memory", "disk") else self.spans

    def make_room(self, classes: int) -> None:
        """Check that the classes, perhaps more than were known when the plan was made, fit the budget.

        Raises
        ------
        BudgetExceeded
            With what they take.
        """
        if self.budget and classes * self.class_bytes > self.budget:
            raise BudgetExceeded(
                f"there are {classes:,} classes by now, whose means take "
                f"{readable(classes * self.class_bytes)}; the memory budget is {readable(self.budget)}"
            )

    @property
    def forwards(self) -> int:
        """How often the network runs over the data."""
        return 2 if self.second == "rerun" else 1


@dataclass(frozen=True)
class _Covariances:
    """How wide covariances may be, and what they take.

    Attributes
    ----------
    limit, projected_width, compared, spans
        As `Plan` has them; the limit is its `covariance_width`.
    bytes, finishing : int
        What all of them take, and what finishing a layer does.
    """

    limit: int
    bytes: int
    finishing: int
    projected_width: int = _PROJECTED
    compared: int = 0
    spans: Literal["", "memory", "disk"] = ""


def make_plan(work: Workload, budget: int | None = None) -> Plan:
    """Choose the passes.

    Parameters
    ----------
    work : Workload
    budget : int, optional
        Bytes that statistics and feature cache may take; by default half of the free memory, shared with the other
        processes on the machine.

    Raises
    ------
    BudgetExceeded
        If the statistics alone do not fit, with what they take.
    NotRepeatable
        If a second forward is the only way and a loader runs once.
    """
    budget = budget if budget is not None else psutil.virtual_memory().available // (2 * processes_on_this_machine())
    memory = MemoryModel(work)
    class_bytes = memory.of_a_class(work.widths)
    means = work.classes * class_bytes
    _check_means(work, means, budget)
    waiting = memory.of_waiting(work.widths)
    covariances = _choose_covariances(work, budget - means - waiting)
    statistics, finishing = means + covariances.bytes, covariances.finishing + waiting
    if statistics + finishing > budget:
        raise BudgetExceeded(
            f"the covariances of {len(work.widths)} layers, projected to at most {covariances.limit} features, take "
            f"{readable(covariances.bytes)}, the class means {readable(means)}, and finishing a layer "
            f"{readable(finishing)}; the memory budget is {readable(budget)}; choose fewer layers, metrics without "
            "ranks and probes, or a larger memory"
        )
    second, reason, cached = _second(work, budget - statistics - finishing)
    what = f"statistics {readable(statistics)}, finishing a layer {readable(finishing)}, of {readable(budget)}"
    return Plan(
        passes=2 if work.two_passes else 1,
        second=second,
        covariance_width=covariances.limit,
        statistics_bytes=statistics,
        finishing_bytes=finishing,
        cache_bytes=cached,
        reason=f"{reason}; {what}",
        class_bytes=class_bytes,
        budget=budget,
        spans=covariances.spans,
        samples=work.samples,
        projected_width=covariances.projected_width,
        compared=covariances.compared,
    )


def _check_means(work: Workload, means: int, budget: int) -> None:
    """Raise if the class means alone do not fit."""
    if means <= budget:
        return
    again = f", measured {work.measurements} times over," if work.measurements > 1 else ""
    raise BudgetExceeded(
        f"the class means of {work.classes} classes in {len(work.widths)} layers (widest: {max(work.widths):,} "
        f"features){again} take {readable(means)}, the memory budget is {readable(budget)}; choose fewer layers, "
        f"reduce='gap', reduce='sketch:{_NARROWEST_COVARIANCE * 4}' or a larger memory"
    )


def _choose_covariances(work: Workload, budget: int) -> _Covariances:
    """Choose between own covariances, those of the samples' span, and those of a random projection."""
    spanned = None if work.positions else _spans(work, budget)
    if spanned is not None:
        return spanned
    covariances = _own_covariances(work, budget)
    if not 0 < covariances.limit < max(work.widths):
        return covariances
    compared, kept_bytes = _compared(work, covariances.limit, budget - covariances.bytes - covariances.finishing)
    projected = _projected(work, covariances.limit, compared, budget - kept_bytes)
    return replace(projected, finishing=projected.finishing + kept_bytes)


def _own_covariances(work: Workload, budget: int) -> _Covariances:
    """Choose the width up to which layers keep their own covariance."""
    memory = MemoryModel(work)
    if not work.covariances and not work.regression:
        return _Covariances(0, 0, max(memory.of_finishing(width, 0) for width in work.widths), projected_width=0)
    within = [width for width in work.widths if _WIDEST_COVARIANCE < width <= _WIDEST_OWN]
    limit = _WIDEST_OWN if within else _WIDEST_COVARIANCE
    while True:
        projected = min(limit, _PROJECTED)
        taken, finishing = _taken(work, limit, projected)
        if taken + finishing <= budget or limit == _NARROWEST_COVARIANCE:
            return _Covariances(limit, taken, finishing, projected_width=projected)
        limit //= 2


def _taken(work: Workload, limit: int, projected: int) -> tuple[int, int]:
    """Return the bytes of all covariances and of finishing a layer, where wider layers are projected."""
    memory = MemoryModel(work)
    kept = [width if width <= limit else projected for width in work.widths]
    return sum(map(memory.of_covariances, kept)), max(map(memory.of_finishing, work.widths, kept))


def _compared(work: Workload, limit: int, left: int) -> tuple[int, int]:
    """Return how many samples of wide layers can be kept, to measure what their projection changes; and their bytes.

    Those of all splits are kept until the end, in memory, where each layer is then measured alone.
    """
    wide = [width for width in work.widths if width > limit]
    samples = min(_MOST_COMPARED, _MOST_COMPARED if work.samples is None else work.samples)
    while samples:
        kept = work.splits * samples * sum(wide) * work.itemsize
        taken = kept + MemoryModel(work).of_comparing(max(wide), samples)
        if taken <= left * _CACHE_SHARE:
            return samples, taken
        samples //= 2
    return 0, 0


def _projected(work: Workload, limit: int, compared: int, budget: int) -> _Covariances:
    """Choose the width of the projection.

    It is halved until it fits: free memory that changes a little leaves it as it is.
    """
    least = min(limit, _PROJECTED)
    width = max(least, min(limit, _WIDEST_COVARIANCE, 1 << (max(compared // 2, 1).bit_length() - 1)))
    while True:
        taken, finishing = _taken(work, limit, width)
        if taken + finishing <= budget or width == least:
            return _Covariances(limit, taken, finishing, width, compared)
        width = max(least, width // 2)


def _spans(work: Workload, budget: int) -> _Covariances | None:
    """Choose where wide features wait for the covariance of their span; None if they do not.

    The products of all samples take memory beside the features of one layer, in double precision.
    """
    memory = MemoryModel(work)
    wide = [width for width in work.widths if width > _WIDEST_COVARIANCE]
    samples = work.samples
    if not wide or not (work.covariances or work.regression) or samples is None or samples > _MOST_SPANNED:
        return None
    kept = [min(width, samples + 1) if width > _WIDEST_COVARIANCE else width for width in work.widths]
    # The coordinates of all samples, and what lifts weights from them, stay until the split is measured.
    taken = sum(map(memory.of_covariances, kept)) + 16 * samples**2 * len(wide)
    of_one = 2 * max(wide) * samples * work.itemsize + 4 * 8 * samples**2
    finishing = max(of_one, *map(memory.of_finishing, work.widths, kept))
    waiting = sum(wide) * samples * work.itemsize
    left = budget - taken - finishing
    if left < 0:
        return None
    projected = min(_WIDEST_COVARIANCE, _PROJECTED)
    if waiting <= left * _CACHE_SHARE:
        return _Covariances(_WIDEST_COVARIANCE, taken, finishing, projected, spans="memory")
    if waiting <= shutil.disk_usage(tempfile.gettempdir()).free * _DISK_SHARE:
        return _Covariances(_WIDEST_COVARIANCE, taken, finishing, projected, spans="disk")
    return None


def _second(work: Workload, left: int) -> tuple[Literal["none", "memory", "disk", "rerun"], str, int]:
    """Choose where pass 2 takes the features from; return why, and the bytes of the feature cache."""
    if not work.two_passes:
        return "none", "one pass: no metric needs the second", 0
    free = shutil.disk_usage(tempfile.gettempdir()).free
    wide = work.bytes_per_sample > _WIDEST_KEPT
    cached = None if work.samples is None else work.bytes_per_sample * work.samples
    size = "an unknown number of features" if cached is None else f"features of {readable(cached)}"
    if not wide and cached is not None and cached <= left * _CACHE_SHARE:
        return "memory", f"two passes over one run of the data: {size} wait in memory", cached
    fits_disk = cached is None or cached <= free * _DISK_SHARE
    if fits_disk and (not wide or not work.repeatable):
        return "disk", f"two passes over one run of the data: {size} wait in a temporary file", cached or 0
    if work.repeatable:
        why = f"{readable(work.bytes_per_sample)} a sample are not worth keeping" if wide else f"{size} fit nowhere"
        return "rerun", f"two runs of the data: {why}", 0
    raise NotRepeatable(
        f"the metrics need a second pass, {size} do not fit into a temporary file ({readable(free)} free), "
        "and a loader runs only once; give a DataLoader, or anything that can be iterated again"
    )
