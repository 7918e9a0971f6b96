"""A tracker measures what it was asked to, keeps it, and leaves the training as it was."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from layerwise.errors import EmptyData, InvalidArgument, InvalidData, UnknownName
from layerwise.store import EpochExists, open_store
from layerwise.training.tracker import Tracker as AnyTracker

CLASSES = 3

# The network here draws and counts in every mode, as the check of company would say.
Tracker = partial(AnyTracker, check=False)


class Augmented(Dataset[tuple[Tensor, Tensor]]):
    """Pictures in noise that every library's generator has a part in."""

    def __init__(self, size: int = 60) -> None:
        generator = torch.Generator().manual_seed(7)
        self.images = torch.randn(size, 1, 6, 6, generator=generator)
        self.labels = torch.arange(size) % CLASSES

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        noise = random.random() + float(np.random.standard_normal()) + torch.randn(())
        return self.images[index] + 0.1 * noise, self.labels[index]


class Counting(nn.Module):
    """Draws in every mode, and counts its calls in a buffer that changes what it gives."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x * (1 + 1e-3 * torch.rand(())) + 1e-3 * self.calls


def network() -> nn.Sequential:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout2d(0.3))
    return nn.Sequential(body, Counting(), nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, CLASSES))


def seed_all() -> None:
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)


def trained(
    model: nn.Module,
    loader: DataLoader[Any],
    after_epoch: Callable[[int], object] = lambda epoch: None,
    epochs: int = 10,
) -> dict[str, Any]:
    """The states of network, optimiser and generators after a training, from the same seeds each time."""
    optimiser = torch.optim.AdamW(model.parameters(), 0.01)
    model.train()
    after_epoch(0)
    for epoch in range(epochs):
        for inputs, labels in loader:
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(inputs), labels).backward()
            optimiser.step()
        after_epoch(epoch + 1)
    drawn = [random.random(), float(np.random.rand()), float(torch.rand(()))]
    return {"weights": model.state_dict(), "optimiser": optimiser.state_dict()["state"], "drawn": drawn}


def assert_same(a: Any, b: Any) -> None:
    """Equal to the last bit."""
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, Tensor):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)
    else:
        assert a == b


def with_and_without(
    loader: Callable[[], DataLoader[Any]],
    probe: Callable[[DataLoader[Any]], Any],
    wrap: Callable[[nn.Module], nn.Module] = lambda model: model,
    epochs: int = 10,
) -> None:
    """Train twice, and compare."""
    seed_all()
    plain = trained(wrap(network()), loader(), epochs=epochs)
    seed_all()
    model, batches = wrap(network()), loader()
    with Tracker(model, probe(batches), metrics=["nc1", "ncc_error"]) as tracker:
        tracked = trained(model, batches, tracker.measure, epochs=epochs)
    assert tracker.dataset.sizes["epoch"] == epochs + 1
    assert_same(plain, tracked)


def shuffled(workers: int) -> DataLoader[Any]:
    return DataLoader(Augmented(), batch_size=16, shuffle=True, num_workers=workers)


@pytest.fixture
def probe() -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(3)
    return [(torch.randn(12, 1, 6, 6, generator=generator), torch.arange(12) % CLASSES)]


@pytest.fixture
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("workers", [0, 2])
def test_training_is_the_same_to_the_last_bit_beside_a_tracker(workers: int) -> None:
    with_and_without(lambda: shuffled(workers), lambda _: {"train": shuffled(0), "test": shuffled(0)})


def test_a_probe_with_workers_changes_nothing_either() -> None:
    with_and_without(lambda: shuffled(0), lambda _: shuffled(2), epochs=2)


@pytest.mark.usefixtures("deterministic")
def test_training_is_the_same_under_deterministic_algorithms() -> None:
    with_and_without(lambda: shuffled(0), lambda _: shuffled(0))


def test_training_is_the_same_where_the_model_is_compiled() -> None:
    compilations = []

    def backend(graph: torch.fx.GraphModule, _: list[Tensor]) -> Callable[..., Any]:
        compilations.append(graph)
        return graph.forward

    def compiled(model: nn.Module) -> nn.Module:
        torch._dynamo.reset()
        compilations.append(None)
        return torch.compile(model, backend=backend)

    with_and_without(lambda: shuffled(0), lambda _: shuffled(0), compiled)
    second = compilations.index(None, 1)
    assert second > 1
    # Nothing was compiled anew on account of the tracker.
    assert len(compilations) - second == second


def test_a_generator_that_the_loaders_share_stays_in_step() -> None:
    def own() -> DataLoader[Any]:
        return DataLoader(Augmented(), batch_size=16, shuffle=True, generator=torch.Generator().manual_seed(5))

    with_and_without(own, lambda loader: DataLoader(Augmented(), batch_size=16, generator=loader.generator), epochs=3)
    with_and_without(own, lambda loader: loader, epochs=3)


def test_gradients_survive_measuring_within_an_autocast_region(probe: list[tuple[Tensor, Tensor]]) -> None:
    def gradients(measure: bool) -> list[Tensor]:
        model = network().eval()
        tracker = Tracker(model, probe, metrics="nc1")
        with torch.autocast("cpu", torch.bfloat16):
            if measure:
                tracker.measure(0)
            loss = model(probe[0][0]).square().mean()
        loss.backward()
        return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]

    plain, tracked = gradients(False), gradients(True)
    assert len(plain) == len(tracked) == 8
    for a, b in zip(plain, tracked, strict=True):
        assert_same(a, b)


def test_measuring_between_backward_and_step_leaves_gradients_modes_and_hooks(
    probe: list[tuple[Tensor, Tensor]],
) -> None:
    model = network()
    model[0][1].eval()
    model[3].weight.requires_grad_(False)
    tracker = Tracker(model, probe)
    model(probe[0][0]).sum().backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    copies = [None if gradient is None else gradient.clone() for gradient in gradients]
    modes = [module.training for module in model.modules()]
    tracker.measure(0)
    for parameter, gradient, copy in zip(model.parameters(), gradients, copies, strict=True):
        assert parameter.grad is gradient
        assert parameter.requires_grad == (copy is not None)
        if copy is not None:
            assert_same(gradient, copy)
    assert [module.training for module in model.modules()] == modes
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_measurement_within_an_autocast_region_sees_the_weights_as_they_are(
    probe: list[tuple[Tensor, Tensor]],
) -> None:
    model = network().eval()
    tracker = Tracker(model, probe, metrics="nc1")
    with torch.autocast("cpu", torch.bfloat16):
        model(probe[0][0])
        with torch.no_grad():
            model[3].weight.normal_()
        within = tracker.measure(0)
        assert torch.is_autocast_cache_enabled()
    with torch.autocast("cpu", torch.bfloat16):
        afresh = tracker.measure(1)
    assert within is not None
    assert afresh is not None
    assert within["nc1"].values.tolist() == afresh["nc1"].values.tolist()


@pytest.mark.parametrize("fails_in", ["loader", "model"])
def test_a_measurement_that_fails_leaves_everything_and_keeps_nothing(
    fails_in: str, probe: list[tuple[Tensor, Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = network()
    batches: list[Any] = list(probe)
    tracker = Tracker(model, batches, store=open_store("memory://"))

    def fail(x: Tensor) -> Tensor:
        torch.rand(3)
        raise RuntimeError("out of luck")

    if fails_in == "model":
        monkeypatch.setattr(model[4], "forward", fail)
    else:
        batches.append(("no", "batch"))
    seed_all()
    before = [torch.get_rng_state(), {name: value.clone() for name, value in model.state_dict().items()}]
    with pytest.raises((RuntimeError, TypeError, ValueError)):
        tracker.measure(0)
    assert_same({"": before[0]} | before[1], {"": torch.get_rng_state()} | model.state_dict())
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())
    assert torch.is_grad_enabled()
    with pytest.raises(EmptyData):
        _ = tracker.dataset
    monkeypatch.undo()
    del batches[1:]
    assert tracker.measure(0) is not None


@pytest.mark.parametrize(
    ("every", "measured"),
    [
        (1, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (4, [0, 4, 8]),
        ("log", [0, 1, 2, 4, 8]),
        (lambda epoch: epoch in (2, 3), [2, 3]),
    ],
)
def test_the_schedule_says_which_epochs_are_measured(
    every: Any, measured: list[int], probe: list[tuple[Tensor, Tensor]]
) -> None:
    tracker = Tracker(network(), probe, every=every, metrics="nc1")
    given = [epoch for epoch in range(10) if tracker.measure(epoch) is not None]
    assert given == measured
    assert tracker.dataset["epoch"].values.tolist() == measured
    assert tracker.dataset["epoch"].dtype.kind == "i"


@pytest.mark.parametrize(("every", "error"), [(0, InvalidData), ("logarithmic", UnknownName)])
def test_a_schedule_that_is_none_is_refused(
    every: Any, error: type[Exception], probe: list[tuple[Tensor, Tensor]]
) -> None:
    with pytest.raises(error):
        Tracker(network(), probe, every=every)
    with pytest.raises(UnknownName, match="batch"):
        Tracker(network(), probe, by="batch")  # type: ignore[arg-type]


def test_the_last_epoch_is_measured_whatever_the_schedule_says_and_once(probe: list[tuple[Tensor, Tensor]]) -> None:
    tracker = Tracker(network(), probe, every=3, metrics="nc1")
    for epoch in range(6):
        tracker.measure(epoch, last=epoch == 5)
    assert tracker.measure(5, last=True) is None
    assert tracker.dataset["epoch"].values.tolist() == [0, 3, 5]


@pytest.mark.parametrize("stored", [False, True])
def test_by_step_epochs_are_fractions_that_do_not_collide(
    stored: bool, probe: list[tuple[Tensor, Tensor]], tmp_path: Path
) -> None:
    store = tmp_path / "runs.lw" if stored else None
    tracker = Tracker(network(), probe, every="log", by="step", store=store, metrics="nc1")
    for step in range(9):
        tracker.measure(step / 4, step)
    assert tracker.dataset["epoch"].values.tolist() == [0.0, 0.25, 0.5, 1.0, 2.0]
    assert tracker.dataset["step"].values.tolist() == [0, 1, 2, 4, 8]


def test_an_epoch_that_says_too_little_or_too_much_is_refused(probe: list[tuple[Tensor, Tensor]]) -> None:
    by_epoch = Tracker(network(), probe, metrics="nc1")
    with pytest.raises(InvalidData, match="by='step'"):
        by_epoch.measure(0.5)
    by_epoch.measure(1)
    with pytest.raises(EpochExists, match="epoch 1 was already measured"):
        by_epoch.measure(1)
    by_step = Tracker(network(), probe, every=10, by="step", metrics="nc1")
    with pytest.raises(InvalidData, match="step"):
        by_step.measure(1)
    by_step.measure(1, 10)
    with pytest.raises(EpochExists, match=r"at step 10; within an epoch .* len\(loader\)"):
        by_step.measure(1, 20)


def test_a_run_that_the_store_has_is_refused_before_training(
    probe: list[tuple[Tensor, Tensor]], tmp_path: Path
) -> None:
    Tracker(network(), probe, store=tmp_path / "runs.lw", run="a", metrics="nc1").measure(0)
    with pytest.raises(EpochExists, match=r"'a' already has 1 epochs.*resume=True"):
        Tracker(network(), probe, store=tmp_path / "runs.lw", run="a", metrics="nc1")
    Tracker(network(), probe, store=tmp_path / "runs.lw", run="b", metrics="nc1")


def test_a_resumed_run_keeps_what_was_and_replaces_what_is_measured_again(
    probe: list[tuple[Tensor, Tensor]], tmp_path: Path
) -> None:
    model = network()
    options: dict[str, Any] = {"store": tmp_path / "runs.lw", "run": "a", "metrics": "nc1", "resume": True}
    killed = Tracker(model, probe, **options)
    for epoch in range(4):
        killed.measure(epoch)
    before = killed.dataset
    with torch.no_grad():
        model[0][0].weight.normal_()
    resumed = Tracker(model, probe, **options)
    assert resumed.dataset.equals(before)
    for epoch in (3, 4):
        resumed.measure(epoch)
    after = resumed.dataset
    assert after["epoch"].values.tolist() == [0, 1, 2, 3, 4]
    assert after.sel(epoch=[0, 1, 2]).equals(before.sel(epoch=[0, 1, 2]))
    assert not after["nc1"].sel(epoch=3).equals(before["nc1"].sel(epoch=3))
    assert (
        after["nc1"]
        .sel(epoch=3)
        .drop_vars(["epoch", "step"])
        .equals(after["nc1"].sel(epoch=4).drop_vars(["epoch", "step"]))
    )


def test_of_several_processes_only_the_first_writes(
    probe: list[tuple[Tensor, Tensor]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    follower = Tracker(network(), probe, store=tmp_path / "runs.lw", metrics="nc1")
    follower.measure(0)
    assert follower.dataset.sizes["epoch"] == 1
    assert not (tmp_path / "runs.lw").exists()
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 0)
    first = Tracker(network(), probe, store=tmp_path / "runs.lw", metrics="nc1")
    first.measure(0)
    assert open_store(tmp_path / "runs.lw").runs() == ["run"]


def test_the_loop_of_the_readme_counts_epochs_that_are_done(
    probe: list[tuple[Tensor, Tensor]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import layerwise
    from layerwise.network.weights import weight_hash

    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (loop,) = re.findall(r"```python\n(with lw\.Tracker.*?)\n\n", readme, re.S)
    monkeypatch.chdir(tmp_path)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, CLASSES))
    hashes = [weight_hash(model)]

    def train_one_epoch(model: nn.Module) -> None:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.01)
        hashes.append(weight_hash(model))

    names = {"lw": layerwise, "model": model, "probe": probe, "test": probe, "epochs": 2}
    exec(loop, {**names, "train_one_epoch": train_one_epoch})
    store = open_store("runs.lw")
    assert store["resnet18/seed0"]["epoch"].values.tolist() == [0, 1, 2]
    assert store.attributes("resnet18/seed0")["model_hash"].tolist() == hashes


def test_a_run_of_other_data_or_settings_is_not_resumed(probe: list[tuple[Tensor, Tensor]], tmp_path: Path) -> None:
    options: dict[str, Any] = {"store": tmp_path / "runs.lw", "metrics": "nc1", "resume": True}
    Tracker(network(), probe, **options).measure(0)
    Tracker(network(), probe, **options).measure(1)
    other = [(inputs, labels.roll(1)) for inputs, labels in probe]
    with pytest.raises(InvalidData, match="'run' was made of other data of that name: data_fingerprint.*another name"):
        Tracker(network(), other, **options)
    with pytest.raises(InvalidData, match="samples"):
        Tracker(network(), [(inputs[:9], labels[:9]) for inputs, labels in probe[:1]], **options)
    with pytest.raises(InvalidData, match="with reduce auto, and not flatten"):
        Tracker(network(), probe, **options, reduce="flatten")
    with pytest.raises(InvalidData, match="with metrics"):
        Tracker(network(), probe, **options | {"metrics": "cdnv"})
    assert open_store(tmp_path / "runs.lw")["run"]["epoch"].values.tolist() == [0, 1]


def test_augmented_samples_are_resumed_and_their_labels_compared(tmp_path: Path) -> None:
    options: dict[str, Any] = {"store": tmp_path / "runs.lw", "metrics": "nc1", "resume": True}
    seed_all()
    Tracker(network(), DataLoader(Augmented(), 20), **options).measure(0)
    torch.manual_seed(3)
    state = torch.random.get_rng_state()
    Tracker(network(), DataLoader(Augmented(), 20), **options).measure(1)
    changed = Augmented()
    changed.labels = changed.labels.roll(1)
    changed.labels[0] = 1
    with pytest.raises(InvalidData, match="label_fingerprint"):
        Tracker(network(), DataLoader(changed, 20), **options)
    torch.manual_seed(3)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_data_by_name_is_read_in_batches_on_a_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = "".join(f"{i},{i % 7},{'abc'[i % 3]}\n" for i in range(30))
    (tmp_path / "probe.csv").write_text("x,y,label\n" + rows)
    sizes: list[int] = []
    model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 3))
    model.register_forward_pre_hook(lambda _module, args: sizes.append(len(args[0])))
    tracker = Tracker(model, f"csv:{tmp_path / 'probe.csv'}", batch_size=12, device="cpu", metrics="nc1")
    sizes.clear()
    assert tracker.measure(0).attrs["device"] == "cpu"
    assert sizes[:3] == [12, 12, 6]
    with pytest.raises(InvalidArgument, match="batch_size=0"):
        Tracker(model, f"csv:{tmp_path / 'probe.csv'}", batch_size=0)
