"""Checkpoints of real trainings give what a callback measured while the training ran."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
import xarray as xr
from helpers.digits import network, probes, tensors, training, vit
from torch import Tensor, nn
from torch.utils.data import DataLoader

from layerwise.callbacks import LightningProfileCallback, ProfileCallback
from layerwise.checkpoints import find_checkpoints, load_weights
from layerwise.checkpoints.match_names import WeightsMismatch
from layerwise.errors import InvalidData
from layerwise.network.weights import weight_hash
from layerwise.training.checkpoint_series import profile_checkpoints

pytest.importorskip("accelerate")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")

METRICS = ["nc1", "cdnv", "ncc_error"]


def images(count: int = 96) -> list[dict[str, Tensor]]:
    inputs, labels = tensors(True)
    pictures = inputs[:count].reshape(-1, 1, 8, 8)
    return [{"pixel_values": x, "labels": y} for x, y in zip(pictures, labels, strict=False)]


def trained(model: Any, folder: Path, callbacks: list[Any], **arguments: Any) -> Path:
    usual = {"num_train_epochs": 3, "per_device_train_batch_size": 32, "learning_rate": 1e-2, "report_to": "none"}
    usual |= {"disable_tqdm": True, "use_cpu": True, "seed": 1}
    settings = transformers.TrainingArguments(str(folder / "out"), **(usual | arguments))
    transformers.Trainer(model, settings, train_dataset=images(), callbacks=callbacks).train()  # type: ignore[arg-type]
    return folder / "out" / "checkpoint-*"


def assert_same_where_saved(replayed: xr.Dataset, tracked: xr.Dataset) -> None:
    """Equal to the last bit at the steps that there are checkpoints of."""
    tracked = tracked.sel(epoch=tracked["step"].isin(replayed["step"]))
    assert replayed["epoch"].values.tolist() == tracked["epoch"].values.tolist()
    assert replayed["step"].values.tolist() == tracked["step"].values.tolist()
    for name in tracked.data_vars:
        np.testing.assert_array_equal(replayed[name].values, tracked[name].values, str(name))


@pytest.mark.parametrize(("by", "every"), [("epoch", 1), ("step", 2)])
def test_checkpoints_of_a_trainer_equal_its_callback(by: Any, every: int, tmp_path: Path) -> None:
    loader = DataLoader(images(), 48)  # type: ignore[arg-type]
    callback = ProfileCallback(loader, metrics=METRICS, by=by, every=every)
    strategy = {"save_strategy": "epoch" if by == "epoch" else "steps", "save_steps": every}
    pattern = trained(vit(), tmp_path, [callback], **strategy)
    replayed = profile_checkpoints(vit(), loader, pattern, metrics=METRICS)
    assert replayed["epoch"].values.tolist() == pytest.approx(
        [1, 2, 3] if by == "epoch" else [2 / 3, 4 / 3, 2, 8 / 3, 3]
    )
    assert_same_where_saved(replayed, callback.dataset)


@pytest.mark.parametrize("at_end", [True, False])
def test_checkpoints_of_lightning_equal_its_callback(at_end: bool, tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import lightning.pytorch as pl

    class Module(pl.LightningModule):
        def __init__(self, width: int = 64) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.network = network()
            self.loss = nn.CrossEntropyLoss(weight=torch.ones(10))

        def forward(self, inputs: Tensor) -> Any:
            return self.network(inputs)

        def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Any:
            return self.loss(self(batch[0]), batch[1])

        def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
            self.log("loss", self.loss(self(batch[0]), batch[1]))

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), 0.1, momentum=0.9)

    callback = LightningProfileCallback(probes(), metrics=METRICS)
    saving = pl.callbacks.ModelCheckpoint(tmp_path, save_top_k=-1, save_on_train_epoch_end=at_end)
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu", "logger": False}
    trainer = pl.Trainer(default_root_dir=tmp_path, max_epochs=3, callbacks=[callback, saving], **quiet)
    trainer.fit(Module(), training(), probes()["test"])
    pattern = tmp_path / "*.ckpt"
    replayed = profile_checkpoints(Module(), probes(), pattern, metrics=METRICS)
    assert replayed["epoch"].values.tolist() == [1, 2, 3]
    assert_same_where_saved(replayed, callback.dataset)
    bare = profile_checkpoints(network(), probes(), pattern, metrics=METRICS)
    np.testing.assert_array_equal(bare["nc1"].values, replayed["nc1"].values)
    assert bare["layer"].values.tolist() == [name.removeprefix("network.") for name in replayed["layer"].values]


def with_lora(model: Any, r: int = 2) -> Any:
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=r, target_modules=["q_proj", "v_proj"], modules_to_save=["classifier"])
    torch.manual_seed(1)
    return peft.get_peft_model(model, config)


def test_adapters_of_peft_are_loaded_into_a_network_that_has_them_and_into_one_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = DataLoader(images(), 48)  # type: ignore[arg-type]
    callback = ProfileCallback(loader, metrics=METRICS)
    pattern = trained(with_lora(vit()), tmp_path, [callback], save_strategy="epoch")
    assert sorted(path.name for path in pattern.parent.glob("*/adapter_*")) == [
        name for name in ("adapter_config.json", "adapter_model.safetensors") for _ in range(3)
    ]
    model = with_lora(vit())
    before = weight_hash(model)
    replayed = profile_checkpoints(model, loader, pattern, metrics=METRICS)
    assert weight_hash(model) == before
    assert_same_where_saved(replayed, callback.dataset)
    (tmp_path / "own_vit.py").write_text("from helpers.digits import vit as make\n")
    monkeypatch.syspath_prepend(tmp_path)
    by_name = profile_checkpoints("own_vit:make", loader, pattern, metrics=METRICS)
    np.testing.assert_array_equal(by_name["nc1"].values, replayed["nc1"].values)
    assert by_name["layer"].values.tolist() == replayed["layer"].values.tolist()
    assert by_name.attrs["model"] == "own_vit:make"
    last = find_checkpoints(pattern)[-1]
    with pytest.raises(InvalidData, match=r"is an adapter of PEFT, and the network has none"):
        load_weights(vit(), last)
    with pytest.raises(WeightsMismatch, match="does not fit the network"):
        load_weights(with_lora(vit(), r=4), last)
