"""The callback in real trainings with Lightning, by each of its names."""

from __future__ import annotations

import csv
import sys
import warnings
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("lightning")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import lightning.pytorch as pl

from helpers.digits import network, probes, training

from layerwise.callbacks import LightningProfileCallback
from layerwise.errors import EmptyData, InvalidData
from layerwise.store import EpochExists, open_store

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")


def module_of(framework: Any) -> Any:
    """A LightningModule of either name."""

    class Module(framework.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = network()

        def forward(self, inputs: Tensor) -> Tensor:
            scores: Tensor = self.network(inputs)
            return scores

        def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
            return nn.functional.cross_entropy(self(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), 0.1, momentum=0.9)

    return Module()


def fitted(folder: Path, callbacks: list[Any], *, framework: Any = pl, ckpt: Path | None = None, **options: Any) -> Any:
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu", "logger": False}
    trainer = framework.Trainer(
        default_root_dir=folder,
        callbacks=callbacks,
        **({"max_epochs": 4, "enable_checkpointing": False} | quiet | options),
    )
    framework.seed_everything(1, verbose=False)
    trainer.fit(module_of(framework), training(), ckpt_path=ckpt)
    return trainer


@pytest.mark.parametrize("name", ["lightning.pytorch", "pytorch_lightning"])
def test_epochs_are_measured_from_before_the_first_and_the_training_is_the_same(name: str, tmp_path: Path) -> None:
    pytest.importorskip(name.partition(".")[0])
    framework = import_module(name)
    plain = fitted(tmp_path, [], framework=framework).lightning_module.state_dict()
    callback = LightningProfileCallback(probes(), store=tmp_path / "runs.lw", run="digits")
    tracked = fitted(tmp_path, [callback], framework=framework).lightning_module.state_dict()
    for key, value in plain.items():
        assert torch.equal(value, tracked[key]), key
    ds = open_store(tmp_path / "runs.lw")["digits"]
    assert ds["epoch"].values.tolist() == [0, 1, 2, 3, 4]
    assert ds["step"].values.tolist() == [0, 10, 20, 30, 40]
    last = ds["nc1"].sel(split="train").isel(target=0, layer=-1).values
    assert last[-1] < 0.2 * last[0]
    assert ds["network_error"].sel(split="test").values[-1].item() < 0.15


def test_scalars_reach_the_loggers_at_their_step_and_can_be_monitored(tmp_path: Path) -> None:
    from lightning.pytorch.callbacks import ModelCheckpoint
    from lightning.pytorch.loggers import CSVLogger

    callback = LightningProfileCallback(probes(), metrics=["nc1"])
    checkpoint = ModelCheckpoint(tmp_path, monitor="layerwise/test/nc1/network.2", filename="best")
    logger = CSVLogger(tmp_path)
    options: dict[str, Any] = {"logger": logger, "enable_checkpointing": True}
    trainer = fitted(tmp_path, [callback, checkpoint], **options)
    assert callback.tracker is not None
    with Path(logger.log_dir, "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["layerwise/test/nc1/network.2"]]
    assert [int(row["step"]) for row in rows] == [0, 10, 20, 30, 40]
    logged = [float(row["layerwise/test/nc1/network.2"]) for row in rows]
    assert logged == pytest.approx(callback.dataset["nc1"].sel(split="test", layer="network.2").values.ravel().tolist())
    assert checkpoint.best_model_score is not None
    assert float(checkpoint.best_model_score) == pytest.approx(min(logged[1:]), rel=1e-5)
    assert "layerwise/train/nc1/network.2" in trainer.callback_metrics


def test_scalars_reach_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from lightning.pytorch.loggers import TensorBoardLogger
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = TensorBoardLogger(tmp_path)
    fitted(tmp_path, [LightningProfileCallback(probes(), metrics="nc1")], logger=logger, max_epochs=2)
    board = EventAccumulator(logger.log_dir)
    board.Reload()
    assert [event.step for event in board.Scalars("layerwise/train/nc1/network.2")] == [0, 10, 20]


def test_by_step_labels_are_fractions_and_a_step_of_several_batches_is_measured_once(tmp_path: Path) -> None:
    callback = LightningProfileCallback(probes(), metrics="nc1", every=2, by="step")
    fitted(tmp_path, [callback], accumulate_grad_batches=4, max_epochs=2)
    # Ten batches make three steps: of four, four and the two that are left.
    assert callback.dataset["step"].values.tolist() == [0, 2, 4, 6]
    assert callback.dataset["epoch"].values.tolist() == pytest.approx([0, 0.8, 1.4, 2.0])


def test_the_last_epoch_is_measured_though_it_is_not_on_the_schedule(tmp_path: Path) -> None:
    callback = LightningProfileCallback(probes(), metrics="nc1", every=3)
    fitted(tmp_path, [callback])
    assert callback.dataset["epoch"].values.tolist() == [0, 3, 4]


def test_a_training_from_a_checkpoint_goes_on_with_its_run_and_another_does_not(tmp_path: Path) -> None:
    from lightning.pytorch.callbacks import ModelCheckpoint

    def callback() -> LightningProfileCallback:
        return LightningProfileCallback(probes(), metrics="nc1", store=tmp_path / "runs.lw", run="a")

    keep = ModelCheckpoint(tmp_path, save_top_k=-1, filename="{epoch}")
    fitted(tmp_path, [callback(), keep], enable_checkpointing=True, max_epochs=3)
    before = open_store(tmp_path / "runs.lw")["a"].load()
    again = callback()
    fitted(tmp_path, [again], ckpt=tmp_path / "epoch=1.ckpt")
    assert again.dataset["epoch"].values.tolist() == [0, 1, 2, 3, 4]
    assert again.dataset.sel(epoch=[0, 1, 2]).equals(before.sel(epoch=[0, 1, 2]))
    with pytest.raises(EpochExists, match="resume=True"):
        fitted(tmp_path, [callback()])


def test_parts_of_an_epoch_without_a_length_are_refused_before_training(tmp_path: Path) -> None:
    class Stream(torch.utils.data.IterableDataset[Any]):
        def __iter__(self) -> Any:
            return iter(training())

    callback = LightningProfileCallback(probes(), by="step")
    trainer = pl.Trainer(default_root_dir=tmp_path, callbacks=[callback], logger=False, accelerator="cpu",
                         enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)  # fmt: skip
    with pytest.raises(InvalidData, match="length"):
        trainer.fit(module_of(pl), torch.utils.data.DataLoader(Stream(), batch_size=None))
    with pytest.raises(EmptyData, match="not begun"):
        _ = callback.dataset


@pytest.mark.parametrize("there", ["lightning", "pytorch_lightning"])
def test_either_name_is_enough(there: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(there)
    hide({"lightning", "pytorch_lightning"} - {there}, monkeypatch)
    assert afresh().Callback.__module__.partition(".")[0] == there


def test_lightning_is_asked_for_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    hide({"lightning", "pytorch_lightning"}, monkeypatch)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'layerwise\[lightning\]'"):
        afresh()


def hide(packages: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*packages, *sys.modules]:
        if name.partition(".")[0] in packages:
            monkeypatch.setitem(sys.modules, name, None)


def afresh() -> Any:
    """The callback's module, imported once more."""
    spec = find_spec("layerwise.training.callbacks.lightning")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
