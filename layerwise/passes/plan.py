"""The planner: how many passes, where the features wait for the second, and what fits into the memory budget."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import psutil

from layerwise.errors import BudgetExceeded, NotRepeatable
from layerwise.metrics import Metric
from layerwise.passes.memory import MemoryModel
from layerwise.runtime.byte_sizes import readable
from layerwise.runtime.distributed import processes_on_this_machine

__all__ = ["Plan", "make_plan"]

# Wider samples are not worth keeping: to run the network again costs about as much as to read them back.
_WIDEST_KEPT = 1 << 20
# Features that wait in memory take at most this share of what the statistics leave of the budget.
_BANK_SHARE = 0.5
# A bank on disk takes at most this share of the free space of the temporary folder.
_DISK_SHARE = 0.25
# Eigenvalues cost the cube of the width: wider layers are read through the span of their samples, or projected.
_WIDEST_COVARIANCE = 2048
_NARROWEST_COVARIANCE = 256
# The covariance of the span of all samples costs the cube of their number.
_MOST_SPANNED = 4096
# Where samples are more, a layer of so many features costs no more than the span would, and keeps its own covariance.
_WIDEST_OWN = 4096
# What a projection changes is measured on so many samples: their span costs what a layer of so many features does.
_MOST_COMPARED = 2048
# Layers are projected to so many features at least, and to no more than half of those samples: a fit to more features
# than that would explain the labels of half of them in any case.
_PROJECTED = 512


@dataclass(frozen=True)
class Plan:
    """What was chosen, and why.

    Attributes
    ----------
    passes : {1, 2}
        Sweeps over the data, or over the bank.
    second : {"none", "memory", "disk", "rerun"}
        Where pass 2 takes the features from: nowhere, a bank, or a second forward.
    covariance_width : int
        Layers up to this width keep their own covariance, wider ones that of a random projection; 0 keeps none.
    projected_width : int
        Features of that projection.
    compared : int
        Samples of each split whose wide features are kept, to measure what the projection changes; 0 for none.
    statistics_bytes, finishing_bytes, bank_bytes : int
        Forecast of the memory of the statistics, of what a layer takes beside them for the moment in which it is
        finished, and of the bank.
    reason : str
        One line for the log.
    class_bytes, budget : int
        Memory that each class takes, and that all statistics may take.
    spans : {"", "memory", "disk"}
        Where the features of wider layers wait until all samples are there, which are few enough for the covariance of
        their span; nowhere, if a random projection is taken instead.
    samples : int or None
        Of the largest split, as far as it was known.
    """

    passes: int
    second: Literal["none", "memory", "disk", "rerun"]
    covariance_width: int
    statistics_bytes: int
    finishing_bytes: int
    bank_bytes: int
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
        """Where features wait, of all layers or of the wide ones."""
        return self.second if self.second in ("memory", "disk") else self.spans

    def make_room(self, classes: int) -> None:
        """Check that so many classes, perhaps more than were known when the plan was made, fit the budget.

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


def make_plan(
    widths: Sequence[int],
    *,
    classes: int,
    samples: int | None,
    targets: int = 1,
    dimensions: Sequence[int] = (),
    needs: Collection[str],
    metrics: Sequence[Metric] = (),
    budget: int | None = None,
    repeatable: bool = True,
    itemsize: int = 4,
    replicates: int = 0,
    shuffles: int = 0,
    batch: int = 64,
    positions: bool = False,
    splits: int = 1,
) -> Plan:
    """Choose the passes.

    Parameters
    ----------
    widths : sequence of int
        Features of every layer after reduction.
    classes, samples, targets : int
        What the data has; `samples` of the largest split, None if it cannot be known beforehand; `targets` those with
        classes.
    dimensions : sequence of int
        Dimension of every regression target.
    needs : collection of str
        Statistics that the metrics ask for (`layerwise.metrics.EVIDENCE`).
    metrics : sequence of Metric
        The metrics themselves, for what computing them takes.
    budget : int, optional
        Bytes that statistics and bank may take; by default half of the free memory, shared with neighbours.
    repeatable : bool
        Whether every loader runs twice.
    itemsize : int
        Bytes of a feature.
    replicates : int
        How often everything is measured again, without some of the samples.
    shuffles : int
        How often under other labels, which leave the covariance as it is.
    batch : int
        Samples in a batch.
    positions : bool
        Whether tokens or pixels are the samples.
    splits : int
        How many splits there are.

    Raises
    ------
    BudgetExceeded
        If the statistics alone do not fit, with what they take.
    NotRepeatable
        If a second forward is the only way and a loader runs once.
    """
    budget = budget if budget is not None else psutil.virtual_memory().available // (2 * processes_on_this_machine())
    regression = tuple(dimensions) if "regression" in needs else ()
    load = MemoryModel(classes, targets, regression, frozenset(needs), metrics, replicates, shuffles, batch, samples)
    of_one = load.of_a_class(widths)
    means = classes * of_one
    if means > budget:
        widest = max(widths)
        again = f", measured {load.times} times over," if load.times > 1 else ""
        raise BudgetExceeded(
            f"the class means of {classes} classes in {len(widths)} layers (widest: {widest:,} features){again} take "
            f"{readable(means)}, the memory budget is {readable(budget)}; choose fewer layers, reduce='gap', "
            f"reduce='sketch:{_NARROWEST_COVARIANCE * 4}' or a larger memory"
        )
    waiting = load.of_waiting(widths)
    spans: Literal["", "memory", "disk"] = ""
    narrowed = _covariances(widths, budget - means - waiting, load)
    if not positions:
        spanned = _spans(widths, budget - means - waiting, load, itemsize)
        spans, narrowed = spanned or (spans, narrowed)
    covariance_width, covariances, finishing = narrowed
    projected_width, compared = min(covariance_width, _PROJECTED), 0
    if not spans and 0 < covariance_width < max(widths):
        left = budget - means - waiting
        compared, kept_bytes = _compared(
            widths, covariance_width, left - covariances - finishing, load, itemsize, splits
        )
        projected_width, covariances, finishing = _projected(
            widths, covariance_width, compared, left - kept_bytes, load
        )
        finishing += kept_bytes
    finishing += waiting
    statistics = means + covariances
    if statistics + finishing > budget:
        raise BudgetExceeded(
            f"the covariances of {len(widths)} layers, projected to at most {covariance_width} features, take "
            f"{readable(covariances)}, the class means {readable(means)}, and finishing a layer {readable(finishing)}; "
            f"the memory budget is {readable(budget)}; choose fewer layers, metrics without ranks and probes, or a "
            "larger memory"
        )
    per_sample = sum(widths) * itemsize
    bank = per_sample * samples if samples is not None else None
    what = f"statistics {readable(statistics)}, finishing a layer {readable(finishing)}, of {readable(budget)}"
    taken = (covariance_width, statistics, finishing)
    if not load.two_passes:
        reason = f"one pass: no metric needs the second; {what}"
        return Plan(1, "none", *taken, 0, reason, of_one, budget, spans, samples, projected_width, compared)
    second, reason = _second(per_sample, bank, budget - statistics - finishing, repeatable)
    kept = bank or 0 if second in ("memory", "disk") else 0
    reason = f"{reason}; {what}"
    return Plan(2, second, *taken, kept, reason, of_one, budget, spans, samples, projected_width, compared)


def _covariances(widths: Sequence[int], budget: int, load: MemoryModel) -> tuple[int, int, int]:
    """The width up to which covariances fit, and the bytes that all of them and finishing a layer then take."""
    if not load.of_classes and not load.dimensions:
        return 0, 0, max(load.of_finishing(width, 0) for width in widths)
    within = [width for width in widths if _WIDEST_COVARIANCE < width <= _WIDEST_OWN]
    limit = _WIDEST_OWN if within else _WIDEST_COVARIANCE
    while True:
        kept = [width if width <= limit else min(limit, _PROJECTED) for width in widths]
        taken = sum(map(load.of_covariances, kept))
        finishing = max(map(load.of_finishing, widths, kept))
        if taken + finishing <= budget or limit == _NARROWEST_COVARIANCE:
            return limit, taken, finishing
        limit //= 2


def _compared(
    widths: Sequence[int], limit: int, left: int, load: MemoryModel, itemsize: int, splits: int
) -> tuple[int, int]:
    """How many samples of wide layers can be kept, to measure what their projection changes; and the bytes they take.

    Those of all splits are kept until the end, in memory, where each layer is then measured alone.
    """
    wide = [width for width in widths if width > limit]
    samples = min(_MOST_COMPARED, _MOST_COMPARED if load.samples is None else load.samples)
    while samples:
        kept = splits * samples * sum(wide) * itemsize
        taken = kept + load.of_comparing(max(wide), samples, itemsize)
        if taken <= left * _BANK_SHARE:
            return samples, taken
        samples //= 2
    return 0, 0


def _projected(
    widths: Sequence[int], limit: int, compared: int, budget: int, load: MemoryModel
) -> tuple[int, int, int]:
    """The width of the projection that fits, and the bytes that all covariances and finishing a layer then take.

    Halved until it fits: free memory that changes a little leaves it as it is.
    """
    least = min(limit, _PROJECTED)
    width = max(least, min(limit, _WIDEST_COVARIANCE, 1 << (max(compared // 2, 1).bit_length() - 1)))
    while True:
        kept = [own if own <= limit else width for own in widths]
        taken = sum(map(load.of_covariances, kept))
        finishing = max(map(load.of_finishing, widths, kept))
        if taken + finishing <= budget or width == least:
            return width, taken, finishing
        width = max(least, width // 2)


def _spans(
    widths: Sequence[int], budget: int, load: MemoryModel, itemsize: int
) -> tuple[Literal["memory", "disk"], tuple[int, int, int]] | None:
    """Where wide features wait for the covariance of their span, and what `_covariances` returns; None if they do not.

    The products of all samples stand beside the features of one layer, in double precision.
    """
    wide = [width for width in widths if width > _WIDEST_COVARIANCE]
    samples = load.samples
    if not wide or not (load.of_classes or load.dimensions) or samples is None or samples > _MOST_SPANNED:
        return None
    kept = [min(width, samples + 1) if width > _WIDEST_COVARIANCE else width for width in widths]
    # The coordinates of all samples, and what lifts weights from them, stay until the split is measured.
    beside = 16 * samples**2 * len(wide)
    taken = sum(map(load.of_covariances, kept)) + beside
    of_one = 2 * max(wide) * samples * itemsize + 4 * 8 * samples**2
    finishing = max(of_one, *map(load.of_finishing, widths, kept))
    waiting = sum(wide) * samples * itemsize
    left = budget - taken - finishing
    if left < 0:
        return None
    if waiting <= left * _BANK_SHARE:
        return "memory", (_WIDEST_COVARIANCE, taken, finishing)
    if waiting <= shutil.disk_usage(tempfile.gettempdir()).free * _DISK_SHARE:
        return "disk", (_WIDEST_COVARIANCE, taken, finishing)
    return None


def _second(
    per_sample: int, bank: int | None, left: int, repeatable: bool
) -> tuple[Literal["memory", "disk", "rerun"], str]:
    free = shutil.disk_usage(tempfile.gettempdir()).free
    wide = per_sample > _WIDEST_KEPT
    size = "an unknown number of features" if bank is None else f"features of {readable(bank)}"
    if not wide and bank is not None and bank <= left * _BANK_SHARE:
        return "memory", f"two passes over one run of the data: {size} wait in memory"
    fits_disk = bank is None or bank <= free * _DISK_SHARE
    if fits_disk and (not wide or not repeatable):
        return "disk", f"two passes over one run of the data: {size} wait in a temporary file"
    if repeatable:
        why = f"{readable(per_sample)} a sample are not worth keeping" if wide else f"{size} fit nowhere"
        return "rerun", f"two runs of the data: {why}"
    raise NotRepeatable(
        f"the metrics need a second pass, {size} do not fit into a temporary file ({readable(free)} free), "
        "and a loader runs only once; give a DataLoader, or anything that can be iterated again"
    )
