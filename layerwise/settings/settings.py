"""The options of everything that measures, as a dataclass and as keyword arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypedDict

from layerwise.arguments import refuse_unknown
from layerwise.errors import InvalidArgument
from layerwise.features.reduction import DENSE
from layerwise.metrics import Convention
from layerwise.network.layer import Layer
from layerwise.settings.kinds import KINDS, AskedFrame

__all__ = ["Settings", "SettingsOptions", "merge_settings", "refuse_without_effect"]


@dataclass(frozen=True)
class Settings:
    """What to measure, and how.

    Attributes
    ----------
    layers : str, sequence of str or callable
        ``"blocks"``, ``"stages"``, ``"leaves"``, ``"all"``, names, globs, or a function of a `Layer`.
    reduce : str
        How activations become features: ``auto``, ``gap``, ``grid:k``, ``cls``, ``mean``, ``max``, ``last``, ``eos``,
        ``flatten`` or ``sketch:k``. ``auto`` is what the network itself does, as far as one of them gives it on the
        first samples; maps and tokens that it flattens are flattened if none has more than 8,192 features. Where it
        differs one line says so, and the attribute ``network_pooling``. ``tokens`` or ``pixels`` make every token or
        pixel a sample with a label of its own: of shape ``(n, tokens)``, or label maps ``(n, h, w)``, which are resized
        to each layer's resolution by nearest neighbour. Regression targets of tokens have the shape ``(n, tokens, q)``,
        or ``(n, tokens)`` for one number a token. Padding and prefix tokens never count.
    metrics : str or sequence of str, optional
        Names or globs; all by default but what is costly, such as ``geometric_complexity``.
    classes : int, sequence of str, or mapping of target to either, optional
        Number or names of the classes, whose ids are 0 to C-1. Taken from the data where it names them; else the ids
        that occur are the classes.
    heads : mapping of target to str, optional
        Which of the network's outputs judges a target, or which layer does: its name, where the output is not called as
        the target. Of two targets that the network's own scores would do for alike, neither is judged by them unless
        this says whose they are.
    convention : str or Convention
        ``default``, ``papyan``, ``he_su``, ``he_su_imbalanced`` or ``ibrahim``. The attribute ``convention_reaches``
        names the metrics that it changes (`layerwise.metrics.convention.REACHES`); all others are the same under each.
    debiased : bool
        Whether `nc1`, `nc1_trace` and `cdnv` are corrected for the sampling error of class means, which draws them
        apart and makes few samples look more collapsed than they are, and `vci` and `h_score` for what features fitted
        to labels explain by chance.
    frame : str, Frame or ndarray, or mapping of target to one of them, optional
        What `frame_distance` measures the distance from: ``"etf"``, ``"orthogonal"``, what `layerwise.theory.predict`
        expects of the training, or a Gram matrix ``(K, K)``.
    standardize : bool
        Whether regression targets are counted in units of their standard deviations on the training split. As they are
        by default: the network was trained on them so, and `nrc3` compares its head with their covariance.
    memory : str or int, optional
        Budget for statistics and waiting features, such as ``"8GiB"``; half of the free memory by default.
    nonfinite : {"raise", "drop"}
        Whether NaN or infinity in a layer, or in a regression target, is an error, or its samples are left out of the
        layer or the target, and counted.
    ridge : float
        Regularisation of the ridge classifier, in units of the mean variance of a feature.
    seed : int
        Of random projections, directions and shuffles.
    directions : int or "exact"
        Random directions a sample for geometric complexity; ``"exact"`` takes every axis of the input.
    ignore_index : int or sequence of int, optional
        Labels of tokens or pixels that do not count: by default -100, and of pixels 255 where no more than 255 classes
        are declared. It is for classes: a token without a value of a regression target has NaN there (`nonfinite`).
    samples_per_class : int, optional
        Tokens or pixels of each class that are drawn, by `seed`, of those that a layer has: the same ones however the
        data is cut into batches. What the network itself gets wrong, and the samples of each class, are counted over
        all, drawn or not. All by default.
    jackknife : int
        Groups of samples for standard errors, ``<metric>_se``, and the bias of few samples, ``<metric>_bias``:
        everything is measured again without each of them, from the same runs of the data. 0, the default, for none; 10
        are usual. `layerwise.interval` makes confidence intervals of them. Tokens and pixels go with their text or
        picture.
    null : int
        Shuffles of labels and regression targets for what chance alone would give, ``<metric>_null``, ``_null_low`` and
        ``_null_high``: everything that compares classes, or depends on which target goes with which sample, is measured
        again under each, from the same runs of the data. 0, the default, for none; 39 make a band of 95%. The labels
        are read beforehand, in a run of the data without the network. Those of tokens are turned along all texts, and
        pictures swap whole label maps.
    check : bool
        Whether a few samples are run again before every run, alone, in another order and with more padding, to see
        that their features do not depend on their company (`layerwise.features.check`).
    trust_remote_code : bool
        Whether Python code that comes with a model may run, where a model is given by name: it can do whatever you can.
        By default it is refused and named.
    """

    layers: str | Sequence[str] | Callable[[Layer], bool] = "blocks"
    reduce: str = "auto"
    metrics: str | Sequence[str] | None = None
    classes: int | Sequence[str] | Mapping[str, int | Sequence[str]] | None = None
    heads: Mapping[str, str] | None = None
    convention: str | Convention = "default"
    debiased: bool = False
    frame: AskedFrame | Mapping[str, AskedFrame] | None = None
    standardize: bool = False
    memory: str | int | None = None
    nonfinite: Literal["raise", "drop"] = "raise"
    ridge: float = 1e-3
    seed: int = 0
    directions: int | Literal["exact"] = 8
    ignore_index: int | Sequence[int] | None = None
    samples_per_class: int | None = None
    jackknife: int = 0
    null: int = 0
    check: bool = True
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        for name, kind in KINDS.items():
            object.__setattr__(self, name, kind.read(name, getattr(self, name)))
        if self.reduce in DENSE:
            if self.heads:
                raise InvalidArgument(f"heads= names outputs of samples, and there are none of {self.reduce}")
            return
        for name in ("ignore_index", "samples_per_class"):
            if getattr(self, name) is not None:
                raise InvalidArgument(f"{name} is for reduce='tokens' and 'pixels', not for reduce={self.reduce!r}")

    def ignored(self, classes: int) -> tuple[int, ...]:
        """Labels of tokens or pixels that do not count, where so many classes are declared; 0 for none."""
        if self.ignore_index is not None:
            return (self.ignore_index,) if isinstance(self.ignore_index, int) else tuple(self.ignore_index)
        return (-100, 255) if self.reduce == "pixels" and classes <= 255 else (-100,)


class SettingsOptions(TypedDict, total=False):
    """The fields of `Settings` as keyword arguments: ``**options: Unpack[SettingsOptions]``."""

    layers: str | Sequence[str] | Callable[[Layer], bool]
    reduce: str
    metrics: str | Sequence[str] | None
    classes: int | Sequence[str] | Mapping[str, int | Sequence[str]] | None
    heads: Mapping[str, str] | None
    convention: str | Convention
    debiased: bool
    frame: AskedFrame | Mapping[str, AskedFrame] | None
    standardize: bool
    memory: str | int | None
    nonfinite: Literal["raise", "drop"]
    ridge: float
    seed: int
    directions: int | Literal["exact"]
    ignore_index: int | Sequence[int] | None
    samples_per_class: int | None
    jackknife: int
    null: int
    check: bool
    trust_remote_code: bool


def merge_settings(settings: Settings | None, options: Mapping[str, Any], also: Iterable[str] = ()) -> Settings:
    """Return the caller's settings, or the default ones, with single options in their place.

    Parameters
    ----------
    settings : Settings, optional
    options : mapping
        Fields of `Settings`.
    also : iterable of str
        Other arguments of the function that took the options: one of them may have been meant.

    Raises
    ------
    UnknownName
        If an option is no field of `Settings`.
    InvalidArgument
        If it has a value that it cannot have.
    """
    refuse_unknown("setting", options, [*KINDS, *also])
    return replace(settings or Settings(), **options)


def refuse_without_effect(settings: Settings, without: Mapping[str, str]) -> None:
    """Refuse settings that a function would pass over in silence.

    Parameters
    ----------
    settings : Settings
    without : mapping of str to str
        The settings without effect, and why.

    Raises
    ------
    InvalidArgument
        Naming the first one that is not what it is by default.
    """
    usual = Settings()
    for name, why in without.items():
        if getattr(settings, name) is not getattr(usual, name) and getattr(settings, name) != getattr(usual, name):
            raise InvalidArgument(f"{name}= has no effect here: {why}")
