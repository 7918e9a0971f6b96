"""Weights come out of every kind of file, under every usual name, and a network gets all of them or none."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from helpers.networks import Convolutional, Perceptron
from safetensors.torch import save_file
from torch import Tensor, nn

from layerwise.checkpoints import Checkpoint, kept_weights, load_weights
from layerwise.checkpoints.match_names import WeightsMismatch
from layerwise.errors import InvalidData

State = dict[str, Tensor]


def network(seed: int = 0) -> Perceptron:
    torch.manual_seed(seed)
    return Perceptron()


def at(path: Path) -> Checkpoint:
    return Checkpoint(path, 1, 1)


def copied(model: nn.Module) -> State:
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_same(a: State, b: State) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def sharded(state: State, folder: Path) -> Path:
    names = list(state)
    index = {name: f"model-0000{1 + place % 2}-of-00002.safetensors" for place, name in enumerate(names)}
    for file in set(index.values()):
        save_file({name: state[name] for name in names if index[name] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    return folder


def saved(content: Any, path: Path, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


def safe(state: State, path: Path) -> Path:
    save_file(state, path)
    return path


FORMS: dict[str, Callable[[State, Path], Path]] = {
    "safetensors": lambda state, folder: safe(state, folder / "epoch_1.safetensors"),
    "sharded": sharded,
    "pt": lambda state, folder: saved(state, folder / "epoch_1.pt"),
    "folder with one file": lambda state, folder: saved(state, folder / "weights.pth").parent,
    "pytorch_model.bin": lambda state, folder: saved(state, folder / "pytorch_model.bin").parent,
    "old format": lambda state, folder: saved(state, folder / "1.pth", _use_new_zipfile_serialization=False),
    "state_dict": lambda state, folder: saved({"epoch": 1, "state_dict": state}, folder / "1.pth"),
    "model": lambda state, folder: saved({"model": state, "optimizer": {"lr": 0.1}, "best": 0.3}, folder / "1.pth"),
    "model_state_dict": lambda state, folder: saved({"model_state_dict": state, "rng": [1, 2]}, folder / "1.pth"),
    "twice": lambda state, folder: saved({"model": {"state_dict": state}}, folder / "1.pth"),
}


@pytest.mark.parametrize("form", FORMS)
def test_weights_of_every_file_format_are_exact(form: str, tmp_path: Path) -> None:
    trained, other = network(1), network(2)
    load_weights(other, at(FORMS[form](trained.state_dict(), tmp_path)))
    assert_same(copied(other), copied(trained))


RENAMED: dict[str, Callable[[str], str]] = {
    "data parallel": lambda name: f"module.{name}",
    "compiled": lambda name: f"_orig_mod.{name}",
    "both": lambda name: f"module._orig_mod.{name}",
    "compiled in part": lambda name: name.replace("first.", "first._orig_mod."),
    "inside a module": lambda name: f"model.{name}",
    "deep inside": lambda name: f"module.task.backbone.{name}",
}


@pytest.mark.parametrize("how", RENAMED)
def test_prefixes_of_names_are_removed(how: str, tmp_path: Path) -> None:
    trained, other = network(1), network(2)
    load_weights(other, at(saved({RENAMED[how](k): v for k, v in trained.state_dict().items()}, tmp_path / "1.pt")))
    assert_same(copied(other), copied(trained))


def test_a_wrapped_network_takes_the_weights_of_a_plain_one(tmp_path: Path) -> None:
    trained, other = network(1), network(2)
    load_weights(torch.compile(nn.DataParallel(other)), at(saved(trained.state_dict(), tmp_path / "1.pt")))
    assert_same(copied(other), copied(trained))


def test_weights_outside_the_matching_part_are_left_out(tmp_path: Path) -> None:
    trained, other = network(1), network(2)
    state = {f"model.{name}": value for name, value in trained.state_dict().items()} | {"loss.weight": torch.ones(3)}
    load_weights(other, at(saved(state, tmp_path / "1.pt")))
    assert_same(copied(other), copied(trained))


def test_two_matching_parts_are_refused(tmp_path: Path) -> None:
    state = {f"{who}.{k}": v for who in ("student", "teacher") for k, v in network().state_dict().items()}
    with pytest.raises(WeightsMismatch, match="'student' and 'teacher'"):
        load_weights(network(), at(saved(state, tmp_path / "1.pt")))


def refused(model: nn.Module, state: State, folder: Path) -> str:
    """The message of the error, after which the network is as it was."""
    before = copied(model)
    with pytest.raises(WeightsMismatch) as caught:
        load_weights(model, at(saved(state, folder / "1.pt")))
    assert_same(copied(model), before)
    return str(caught.value)


def test_a_mismatch_is_described_and_changes_nothing(tmp_path: Path) -> None:
    state = network(1).state_dict()
    message = refused(network(), state | {"spare.weight": torch.ones(2)}, tmp_path)
    assert "6 of 6 names are met; the network has no spare.weight" in message
    del state["first.0.bias"]
    message = refused(network(), state | {"frist.0.bias": torch.ones(16)}, tmp_path)
    assert "it lacks first.0.bias; the network has no frist.0.bias" in message
    assert "nearest to 'first.0.bias': frist.0.bias" in message
    message = refused(network(), Perceptron(classes=5).state_dict(), tmp_path)
    assert "2 of another shape (classifier.weight is (5, 16), the network's (3, 16))" in message
    message = refused(network(), Convolutional().state_dict(), tmp_path)
    assert "2 of 6 names are met; it lacks first.0.weight, first.0.bias, second.0.weight, ... (4 in all)" in message


def test_a_tied_weight_needs_one_of_its_names(tmp_path: Path) -> None:
    def tied(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        model = nn.ModuleDict({"embedding": nn.Embedding(5, 3), "head": nn.Linear(3, 5, bias=False)})
        model["head"].weight = model["embedding"].weight
        return model

    trained, other = tied(1), tied(2)
    load_weights(other, at(saved({"embedding.weight": trained["embedding"].weight.data}, tmp_path / "1.pt")))
    assert torch.equal(other["head"].weight, trained["head"].weight)


def test_counters_of_batch_norm_may_be_missing(tmp_path: Path) -> None:
    model, state = nn.BatchNorm1d(3), nn.BatchNorm1d(3).state_dict()
    state["running_mean"] += 2
    del state["num_batches_tracked"]
    load_weights(model, at(saved(state, tmp_path / "1.pt")))
    assert model.running_mean is not None
    assert model.running_mean.tolist() == [2, 2, 2]


class Evil:
    """Would leave a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_code_in_a_file_is_named_and_never_run(tmp_path: Path) -> None:
    file = saved({"state_dict": network().state_dict(), "more": Evil(tmp_path / "ran")}, tmp_path / "1.pt")
    with pytest.raises(InvalidData, match="beside tensors, which are not unpickled"):
        load_weights(network(), at(file))
    assert not (tmp_path / "ran").exists()
    file = saved({"state_dict": network().state_dict(), "best": Fraction(1, 3)}, tmp_path / "2.pt")
    with pytest.raises(InvalidData, match=r"holds fractions\.Fraction beside tensors.*save the state dict alone"):
        load_weights(network(), at(file))
    saved({"best": Fraction(1, 3)}, file, _use_new_zipfile_serialization=False)
    with pytest.raises(InvalidData, match=r"2.pt cannot be read: Unsupported global: GLOBAL fractions\.Fraction"):
        load_weights(network(), at(file))


def test_plain_data_of_a_training_is_read(tmp_path: Path) -> None:
    trained, other = network(1), network(2)
    beside = {"args": Namespace(lr=0.1, output=tmp_path), "best": np.float64(0.9), "n": np.int64(3), "right": np.True_}
    load_weights(other, at(saved({"state_dict": trained.state_dict()} | beside, tmp_path / "checkpoint-1.pth.tar")))
    assert_same(copied(other), copied(trained))


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("size", [0, 20, 700])
def test_a_file_that_was_cut_short_is_named(suffix: str, size: int, tmp_path: Path) -> None:
    whole = tmp_path / f"1{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(network().state_dict(), whole)
    part = tmp_path / f"2{suffix}"
    part.write_bytes(whole.read_bytes()[:size])
    with pytest.raises(InvalidData, match=f"2{suffix} cannot be read"):
        load_weights(network(), at(part))


def test_a_missing_shard_and_a_wrong_file_are_named(tmp_path: Path) -> None:
    sharded(network().state_dict(), tmp_path)
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(InvalidData, match=r"names 2 files, of which model-00002-of-00002.safetensors is not there"):
        load_weights(network(), at(tmp_path))
    with pytest.raises(InvalidData, match="no state dict.*there are the keys epoch, loss"):
        load_weights(network(), at(saved({"epoch": 1, "loss": 0.1}, tmp_path / "1.pt")))
    with pytest.raises(InvalidData, match="it is a list"):
        load_weights(network(), at(saved([1, 2], tmp_path / "2.pt")))


def test_a_network_with_offloaded_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="need a network in memory; 6 of its weights wait elsewhere"):
        load_weights(network().to("meta"), at(saved(network().state_dict(), tmp_path / "1.pt")))


def test_weights_are_restored_after_an_error(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    before, tensors = copied(model), list(model.parameters())
    file = saved(nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)).state_dict(), tmp_path / "1.pt")
    with pytest.raises(KeyboardInterrupt), kept_weights(model):
        load_weights(model, at(file))
        assert not torch.equal(model[0].weight, before["0.weight"])
        raise KeyboardInterrupt
    assert_same(copied(model), before)
    assert all(a is b for a, b in zip(model.parameters(), tensors, strict=True))


SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
PRETRAINED: dict[str, dict[str, Any]] = {
    "BertForSequenceClassification": {"vocab_size": 50},
    "BertForMaskedLM": {"vocab_size": 50},
    "ViTForImageClassification": {"image_size": 32, "patch_size": 16},
    "MixtralForSequenceClassification": {"vocab_size": 50, "num_local_experts": 2, "num_key_value_heads": 2},
}


def pretrained(kind: str, seed: int, **options: Any) -> Any:
    torch.manual_seed(seed)
    made = getattr(transformers, kind)
    return made(made.config_class(**SMALL, **PRETRAINED[kind], **options))


@pytest.mark.parametrize("kind", PRETRAINED)
def test_names_of_transformers_files_are_matched(kind: str, tmp_path: Path) -> None:
    trained, other = pretrained(kind, 1), pretrained(kind, 2)
    trained.save_pretrained(tmp_path)
    load_weights(other, at(tmp_path))
    assert_same(copied(other), copied(trained))


@pytest.mark.parametrize("kind", ["BertForSequenceClassification", "ViTForImageClassification"])
def test_a_base_takes_its_part_of_a_classifier(kind: str, tmp_path: Path) -> None:
    trained = pretrained(kind, 1, num_labels=3)
    trained.save_pretrained(tmp_path)
    base = type(trained.base_model)(trained.config, add_pooling_layer=kind.startswith("Bert"))
    load_weights(base, at(tmp_path))
    assert_same(copied(base), copied(trained.base_model))
    with pytest.raises(WeightsMismatch, match=r"classifier.weight is \(3, 16\), the network's \(5, 16\).*is hf/"):
        load_weights(pretrained(kind, 2, num_labels=5), at(tmp_path))
    (missing := trained.state_dict()).pop("classifier.bias")
    torch.save(missing, tmp_path / "1.pt")
    with pytest.raises(WeightsMismatch, match=r"it lacks classifier\.bias"):
        load_weights(pretrained(kind, 2, num_labels=3), at(tmp_path / "1.pt"))


def test_an_inner_network_takes_its_own_weights(tmp_path: Path) -> None:
    trained, inner = network(1), network(2)
    outer = nn.ModuleDict({"backbone": inner})
    load_weights(outer, at(saved(trained.state_dict(), tmp_path / "1.pt")))
    assert_same(copied(inner), copied(trained))
    outer["head"] = nn.Linear(3, 2)
    message = refused(outer, trained.state_dict(), tmp_path)
    assert "6 of 8 names are met; it lacks head.weight, head.bias" in message


def test_a_classifier_refuses_a_bare_encoder(tmp_path: Path) -> None:
    trained = pretrained("BertForSequenceClassification", 1, num_labels=3)
    trained.base_model.save_pretrained(tmp_path)
    with pytest.raises(WeightsMismatch, match=r"it lacks classifier\.weight, classifier\.bias"):
        load_weights(pretrained("BertForSequenceClassification", 2, num_labels=3), at(tmp_path))


@pytest.mark.parametrize("kind", ["BertForSequenceClassification", "ViTForImageClassification"])
def test_a_head_without_place_is_named(kind: str, tmp_path: Path) -> None:
    trained = pretrained(kind, 1, num_labels=3)
    trained.save_pretrained(tmp_path)
    base = type(trained.base_model)(trained.config, add_pooling_layer=kind.startswith("Bert"))
    assert sorted(load_weights(base, at(tmp_path))) == ["classifier.bias", "classifier.weight"]
    assert load_weights(pretrained(kind, 2, num_labels=3), at(tmp_path)) == []
