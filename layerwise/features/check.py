"""The check before every run: the features of a sample depend neither on the rest of its batch nor on padding."""

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
# Differences below this share of the spread come from rounding that cancels on the way, and need no warning.
_LEAST = 1e-3

_GO_ON = "check=False (--no-check) goes on without this check"


@dataclass(frozen=True)
class _Verdict:
    """Result of a check: the attribute of the profile, and an error, a warning or a line for the log, if any."""

    attribute: str
    error: str = ""
    warning: str = ""
    line: str = ""


def check_company(
    network: Network, traced: Traced, readings: Sequence[LayerReading], batch: Batch, *, shared: bool
) -> str:
    """Run a few samples of the first batch again, in other company, and compare their features.

    Parameters
    ----------
    network : Network
    traced : Traced
    readings : sequence of LayerReading
    batch : Batch
        The first batch of the data.
    shared : bool
        Whether other processes have other samples: then all of them raise, or none.

    Returns
    -------
    str
        The result, as the profile records it.

    Raises
    ------
    BatchDependence
        If features change by more than rounding and a twentieth of the spread among samples. The error names the first
        such layer, the size of the difference, and its usual causes.

    Warns
    -----
    UserWarning
        If features change by more than rounding, and by less than that.
    """
    failure: LayerwiseError | None = None
    try:
        verdict = _verdict(network, traced, readings, batch)
    except LayerwiseError as error:
        verdict, failure = _Verdict("", error=str(error)), error
    # A process that stopped here alone would leave the others waiting.
    verdicts = all_gather(verdict, shared)
    if failure is not None:
        raise failure
    verdict = next((other for other in verdicts if other.error), verdict)
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
        return _logged(unchecked)
    layers = [reading.layer for reading in readings]
    roundings = {layer.name: value for layer, value in roundings_of(network.model, traced.trace, layers).items()}
    try:
        company = compare_company(network, readings, batch, roundings)
    except LayerwiseError:
        raise
    except Exception as error:
        return _logged(unchecked, f": {type(error).__name__}: {error}")
    layer = _first(company.mixed, LARGEST)
    if layer is not None:
        return _Verdict("", error=_error_of_company(layer, company.mixed[layer]))
    layer = _first(company.padded, LARGEST)
    if layer is not None:
        return _of_padding(layer, company, find_leak(network, traced.trace, batch, LARGEST))
    return _passed(company)


def _logged(verdict: _Verdict, why: str = "") -> _Verdict:
    line = f"a few samples cannot run without the others of their batch{why}; nothing was checked"
    return _Verdict(verdict.attribute, line=line)


def _first(differences: Mapping[str, Difference], share: float) -> str | None:
    """Return the first layer, in execution order, that differs by more than rounding and a share of its spread."""
    return next((name for name, difference in differences.items() if difference.exceeds(share)), None)


def _error_of_company(layer: str, difference: Difference) -> str:
    return (
        f"the features of a sample depend on the samples beside it: run alone or in another order, layer {layer!r} "
        f"differs by {difference.share:.0%} of the spread among samples. Usual causes: batch norm or dropout that "
        "stays in training mode, a router with capacity, samples that a module mixes, a state that is kept between "
        f"batches, a layout whose samples are not along the first axis. Where it is meant, {_GO_ON}"
    )


def _of_padding(layer: str, company: Company, leak: Leak | None) -> _Verdict:
    """Judge padding that changes features: an error where the mask should keep it out, else a line for the log."""
    assert company.padding is not None
    first = leak.layer if leak is not None else layer
    begin = f"with {company.padding.count} more tokens of padding, layer {first!r} differs"
    if leak is not None and not leak.masked and not leak.left:
        line = (
            f"{begin}: this network sees padding there, whatever the mask; features depend on how far texts are padded"
        )
        return _Verdict(f"padding changes features from layer {first!r} on, by the network's design", line=line)
    causes = (
        "padding in front moves positions: give position_ids, or pad behind"
        if company.padding.left
        else "a mask that does not reach the attention, or positions that count padding"
    )
    return _Verdict(
        "",
        error=f"padding leaks into the features: {begin}, and layer {layer!r} by {company.padded[layer].share:.0%} of "
        f"the spread among samples. Usual causes: {causes}. Where it is meant, {_GO_ON}",
    )


def _passed(company: Company) -> _Verdict:
    runs = {"alone or in another order": company.mixed, "with more padding": company.padded}
    shares = [difference.share for layers in runs.values() for difference in layers.values() if difference.spread > 0]
    kinds = [kind for kind, layers in runs.items() if layers]
    attribute = f"features differ by at most {max(shares, default=0.0):.1g} of their spread {' and '.join(kinds)}"
    for kind, layers in runs.items():
        layer = _first(layers, _LEAST)
        if layer is not None:
            warning = (
                f"run {kind}, the features of layer {layer!r} differ by {layers[layer].share:.2g} of the spread of "
                "samples, more than the rounding of this network makes"
            )
            return _Verdict(f"{attribute}, more than rounding makes", warning=warning)
    return _Verdict(attribute)
