"""Checkpoints are found in all the forms in which trainings leave them, each with its epoch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from layerwise.checkpoints import Checkpoint, find_checkpoints
from layerwise.errors import InvalidData, UnknownName


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"weight": torch.ones(2)}, path)
    return path


def trainer_folder(path: Path, epoch: float, step: int) -> Path:
    touch(path / "model.safetensors")
    for name in ("optimizer.pt", "scheduler.pt", "training_args.bin", "rng_state.pth"):
        (path / name).write_bytes(b"not weights")
    (path / "trainer_state.json").write_text(json.dumps({"epoch": epoch, "global_step": step}))
    return path


def labels(found: list[Checkpoint]) -> list[tuple[float, int]]:
    return [(item.epoch, item.step) for item in found]


def test_epoch_and_step_are_read_from_folders_of_the_trainer(tmp_path: Path) -> None:
    for epoch, step in ((10.0, 90), (9.0, 81), (1.0, 9)):
        trainer_folder(tmp_path / f"checkpoint-{step}", epoch, step)
    found = find_checkpoints(tmp_path / "checkpoint-*")
    assert labels(found) == [(1, 9), (9, 81), (10, 90)]
    assert all(isinstance(item.epoch, int) for item in found)
    assert found[0].files == [tmp_path / "checkpoint-9" / "model.safetensors"]


def test_a_file_of_weights_inside_a_folder_stands_for_the_folder(tmp_path: Path) -> None:
    trainer_folder(tmp_path / "checkpoint-9", 1.0, 9)
    touch(tmp_path / "epoch_4" / "model.safetensors")
    assert labels(find_checkpoints(tmp_path / "*" / "model.safetensors")) == [(1, 9), (4, 4)]


def test_a_fractional_epoch_makes_all_epochs_floats(tmp_path: Path) -> None:
    for epoch, step in ((0.5, 5), (1.0, 10)):
        trainer_folder(tmp_path / f"checkpoint-{step}", epoch, step)
    found = find_checkpoints(tmp_path / "checkpoint-*")
    assert [item.epoch for item in found] == [0.5, 1.0]
    assert all(isinstance(item.epoch, float) for item in found)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("epoch_3.safetensors", (3, 3)),
        ("epoch=3-step=1200.safetensors", (3, 1200)),
        ("epoch=3-loss=0.12.safetensors", (3, 3)),
        ("resnet18-ep07-fp16.safetensors", (7, 7)),
        ("checkpoint-500", (500, 500)),
        ("step-100.safetensors", (100, 100)),
        ("resnet18.12.safetensors", (12, 12)),
        ("checkpoint-3.pth.tar", (3, 3)),
        ("lr1e-3_epoch_0.5.safetensors", (0.5, 0)),
    ],
)
def test_a_name_says_the_epoch_by_that_word_or_by_its_last_number(
    name: str, label: tuple[float, int], tmp_path: Path
) -> None:
    path = tmp_path / "run1" / name
    touch(path if path.suffix in (".safetensors", ".tar") else path / "model.safetensors")
    assert labels(find_checkpoints(tmp_path / "*" / name)) == [label]


def test_a_folder_of_checkpoints_needs_no_pattern(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for step in (9, 18):
        trainer_folder(tmp_path / f"checkpoint-{step}", step / 9, step)
    (tmp_path / "runs").mkdir()
    (tmp_path / "README.md").write_text("a model card")
    with caplog.at_level("INFO", "layerwise"):
        assert labels(find_checkpoints(tmp_path)) == [(1, 9), (2, 18)]
    assert f"left out, since they hold no weights, or several: {tmp_path / 'runs'}" in caplog.text


def test_last_weights_are_no_checkpoint(tmp_path: Path) -> None:
    trainer_folder(tmp_path / "run7" / "checkpoint-9", 1.0, 9)
    touch(tmp_path / "run7" / "model.safetensors")
    assert labels(find_checkpoints(tmp_path / "run7")) == [(1, 9)]
    assert labels(find_checkpoints(tmp_path / "run7" / "checkpoint-9")) == [(1, 9)]


def test_a_checkpoint_that_was_cut_short_is_left_out(tmp_path: Path) -> None:
    trainer_folder(tmp_path / "checkpoint-9", 1.0, 9)
    (trainer_folder(tmp_path / "checkpoint-18", 2.0, 18) / "model.safetensors").unlink()
    assert labels(find_checkpoints(tmp_path / "checkpoint-*")) == [(1, 9)]


def test_a_home_folder_and_brackets_in_a_name_are_taken_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path / "run [a]" / "epoch_1.safetensors")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert labels(find_checkpoints("~/run [a]")) == [(1, 1)]


def test_a_pattern_without_match_names_alternatives(tmp_path: Path) -> None:
    touch(tmp_path / "seed0" / "checkpoint-9" / "model.safetensors")
    with pytest.raises(UnknownName, match=r"no checkpoint '.*seed1/checkpoint-\*'.*seed0"):
        find_checkpoints(tmp_path / "seed1" / "checkpoint-*")
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(UnknownName, match=r"no checkpoint .*notes.txt.*\.safetensors, \.pt"):
        find_checkpoints(tmp_path / "*.txt")


def test_a_name_without_a_number_is_refused(tmp_path: Path) -> None:
    touch(tmp_path / "best.safetensors")
    with pytest.raises(InvalidData, match="best.safetensors does not say of which epoch it is"):
        find_checkpoints(tmp_path / "*.safetensors")
    touch(tmp_path / "best" / "model.safetensors")
    with pytest.raises(InvalidData, match="no number in its name and no trainer_state.json in it"):
        find_checkpoints(tmp_path / "best")


def test_two_of_one_epoch_are_both_named(tmp_path: Path) -> None:
    for seed in (0, 1):
        trainer_folder(tmp_path / f"seed{seed}" / "checkpoint-9", 1.0, 9)
    with pytest.raises(InvalidData, match=r"seed0/checkpoint-9 and .*seed1/checkpoint-9 are both of epoch 1.*'.*\*/"):
        find_checkpoints(tmp_path / "*" / "checkpoint-*")


def test_the_stamp_changes_when_weights_are_written_anew(tmp_path: Path) -> None:
    path = touch(tmp_path / "epoch_1.safetensors")
    (before,) = find_checkpoints(path)
    stamp = before.stamp
    assert stamp == before.stamp
    save_file({"weight": torch.ones(3)}, path)
    assert before.stamp != stamp


@pytest.mark.parametrize(("epoch", "step", "label"), [(0, 9, 1), (3, 36, 4), (0, 0, 0)])
def test_weights_that_lightning_saved_alone_are_of_epochs_done(
    epoch: int, step: int, label: int, tmp_path: Path
) -> None:
    content = {"epoch": epoch, "global_step": step, "pytorch-lightning_version": "2.5", "state_dict": {}}
    torch.save(content, tmp_path / f"epoch={epoch}-step={step}.ckpt")
    assert labels(find_checkpoints(tmp_path / "*.ckpt")) == [(label, step)]
