"""How the data is cut into batches changes no number: any sizes, big after small, in any order."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from helpers.networks import Perceptron, blobs
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from layerwise.passes.resume import ResumeState
from layerwise.passes.small_batches import ENOUGH
from layerwise.profiling import profile
from layerwise.statistics import CenterProjections, Centers, ClassMoments, ComplexitySums, TargetAccumulator

SAMPLES = 2 * ENOUGH + 90
WORDS, TOKENS = 12, 9
TESTS = Path(__file__).parents[1]

# An example is a whole profile: to look for smaller ones would take minutes.
law = settings(
    max_examples=12,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)


@st.composite
def cuts(draw: st.DrawFn, samples: int) -> list[int]:
    """Sizes of batches, tiny ones beside some that are too big to wait."""
    sizes: list[int] = []
    while left := samples - sum(sizes):
        largest = draw(st.sampled_from([1, 3, 40, ENOUGH - 1, ENOUGH, samples]))
        sizes.append(draw(st.integers(1, min(largest, left))))
        if len(sizes) == 30:
            sizes.append(samples - sum(sizes))
            sizes = [size for size in sizes if size]
    return draw(st.permutations(sizes))


class Tagger(nn.Module):
    """A class for every token; a token sees its own number alone."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, 6)
        self.blocks = nn.Sequential(*(nn.Sequential(nn.Linear(6, 6), nn.Tanh()) for _ in range(2)))
        self.classifier = nn.Linear(6, 3)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.classifier(self.blocks(self.embedding(input_ids)))


class Segmenter(nn.Module):
    """A class for every pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Sequential(nn.Conv2d(2, 5, 3, padding=1), nn.ReLU())
        self.coarse = nn.Sequential(nn.Conv2d(5, 4, 3, stride=2, padding=1), nn.ReLU())
        self.classifier = nn.Conv2d(4, 3, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.classifier(self.coarse(self.fine(inputs)))


def seeded(kind: type[nn.Module]) -> nn.Module:
    """In double precision, since kernels round by the size of a batch."""
    torch.manual_seed(0)
    return kind().double()


def samples(count: int = SAMPLES) -> tuple[Tensor, Tensor]:
    inputs, labels = blobs(count)
    return inputs.double(), labels


def batches(sizes: list[int], *parts: Tensor) -> list[tuple[Tensor, ...]]:
    return list(zip(*(part.split(sizes) for part in parts), strict=True))


def assert_same(one: xr.Dataset, other: xr.Dataset) -> None:
    assert set(one.data_vars) == set(other.data_vars)
    for name in one.data_vars:
        np.testing.assert_allclose(one[name], other[name], rtol=1e-8, atol=1e-11, err_msg=str(name))
    assert one.attrs["samples"] == other.attrs["samples"]


@law
@given(cut=cuts(SAMPLES))
@pytest.mark.parametrize("options", [{}, {"jackknife": 3, "null": 2}], ids=["alone", "jackknife and null"])
def test_classes(cut: list[int], options: dict[str, int]) -> None:
    inputs, labels = samples()
    network = seeded(Perceptron)
    whole = profile(network, [(inputs, labels)], **options)
    assert_same(profile(network, batches(cut, inputs, labels), **options), whole)


@law
@given(cut=cuts(SAMPLES))
@pytest.mark.parametrize("options", [{}, {"jackknife": 3, "null": 2}], ids=["alone", "jackknife and null"])
def test_regression(cut: list[int], options: dict[str, int]) -> None:
    inputs, _ = samples()
    network, targets = seeded(Perceptron), inputs[:, :2] ** 2
    whole = profile(network, [(inputs, targets)], **options)
    assert_same(profile(network, batches(cut, inputs, targets), **options), whole)


@law
@given(cut=cuts(150), drawn=st.sampled_from([None, 60]))
def test_tokens(cut: list[int], drawn: int | None) -> None:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, WORDS, (150, TOKENS), generator=generator)
    labels = (ids + torch.randint(0, 2, ids.shape, generator=generator)) % 3
    mask = (torch.arange(TOKENS) < torch.randint(1, TOKENS + 1, (150, 1), generator=generator)).long()
    network, options = seeded(Tagger), {"reduce": "tokens", "samples_per_class": drawn}

    def of(sizes: list[int]) -> list[dict[str, Tensor]]:
        parts = batches(sizes, ids, mask, labels)
        return [{"input_ids": one, "attention_mask": two, "labels": three} for one, two, three in parts]

    assert_same(profile(network, of(cut), **options), profile(network, of([150]), **options))


@law
@given(cut=cuts(24), drawn=st.sampled_from([None, 60]))
def test_pixels(cut: list[int], drawn: int | None) -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (24, 8, 10), generator=generator)
    pictures = torch.randn(24, 2, 8, 10, generator=generator).double() + labels[:, None]
    network, options = seeded(Segmenter), {"reduce": "pixels", "samples_per_class": drawn}
    whole = profile(network, [(pictures, labels)], **options)
    assert_same(profile(network, batches(cut, pictures, labels), **options), whole)


class Stopping:
    """A loader that stops after so many batches, as a kill would."""

    def __init__(self, parts: list[Any], stop: int) -> None:
        self.parts, self.stop = parts, stop
        self.dataset = range(SAMPLES)

    def __iter__(self) -> Iterator[Any]:
        for number, part in enumerate(self.parts):
            if number == self.stop:
                raise KeyboardInterrupt
            yield part


@law
@given(cut=cuts(SAMPLES), place=st.floats(0, 1))
def test_a_resumed_profile(tmp_path_factory: pytest.TempPathFactory, cut: list[int], place: float) -> None:
    inputs, labels = samples()
    network, kept = seeded(Perceptron), tmp_path_factory.mktemp("kept") / "kept"
    parts = batches(cut, inputs, labels)
    with pytest.raises(KeyboardInterrupt):
        profile(network, Stopping(parts, int(place * (len(parts) - 1))), resume_dir=ResumeState(kept, every=0))
    resumed = profile(network, Stopping(parts, len(parts)), resume_dir=kept)
    assert_same(resumed, profile(network, [(inputs, labels)]))


WORKER = """
import sys
import torch
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset
from helpers.networks import Perceptron, blobs
from layerwise.profiling import profile

class Uneven:
    # A loader of one process's share, cut as its user likes.
    def __init__(self, data, sizes):
        self.dataset, self.sizes, self.sampler = data, sizes, DistributedSampler(data, shuffle=False)

    def __iter__(self):
        rows = torch.tensor(list(self.sampler))
        for part in rows.split([*self.sizes, len(rows) - sum(self.sizes)]):
            yield self.dataset[part]

torch.distributed.init_process_group("gloo")
rank = torch.distributed.get_rank()
torch.manual_seed(0)
sizes = [[1, 290], [3, 5, 260, 2]][rank]
inputs, labels = blobs(int(sys.argv[2]))
found = profile(Perceptron().double(), Uneven(TensorDataset(inputs.double(), labels), sizes))
found.to_netcdf(f"{sys.argv[1]}-{rank}.nc", engine="h5netcdf")
torch.distributed.destroy_process_group()
"""


def test_two_processes_with_other_cuts(tmp_path: Path) -> None:
    script = tmp_path / "worker.py"
    script.write_text(f"import sys\nsys.path.insert(0, {str(TESTS)!r})\n{WORKER}")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", script]
    done = subprocess.run([*command, tmp_path / "found", str(SAMPLES)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    whole = profile(seeded(Perceptron), [samples()])
    for rank in (0, 1):
        with xr.open_dataset(f"{tmp_path / 'found'}-{rank}.nc", engine="h5netcdf") as found:
            for name in whole.data_vars:
                np.testing.assert_allclose(found[name], whole[name], rtol=1e-8, atol=1e-11, err_msg=str(name))


def test_a_statistic_refuses_rows_and_labels_that_are_not_equally_many() -> None:
    features, labels = blobs(12)
    moments = ClassMoments(3)
    moments.update(features, labels)
    centers = Centers.of(moments.finish(), 3)
    sums = ComplexitySums(3)
    updates = {
        "moments": lambda: ClassMoments(3).update(features, labels[:7]),
        "targets": lambda: TargetAccumulator().update(features, features[:7]),
        "projections": lambda: CenterProjections(centers, centers, None).update(features, labels[:7]),
        "complexity": lambda: sums.update(features[:, 0], features[:, 0], labels[:7]),
    }
    for name, update in updates.items():
        with pytest.raises(ValueError, match="12 rows and 7 labels"):
            pytest.fail(f"{name} took them: {update()}")
