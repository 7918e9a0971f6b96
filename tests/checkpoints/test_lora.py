"""Every tensor of an adapter lands in the network, whatever head it was trained under, or is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.lora_checkpoints import KINDS, bert, hidden, llama, trained
from safetensors.torch import load_file, save_file

from layerwise.checkpoints import Checkpoint, find_checkpoints, load_weights, with_adapter, without_adapter
from layerwise.checkpoints.match_names import WeightsMismatch
from layerwise.errors import InvalidData

pytest.importorskip("peft")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")


def at(path: Path) -> Checkpoint:
    return Checkpoint(path, 1, 1)


def edit(folder: Path, **changes: Any) -> None:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def rewrite(folder: Path, change: Any) -> None:
    file = folder / "adapter_model.safetensors"
    save_file(change(load_file(file)), file)


@pytest.mark.parametrize("name", KINDS)
def test_an_adapter_loads_into_the_network_of_its_training(name: str, tmp_path: Path) -> None:
    model = trained(KINDS[name], tmp_path)
    found = with_adapter(KINDS[name].make(), tmp_path)
    before = hidden(found.eval())
    assert load_weights(found, at(tmp_path)) == []
    assert torch.equal(hidden(found), hidden(model))
    assert not torch.equal(hidden(found), before)
    with without_adapter(found):
        assert torch.equal(hidden(found), hidden(KINDS[name].make()))


@pytest.mark.parametrize("name", KINDS)
def test_an_adapter_of_a_task_loads_into_a_bare_network(name: str, tmp_path: Path) -> None:
    model = trained(KINDS[name], tmp_path)
    found = with_adapter(KINDS[name].make().base_model, tmp_path).eval()
    assert sorted(load_weights(found, at(tmp_path))) == sorted(KINDS[name].left_out)
    assert torch.equal(hidden(found), hidden(model))


def test_the_weights_of_a_second_checkpoint_replace_those_of_the_first(tmp_path: Path) -> None:
    models = [trained(KINDS["lora"], tmp_path / str(seed), seed) for seed in (1, 2)]
    found = with_adapter(bert("BertModel"), tmp_path / "1").eval()
    for seed in (1, 2, 1):
        load_weights(found, at(tmp_path / str(seed)))
        assert torch.equal(hidden(found), hidden(models[seed - 1]))


def test_adapter_weights_without_place_are_an_error(tmp_path: Path) -> None:
    kind = KINDS["lora"]
    trained(type(kind)(kind.make, kind.config, {"r": 4, "target_modules": ["query", "classifier"]}), tmp_path)
    found = with_adapter(bert("BertModel"), tmp_path)
    with pytest.raises(WeightsMismatch, match=r"classifier\.lora_A\.weight.*have no place.*trained is hf/"):
        load_weights(found, at(tmp_path))


@pytest.mark.parametrize("kind", ["BertModel", "BertForSequenceClassification"])
def test_missing_unknown_and_reshaped_tensors_are_named(kind: str, tmp_path: Path) -> None:
    trained(KINDS["lora"], tmp_path)
    whole = load_file(tmp_path / "adapter_model.safetensors")
    name = next(key for key in whole if "lora_A" in key)
    found = with_adapter(bert(kind), tmp_path)
    before = {key: value.clone() for key, value in found.state_dict().items()}
    changes = {
        r"it lacks .*\.lora_A\.weight": {key: value for key, value in whole.items() if key != name},
        r"the network has no .*layer\.9": {**whole, name.replace("layer.0", "layer.9"): whole[name].clone()},
        "of another shape": {**whole, name: whole[name][:2].contiguous()},
    }
    for message, tensors in changes.items():
        rewrite(tmp_path, lambda _, tensors=tensors: tensors)
        with pytest.raises(WeightsMismatch, match=message):
            load_weights(found, at(tmp_path))
    assert all(torch.equal(value, before[key]) for key, value in found.state_dict().items())


def test_a_missing_head_is_an_error_where_the_network_has_one(tmp_path: Path) -> None:
    trained(KINDS["lora"], tmp_path)
    rewrite(tmp_path, lambda tensors: {key: value for key, value in tensors.items() if "classifier" not in key})
    with pytest.raises(WeightsMismatch, match=r"lacks .*classifier\.weight, .*classifier\.bias"):
        load_weights(with_adapter(bert(), tmp_path), at(tmp_path))


def test_embeddings_that_were_saved_are_loaded(tmp_path: Path) -> None:
    model = trained(KINDS["decoder"], tmp_path)
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(2)
    model.save_pretrained(tmp_path, save_embedding_layers=True)
    for network, left_out in ((llama(), 0), (llama("LlamaModel"), 1)):
        found = with_adapter(network, tmp_path).eval()
        assert len(load_weights(found, at(tmp_path))) == left_out
        assert torch.equal(hidden(found), hidden(model))


def test_another_scale_of_the_same_shapes_is_refused(tmp_path: Path) -> None:
    trained(KINDS["lora"], tmp_path)
    found = with_adapter(bert(), tmp_path)
    edit(tmp_path, lora_alpha=64, lora_dropout=0.5, base_model_name_or_path="elsewhere")
    with pytest.raises(WeightsMismatch, match="trained with lora_alpha=64 and not 8"):
        load_weights(found, at(tmp_path))


def test_an_idle_adapter_is_refused(tmp_path: Path) -> None:
    model = trained(KINDS["lora"], tmp_path)
    model.merge_adapter()
    with pytest.raises(InvalidData, match="is merged into its weights"):
        load_weights(model, at(tmp_path))
    model.unmerge_adapter()
    with without_adapter(model), pytest.raises(InvalidData, match="is disabled"):
        load_weights(model, at(tmp_path))
    load_weights(model, at(tmp_path))


def test_one_of_several_adapters_has_the_epoch_of_its_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for step in (3, 6):
        folder = tmp_path / f"checkpoint-{step}"
        trained(KINDS["lora"], folder / "style")
        (folder / "trainer_state.json").write_text(json.dumps({"epoch": step / 3, "global_step": step}))
    assert [item.epoch for item in find_checkpoints(tmp_path / "checkpoint-*")] == [1, 2]
    for step in (3, 6):
        trained(KINDS["lora"], tmp_path / f"checkpoint-{step}" / "topic")
    with pytest.raises(InvalidData, match=r"has several adapters, style, topic; name one of them, as in '\*/style'"):
        find_checkpoints(tmp_path / "checkpoint-*")
    found = find_checkpoints(tmp_path / "checkpoint-*" / "topic")
    assert [(item.epoch, item.step, item.path.name) for item in found] == [(1, 3, "topic"), (2, 6, "topic")]
    trained(KINDS["lora"], tmp_path / "checkpoint-3")
    with caplog.at_level("INFO", "layerwise"):
        find_checkpoints(tmp_path / "checkpoint-3")
    assert f"another adapter lies above them: {tmp_path}/checkpoint-3/style" in caplog.text


def test_a_damaged_configuration_is_named(tmp_path: Path) -> None:
    trained(KINDS["lora"], tmp_path)
    (tmp_path / "adapter_config.json").write_text("{")
    with pytest.raises(InvalidData, match=r"adapter_config\.json cannot be read"):
        with_adapter(bert(), tmp_path)
