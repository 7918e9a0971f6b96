"""A loop of accelerate needs no callback: a tracker on the unwrapped model does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from helpers.digits import network, probes, training
from torch import Tensor, nn

from layerwise import Tracker
from layerwise.callbacks import scalars
from layerwise.store import open_store

accelerate = pytest.importorskip("accelerate")


@pytest.fixture(autouse=True)
def own_state() -> Iterator[None]:
    """Accelerate keeps one precision a process."""
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    yield
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)


def train(folder: Path, *, track: bool, precision: str, epochs: int = 4) -> dict[str, Tensor]:
    accelerator = accelerate.Accelerator(
        cpu=True, mixed_precision=precision, log_with="tensorboard" if track else None, project_dir=folder
    )
    torch.manual_seed(2)
    model = network()
    optimiser = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    model, optimiser, loader = accelerator.prepare(model, optimiser, training())
    inner = accelerator.unwrap_model(model)
    accelerator.init_trackers("board")
    tracker = Tracker(inner, probes(), store=folder / "runs.lw", run="digits") if track else None
    for epoch in range(epochs):
        for inputs, labels in loader:
            optimiser.zero_grad()
            accelerator.backward(nn.functional.cross_entropy(model(inputs), labels))
            optimiser.step()
        if tracker is not None and (profile := tracker.measure(epoch + 1, (epoch + 1) * len(loader))) is not None:
            accelerator.log(scalars(profile, ["nc1"], layers="2"), step=(epoch + 1) * len(loader))
    accelerator.end_training()
    return dict(inner.state_dict())


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_a_tracker_on_the_unwrapped_model_measures_and_leaves_the_training_as_it_was(
    precision: str, tmp_path: Path
) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    plain = train(tmp_path, track=False, precision=precision)
    tracked = train(tmp_path, track=True, precision=precision)
    for name, value in plain.items():
        assert torch.equal(value, tracked[name]), name
    ds = open_store(tmp_path / "runs.lw")["digits"]
    assert ds["epoch"].values.tolist() == [1, 2, 3, 4]
    board = EventAccumulator(str(tmp_path / "board"))
    board.Reload()
    logged = board.Scalars("layerwise/train/nc1/2")
    assert [event.step for event in logged] == [10, 20, 30, 40]
    assert logged[-1].value == pytest.approx(ds["nc1"].sel(split="train", layer="2").values[-1].item(), rel=1e-5)
    assert logged[-1].value < 0.6 * logged[0].value
