"""A callback for Lightning, under either of its package names."""

from __future__ import annotations

import math
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from layerwise.errors import InvalidData
from layerwise.runtime.extras import from_extra
from layerwise.training.callbacks.base import Tracking

if TYPE_CHECKING:
    from lightning.pytorch import Callback, LightningModule, Trainer
else:
    # Both packages may be installed: prefer the one that the caller has imported.
    _NAMES = sorted(("lightning.pytorch", "pytorch_lightning"), key=lambda name: name not in sys.modules)
    _NAME = next((name for name in _NAMES if find_spec(name.partition(".")[0])), "lightning.pytorch")
    with from_extra("lightning", "LightningProfileCallback"):
        Callback = import_module(_NAME).Callback

__all__ = ["LightningProfileCallback"]


class LightningProfileCallback(Tracking, Callback):
    """Profile the network before the training, and after every epoch or every so many optimiser steps.

    The scalars go to the trainer's loggers; by epoch also to ``trainer.callback_metrics``, where checkpoints and early
    stopping can monitor them. The module's forward must return the logits.

    Parameters
    ----------
    data, every, by, scalars, resume, **options
        As for `Tracking`.

    Examples
    --------
    ::

        callback = LightningProfileCallback({"train": probe, "test": test}, store="runs.lw", run="digits/seed0")
        Trainer(max_epochs=20, callbacks=[callback]).fit(module, loader)
    """

    def __init__(self, data: Any, **options: Any) -> None:
        super().__init__(data, **options)
        self._now: tuple[float, int] = (0, 0)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure the network before the training.

        Raises
        ------
        InvalidData
            If the schedule counts steps and the training loader has no length.
        """
        if self._by == "step" and math.isinf(trainer.num_training_batches):
            raise InvalidData("by='step' labels parts of an epoch, and the training loader does not know its length")
        self.begin(pl_module, step=trainer.global_step)
        self._now = (trainer.current_epoch, trainer.global_step)
        self._measure(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Measure by step, once after the batches whose gradients make one step."""
        if self._by == "step" and trainer.global_step != self._now[1]:
            part = (batch_idx + 1) / trainer.num_training_batches
            self._now = (trainer.current_epoch + part, trainer.global_step)
            self._measure(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure by epoch."""
        if self._by == "epoch":
            self._now = (trainer.current_epoch + 1, trainer.global_step)
            # Every process measures the same values, so their mean is equal to each of them.
            pl_module.log_dict(self._measure(trainer), logger=False, sync_dist=True)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure the trained network, unless it just was."""
        self._measure(trainer, last=True)

    def _measure(self, trainer: Trainer, *, last: bool = False) -> dict[str, float]:
        epoch, step = self._now
        numbers = self.numbers(epoch, step, last=last)
        if numbers:
            for logger in trainer.loggers:
                logger.log_metrics(numbers, step=step)
        return numbers
