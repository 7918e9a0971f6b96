"""The check before every run: the features of a sample do not depend on its company."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from layerwise.adapters.protocol import Batch
from layerwise.errors import BatchDependence, LayerwiseError
from layerwise.features.company import Company, Difference, compare_company
from layerwise.features.leaks import Leak, find_leak
from layerwise.features.precision import roundings_of
from layerwise.features.reading import LayerReading
from layerwise.network.network import Network, Traced
from layerwise.runtime.distributed import all_gather, is_secondary_process
from layerwise.runtime.progress import logger

__all__ = ["LARGEST", "check_company"]

#: The largest difference that passes, in units of the spread among samples: in evaluation mode it is rounding, with
#: batch norm in training mode a tenth and more, and nothing lies between.
LARGEST = 0.05
# Differences below this share of the spread come of rounding that cancels on the way, and are not worth a word.
_LEAST = 1e-3

_GO_ON = "check=False (--no-check) goes on without this check"


@dataclass(frozen=True)
class _Verdict:
    """What came of a check: what the profile says of it, and an error, a warning or a line for the log, if any."""

    attribute: str
    error: str = ""
    warning: str = ""
    line: str = ""


def check_company(
    network: Network, traced: Traced, readings: Sequence[LayerReading], batch: Batch, *, shared: bool
) -> str:
    """Run a few samples of the first batch again, in other company, and compare their features; return what came of it.

    Parameters
    ----------
    network : Network
    traced : Traced
    readings : sequence of Reading
    batch : Batch
        The first of the data.
    shared : bool
        Whether other processes have other samples: then all of them end alike.

    Raises
    ------
    BatchDependence
        If features change by more than rounding and a twentieth of the spread among samples. The error names the first
        such layer, how large the difference is, and what usually causes it.

    Warns
    -----
    UserWarning
        If they change by more than rounding, and by less than that.
    """
    failure: LayerwiseError | None = None
    try:
        own = _verdict(network, traced, readings, batch)
    except LayerwiseError as error:
        own, failure = _Verdict("", error=str(error)), error
    # A process that stopped here alone would leave the others waiting.
    every = all_gather(own, shared)
    if failure is not None:
        raise failure
    verdict = next((one for one in every if one.error), own)
    if verdict.error:
        raise BatchDependence(verdict.error)
    if verdict.warning:
        warnings.warn(verdict.warning, stacklevel=2)
    if verdict.line and not is_secondary_process():
        logger.warning("%s", verdict.line)
    return verdict.attribute


def _verdict(network: Network, traced: Traced, readings: Sequence[LayerReading], batch: Batch) -> _Verdict:
    unchecked = _Verdict("not checked: a few samples cannot run alone")
    if not traced.alone:
        return _told(unchecked)
    layers = [reading.layer for reading in readings]
    roundings = {layer.name: value for layer, value in roundings_of(network.model, traced.trace, layers).items()}
    try:
        company = compare_company(network, readings, batch, roundings)
    except LayerwiseError:
        raise
    except Exception as error:
        return _told(unchecked, f": {type(error).__name__}: {error}")
    beside = _first(company.beside, LARGEST)
    if beside is not None:
        return _Verdict("", error=_of_company(beside, company.beside[beside]))
    leaking = _first(company.padded, LARGEST)
    if leaking is not None:
        return _of_padding(leaking, company, find_leak(network, traced.trace, batch, LARGEST))
    return _passed(company)


def _told(verdict: _Verdict, why: str = "") -> _Verdict:
    line = f"a few samples cannot run without the others of their batch{why}; nothing was checked"
    return _Verdict(verdict.attribute, line=line)


def _first(differences: Mapping[str, Difference], share: float) -> str | None:
    """The first layer, in execution order, whose features differ by more than rounding and a share of their spread."""
    return next((name for name, one in differences.items() if one.exceeds(share)), None)


def _of_company(layer: str, found: Difference) -> str:
    return (
        f"the features of a sample depend on the samples beside it: run alone or in another order, layer {layer!r} "
        f"differs by {found.share:.0%} of the spread among samples. Usual causes: batch norm or dropout that stays in "
        "training mode, a router with capacity, samples that a module mixes, a state that is kept between batches, a "
        f"layout whose samples are not along the first axis. Where it is meant, {_GO_ON}"
    )


def _of_padding(layer: str, company: Company, leak: Leak | None) -> _Verdict:
    """Padding that changes features: an error where the mask was to keep it out, a line where it cannot."""
    assert company.padding is not None
    found, where = company.padded[layer], leak.layer if leak is not None else layer
    begin = f"with {company.padding.count} more tokens of padding, layer {where!r} differs"
    if leak is not None and not leak.masked and not leak.left:
        line = (
            f"{begin}: this network sees padding there, whatever the mask; features depend on how far texts are padded"
        )
        return _Verdict(f"padding changes features from layer {where!r} on, by the network's design", line=line)
    causes = (
        "padding in front moves positions: give position_ids, or pad behind"
        if company.padding.left
        else "a mask that does not reach the attention, or positions that count padding"
    )
    return _Verdict(
        "",
        error=f"padding leaks into the features: {begin}, and layer {layer!r} by {found.share:.0%} of the spread among "
        f"samples. Usual causes: {causes}. Where it is meant, {_GO_ON}",
    )


def _passed(company: Company) -> _Verdict:
    every = {"alone or in another order": company.beside, "with more padding": company.padded}
    shares = [one.share for found in every.values() for one in found.values() if one.spread > 0]
    kinds = [kind for kind, found in every.items() if found]
    said = f"features differ by at most {max(shares, default=0.0):.1g} of their spread {' and '.join(kinds)}"
    for kind, found in every.items():
        layer = _first(found, _LEAST)
        if layer is not None:
            warning = (
                f"run {kind}, the features of layer {layer!r} differ by {found[layer].share:.2g} of the spread of "
                "samples, more than the rounding of this network makes"
            )
            return _Verdict(f"{said}, more than rounding makes", warning=warning)
    return _Verdict(said)
