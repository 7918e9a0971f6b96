"""Every broken model is one clear line, and no code of a model runs unasked."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
import transformers
from helpers.one_line import assert_one_line
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers

from layerwise.adapters import load
from layerwise.adapters.remote_code import RemoteCode
from layerwise.cli import app as cli
from layerwise.errors import InvalidData, LayerwiseError, UnknownName
from layerwise.profiling import profile
from layerwise.profiling.forecast import forecast

from .broken import ADAPTERS, MODELS, PROCESSORS, TOKENIZERS, WEIGHTS, Harm, both, changed, pickle_that_runs, written

pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning", "ignore::ResourceWarning"
)

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder with its tokenizer, a classifier of pictures, and an adapter of the encoder."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    config = transformers.BertConfig(**SIZES, vocab_size=20, max_position_embeddings=32)
    transformers.BertModel(config).save_pretrained(folder / "bert")
    words = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1, "a": 2, "b": 3}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="[UNK]", pad_token="[PAD]", model_max_length=32
    ).save_pretrained(folder / "bert")
    vit = transformers.ViTConfig(**SIZES, image_size=32, patch_size=8)
    transformers.ViTForImageClassification(vit).save_pretrained(folder / "vit")
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder / "vit")
    network = transformers.BertForSequenceClassification.from_pretrained(folder / "bert", num_labels=3)
    lora = peft.LoraConfig(task_type="SEQ_CLS", r=4, target_modules=["query", "value"])
    peft.get_peft_model(network, lora).save_pretrained(folder / "lora")
    return folder


def harmed(source: Path, harm: Harm, folder: Path) -> Path:
    shutil.copytree(source, folder)
    harm(folder)
    return folder


def texts(model: Any, adapter: Any) -> None:
    prepare = adapter.prepare(model)
    prepare.token_counts(["a b", "b"])
    prepare.longest()
    prepare(["a b", "b"])


def pictures(model: Any, adapter: Any) -> None:
    adapter.prepare(model)([Image.new("RGB", (40, 30))] * 2)


def nothing(model: Any, adapter: Any) -> None:
    """The loading alone."""


def refused(folder: Path, use: Callable[[Any, Any], None] = nothing) -> BaseException:
    with pytest.raises(LayerwiseError) as caught:
        use(*load(f"hf/{folder}"))
    unnamed = "knows no word of the texts" in str(caught.value)
    assert_one_line(caught.value, *([] if unnamed else [folder]))
    assert not list(Path().rglob("marker"))
    return caught.value


def test_what_is_whole_loads(whole: Path) -> None:
    texts(*load(f"hf/{whole}/bert"))
    pictures(*load(f"hf/{whole}/vit"))
    load(f"hf/{whole}/lora")


@pytest.mark.parametrize("case", MODELS)
def test_broken_configurations_are_one_line(case: str, whole: Path, tmp_path: Path) -> None:
    refused(harmed(whole / "bert", MODELS[case], tmp_path / "m"))


@pytest.mark.parametrize("case", WEIGHTS)
def test_broken_weights_are_one_line(case: str, whole: Path, tmp_path: Path) -> None:
    refused(harmed(whole / "bert", WEIGHTS[case], tmp_path / "m"))


@pytest.mark.parametrize("case", TOKENIZERS)
def test_broken_tokenizers_are_one_line(case: str, whole: Path, tmp_path: Path) -> None:
    refused(harmed(whole / "bert", TOKENIZERS[case], tmp_path / "m"), texts)


@pytest.mark.parametrize("case", PROCESSORS)
def test_broken_image_processors_are_one_line(case: str, whole: Path, tmp_path: Path) -> None:
    refused(harmed(whole / "vit", PROCESSORS[case], tmp_path / "m"), pictures)


@pytest.mark.parametrize("case", ADAPTERS)
def test_broken_adapters_are_one_line(case: str, whole: Path, tmp_path: Path) -> None:
    refused(harmed(whole / "lora", ADAPTERS[case], tmp_path / "m"))


def test_what_is_no_folder_is_no_such_model(tmp_path: Path) -> None:
    for name in (f"{tmp_path}/gone", f"{tmp_path}/{'a' * 300}", "no such model"):
        with pytest.raises(LayerwiseError) as caught:
            load(f"hf/{name}")
        assert_one_line(caught.value, name[:100])
    with pytest.raises(UnknownName, match="no Hugging Face model"):
        load(f"hf/{tmp_path}/gone")


@pytest.mark.parametrize("option", ["file", "checkpoint"])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.pth", b""),
        ("words.pth", b"no weights"),
        ("zip.pth", b"PK\5\6" + bytes(18)),
        ("old.pth", b"\x80\x02cposix\nsystem\n(S'touch marker'\ntR."),
        ("cut.safetensors", b"\x40\0\0\0\0\0\0\0{}"),
        ("array.npz", b"PK\3\4"),
        ("runs.pth", None),
    ],
)
def test_broken_weights_for_timm_are_one_line(option: str, name: str, content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / name
    pickle_that_runs(path) if content is None else path.write_bytes(content)
    with pytest.raises(InvalidData) as caught:
        load(f"timm/resnet10t?{option}={path}")
    assert_one_line(caught.value, path)
    assert not (tmp_path / "marker").exists()


def test_weights_of_another_network_are_refused(whole: Path, tmp_path: Path) -> None:
    folder = harmed(whole / "bert", changed("config.json", architectures=["ViTForImageClassification"]), tmp_path / "m")
    assert "which its configuration asks for: its weights are of another network" in str(refused(folder))


CODE = """
import pathlib
import torch
from transformers import PretrainedConfig, PreTrainedModel

with pathlib.Path("marker").open("a") as file:
    file.write("ran")


class OwnConfig(PretrainedConfig):
    model_type = "own"

    def __init__(self, width=8, **options):
        self.width = width
        super().__init__(**options)


class OwnModel(PreTrainedModel):
    config_class = OwnConfig
    main_input_name = "inputs"

    def __init__(self, config):
        super().__init__(config)
        self.first = torch.nn.Linear(config.width, 12)
        self.second = torch.nn.Linear(12, 3)
        self.post_init()

    def forward(self, inputs):
        return self.second(torch.relu(self.first(inputs)))


class OwnForSequenceClassification(OwnModel):
    pass
"""


def with_code(folder: Path, **auto_map: str) -> Path:
    """A model whose code is beside its weights."""
    from safetensors.torch import save_file

    folder.mkdir()
    (folder / "own_code.py").write_text(CODE)
    said = {"model_type": "own", "width": 8, "auto_map": {"AutoConfig": "own_code.OwnConfig"} | auto_map}
    if "AutoModel" not in auto_map:
        said["architectures"] = ["OwnForSequenceClassification"]
    (folder / "config.json").write_text(json.dumps(said))
    weights = {"first.weight": torch.randn(12, 8), "first.bias": torch.zeros(12)}
    weights |= {"second.weight": torch.randn(3, 12), "second.bias": torch.zeros(3)}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Code of models is copied into a folder of the test's own."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr("sys.path", [*__import__("sys").path])


@pytest.fixture
def answers_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Say yes to whatever is asked on the terminal."""
    monkeypatch.setattr("builtins.input", lambda *_: "y")


def samples(tmp_path: Path) -> str:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "a.npz", x=rng.normal(size=(24, 8)).astype(np.float32), y=np.arange(24) % 3)
    return f"npz:{tmp_path / 'a.npz'}"


@pytest.mark.usefixtures("answers_yes", "modules")
def test_code_of_a_model_never_runs_unasked(tmp_path: Path) -> None:
    folder = with_code(tmp_path / "m", AutoModel="own_code.OwnModel")
    for measure in (lambda: load(f"hf/{folder}"), lambda: forecast(f"hf/{folder}")):
        with pytest.raises(RemoteCode) as caught:
            measure()
        assert_one_line(caught.value, folder, "own_code.py:OwnConfig, own_code.py:OwnModel", "--trust-remote-code")
    with pytest.raises(RemoteCode):
        profile(f"hf/{folder}", samples(tmp_path))
    assert not (tmp_path / "marker").exists()


@pytest.mark.usefixtures("modules")
@pytest.mark.parametrize(
    "auto_map",
    [
        {"AutoModel": "own_code.OwnModel"},
        {"AutoModelForSequenceClassification": "own_code.OwnForSequenceClassification"},
    ],
    ids=["a network", "a classifier alone"],
)
def test_code_of_a_model_runs_if_allowed(auto_map: dict[str, str], tmp_path: Path) -> None:
    folder = with_code(tmp_path / "m", **auto_map)
    model, _ = load(f"hf/{folder}", trust_remote_code=True)
    assert (tmp_path / "marker").exists()
    assert type(model).__name__ == next(iter(auto_map.values())).partition(".")[2]


@pytest.mark.usefixtures("answers_yes", "modules")
def test_the_command_line_runs_code_with_its_flag_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = with_code(tmp_path / "m", AutoModel="own_code.OwnModel")
    words = ["layerwise", "profile", f"hf/{folder}", samples(tmp_path), "--metrics", "nc1"]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert (ended.value.code, said.startswith("error: ")) == (2, True)
    assert not (tmp_path / "marker").exists()
    monkeypatch.setattr("sys.argv", [*words, "--trust-remote-code"])
    monkeypatch.setattr(
        "layerwise.adapters.raw_inputs.RawInputs.__call__", lambda self, raw: torch.tensor(np.stack(raw))
    )
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    assert (tmp_path / "marker").exists()


@pytest.mark.usefixtures("answers_yes", "modules")
def test_code_of_a_base_runs_only_if_allowed(whole: Path, tmp_path: Path) -> None:
    base = with_code(tmp_path / "base", AutoModel="own_code.OwnModel")
    folder = harmed(whole / "lora", changed("adapter_config.json", base_model_name_or_path=str(base)), tmp_path / "m")
    with pytest.raises(RemoteCode, match=r"own_code\.py:OwnModel"):
        load(f"hf/{folder}")
    assert not (tmp_path / "marker").exists()


@pytest.mark.usefixtures("answers_yes", "modules")
def test_a_trained_prompt_needs_no_tokenizer(whole: Path, tmp_path: Path) -> None:
    network = transformers.BertForSequenceClassification.from_pretrained(whole / "bert", num_labels=3)
    prompt = peft.PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=2)
    peft.get_peft_model(network, prompt).save_pretrained(tmp_path / "m")
    hostile = harmed(whole / "bert", TOKENIZERS["a tokenizer that runs code"], tmp_path / "hostile")
    changed(
        "adapter_config.json",
        inference_mode=False,
        prompt_tuning_init="TEXT",
        prompt_tuning_init_text="a b",
        tokenizer_name_or_path=str(hostile),
        tokenizer_kwargs={"trust_remote_code": True},
    )(tmp_path / "m")
    load(f"hf/{tmp_path}/m")
    assert not list(tmp_path.rglob("marker"))


def test_a_known_model_that_brings_code_is_loaded_without_it_and_told(
    whole: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    harm = both(changed("config.json", auto_map={"AutoModel": "own.Own"}), written("own.py", "raise SystemExit"))
    folder = harmed(whole / "bert", harm, tmp_path / "m")
    load(f"hf/{folder}")
    assert f"{folder} brings code of its own, own.py:Own, which does not run" in caplog.text
