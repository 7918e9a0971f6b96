"""Models that are broken, each in a way of its own, made of a whole folder of a tiny encoder."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

__all__ = [
    "ADAPTERS",
    "MODELS",
    "PROCESSORS",
    "TOKENIZERS",
    "WEIGHTS",
    "Harm",
    "both",
    "changed",
    "pickle_that_runs",
    "written",
]

Harm = Callable[[Path], object]


class Runs:
    """Runs a command where it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch marker",)


def pickle_that_runs(path: Path) -> None:
    torch.save({"state_dict": {"weight": torch.ones(2)}, "extra": Runs()}, path)


def written(name: str, content: str | bytes) -> Harm:
    return lambda folder: (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def without(*names: str) -> Harm:
    return lambda folder: [(folder / name).unlink(missing_ok=True) for name in names]


def cut(name: str, size: int) -> Harm:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:size])


def changed(name: str, **changes: Any) -> Harm:
    """A json file with other values; None takes one out."""

    def change(folder: Path) -> object:
        said = json.loads((folder / name).read_text()) | changes
        return (folder / name).write_text(json.dumps({key: value for key, value in said.items() if value is not None}))

    return change


def made_folder(name: str) -> Harm:
    def change(folder: Path) -> object:
        (folder / name).unlink()
        return (folder / name).mkdir()

    return change


def dangling(name: str) -> Harm:
    def change(folder: Path) -> object:
        (folder / name).unlink()
        return (folder / name).symlink_to(folder / "gone")

    return change


def instead(name: str, write: Harm) -> Harm:
    """Weights of another form in place of those that there are."""

    def change(folder: Path) -> object:
        (folder / "model.safetensors").unlink()
        return write(folder)

    return change


def safetensors(header: Any, data: bytes = bytes(64)) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def index(content: Any) -> Harm:
    said = content if isinstance(content, str) else json.dumps(content)
    return instead("model.safetensors", written("model.safetensors.index.json", said))


def tensor(**changes: Any) -> bytes:
    return safetensors({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]} | changes}, bytes(16))


def both(*harms: Harm) -> Harm:
    return lambda folder: [harm(folder) for harm in harms]


MODELS: dict[str, Harm] = {
    "no configuration": without("config.json"),
    "a configuration of no byte": written("config.json", ""),
    "a configuration cut short": cut("config.json", 40),
    "a configuration that is a list": written("config.json", "[1, 2]"),
    "a configuration that is a number": written("config.json", "7"),
    "a configuration of other bytes": written("config.json", b"\xff\xfe\x00"),
    "a configuration that is deep": written("config.json", "[" * 100_000),
    "a configuration that is a folder": made_folder("config.json"),
    "a configuration that is a link to nothing": dangling("config.json"),
    "no kind": changed("config.json", model_type=None),
    "an unknown kind": changed("config.json", model_type="berd"),
    "a kind that is a number": changed("config.json", model_type=7),
    "a kind that is a list": changed("config.json", model_type=["bert"]),
    "sizes that are words": changed("config.json", hidden_size="many"),
    "sizes that are absurd": changed("config.json", hidden_size=10**12),
    "sizes that are negative": changed("config.json", num_hidden_layers=2, hidden_size=-16),
    "sizes that do not divide": changed("config.json", num_attention_heads=3),
    "no heads": changed("config.json", num_attention_heads=0),
    "an unknown activation": changed("config.json", hidden_act="jelu"),
    "architectures that are numbers": changed("config.json", architectures=[7]),
    "a type that there is not": changed("config.json", dtype="float17", torch_dtype="float17"),
    "quantization that is a number": changed("config.json", quantization_config=7),
    "quantization without its package": changed(
        "config.json", quantization_config={"quant_method": "gptq", "bits": 4, "group_size": 8}
    ),
    "attention of a kernel": changed("config.json", attn_implementation="somebody/kernel"),
    "attention of nobody": changed("config.json", _attn_implementation="bomb", attn_implementation="bomb"),
    "labels that are words": changed("config.json", id2label={"many": "a"}),
    "labels that are a number": changed("config.json", id2label=7),
    "code that is a number": changed("config.json", model_type="berd", auto_map=7),
    "code that is not there": changed("config.json", model_type="berd", auto_map={"AutoConfig": "gone.Gone"}),
    "gguf of no byte": both(without("config.json"), written("a.gguf", b"")),
    "gguf cut short": both(without("config.json"), written("a.gguf", b"GGUF\3\0\0\0" + bytes(9))),
    "gguf of absurd counts": both(
        without("config.json"), written("a.gguf", b"GGUF\3\0\0\0" + struct.pack("<QQ", 2**60, 2**60))
    ),
}

WEIGHTS: dict[str, Harm] = {
    "no weights": without("model.safetensors"),
    "safetensors of no byte": written("model.safetensors", b""),
    "safetensors cut short": cut("model.safetensors", 3000),
    "safetensors cut in the header": cut("model.safetensors", 60),
    "safetensors of words": written("model.safetensors", "these are no weights" * 9),
    "safetensors with an absurd header": written("model.safetensors", struct.pack("<Q", 2**63) + bytes(90)),
    "safetensors without json": written("model.safetensors", safetensors(b"{not json}")),
    "safetensors whose header is a list": written("model.safetensors", safetensors([1])),
    "safetensors that overlap nothing": written("model.safetensors", tensor(data_offsets=[0, 999])),
    "safetensors of a negative place": written("model.safetensors", tensor(data_offsets=[-4, 16])),
    "safetensors of an unknown type": written("model.safetensors", tensor(dtype="Q9")),
    "safetensors of an absurd shape": written("model.safetensors", tensor(shape=[2**62, 4])),
    "safetensors of other names": written("model.safetensors", tensor()),
    "safetensors without tensors": written("model.safetensors", safetensors({}, b"")),
    "safetensors of git lfs": written("model.safetensors", "version https://git-lfs.github.com/spec/v1\n"),
    "safetensors that are a folder": made_folder("model.safetensors"),
    "safetensors that are a link to nothing": dangling("model.safetensors"),
    "an index of files that are not there": index({"metadata": {}, "weight_map": {"a": "gone.safetensors"}}),
    "an index cut short": index('{"weight_map": {"a": "b'),
    "an index without a map": index({"metadata": {}}),
    "an index that is a list": index([1]),
    "an index of numbers": index({"metadata": {}, "weight_map": {"a": 7}}),
    "an index of a folder": index({"metadata": {}, "weight_map": {"a": "."}}),
    "a pickle of no byte": instead("bin", written("pytorch_model.bin", b"")),
    "a pickle of words": instead("bin", written("pytorch_model.bin", "no weights")),
    "a pickle that runs": instead("bin", lambda folder: pickle_that_runs(folder / "pytorch_model.bin")),
    "an old pickle that runs": instead("bin", written("pytorch_model.bin", b"\x80\x02cposix\nsystem\n(S'true'\ntR.")),
    "a pickle that is a list": instead("bin", lambda folder: torch.save([1, 2], folder / "pytorch_model.bin")),
    "a pickle that is a tensor": instead("bin", lambda folder: torch.save(torch.ones(2), folder / "pytorch_model.bin")),
    "a zip that is no pickle": instead("bin", written("pytorch_model.bin", b"PK\5\6" + bytes(18))),
}

TOKENIZERS: dict[str, Harm] = {
    "no tokenizer": without("tokenizer.json", "tokenizer_config.json", "vocab.txt"),
    "a tokenizer of no byte": written("tokenizer.json", ""),
    "a tokenizer cut short": cut("tokenizer.json", 200),
    "a tokenizer that is a list": written("tokenizer.json", "[]"),
    "a tokenizer of an unknown model": written("tokenizer.json", '{"version": "1.0", "model": {"type": "Bomb"}}'),
    "a tokenizer of other bytes": written("tokenizer.json", b"\xff\xfe{"),
    "a tokenizer that is a folder": made_folder("tokenizer.json"),
    "settings of a tokenizer cut short": written("tokenizer_config.json", '{"tokenizer_cl'),
    "settings of a tokenizer that are a list": written("tokenizer_config.json", "[1]"),
    "a class of tokenizers that is a number": changed("tokenizer_config.json", tokenizer_class=7),
    "a longest text that is a word": changed("tokenizer_config.json", model_max_length="many"),
    "a padding token that is a number": changed("tokenizer_config.json", pad_token=7),
    "a side of padding that there is not": changed("tokenizer_config.json", padding_side="above"),
    "a tokenizer that runs code": both(
        without("tokenizer.json"),
        changed("tokenizer_config.json", tokenizer_class="Own", auto_map={"AutoTokenizer": ["own.Own", None]}),
        written("own.py", "import pathlib\npathlib.Path('marker').touch()\nclass Own: pass\n"),
    ),
}

PROCESSORS: dict[str, Harm] = {
    "no image processor": without("preprocessor_config.json"),
    "an image processor of no byte": written("preprocessor_config.json", ""),
    "an image processor cut short": written("preprocessor_config.json", '{"image_processor_ty'),
    "an image processor that is a list": written("preprocessor_config.json", "[]"),
    "an unknown image processor": changed("preprocessor_config.json", image_processor_type="BombProcessor"),
    "a size that is a word": changed("preprocessor_config.json", size="big"),
    "a size that is negative": changed("preprocessor_config.json", size={"height": -3, "width": 4}),
    "a mean that is a word": changed("preprocessor_config.json", image_mean="grey"),
    "a resampling that there is not": changed("preprocessor_config.json", resample=99),
    "an image processor that runs code": both(
        changed("preprocessor_config.json", image_processor_type="Own", auto_map={"AutoImageProcessor": "own.Own"}),
        written("own.py", "import pathlib\npathlib.Path('marker').touch()\nclass Own: pass\n"),
    ),
}

ADAPTERS: dict[str, Harm] = {
    "an adapter of no byte": written("adapter_config.json", ""),
    "an adapter cut short": cut("adapter_config.json", 50),
    "an adapter that is a list": written("adapter_config.json", "[1]"),
    "an adapter that is a number": written("adapter_config.json", "7"),
    "an adapter of other bytes": written("adapter_config.json", b"\xff\xfe"),
    "an adapter without a base": changed("adapter_config.json", base_model_name_or_path=None),
    "an adapter of a base that is gone": changed("adapter_config.json", base_model_name_or_path="/nowhere/at/all"),
    "an adapter of a base that is a number": changed("adapter_config.json", base_model_name_or_path=7),
    "an adapter of no kind": changed("adapter_config.json", peft_type=None),
    "an adapter of an unknown kind": changed("adapter_config.json", peft_type="BOMB"),
    "an adapter of a rank that is a word": changed("adapter_config.json", r="many"),
    "an adapter of a rank below zero": changed("adapter_config.json", r=-4),
    "an adapter of absurd rank": changed("adapter_config.json", r=10**13),
    "an adapter of layers that there are not": changed("adapter_config.json", target_modules=["bomb"]),
    "an adapter of layers that are a number": changed("adapter_config.json", target_modules=7),
    "an adapter of an unknown task": changed("adapter_config.json", task_type="BOMB"),
    "an adapter that imports": changed("adapter_config.json", megatron_config={"a": 1}, megatron_core="antigravity"),
    "an adapter without weights": without("adapter_model.safetensors"),
    "weights of an adapter cut short": cut("adapter_model.safetensors", 200),
    "weights of an adapter of no byte": written("adapter_model.safetensors", b""),
    "weights of another adapter": written("adapter_model.safetensors", tensor()),
}
