"""A training that is over is profiled from its checkpoints as it would have been while it ran."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.networks import Perceptron, blobs, loader
from torch import Tensor, nn

import layerwise
from layerwise.checkpoints.match_names import WeightsMismatch
from layerwise.cli.app import app
from layerwise.errors import InvalidData, NotRepeatable
from layerwise.network.weights import weight_hash
from layerwise.profiling import Profiler, profile
from layerwise.store import EpochExists, open_store
from layerwise.training.checkpoint_series import profile_checkpoints

METRICS = ["nc1", "ncc_error", "self_duality"]


def network(seed: int = 0) -> Perceptron:
    torch.manual_seed(seed)
    return Perceptron()


def data() -> dict[str, list[tuple[Tensor, Tensor]]]:
    return {"train": loader(*blobs()), "test": loader(*blobs(seed=1))}


def save(folder: Path, *epochs: float) -> str:
    """A network of its own for each epoch; gives the pattern that finds them."""
    for epoch in epochs:
        torch.save(network(int(10 * epoch)).state_dict(), folder / f"epoch_{epoch:g}.pt")
    return str(folder / "epoch_*.pt")


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The epochs that were measured since."""
    epochs: list[float] = []
    measure = Profiler.measure

    def recorded(self: Profiler, epoch: float = 0, step: int | None = None, **options: Any) -> Any:
        epochs.append(epoch)
        return measure(self, epoch, step, **options)

    monkeypatch.setattr(Profiler, "measure", recorded)
    return epochs


def test_every_epoch_is_what_a_profile_of_that_network_is(tmp_path: Path) -> None:
    store = open_store(tmp_path / "runs.lw")
    ds = profile_checkpoints(network(), data(), save(tmp_path, 1, 2, 10), store=store, run="a/b", metrics=METRICS)
    assert ds.equals(store["a/b"].load())
    assert ds["epoch"].values.tolist() == ds["step"].values.tolist() == [1, 2, 10]
    said = store.attributes("a/b")
    for epoch in (1, 2, 10):
        by_hand = profile(network(10 * epoch), data(), metrics=METRICS)
        for name, values in by_hand.data_vars.items():
            np.testing.assert_array_equal(ds[name].sel(epoch=[epoch]).values, values.values, str(name))
        assert said["model_hash"][epoch] == by_hand.attrs["model_hash"]
        assert said["checkpoint"][epoch] == str(tmp_path / f"epoch_{epoch}.pt")


def test_the_network_has_its_own_weights_again_and_none_of_the_hooks(tmp_path: Path) -> None:
    model = network()
    model.train()
    before = weight_hash(model)
    profile_checkpoints(model, data(), save(tmp_path, 1, 2), metrics="nc1")
    assert weight_hash(model) == before
    assert all(module.training and not module._forward_hooks for module in model.modules())


def test_a_call_that_was_killed_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, measured: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    options: dict[str, Any] = {"store": tmp_path / "runs.lw", "run": "a", "metrics": METRICS}
    pattern = save(tmp_path, 1, 2, 3, 4)
    whole = profile_checkpoints(network(), data(), pattern, metrics=METRICS)
    measured.clear()

    def killed(self: Profiler, epoch: float = 0, step: int | None = None, **given: Any) -> Any:
        if epoch == 3:
            raise KeyboardInterrupt
        return measure(self, epoch, step, **given)

    model, measure = network(), Profiler.measure
    with monkeypatch.context() as context, pytest.raises(KeyboardInterrupt):
        context.setattr(Profiler, "measure", killed)
        profile_checkpoints(model, data(), pattern, **options)
    assert measured == [1, 2]
    assert weight_hash(model) == weight_hash(network())
    measured.clear()
    with caplog.at_level("INFO", "layerwise"):
        resumed = profile_checkpoints(model, data(), pattern, **options)
    assert measured == [3, 4]
    assert "measured 2 of 4 checkpoints; the run 'a' had 2 already" in caplog.text
    assert resumed.equals(whole)
    save(tmp_path, 5)
    measured.clear()
    assert profile_checkpoints(model, data(), pattern, **options)["epoch"].values.tolist() == [1, 2, 3, 4, 5]
    assert measured == [5]


def test_what_was_measured_before_a_checkpoint_of_another_network_stays(tmp_path: Path, measured: list[float]) -> None:
    pattern = save(tmp_path, 1, 2)
    torch.save(Perceptron(width=8).state_dict(), tmp_path / "epoch_3.pt")
    model = network()
    with pytest.raises(WeightsMismatch, match="epoch_3.pt does not fit the network"):
        profile_checkpoints(model, data(), pattern, store=tmp_path / "runs.lw", metrics="nc1")
    assert open_store(tmp_path / "runs.lw")["run"]["epoch"].values.tolist() == [1, 2]
    assert weight_hash(model) == weight_hash(network())


def test_overwriting_measures_all_anew_and_keeps_the_old_run_until_there_is_a_new_one(
    tmp_path: Path, measured: list[float]
) -> None:
    options: dict[str, Any] = {"store": tmp_path / "runs.lw", "metrics": "nc1"}
    profile_checkpoints(network(), data(), save(tmp_path, 1, 2, 3), **options)
    (tmp_path / "epoch_3.pt").unlink()
    torch.save({}, tmp_path / "epoch_1.pt")
    with pytest.raises(InvalidData, match="epoch_1.pt has no state dict"):
        profile_checkpoints(network(), data(), tmp_path / "epoch_*.pt", overwrite=True, **options)
    assert open_store(tmp_path / "runs.lw")["run"].sizes["epoch"] == 3
    measured.clear()
    options["metrics"] = ["nc1", "cdnv"]
    ds = profile_checkpoints(network(), data(), save(tmp_path, 1, 2), overwrite=True, **options)
    assert measured == [1, 2] == ds["epoch"].values.tolist()
    assert "cdnv" in ds


def test_a_checkpoint_that_was_written_anew_is_told_and_one_that_was_copied_is_not(
    tmp_path: Path, measured: list[float]
) -> None:
    options: dict[str, Any] = {"store": tmp_path / "runs.lw", "metrics": "nc1"}
    pattern = save(tmp_path, 1, 2)
    before = profile_checkpoints(network(), data(), pattern, **options)
    save(tmp_path, 1, 2)
    measured.clear()
    assert profile_checkpoints(network(), data(), pattern, **options).equals(before)
    assert not measured
    torch.save(network(99).state_dict(), tmp_path / "epoch_2.pt")
    with pytest.raises(EpochExists, match=r"has epoch 2 with other weights than .*epoch_2.pt has now"):
        profile_checkpoints(network(), data(), pattern, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reduce": "flatten"}, "with reduce auto, and not flatten"),
        ({"metrics": ["nc1", "cdnv"]}, "with metrics .*nc1.*, and not .*cdnv"),
        ({"layers": "leaves"}, "with layers"),
        ({"seed": 1}, "with seed 0, and not 1"),
        ({"convention": "he_su"}, "with convention default, and not he_su"),
        ({"debiased": True}, "with debiased False, and not True"),
        ({"null": 5}, "with null 4, and not 5"),
        ({"jackknife": 4}, "with jackknife none, and not 4"),
        ({"null": 0}, "with metrics .*nc1_null.*, and not "),
        ({"frame": "orthogonal"}, "with frame .*simplex.*, and not .*orthogonal"),
    ],
)
def test_a_run_of_other_settings_is_not_added_to(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    given: dict[str, Any] = {
        "store": tmp_path / "runs.lw",
        "metrics": ["nc1", "frame_distance"],
        "frame": "etf",
        "null": 4,
    }
    profile_checkpoints(network(), data(), save(tmp_path, 1), **given)
    with pytest.raises(InvalidData, match=message + ".*another name"):
        profile_checkpoints(network(), data(), save(tmp_path, 2), **(given | options))


def test_a_run_of_pixels_that_were_drawn_otherwise_is_not_added_to(tmp_path: Path) -> None:
    pictures = torch.randn(12, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    batches = [(pictures, (pictures[:, 0] > 0).long())]
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1))
    torch.save(network.state_dict(), tmp_path / "epoch_1.pt")
    given: dict[str, Any] = {"store": tmp_path / "runs.lw", "reduce": "pixels", "metrics": "nc1", "layers": "leaves"}
    profile_checkpoints(network, batches, str(tmp_path / "epoch_*.pt"), samples_per_class=10, **given)
    torch.save(network.state_dict(), tmp_path / "epoch_2.pt")
    for options, message in (
        ({"samples_per_class": 50}, "samples_per_class 10, and not 50"),
        ({"samples_per_class": 10, "ignore_index": 0}, r"ignore_index \[-100, 255\], and not \[0\]"),
    ):
        with pytest.raises(InvalidData, match=message):
            profile_checkpoints(network, batches, str(tmp_path / "epoch_*.pt"), **given, **options)
    found = profile_checkpoints(network, batches, str(tmp_path / "epoch_*.pt"), samples_per_class=10, **given)
    assert found["epoch"].values.tolist() == [1, 2]


@pytest.mark.parametrize("options", [{"jackknife": 3, "null": 3}, {"frame": "etf"}, {"metrics": "linear_*"}])
def test_what_is_measured_many_times_or_of_targets_is_gone_on_with(options: dict[str, Any], tmp_path: Path) -> None:
    batches = data()
    if "metrics" in options:
        batches = {split: [(inputs, inputs[:, :2]) for inputs, _ in own] for split, own in batches.items()}
    given: dict[str, Any] = {"store": tmp_path / "runs.lw", "metrics": "nc1*", **options}
    profile_checkpoints(network(), batches, save(tmp_path, 1), **given)
    found = profile_checkpoints(network(), batches, save(tmp_path, 2), **given)
    assert found["epoch"].values.tolist() == [1, 2]


def test_a_run_of_other_data_or_of_no_checkpoints_or_of_whole_epochs_is_not_added_to(tmp_path: Path) -> None:
    store = open_store(tmp_path / "runs.lw")
    profile_checkpoints(network(), data(), save(tmp_path, 1), store=store, metrics="nc1")
    fewer = {split: batches[:2] for split, batches in data().items()}
    with pytest.raises(InvalidData, match="other data of that name: samples .*60.*32"):
        profile_checkpoints(network(), fewer, save(tmp_path, 2), store=store, metrics="nc1")
    with pytest.raises(InvalidData, match="counts whole epochs"):
        profile_checkpoints(network(), data(), save(tmp_path, 1.5), store=store, metrics="nc1")
    (tmp_path / "epoch_1.5.pt").unlink()
    store.write(profile(network(), data(), metrics="nc1"), run="other")
    with pytest.raises(InvalidData, match="'other' was not made of checkpoints"):
        profile_checkpoints(network(), data(), save(tmp_path, 2), store=store, run="other", metrics="nc1")


def test_a_loader_that_runs_once_is_refused_before_anything_is_measured(tmp_path: Path, measured: list[float]) -> None:
    with pytest.raises(NotRepeatable, match="every checkpoint needs a run of the data"):
        profile_checkpoints(network(), iter(data()["train"]), save(tmp_path, 1, 2), metrics="nc1")
    assert not measured


def test_the_command_line_goes_on_with_a_run_and_prints_its_last_epoch(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "own_network.py").write_text(
        "import torch\nfrom torch import nn\n\n\ndef make():\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    from own_network import make  # type: ignore[import-not-found]

    (tmp_path / "weights").mkdir()
    for epoch in range(3):
        torch.manual_seed(epoch)
        torch.save(make().state_dict(), tmp_path / "weights" / f"{epoch}.pt")
    command = ["profile", "own_network:make", "sklearn:digits?limit=200", "--metrics", "nc1", "--device", "cpu"]
    command += ["--store", "runs.lw", "--checkpoints"]

    def call(*words: str) -> str:
        caplog.clear()
        with caplog.at_level("INFO", "layerwise"):
            app([*command, *words], standalone_mode=False)
        return capsys.readouterr().out

    call("weights/[01].pt")
    assert "measured 2 of 2 checkpoints" in caplog.text
    shown = call("weights/*.pt")
    assert "measured 1 of 3 checkpoints; the run 'weights/sklearn-digits' had 2 already" in caplog.text
    ds = open_store("runs.lw")["weights/sklearn-digits"]
    assert ds["epoch"].values.tolist() == [0, 1, 2]
    assert ds.attrs["model"] == "own_network:make"
    assert f"{ds['nc1'].isel(epoch=-1, split=0, target=0, layer=-1).item():.4g}" in shown
    call("weights", "--overwrite")
    assert "measured 3 of 3 checkpoints; the run 'weights/sklearn-digits' had 0 already" in caplog.text
    with pytest.raises(InvalidData, match="other data|with data"):
        app([*command[:2], "sklearn:digits?limit=100", *command[3:], "weights/*.pt"], standalone_mode=False)
    sys.modules.pop("own_network")


def test_it_is_exported() -> None:
    assert layerwise.profile_checkpoints is profile_checkpoints


def other_labels(batches: dict[str, list[tuple[Tensor, Tensor]]]) -> dict[str, list[tuple[Tensor, Tensor]]]:
    return {split: [(inputs, labels.roll(1)) for inputs, labels in own] for split, own in batches.items()}


class Noisy(list[tuple[Tensor, Tensor]]):
    """Other inputs every time, as augmentation makes them."""

    def __iter__(self) -> Any:
        return iter([(inputs + 0.1 * torch.randn(inputs.shape), labels) for inputs, labels in super().__iter__()])


@pytest.mark.parametrize("augmented", [False, True])
def test_other_labels_of_the_same_number_are_noticed(augmented: bool, tmp_path: Path) -> None:
    def given(batches: dict[str, list[tuple[Tensor, Tensor]]]) -> Any:
        return {split: Noisy(own) for split, own in batches.items()} if augmented else batches

    store = open_store(tmp_path / "runs.lw")
    profile_checkpoints(network(), given(data()), save(tmp_path, 1), store=store, metrics="nc1")
    profile_checkpoints(network(), given(data()), save(tmp_path, 2), store=store, metrics="nc1")
    name = "label_fingerprint" if augmented else "data_fingerprint"
    with pytest.raises(InvalidData, match=f"'run' was made of other data of that name: {name}"):
        profile_checkpoints(network(), given(other_labels(data())), save(tmp_path, 3), store=store, metrics="nc1")
    assert store["run"]["epoch"].values.tolist() == [1, 2]


def test_other_inputs_of_a_loader_that_repeats_itself_are_noticed(tmp_path: Path) -> None:
    store = open_store(tmp_path / "runs.lw")
    profile_checkpoints(network(), data(), save(tmp_path, 1), store=store, metrics="nc1")
    moved = {split: [(inputs + 1, labels) for inputs, labels in own] for split, own in data().items()}
    with pytest.raises(InvalidData, match="data_fingerprint"):
        profile_checkpoints(network(), moved, save(tmp_path, 2), store=store, metrics="nc1")


def test_the_network_before_its_training_is_epoch_0(tmp_path: Path, measured: list[float]) -> None:
    store = open_store(tmp_path / "runs.lw")
    options: dict[str, Any] = {"store": store, "base": True, "metrics": METRICS}
    model = network(7)
    ds = profile_checkpoints(model, data(), save(tmp_path, 1, 2), **options)
    assert measured == [0, 1, 2] == ds["epoch"].values.tolist() == ds["step"].values.tolist()
    alone = profile(network(7), data(), metrics=METRICS)
    for name in METRICS:
        np.testing.assert_array_equal(ds[name].sel(epoch=[0]).values, alone[name].values)
    assert store.attributes("run")["model_hash"][0] == weight_hash(network(7)) == weight_hash(model)
    measured.clear()
    save(tmp_path, 2)
    assert profile_checkpoints(network(7), data(), str(tmp_path / "epoch_*.pt"), **options).equals(ds)
    assert not measured
    with pytest.raises(EpochExists, match="has epoch 0 with other weights"):
        profile_checkpoints(network(8), data(), str(tmp_path / "epoch_*.pt"), **options)


def test_a_base_can_be_added_to_a_run_and_has_its_own_weights(tmp_path: Path, measured: list[float]) -> None:
    options: dict[str, Any] = {"store": tmp_path / "runs.lw", "metrics": "nc1"}
    pattern = save(tmp_path, 1, 2)
    profile_checkpoints(network(7), data(), pattern, **options)
    # Those that were copied since have their weights looked at, which must not be taken for the base's.
    save(tmp_path, 1, 2)
    measured.clear()
    ds = profile_checkpoints(network(7), data(), pattern, base=True, **options)
    assert measured == [0]
    alone = profile(network(7), data(), metrics="nc1")
    np.testing.assert_array_equal(ds["nc1"].sel(epoch=[0]).values, alone["nc1"].values)


def test_a_base_that_is_none_is_refused(tmp_path: Path) -> None:
    pattern = save(tmp_path, 1, 2)
    with pytest.raises(InvalidData, match=r"Perceptron has the weights of .*epoch_2\.pt, and is no network before"):
        profile_checkpoints(network(20), data(), pattern, base=True, metrics="nc1")
    save(tmp_path, 0)
    with pytest.raises(InvalidData, match=r"epoch_0\.pt is of epoch 0, before the training; leave base away"):
        profile_checkpoints(network(7), data(), pattern, base=True, metrics="nc1")
    with pytest.raises(InvalidData, match="--base is the network before the training"):
        app(["profile", "no:thing", "sklearn:digits", "--base"], standalone_mode=False)


def test_a_first_checkpoint_of_epoch_0_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "layerwise"):
        profile_checkpoints(network(), data(), save(tmp_path, 0, 1), metrics="nc1")
    assert (
        "epoch_0.pt is taken for the network before its training: epochs are counted when they are done" in caplog.text
    )


def test_what_a_checkpoint_has_beside_the_network_is_named_once_and_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for epoch in (1, 2):
        state = {f"model.{name}": value for name, value in network(epoch).state_dict().items()}
        torch.save(state | {"loss.weight": torch.ones(3)}, tmp_path / f"epoch_{epoch}.pt")
    ds = profile_checkpoints(network(), data(), tmp_path / "epoch_*.pt", metrics="nc1")
    assert caplog.text.count("the network has no place for loss.weight") == 1
    assert ds.attrs["checkpoint_left_out"] == "loss.weight"


def test_two_calls_at_one_folder_are_refused(tmp_path: Path) -> None:
    from layerwise.errors import InUse
    from layerwise.passes.resume import ResumeState

    pattern = save(tmp_path, 1)
    with ResumeState(tmp_path / "kept"), pytest.raises(InUse):
        profile_checkpoints(network(), data(), pattern, resume_dir=ResumeState(tmp_path / "kept"), metrics="nc1")


def test_a_folder_by_its_path_resumes_within_an_epoch(tmp_path: Path) -> None:
    from layerwise.passes.resume import ResumeState

    pattern, model, rows = save(tmp_path, 1), network(), []
    options: dict[str, Any] = {"metrics": "nc1", "check": False, "memory": "1GiB"}
    whole = profile_checkpoints(model, data(), pattern, **options)

    def stop(_module: Any, args: tuple[Tensor, ...]) -> None:
        # The first samples are run before the data is, to find axes.
        rows.append(len(args[0]))
        if sum(size > 4 for size in rows) > 2:
            raise KeyboardInterrupt

    handle = model.register_forward_pre_hook(stop)
    with pytest.raises(KeyboardInterrupt):
        profile_checkpoints(model, data(), pattern, resume_dir=ResumeState(tmp_path / "kept", every=0), **options)
    handle.remove()
    assert (tmp_path / "kept").is_dir()
    resumed = profile_checkpoints(model, data(), pattern, resume_dir=str(tmp_path / "kept"), **options)
    assert np.array_equal(resumed["nc1"], whole["nc1"])
    assert not (tmp_path / "kept").exists()
