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
        ``flatten`` or ``sketch:k``. ``auto`` follows the network, if one of these reproduces its pooling on the first
        samples; maps and tokens that it flattens are flattened if none has more than 8,192 features. A line and the
        attribute ``network_pooling`` record a difference. ``tokens`` or ``pixels`` make every token or pixel a sample
        with its own label: of shape ``(n, tokens)``, or label maps ``(n, h, w)``, which are resized to each layer's
        resolution by nearest neighbour. Regression targets of tokens have the shape ``(n, tokens, q)``, or ``(n,
        tokens)`` for one number a token. Padding and prefix tokens never count.
    metrics : str or sequence of str, optional
        Names or globs; by default all but costly ones, such as ``geometric_complexity``.
    classes : int, sequence of str, or mapping of target to either, optional
        Number or names of the classes, whose ids are 0 to C-1. By default, the names that the data has, else the ids
        that occur.
    heads : mapping of target to str, optional
        The name of the output or layer that judges a target, where the output is not named like the target. If the
        network's scores would suit two targets equally, neither is judged by them unless this names one.
    convention : str or Convention
        ``default``, ``papyan``, ``he_su``, ``he_su_imbalanced`` or ``ibrahim``. The attribute ``convention_reaches``
        names the metrics that it changes (`layerwise.metrics.convention.REACHES`); all others are the same under each.
    debiased : bool
        Whether `nc1`, `nc1_trace` and `cdnv` are corrected for the sampling error of class means, which makes few
        samples look more collapsed than they are, and `vci` and `h_score` for the share that features explain by
        chance.
    frame : str, Frame or ndarray, or mapping of target to one of them, optional
        The frame of `frame_distance`: ``"etf"``, ``"orthogonal"``, a prediction of `layerwise.theory.predict`, or a
        Gram matrix ``(K, K)``.
    standardize : bool
        Whether regression targets are divided by their standard deviations on the training split. Not by default: the
        network was trained on them unchanged, and `nrc3` compares its head with their covariance.
    memory : str or int, optional
        Budget for statistics and cached features, such as ``"8GiB"``; half of the free memory by default.
    nonfinite : {"raise", "drop"}
        Whether NaN or infinity in a layer, or in a regression target, is an error, or the samples are left out of that
        layer or target, and counted.
    ridge : float
        Regularisation of the ridge classifier, in units of the mean variance of a feature.
    seed : int
        Seed of random projections, directions and shuffles.
    directions : int or "exact"
        Random directions a sample for geometric complexity; ``"exact"`` takes every axis of the input.
    ignore_index : int or sequence of int, optional
        Labels of tokens or pixels that do not count: by default -100, and of pixels 255 where no more than 255 classes
        are declared. It is for classes: a token without a value of a regression target has NaN there (`nonfinite`).
    samples_per_class : int, optional
        Tokens or pixels of each class that are drawn in every layer, by `seed`: the same ones however the data is cut
        into batches. Errors of the network, and the samples of each class, are counted over all. All by default.
    jackknife : int
        Groups of samples for standard errors, ``<metric>_se``, and the bias of few samples, ``<metric>_bias``:
        everything is measured again without each group, in the same runs of the data. 0, the default, for none; 10 are
        usual. `layerwise.interval` makes confidence intervals of them. Tokens and pixels stay with their text or
        picture.
    null : int
        Shuffles of labels and regression targets for values by chance, ``<metric>_null``, ``_null_low`` and
        ``_null_high``: metrics that depend on which label or target belongs to which sample are measured again under
        each, in the same runs of the data. 0, the default, for none; 39 make a band of 95%. The labels are read
        beforehand, in a run of the data without the network. Labels of tokens are rotated along all texts, and pictures
        swap whole label maps.
    check : bool
        Whether a few samples are run again before the first run, alone, in another order and with more padding, to
        check that their features do not depend on other samples (`layerwise.features.check`).
    trust_remote_code : bool
        Whether Python code that comes with a model given by name may run, with all rights of the caller. By default it
        is refused and named.
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
        """Return the labels of tokens or pixels that do not count, for a declared number of classes; 0 for none."""
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
        Other arguments of the function that took the options, since an unknown name may be a misspelt one.

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
    """Refuse settings that a function would ignore.

    Parameters
    ----------
    settings : Settings
    without : mapping of str to str
        The settings without effect, and why.

    Raises
    ------
    InvalidArgument
        Naming the first one that differs from its default.
    """
    default = Settings()
    for name, why in without.items():
        if getattr(settings, name) is not getattr(default, name) and getattr(settings, name) != getattr(default, name):
            raise InvalidArgument(f"{name}= has no effect here: {why}")
