"""A callback for `transformers.Trainer`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from layerwise.training.callbacks.base import Tracking

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState, TrainingArguments

__all__ = ["ProfileCallback"]


class ProfileCallback(Tracking, TrainerCallback):
    """Profile the network before the training, and after every epoch or every so many optimiser steps.

    Parameters
    ----------
    data, every, by, scalars, resume, **options
        As for `Tracking`.
    log : callable, optional
        Function that takes the scalars: ``trainer.log`` sends them to TensorBoard, W&B and other reporters. A callback
        has no access to its trainer; without `log`, the scalars are in ``trainer.state.log_history`` only.

    Examples
    --------
    ::

        probes = {"train": DataLoader(train.select(range(500)), 64, collate_fn=trainer.data_collator), "test": ...}
        trainer.add_callback(ProfileCallback(probes, store="runs.lw", run="minilm/full", log=trainer.log))
    """

    def __init__(self, data: Any, *, log: Callable[[dict[str, float]], object] | None = None, **options: Any) -> None:
        super().__init__(data, **options)
        self._log = log

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Measure the network before the training."""
        self.begin(kwargs["model"], step=state.global_step)
        self._measure(state, control)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Measure by step."""
        if self._by == "step":
            self._measure(state, control)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Measure by epoch."""
        if self._by == "epoch":
            self._measure(state, control)

    def _measure(self, state: TrainerState, control: TrainerControl) -> None:
        done = state.epoch or 0.0
        # An epoch that `max_steps` cuts short counts as one.
        epoch = done if self._by == "step" else math.ceil(done - 1e-6)
        # Not in on_train_end: the best weights may have replaced the last ones by then.
        numbers = self.numbers(epoch, state.global_step, last=0 < state.max_steps <= state.global_step)
        if not numbers:
            return
        if self._log is None:
            state.log_history.append({**numbers, "epoch": done, "step": state.global_step})
            return
        # Logging clears the trainer's flag, and the loss of this step would not be logged.
        due = control.should_log
        self._log(numbers)
        control.should_log = due
