"""A profile that goes on mixes no networks, data or damaged files: it is begun anew, and one line says why."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from helpers.interrupted import Interrupted, Loader, assert_identical
from helpers.networks import Perceptron, blobs, loader
from helpers.processes import TESTS, torchrun
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from layerwise.errors import InUse, InvalidData
from layerwise.passes.resume import ResumeState
from layerwise.profiling import profile

METRICS = ["nc1", "cdnv", "ncc_error", "probe_error"]
OPTIONS: dict[str, Any] = {"memory": "1GiB", "metrics": METRICS, "jackknife": 3, "null": 3}
Batches = list[tuple[Tensor, Tensor]]

# Of train and test, four and two batches: the labels are read first, for the shuffles.
IN_TRAIN, IN_TEST = 4 + 2, 4 + 4 + 2 + 1


def network(seed: int = 0, kind: type[Perceptron] = Perceptron) -> Perceptron:
    torch.manual_seed(seed)
    return kind()


def data(size: int = 16) -> dict[str, Batches]:
    return {"train": loader(*blobs(), size), "test": loader(*blobs(30, seed=1), size)}


def loaders(batches: dict[str, Batches], left: float = torch.inf) -> dict[str, Loader]:
    budget = [left]
    return {split: Loader(own, budget) for split, own in batches.items()}


def killed(folder: Path, left: float, model: nn.Module | None = None, **options: Any) -> None:
    with pytest.raises(Interrupted):
        profile(
            model or network(), loaders(data(), left), resume_dir=ResumeState(folder, every=0), **(OPTIONS | options)
        )
    assert list(folder.rglob("*.pt"))


@pytest.fixture(params=[False, True], ids=["features wait", "run again"])
def again(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the second pass runs the network again."""
    if request.param:
        monkeypatch.setattr("layerwise.passes.plan._WIDEST_KEPT", 0)
    return bool(request.param)


def assert_begun_anew(
    folder: Path, batches: dict[str, Batches], caplog: pytest.LogCaptureFixture, says: str, **options: Any
) -> None:
    """What comes of it is what was never interrupted, and the line says why."""
    model = options.pop("model", network())
    caplog.clear()
    with caplog.at_level(logging.WARNING, "layerwise"):
        found = profile(model, loaders(batches), resume_dir=folder, **(OPTIONS | options))
    lines = [record.getMessage() for record in caplog.records if "begun anew" in record.getMessage()]
    assert len(lines) == 1
    assert says in lines[0]
    assert "\n" not in lines[0]
    assert not folder.exists()
    assert_identical(found, profile(model, loaders(batches), **(OPTIONS | options)))


def other_labels(batches: Batches) -> Batches:
    return [(inputs, labels.roll(1)) for inputs, labels in batches]


DATA: dict[str, tuple[Callable[[Batches], Batches], str]] = {
    "larger batches": (
        lambda own: loader(torch.cat([x for x, _ in own]), torch.cat([y for _, y in own]), 30),
        "30 sam",
    ),
    "fewer": (lambda own: own[:1], "batches, and had"),
    "another order": (lambda own: [own[1], own[0], *own[2:]], "not what it was"),
    "another order in a batch": (lambda own: [(x.flip(0), y.flip(0)) for x, y in own], "other inputs and labels"),
    "other inputs": (lambda own: [(x + 1e-6, y) for x, y in own], "other inputs"),
    "another type": (lambda own: [(x.double().float() * (1 + 2**-23), y) for x, y in own], "other inputs"),
    "other labels": (other_labels, "labels of split"),
}


# Of one batch alone there are as many samples as features.
@pytest.mark.filterwarnings("ignore:probe_error. NaN")
@pytest.mark.parametrize("change", DATA)
@pytest.mark.parametrize("null", [0, 3])
def test_data_that_changed_where_it_was_read(
    change: str, null: int, again: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    edit, says = DATA[change]
    killed(tmp_path / "kept", 2 + 4 * (null > 0) + 2 * (null > 0), null=null)
    batches = data()
    batches["train"] = edit(batches["train"])
    says = "other labels" if change == "other labels" and not null else says
    says = "split 'train'" if null else says
    assert_begun_anew(tmp_path / "kept", batches, caplog, says, null=null)


def test_data_of_a_split_that_was_through_is_read_again(
    again: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    killed(tmp_path / "kept", 4 + 4 * again + 1, null=0)
    batches = data()
    batches["train"][-1] = (batches["train"][-1][0] * 2, batches["train"][-1][1])
    assert_begun_anew(tmp_path / "kept", batches, caplog, "split 'train'", null=0)


def test_more_data_after_a_split_that_was_through(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    killed(tmp_path / "kept", 5, null=0)
    batches = data()
    batches["train"].append(batches["train"][0])
    assert_begun_anew(tmp_path / "kept", batches, caplog, "more than the 4 batches", null=0)


def test_shuffled_labels_are_of_all_labels_those_still_to_come_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    killed(tmp_path / "kept", 4 + 2)
    batches = data()
    batches["train"][-1] = (batches["train"][-1][0], batches["train"][-1][1] * 0)
    assert_begun_anew(tmp_path / "kept", batches, caplog, "labels of split 'train'")


def test_drawn_tokens_are_drawn_of_all_labels_those_still_to_come_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(0)
    tagger = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    options: dict[str, Any] = {"reduce": "tokens", "samples_per_class": 20, "jackknife": 0, "null": 0, "layers": "*"}
    generator = torch.Generator().manual_seed(0)
    whole = [(torch.randn(4, 9, 4, generator=generator), torch.arange(36).reshape(4, 9) % 2) for _ in range(4)]
    with pytest.raises(Interrupted):
        profile(
            tagger,
            loaders({"train": whole}, 4 + 2),
            resume_dir=ResumeState(tmp_path / "k", every=0),
            **OPTIONS | options,
        )
    edited = [*whole[:3], (whole[3][0], whole[3][1] * 0)]
    assert_begun_anew(tmp_path / "k", {"train": edited}, caplog, "labels of split", model=tagger, **options)


class Tanh(Perceptron):
    def forward(self, inputs: Tensor) -> Tensor:
        return self.classifier(self.second(self.first(inputs).tanh()))


class Turned(Perceptron):
    def forward(self, inputs: Tensor) -> Tensor:
        return -super().forward(inputs)


class Dropping(Perceptron):
    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(nn.functional.dropout(inputs, 0.2))


@pytest.mark.parametrize("left", [2, 5])
@pytest.mark.parametrize(("kind", "layer"), [(Tanh, "second"), (nn.Tanh, "first")])
def test_a_network_that_computes_something_else_from_the_same_weights(
    kind: Any, layer: str, left: int, again: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    killed(tmp_path / "kept", left, null=0)
    model = network(kind=kind if issubclass(kind, Perceptron) else Perceptron)
    if kind is nn.Tanh:
        model.first[1] = nn.Tanh()
    says = f"other features of the same inputs (layer '{layer}'"
    assert_begun_anew(tmp_path / "kept", data(), caplog, says, model=model, null=0)


def test_an_output_that_no_layer_shows(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    options = {"layers": ["first", "second"], "null": 0}
    killed(tmp_path / "kept", 2, **options)
    says = "other features of the same inputs (layer 'output')"
    assert_begun_anew(tmp_path / "kept", data(), caplog, says, model=network(kind=Turned), **options)


def test_dropout_that_evaluation_does_not_turn_off(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    options = {"null": 0, "check": False}
    killed(tmp_path / "kept", 2, network(kind=Dropping), **options)
    model = network(kind=Dropping)
    torch.manual_seed(5)
    with caplog.at_level(logging.WARNING, "layerwise"):
        profile(model, loaders(data()), resume_dir=tmp_path / "kept", **OPTIONS | options)
    assert "makes other features of the same inputs (layer 'first' and" in caplog.text


def test_the_mode_of_training_makes_no_difference(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def dropping(*, training: bool) -> nn.Module:
        torch.manual_seed(0)
        made = nn.Sequential(nn.Linear(8, 8), nn.Dropout(), nn.BatchNorm1d(8), nn.Linear(8, 3))
        return made.train(training)

    killed(tmp_path / "kept", 2, dropping(training=True), null=0)
    with caplog.at_level(logging.WARNING, "layerwise"):
        options = OPTIONS | {"null": 0}
        found = profile(dropping(training=False), loaders(data()), resume_dir=tmp_path / "kept", **options)
    assert "begun anew" not in caplog.text
    assert_identical(found, profile(dropping(training=False), loaders(data()), **options))


def test_another_precision_of_the_forward(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    killed(tmp_path / "kept", 2, null=0)
    with torch.autocast("cpu", torch.bfloat16):
        assert_begun_anew(tmp_path / "kept", data(), caplog, "another profile (precision)", null=0)


def kept_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("damage", ["gone", "short", "flipped", "empty"])
def test_a_damaged_file(number: int, damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "kept"
    killed(folder, IN_TEST)
    kinds = ["profile.json", "train pass 1*.pt", "test pass 1*.pt", "train features/2.bin"]
    (file,) = (folder / "process0").glob(kinds[number])
    content = bytearray(file.read_bytes())
    if damage == "gone":
        file.unlink()
    elif damage == "flipped":
        content[len(content) // 2] ^= 4
        file.write_bytes(content)
    else:
        file.write_bytes(content[: 0 if damage == "empty" else len(content) - 1])
    if damage == "gone" and number == 0:
        # Without the file that names the others nothing is known of them.
        assert_identical(
            profile(network(), loaders(data()), resume_dir=folder, **OPTIONS),
            profile(network(), loaders(data()), **OPTIONS),
        )
        return
    assert_begun_anew(folder, data(), caplog, file.name)


def test_a_loader_that_runs_once_is_refused_and_the_folder_stays(tmp_path: Path) -> None:
    options = {"metrics": "nc1", "memory": "1GiB"}

    def once(batches: Batches, stop: int = 9) -> Any:
        for number, batch in enumerate(batches):
            if number == stop:
                raise Interrupted
            yield batch

    folder = tmp_path / "kept"
    with pytest.raises(Interrupted):
        profile(network(), once(data()["train"], 2), resume_dir=ResumeState(folder, every=0), **options)
    with pytest.raises(InvalidData, match="not what it was.*a loader that runs once cannot begin anew: remove .*kept"):
        profile(network(), once(data()["train"][::-1]), resume_dir=folder, **options)
    found = profile(network(), once(data()["train"]), resume_dir=folder, **options)
    assert_identical(found, profile(network(), once(data()["train"]), **options))


@pytest.mark.parametrize("where", ["", "process0"])
def test_files_of_something_else_are_never_removed(where: str, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    (folder / where).mkdir(parents=True, exist_ok=True)
    (folder / where / "thesis.tex").write_text("all of it")
    if where:
        with pytest.raises(InvalidData, match=r"process0 holds 'thesis.tex', which no profile wrote"):
            profile(network(), data(), resume_dir=folder, **OPTIONS)
    else:
        profile(network(), data(), resume_dir=folder, **OPTIONS)
    assert [path.name for path in kept_files(folder)] == ["thesis.tex"]


def test_an_empty_folder_and_a_file(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    profile(network(), data(), resume_dir=tmp_path / "kept", **OPTIONS)
    (tmp_path / "file").touch()
    with pytest.raises(InvalidData, match="is a file; what a profile keeps goes into a folder"):
        profile(network(), data(), resume_dir=tmp_path / "file", **OPTIONS)


def test_a_second_profile_of_one_folder_is_refused_at_its_start(tmp_path: Path) -> None:
    def within() -> Any:
        with pytest.raises(InUse, match="another profile is being measured"):
            profile("no/such:model", data(), resume_dir=tmp_path / "kept")
        yield from data()["train"]

    found = profile(network(), within(), resume_dir=tmp_path / "kept", metrics="nc1", memory="1GiB")
    assert found.attrs["samples"] == '{"train": 60}' or found.attrs["samples"] == {"train": 60}


SHARED = """
import os, sys
import torch
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset
from helpers.networks import Perceptron, blobs
from layerwise.passes.resume import ResumeState
from layerwise.profiling import profile

path, stop, change = sys.argv[1:]
torch.distributed.init_process_group("gloo")
rank = torch.distributed.get_rank()
torch.manual_seed(0)
# A forward in double precision is the same whatever else is in the batch.
network = Perceptron().double()
x, y = blobs(61)
x = x.double()
if change == "labels" and rank == 1:
    y = y.roll(1)
part = TensorDataset(x, y)
loader = DataLoader(part, batch_size=8, sampler=DistributedSampler(part, shuffle=False))
left = int(stop)

def stopping(module, args):
    # Few samples are run before the data is, to find axes and to check company.
    global left
    left -= len(args[0]) > 4
    if left < 0:
        os._exit(0)

network.register_forward_pre_hook(stopping)
state = ResumeState(path + ".kept", every=0)
found = profile(network, loader, memory="1GiB", resume_dir=state)
state.remove()
found.to_netcdf(f"{path}-{stop}-{change}-{rank}.nc", engine="h5netcdf")
torch.distributed.destroy_process_group()
"""


@pytest.mark.parametrize("change", ["none", "labels"])
def test_processes_go_on_or_begin_anew_together(change: str, tmp_path: Path) -> None:
    (tmp_path / "worker.py").write_text(f"import sys\nsys.path.insert(0, {str(TESTS)!r})\n{SHARED}")
    torchrun("worker.py", "out", "2", "none", cwd=tmp_path)
    assert len(list(tmp_path.glob("out.kept/*/profile.json"))) == 2
    torchrun("worker.py", "out", "1000", change, cwd=tmp_path)
    assert not (tmp_path / "out.kept").exists()
    x, y = blobs(61)
    if change == "labels":
        # Those of the second process.
        y[1::2] = y.roll(1)[1::2]
    expected = profile(network().double(), loader(x.double(), y), metrics=METRICS)
    for rank in (0, 1):
        found = xr.open_dataset(tmp_path / f"out-1000-{change}-{rank}.nc")
        for name in METRICS:
            np.testing.assert_allclose(found[name].values, expected[name].values, rtol=1e-9, err_msg=name)


def test_what_more_processes_left_is_not_taken_and_does_not_stay(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    killed(tmp_path / "kept", 2, null=0)
    (tmp_path / "kept" / "process1").mkdir()
    with caplog.at_level(logging.INFO, "layerwise"):
        profile(network(), loaders(data()), resume_dir=tmp_path / "kept", **OPTIONS | {"null": 0})
    assert "going on with the profile" in caplog.text
    assert not (tmp_path / "kept").exists()


def test_the_command_line_refuses_a_second_command_at_one_run(tmp_path: Path) -> None:
    from layerwise.runtime.lock import FolderLock

    lock = FolderLock(tmp_path / "runs.lw.partial" / "a", "process0")
    lock.acquire()
    words = ["-m", "layerwise", "profile", "no:thing", "sklearn:digits", "--store", "runs.lw", "--run", "a"]
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    lock.release()
    assert done.returncode == 2
    assert "error: another profile is being measured with runs.lw.partial/a" in done.stderr


def test_what_two_processes_kept_one_begins_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "worker.py").write_text(f"import sys\nsys.path.insert(0, {str(TESTS)!r})\n{SHARED}")
    torchrun("worker.py", "out", "2", "none", cwd=tmp_path)
    x, y = blobs(61)
    whole = DataLoader(TensorDataset(x.double(), y), batch_size=8)
    with caplog.at_level(logging.WARNING, "layerwise"):
        found = profile(network().double(), whole, resume_dir=tmp_path / "out.kept", memory="1GiB")
    assert "is of another profile (processes): begun anew" in caplog.text
    assert_identical(found, profile(network().double(), whole, memory="1GiB"))
    assert not (tmp_path / "out.kept").exists()
