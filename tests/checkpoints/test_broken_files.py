"""Every broken checkpoint is one clear line, leaves the network as it was, and runs no code."""

from __future__ import annotations

import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.one_line import assert_one_line
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from layerwise.checkpoints import find_checkpoints, load_weights
from layerwise.errors import InvalidData, LayerwiseError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")

WEIGHTS = {"weight": torch.arange(12.0).reshape(3, 4), "bias": torch.ones(3)}


class Runs:
    """Runs a command where it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch marker",)


def network() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(4, 3)


def saved(content: Any, **options: Any) -> Callable[[Path], object]:
    return lambda path: torch.save(content, path, **options)


def rewritten(change: Callable[[bytes], bytes], content: Any = WEIGHTS) -> Callable[[Path], object]:
    def write(path: Path) -> object:
        torch.save(content, path)
        return path.write_bytes(change(path.read_bytes()))

    return write


def members(change: Callable[[str, bytes], bytes | None]) -> Callable[[Path], object]:
    """A file of torch's, its members changed or left out."""

    def write(path: Path) -> None:
        torch.save(WEIGHTS, path)
        with zipfile.ZipFile(path) as archive:
            found = {name: change(name, archive.read(name)) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in found.items():
                if content is not None:
                    archive.writestr(name, content)

    return write


def script(path: Path) -> None:
    torch.jit.script(network()).save(str(path))


def deep(path: Path) -> None:
    """Tuples within tuples."""
    path.write_bytes(b"\x80\x02K\x01" + b"\x85" * 200_000 + b".")


def flipped(content: bytes) -> bytes:
    place = content.find(struct.pack("<f", 7.0))
    return content[:place] + b"\xff" + content[place + 1 :]


FILES: dict[str, Callable[[Path], object]] = {
    "no byte": lambda path: path.write_bytes(b""),
    "words": lambda path: path.write_text("no weights"),
    "one byte": lambda path: path.write_bytes(b"\x80"),
    "an empty zip": lambda path: path.write_bytes(b"PK\5\6" + bytes(18)),
    "half a file": rewritten(lambda content: content[: len(content) // 2]),
    "the last half": rewritten(lambda content: content[len(content) // 2 :]),
    "a flipped value": rewritten(flipped),
    "an entry that is gone": members(lambda name, content: None if name.endswith("data/0") else content),
    "an entry that is short": members(lambda name, content: content[:4] if name.endswith("data/0") else content),
    "an entry without a pickle": members(lambda name, content: b"" if name.endswith("data.pkl") else content),
    "no pickle": members(lambda name, content: None if name.endswith("data.pkl") else content),
    "an odd order of bytes": members(lambda name, content: b"middle" if name.endswith("byteorder") else content),
    "an odd version": members(lambda name, content: b"many" if name.endswith("version") else content),
    "a command": saved({"weight": torch.ones(2), "extra": Runs()}),
    "a command in the old form": saved(
        {"weight": torch.ones(2), "extra": Runs()}, _use_new_zipfile_serialization=False
    ),
    "a bare pickle": lambda path: path.write_bytes(pickle.dumps({"extra": Runs()})),
    "a whole network": saved(network()),
    "a program of torch": script,
    "a pickle that is deep": deep,
    "an empty mapping": saved({}),
    "a list": saved([1, 2]),
    "a tensor": saved(torch.ones(2)),
    "nothing": saved(None),
    "a number": saved(7),
    "a state dict that is a list": saved({"state_dict": [1]}),
    "a state dict of numbers": saved({"state_dict": {"weight": 7}}),
    "wrappings within wrappings": saved({"model": {"model": {"model": {}}}}),
    "other names": saved({"other": torch.ones(2)}),
    "other shapes": saved({**WEIGHTS, "weight": torch.ones(2, 2)}),
    "sparse tensors": saved({**WEIGHTS, "weight": torch.eye(3, 4).to_sparse()}),
    "tensors without values": saved({**WEIGHTS, "weight": torch.empty(3, 4, device="meta")}),
}


def refused(path: Path) -> str:
    """What is said of a checkpoint; the network must be as it was, and nothing have run."""
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(LayerwiseError) as caught:
        for found in find_checkpoints(path):
            load_weights(model, found)
    assert_one_line(caught.value, path if path.exists() else path.name)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not Path("marker").exists()
    return str(caught.value)


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("ending", [".pt", ".ckpt"])
@pytest.mark.parametrize("case", FILES)
def test_broken_files_are_one_line(case: str, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"epoch_2{ending}"
    FILES[case](path)
    refused(path)


def test_what_would_run_is_named(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(2), "extra": Runs()}, tmp_path / "epoch_2.pt")
    assert "system" in refused(tmp_path / "epoch_2.pt")


def test_compressed_files_are_read_as_they_are(tmp_path: Path) -> None:
    torch.save(WEIGHTS, tmp_path / "whole.pt")
    with (
        zipfile.ZipFile(tmp_path / "whole.pt") as whole,
        zipfile.ZipFile(tmp_path / "epoch_2.pt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in whole.namelist():
            packed.writestr(name, whole.read(name))
    model = network()
    load_weights(model, find_checkpoints(tmp_path / "epoch_2.pt")[0])
    assert torch.equal(model.weight, WEIGHTS["weight"])


def test_files_that_torch_wrote_without_checksums_are_read(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(WEIGHTS, tmp_path / "epoch_2.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    model = network()
    load_weights(model, find_checkpoints(tmp_path / "epoch_2.pt")[0])
    assert torch.equal(model.weight, WEIGHTS["weight"])


LIGHTNING = {"pytorch-lightning_version": "2.4", "epoch": 3, "global_step": 12, "state_dict": WEIGHTS}
BATCHES = {"is_last_batch": True, "current": {"processed": 4, "ready": 4}}


@pytest.mark.parametrize(
    "changes",
    [
        {"epoch": "many"},
        {"epoch": None},
        {"epoch": -3},
        {"epoch": float("nan")},
        {"epoch": float("inf")},
        {"global_step": [1]},
        {"global_step": -1},
        {"loops": 7},
        {"loops": {"fit_loop": [1]}},
        {"loops": {"fit_loop": {"epoch_loop.batch_progress": 7}}},
        {"loops": {"fit_loop": {"epoch_loop.batch_progress": {**BATCHES, "current": {}}}}},
        {"state_dict": None},
        {"state_dict": {}},
        {"state_dict": [1]},
    ],
    ids=str,
)
def test_odd_files_of_lightning_are_one_line(changes: dict[str, Any], tmp_path: Path) -> None:
    torch.save(LIGHTNING | changes, tmp_path / "last.ckpt")
    refused(tmp_path / "last.ckpt")


@pytest.mark.parametrize("missing", ["epoch", "global_step", "state_dict"])
def test_files_of_lightning_that_lack_something_are_one_line(missing: str, tmp_path: Path) -> None:
    torch.save({key: value for key, value in LIGHTNING.items() if key != missing}, tmp_path / "last.ckpt")
    refused(tmp_path / "last.ckpt")


@pytest.mark.parametrize(
    "said",
    [
        "",
        "{",
        "[]",
        "7",
        "null",
        "\0",
        "[" * 100_000,
        "{}",
        '{"epoch": 1}',
        '{"epoch": null, "global_step": 3}',
        '{"epoch": "one", "global_step": 3}',
        '{"epoch": [1], "global_step": 3}',
        '{"epoch": NaN, "global_step": 3}',
        '{"epoch": Infinity, "global_step": 3}',
        '{"epoch": -1, "global_step": 3}',
        '{"epoch": 1, "global_step": -3}',
        '{"epoch": 1, "global_step": {}}',
        f'{{"epoch": 1{"0" * 400}, "global_step": 3}}',
    ],
    ids=lambda said: said[:30],
)
def test_odd_states_of_a_trainer_are_one_line(said: str, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint-9"
    folder.mkdir()
    save_file(WEIGHTS, folder / "model.safetensors")
    (folder / "trainer_state.json").write_text(said)
    refused(folder)


def test_a_state_of_a_trainer_that_is_a_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-9" / "trainer_state.json").mkdir(parents=True)
    save_file(WEIGHTS, tmp_path / "checkpoint-9" / "model.safetensors")
    refused(tmp_path / "checkpoint-9")


@pytest.mark.parametrize(
    "said",
    [
        "",
        "[1]",
        "{}",
        '{"weight_map": 7}',
        '{"weight_map": {"a": 7}}',
        '{"weight_map": {"a": [1]}}',
        '{"weight_map": {"a": "gone.safetensors"}}',
        '{"weight_map": {"a": "."}}',
        json.dumps({"weight_map": {str(number): f"{number}.bin" for number in range(99)}}),
    ],
    ids=lambda said: said[:30],
)
def test_broken_indices_are_one_line(said: str, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint-9"
    folder.mkdir()
    (folder / "model.safetensors.index.json").write_text(said)
    refused(folder)


@pytest.mark.parametrize("name", [f"epoch_{'9' * 230}.safetensors", f"{'a' * 300}.pt"])
def test_absurd_names_are_one_line(name: str, tmp_path: Path) -> None:
    if len(name) < 256:
        save_file(WEIGHTS, tmp_path / name)
    with pytest.raises(LayerwiseError) as caught:
        load_weights(nn.Linear(9, 9), find_checkpoints(tmp_path / name)[0])
    assert_one_line(caught.value)


def test_pipes_are_no_checkpoints(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "epoch_1.pt")
    torch.save(WEIGHTS, tmp_path / "epoch_2.pt")
    assert [found.path.name for found in find_checkpoints(tmp_path)] == ["epoch_2.pt"]


def test_links_to_nothing_are_no_checkpoints(tmp_path: Path) -> None:
    (tmp_path / "epoch_1.pt").symlink_to(tmp_path / "gone.pt")
    refused(tmp_path / "epoch_1.pt")


@pytest.mark.parametrize("ending", [".pt", ".safetensors"])
def test_damage_anywhere_is_one_line_or_harmless(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"epoch_2{ending}"
    torch.save(WEIGHTS, path) if ending == ".pt" else save_file(WEIGHTS, path)
    content = path.read_bytes()
    share = st.floats(0, 1, exclude_max=True)
    flips = st.lists(st.tuples(share, st.integers(1, 255)), max_size=4)

    @settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
    @given(flips, st.one_of(st.just(1.0), share), st.tuples(share, st.integers(0, 64)))
    def check(flips: list[tuple[float, int]], kept: float, gap: tuple[float, int]) -> None:
        found = bytearray(content)
        for place, change in flips:
            found[int(place * len(found))] ^= change
        start = int(gap[0] * len(found))
        del found[start : start + gap[1]]
        path.unlink(missing_ok=True)
        path.write_bytes(bytes(found[: int(kept * len(found)) + (kept == 1)]))
        model = network()
        try:
            load_weights(model, find_checkpoints(path)[0])
        except LayerwiseError as error:
            assert_one_line(error)
        else:
            # Safetensors have no checksums of values.
            assert ending != ".pt" or all(torch.equal(model.state_dict()[name], WEIGHTS[name]) for name in WEIGHTS)

    check()


def test_a_broken_adapter_beside_weights_is_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint-9"
    folder.mkdir()
    save_file(WEIGHTS, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text("[")
    with pytest.raises(InvalidData, match="checkpoint-9 is an adapter of PEFT, and the network has none"):
        load_weights(network(), find_checkpoints(folder)[0])
