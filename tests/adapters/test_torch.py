"""Any torch module, and models of the caller's own by ``package.module:function``."""

from __future__ import annotations

from collections import namedtuple
from pathlib import Path

import pytest
import torch
from torch import nn

from layerwise.adapters import adapter_named, load
from layerwise.adapters.torch import move
from layerwise.errors import InvalidData, UnknownName
from layerwise.testing import AdapterTests

CPU = torch.device("cpu")

SOURCE = """
import torch

def build():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)).train()

def number():
    return 3

def broken():
    import layerwise_needs_what_is_not_there

table = {}
"""


@pytest.fixture(autouse=True)
def working_directory(tmp_path, monkeypatch) -> Path:
    (tmp_path / "own_networks").mkdir()
    (tmp_path / "own_networks" / "__init__.py").touch()
    (tmp_path / "own_networks" / "small.py").write_text(SOURCE)
    (tmp_path / "own_networks" / "broken.py").write_text("import own_network")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


class TestConformance(AdapterTests):
    @pytest.fixture
    def name(self):
        return "own_networks.small:build"

    @pytest.fixture(params=["own_networks.small:biuld", "own_networks.tall:build", "nowhere:build", ":build", ".a:b"])
    def unknown(self, request):
        return request.param

    @pytest.fixture
    def inputs(self):
        return torch.randn(6, 4, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def adapter():
    return adapter_named("torch")


class TestNames:
    def test_the_nearest_function_is_named(self):
        with pytest.raises(UnknownName, match=r"no function in own_networks\.small 'biuld'; nearest: build"):
            load("own_networks.small:biuld")

    def test_a_function_that_gives_no_module_is_refused(self):
        with pytest.raises(InvalidData, match="gives a int, not a torch module"):
            load("own_networks.small:number")

    @pytest.mark.parametrize("name", ["own_networks.small:broken", "own_networks.broken:build"])
    def test_a_failing_import_of_the_caller_is_raised_unchanged(self, name):
        with pytest.raises(ModuleNotFoundError, match=r"layerwise_needs_what_is_not_there|own_network"):
            load(name)


class TestBatches:
    def test_a_mapping_of_one_plain_input_is_the_input(self, adapter):
        x = torch.ones(2, 3)
        for key in ("x", "image", "inputs"):
            assert adapter.batch({key: x, "labels": [0, 1]}, CPU).inputs is x

    def test_a_mapping_of_named_inputs_becomes_keyword_arguments(self, adapter):
        class Scaled(nn.Module):
            def forward(self, *, x, scale):
                return x * scale

        batch = adapter.batch({"x": torch.ones(2, 3), "scale": torch.full((2, 1), 2.0), "labels": [0, 1]}, CPU)
        assert torch.equal(adapter.forward(Scaled(), batch), torch.full((2, 3), 2.0))

    @pytest.mark.parametrize("raw", [(1, 2, 3), ((1, 2), 3), ([1, 2], 3)], ids=["flat", "tuple", "list"])
    def test_several_inputs_become_positional_arguments(self, adapter, raw):
        class Pair(nn.Bilinear):
            def forward(self, one, two):
                return one - two

        x = {1: torch.ones(2, 3), 2: torch.zeros(2, 3), 3: torch.tensor([0, 1])}
        filled = tuple(type(item)(x[i] for i in item) if isinstance(item, (tuple, list)) else x[item] for item in raw)
        batch = adapter.batch(filled, CPU)
        assert torch.equal(adapter.forward(Pair(3, 3, 1), batch), torch.ones(2, 3))
        assert torch.equal(batch.labels["label"], x[3])

    def test_an_attention_mask_is_found_and_only_a_matrix_is_one(self, adapter):
        ids, mask = torch.ones(2, 3), torch.ones(2, 3)
        assert adapter.batch({"input_ids": ids, "attention_mask": mask, "labels": [0, 1]}, CPU).mask is mask
        causal = torch.ones(2, 1, 3, 3)
        assert adapter.batch({"input_ids": ids, "attention_mask": causal, "labels": [0, 1]}, CPU).mask is None

    def test_a_nest_is_moved_and_keeps_its_form(self):
        Pair = namedtuple("Pair", "one two")
        nest = {"a": [torch.ones(1), "text"], "b": Pair(torch.ones(2), (torch.ones(3), None))}
        moved = move(nest, torch.device("meta"))
        assert moved["a"][0].is_meta
        assert moved["a"][1] == "text"
        assert isinstance(moved["b"], Pair)
        assert moved["b"].two[0].is_meta
        assert moved["b"].two[1] is None


class TestAnswers:
    @pytest.mark.parametrize(
        ("output", "found"),
        [
            (torch.ones(2, 3), True),
            ({"logits": torch.ones(2, 3)}, True),
            ({"loss": torch.ones(2, 3)}, False),
            (torch.ones(2, 1), False),
            (torch.ones(2), False),
            (torch.ones(2, 4, 3), False),
            ((torch.ones(2, 3),), False),
            (None, False),
        ],
    )
    def test_only_a_matrix_of_class_scores_counts_as_logits(self, adapter, output, found):
        assert (adapter.logits(output) is not None) is found

    def test_prefix_tokens_are_what_the_model_says(self, adapter):
        net = nn.Linear(2, 2)
        net.num_prefix_tokens = 5
        assert adapter.prefix_tokens(net, adapter.batch((torch.ones(1, 2), [0]), CPU)) == 5

    @pytest.mark.parametrize(
        ("net", "shape"),
        [
            (nn.Sequential(nn.ReLU(), nn.Linear(7, 2)), (2, 7)),
            (nn.Sequential(nn.Conv2d(5, 2, 3), nn.Flatten()), (2, 5, 64, 64)),
            (nn.Sequential(nn.Embedding(11, 4), nn.Linear(4, 2)), (2, 16)),
        ],
        ids=["linear", "convolution", "embedding"],
    )
    def test_an_example_fits_the_first_map(self, adapter, net, shape):
        example = adapter.example(net)
        assert example.shape == shape
        net(example)

    def test_no_example_is_made_up_for_what_cannot_be_known(self, adapter):
        with pytest.raises(InvalidData, match="cannot make up an input"):
            adapter.example(nn.ReLU())
