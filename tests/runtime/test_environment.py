"""Hashes are equal for equal weights and equal data, and for nothing else."""

from __future__ import annotations

import subprocess

import pytest
import torch
from torch import Tensor, nn

from layerwise.data.fingerprint import DataFingerprint
from layerwise.network.weights import weight_hash
from layerwise.runtime.environment import environment


def net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))


def fingerprint(*batches: tuple[object, dict[str, Tensor]]) -> str:
    found = DataFingerprint()
    for inputs, labels in batches:
        found.update(inputs, labels)
    return str(found)


class TestWeights:
    def test_equal_weights_have_equal_hashes(self):
        assert weight_hash(net()) == weight_hash(net()) != weight_hash(net(1))

    @pytest.mark.parametrize("name", ["0.weight", "1.running_mean", "1.num_batches_tracked", "2.bias"])
    def test_a_change_of_any_parameter_or_buffer_changes_the_hash(self, name):
        model = net()
        before = weight_hash(model)
        model.state_dict()[name].add_(1)
        assert weight_hash(model) != before

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
    def test_weights_of_any_type_are_hashed(self, dtype):
        assert weight_hash(net().to(dtype)) == weight_hash(net().to(dtype)) != weight_hash(net())

    def test_the_mode_and_the_gradients_do_not_count(self):
        model = net()
        before = weight_hash(model)
        model.eval().requires_grad_(False)
        assert weight_hash(model) == before

    @pytest.mark.parametrize(
        "wrap", [nn.DataParallel, lambda model: torch.compile(model, backend="eager")], ids=["parallel", "compiled"]
    )
    def test_wrappers_do_not_count(self, wrap):
        assert weight_hash(wrap(net())) == weight_hash(net())

    def test_the_layout_in_memory_does_not_count(self):
        model = nn.Conv2d(3, 4, 3)
        before = weight_hash(model)
        assert weight_hash(model.to(memory_format=torch.channels_last)) == before

    @pytest.mark.parametrize("where", ["cpu", "disk"])
    def test_offloaded_weights_have_the_same_hash(self, tmp_path, where):
        accelerate = pytest.importorskip("accelerate")
        hashes = []
        for seed in (0, 1):
            model = net(seed)
            if where == "cpu":
                accelerate.cpu_offload(model, execution_device=torch.device("cpu"))
            else:
                accelerate.disk_offload(model, str(tmp_path / str(seed)), execution_device=torch.device("cpu"))
            hashes.append(weight_hash(model))
            assert all(parameter.is_meta for parameter in model.parameters())
        assert hashes == [weight_hash(net(0)), weight_hash(net(1))]

    def test_weights_that_are_nowhere_are_hashed_by_name(self):
        with torch.device("meta"):
            empty = nn.Linear(4, 5)
        assert weight_hash(empty) != weight_hash(nn.Linear(4, 5))


class TestData:
    @pytest.fixture
    def data(self) -> tuple[Tensor, dict[str, Tensor]]:
        generator = torch.Generator().manual_seed(0)
        return torch.randn(12, 3, generator=generator), {"label": torch.arange(12) % 4, "other": torch.arange(12) % 2}

    def test_order_and_batches_do_not_count(self, data):
        inputs, labels = data
        order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
        pieces = [
            (inputs[part], {name: value[part] for name, value in labels.items()}) for part in order.split([5, 1, 6])
        ]
        assert fingerprint(*pieces) == fingerprint(data)

    def test_samples_labels_and_how_often_they_come_count(self, data):
        inputs, labels = data
        changed = inputs.clone()
        changed[7, 1] += 1e-6
        relabelled = dict(labels, other=labels["other"].flip(0))
        exchanged = (inputs, {name: value.roll(1) for name, value in labels.items()})
        several = [data, (changed, labels), (inputs, relabelled), exchanged]
        prints = [fingerprint(item) for item in several] + [fingerprint(data, data)]
        assert len(set(prints)) == len(prints)

    def test_the_container_of_inputs_does_not_count(self, data):
        inputs, labels = data
        forms = [inputs, (inputs,), [inputs], {"x": inputs}]
        assert len({fingerprint((form, labels)) for form in forms}) == 1

    def test_the_layout_in_memory_does_not_count(self, data):
        inputs, labels = data
        assert fingerprint((inputs.T.contiguous().T, labels)) == fingerprint(data)

    @pytest.mark.parametrize("side", ["right", "left"])
    def test_padding_does_not_count(self, side):
        ids = torch.tensor([[5, 6, 7], [8, 9, 0]])
        mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
        labels = {"label": torch.tensor([0, 1])}
        expected = fingerprint(({"input_ids": ids, "attention_mask": mask}, labels))
        rows = [torch.tensor([5, 6, 7]), torch.tensor([8, 9])]
        batches = []
        for row, label in zip(rows, labels["label"], strict=True):
            filling = row.new_full((4,), 3)
            padded = torch.cat([row, filling] if side == "right" else [filling, row])
            real = torch.cat([torch.ones(len(row)), torch.zeros(4)]).long()
            real = real if side == "right" else real.flip(0)
            batches.append(({"input_ids": padded[None], "attention_mask": real[None]}, {"label": label[None]}))
        assert fingerprint(*batches) == expected


class TestEnvironment:
    def test_versions_of_what_the_numbers_depend_on(self):
        packages = environment()["packages"].split()
        assert f"torch=={torch.__version__.split('+')[0]}" in [item.split("+")[0] for item in packages]
        assert {item.split("==")[0] for item in packages} >= {"layerwise", "numpy", "scipy", "timm", "transformers"}

    def test_commit_and_changes_of_the_working_directory(self, tmp_path, monkeypatch):
        def git(*words: str) -> str:
            who = ["-c", "user.name=n", "-c", "user.email=e@x"]
            return subprocess.run(
                ["git", *who, *words], cwd=tmp_path, check=True, capture_output=True, text=True
            ).stdout

        monkeypatch.chdir(tmp_path)
        git("init", "-q")
        assert environment()["git_commit"] == ""
        (tmp_path / "file").write_text("one")
        git("add", "file")
        git("commit", "-q", "-m", "first", "--no-verify")
        commit = git("rev-parse", "HEAD").strip()
        assert environment()["git_commit"] == commit
        (tmp_path / "file").write_text("two")
        assert environment()["git_commit"] == f"{commit}-dirty"

    def test_without_git_there_is_no_commit(self, monkeypatch):
        monkeypatch.setenv("PATH", "")
        assert environment()["git_commit"] == ""
