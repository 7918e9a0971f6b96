"""A training whose last maps are fixed to simplex ETFs once the layers around them have collapsed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import xarray as xr
from torch import nn

from layerwise.arguments import checked
from layerwise.derive._values import values_over
from layerwise.errors import InvalidArgument, UnknownName
from layerwise.training.heads.etf_maps import fix_to_etf

__all__ = ["AdaptiveETF"]


class AdaptiveETF:
    """Fix linear maps to turned simplex ETFs, from the last one back, as the layers before them collapse.

    A map is fixed once every layer from the one that it reads to the last has had a nearest-class-centre accuracy above
    `level` for more than `patience` updates in a row. The head, the last of `maps`, is fixed last: after another map
    has been, at an update that fixes no other.

    Parameters
    ----------
    model : Module
        The network in training.
    maps : sequence of str
        Names of the `Linear` modules that may be fixed, in order; the last is the head.
    level : float
        Accuracy in [0, 1).
    patience : int
        Updates in a row beyond the first.
    split : str
        The split whose accuracy decides.
    seed : int
        Seed of the turns; every map has its own.

    Raises
    ------
    UnknownName
        If there is no such module.
    InvalidArgument
        If a module is no `Linear`, there are no maps, or level or patience is out of range.

    References
    ----------
    Liu 2024, Leveraging intermediate neural collapse with simplex ETFs for efficient deep neural networks
    (arXiv:2412.00884).

    Examples
    --------
    Call `update` with every profile that a `layerwise.Tracker` measures; keep the state beside the network's::

        adaptive = AdaptiveETF(model, ["blocks.4.linear", "blocks.5.linear", "head"])
        for epoch in range(epochs):
            train_one_epoch(model)
            adaptive.update(tracker.measure(epoch + 1))
        torch.save({"model": model.state_dict(), "etf": adaptive.state_dict()}, "last.pt")

    A training that goes on makes its optimiser, loads this state, which fixes the same maps, and then the weights.
    """

    @checked()
    def __init__(
        self,
        model: nn.Module,
        maps: Sequence[str],
        *,
        level: float = 0.98,
        patience: int = 5,
        split: str = "train",
        seed: int = 0,
    ) -> None:
        if not 0 <= level < 1:
            raise InvalidArgument(f"level={level}: an accuracy from 0 to below 1")
        if patience < 0:
            raise InvalidArgument(f"patience={patience}: updates, 0 or more")
        if not maps:
            raise InvalidArgument("maps: name at least one Linear of the network")
        modules = dict(model.named_modules())
        for name in maps:
            if name not in modules:
                raise UnknownName("module", name, modules)
            if not isinstance(modules[name], nn.Linear):
                raise InvalidArgument(f"maps: {name!r} is no Linear but {type(modules[name]).__name__}")
        self.level, self.patience, self.split, self.seed = level, patience, split, seed
        self._modules = {name: modules[name] for name in maps}
        self._streaks = dict.fromkeys(maps, 0)
        self._fixed: list[str] = []

    @property
    def fixed(self) -> tuple[str, ...]:
        """The maps that are fixed, in the order in which they were."""
        return tuple(self._fixed)

    def update(self, profile: xr.Dataset) -> tuple[str, ...]:
        """Take the accuracy of an epoch, and fix the maps that it completes.

        Parameters
        ----------
        profile : Dataset
            With `ncc_error`, and the coordinate ``next_map``, which names the map that reads each layer. With several
            epochs the last is taken, with several targets the first.

        Returns
        -------
        tuple of str
            The maps that were fixed now.

        Raises
        ------
        UnknownName
            If `ncc_error` was not measured, the split is not there, or no layer is read by a map.
        """
        accurate = self._layers_that_stay_accurate(profile)
        for name in self._streaks:
            self._streaks[name] = self._streaks[name] + 1 if accurate[name] else 0
        *hidden, head = self._modules
        ready = [name for name in hidden if self._is_ready(name)]
        if not ready and self._is_ready(head) and (self._fixed or not hidden):
            ready = [head]
        for name in ready:
            self._fix(name)
        return tuple(ready)

    def state_dict(self) -> dict[str, Any]:
        """Return what a training that goes on has to know."""
        return {"fixed": list(self._fixed), "streaks": dict(self._streaks), "seed": self.seed}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Fix the same maps as before; load the network's weights afterwards.

        Raises
        ------
        UnknownName
            If the state is of other maps.
        """
        for name in state["streaks"]:
            if name not in self._streaks:
                raise UnknownName("map", name, self._streaks)
        self.seed = state["seed"]
        self._streaks = dict(state["streaks"])
        for name in state["fixed"]:
            if name not in self._fixed:
                self._fix(name)

    def _is_ready(self, name: str) -> bool:
        return name not in self._fixed and self._streaks[name] > self.patience

    def _fix(self, name: str) -> None:
        *_, head = self._modules
        place = list(self._modules).index(name)
        fix_to_etf(self._modules[name], turn_outputs=name != head, seed=self.seed + place)  # type: ignore[arg-type]
        self._fixed.append(name)

    def _layers_that_stay_accurate(self, profile: xr.Dataset) -> dict[str, bool]:
        """Return for every map whether all layers from the one that it reads to the last are above the level."""
        errors = values_over(profile, "ncc_error", "layer")
        if "split" in errors.dims:
            splits = list(map(str, errors["split"].values))
            if self.split not in splits:
                raise UnknownName("split", self.split, splits)
            errors = errors.sel(split=self.split)
        errors = errors.isel({dim: -1 if dim == "epoch" else 0 for dim in errors.dims if dim != "layer"})
        above = (1 - errors.values) > self.level
        readers = [str(name) for name in errors["next_map"].values]
        accurate = {}
        for name in self._streaks:
            places = [place for place, reader in enumerate(readers) if name in reader.split(", ")]
            if not places:
                raise UnknownName("map that reads a measured layer", name, [reader for reader in readers if reader])
            accurate[name] = bool(above[places[0] :].all())
        return accurate
