"""A folder of PEFT's, by name, is the network that was trained: base, head and adapter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from helpers.lora_checkpoints import INPUTS, KINDS, bert, hidden, llama, trained
from typer.testing import CliRunner

from layerwise.adapters import adapter_for, load
from layerwise.cli.app import app
from layerwise.errors import InvalidData
from layerwise.profiling import profile
from layerwise.training.checkpoint_series import profile_checkpoints

peft = pytest.importorskip("peft")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{number}" for number in range(95))]


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)


def saved_base(kind: str = "BertModel", folder: str = "base", **options: Any) -> Path:
    bert(kind, **options).save_pretrained(folder)
    (Path(folder) / "vocab.txt").write_text("\n".join(WORDS))
    transformers.BertTokenizer(f"{folder}/vocab.txt").save_pretrained(folder)
    return Path(folder)


def tuned(folder: str, seed: int = 1, labels: int = 3, base: str = "base") -> Any:
    """A sequence classifier that was trained on a base, with an adapter alone saved."""
    torch.manual_seed(seed)
    network = transformers.BertForSequenceClassification.from_pretrained(base, num_labels=labels)
    config = peft.LoraConfig(task_type="SEQ_CLS", r=4, target_modules=["query", "value"])
    model = peft.get_peft_model(network, config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(0.3 * torch.randn_like(weight))
    model.save_pretrained(folder)
    return model.eval()


def csv(samples: int = 24) -> str:
    rows = [f"w{number} w{3 * number % 40} w7,{number % 3}" for number in range(samples)]
    Path("texts.csv").write_text("\n".join(["text,label", *rows]))
    return "csv:texts.csv?text=text&label=label"


def test_base_head_and_adapter_are_in() -> None:
    saved_base()
    model = tuned("adapter")
    found, adapter = load("hf/adapter")
    assert adapter.name == adapter_for(found).name == "hf"
    assert not found.training
    with torch.no_grad():
        assert torch.equal(found(**INPUTS).logits, model(**INPUTS).logits)
    assert torch.equal(hidden(found), hidden(model))


@pytest.mark.parametrize("name", ["lora of a tagger", "decoder", "lora without a task", "ia3", "prompt"])
def test_the_head_is_that_of_the_task(name: str) -> None:
    kind = KINDS[name]
    base = kind.make()
    base.save_pretrained("base")
    model = trained(type(kind)(lambda: type(base).from_pretrained("base"), kind.config, kind.options), Path("adapter"))
    found, _ = load("hf/adapter")
    assert type(found.get_base_model()) is type(base)
    with torch.no_grad():
        assert torch.equal(found(**INPUTS).logits, model(**INPUTS).logits)


def test_an_adapter_of_no_task_gives_the_bare_network() -> None:
    llama("LlamaModel").save_pretrained("base")
    model = peft.get_peft_model(
        transformers.LlamaModel.from_pretrained("base"),
        peft.LoraConfig(task_type="FEATURE_EXTRACTION", r=2, target_modules=["q_proj"], init_lora_weights=False),
    )
    model.save_pretrained("adapter")
    found, _ = load("hf/adapter")
    assert torch.equal(hidden(found), hidden(model.eval()))


def test_a_base_next_to_its_adapter_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    saved_base()
    model = tuned("runs/adapter")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    found, _ = load("hf/../runs/adapter")
    assert torch.equal(hidden(found), hidden(model))


def test_a_base_that_is_not_to_be_had_is_named_with_the_way_out() -> None:
    saved_base()
    tuned("adapter")
    Path("base").rename("moved")
    with pytest.raises(
        InvalidData, match=r"is for the network 'base', which cannot be loaded.*base_model_name_or_path"
    ):
        load("hf/adapter")
    file = Path("adapter/adapter_config.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"base_model_name_or_path": None}))
    with pytest.raises(InvalidData, match="does not say which network the adapter is for"):
        load("hf/adapter")
    Path("adapter/adapter_model.safetensors").unlink()
    with pytest.raises(InvalidData):
        load("hf/adapter")


def test_weights_without_values_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    bert("BertForMaskedLM").save_pretrained("base")
    tuned("adapter")
    load("hf/adapter")
    assert "has values for bert.pooler.dense.bias, bert.pooler.dense.weight: they are random" in caplog.text
    caplog.clear()
    saved_base(folder="whole")
    tuned("adapter", base="whole")
    load("hf/adapter")
    assert "random" not in caplog.text


def test_the_command_line_lists_and_profiles_it() -> None:
    saved_base()
    model = tuned("adapter")
    listed = CliRunner().invoke(app, ["layers", "hf/adapter"])
    assert listed.exit_code == 0, listed.output
    assert "bert.encoder.layer.1" in listed.output
    assert "lora" not in listed.output
    ds = profile("hf/adapter", csv(), metrics=["nc1", "ncc_error"], batch_size=8)
    tokenizer = transformers.AutoTokenizer.from_pretrained("base")
    texts = [line.split(",")[0] for line in Path("texts.csv").read_text().splitlines()[1:]]
    with torch.no_grad():
        scores = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits
    wrong = float((scores.argmax(1) != torch.arange(24) % 3).double().mean())
    assert ds["network_error"].item() == pytest.approx(wrong)
    plain = profile("hf/base", csv(), metrics=["nc1", "ncc_error"], batch_size=8)
    name = "encoder.layer.1"
    assert not np.allclose(ds["nc1"].sel(layer=f"bert.{name}").values, plain["nc1"].sel(layer=name).values)


@pytest.mark.parametrize("model", ["hf/base", "hf/out/checkpoint-6"])
def test_checkpoints_of_adapters_and_their_base_as_epoch_0(model: str, caplog: pytest.LogCaptureFixture) -> None:
    saved_base()
    for epoch in (1, 2):
        folder = Path(f"out/checkpoint-{3 * epoch}")
        tuned(str(folder), seed=epoch)
        (folder / "trainer_state.json").write_text(json.dumps({"epoch": float(epoch), "global_step": 3 * epoch}))
    given: dict[str, Any] = {"metrics": ["nc1", "ncc_error"], "batch_size": 8, "reduce": "mean"}
    options = {**given, "store": "runs.lw"}
    ds = profile_checkpoints(model, csv(), "out/checkpoint-*", base=True, **options)
    assert ds["epoch"].values.tolist() == [0, 1, 2]
    assert ds["step"].values.tolist() == [0, 3, 6]
    prefix = "" if model == "hf/base" else "bert."
    layer = f"{prefix}encoder.layer.1"
    alone = profile("hf/base", csv(), **given)["nc1"].sel(layer="encoder.layer.1").values
    np.testing.assert_allclose(ds["nc1"].sel(epoch=[0], layer=layer).values, alone, rtol=1e-9)
    for epoch in (1, 2):
        own = profile(f"hf/out/checkpoint-{3 * epoch}", csv(), **given)["nc1"]
        np.testing.assert_array_equal(
            ds["nc1"].sel(epoch=[epoch], layer=layer).values, own.sel(layer="bert.encoder.layer.1").values
        )
    told = "the network has no place for classifier.bias, classifier.weight"
    assert caplog.text.count(told) == (model == "hf/base")
    assert profile_checkpoints(model, csv(), "out/checkpoint-*", base=True, **options).equals(ds)


def test_the_command_line_measures_the_base_of_adapters_as_epoch_0() -> None:
    from layerwise.store import open_store

    saved_base()
    for epoch in (1, 2):
        tuned(f"out/epoch-{epoch}", seed=epoch)
    words = ["profile", "hf/base", csv(), "--checkpoints", "out/epoch-*", "--base", "--metrics", "nc1"]
    done = CliRunner().invoke(app, [*words, "--device", "cpu", "--store", "runs.lw", "--run", "a"])
    assert done.exit_code == 0, done.output
    ds = open_store("runs.lw")["a"].load()
    assert ds["epoch"].values.tolist() == [0, 1, 2]
    assert len(np.unique(ds["nc1"].sel(layer="encoder.layer.1").values)) == 3
    assert not Path("runs.lw.partial/a").exists()
