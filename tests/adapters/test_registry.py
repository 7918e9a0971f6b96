"""Adapters are found by entry point, a third party's first, and names lead to the right one."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from types import ModuleType

import pytest
import torch
from torch import nn

from layerwise import adapters
from layerwise.adapters.torch import TorchAdapter
from layerwise.errors import UnknownName
from layerwise.profiling import profile
from layerwise.testing import AdapterTests


class Own(nn.Sequential):
    """A network that calls itself a Hugging Face model too."""

    main_input_name = "input_ids"


class OwnAdapter(TorchAdapter):
    name = "own"

    def claims(self, model: nn.Module) -> bool:
        return isinstance(model, Own)

    def load(self, name: str) -> nn.Module:
        if name != "small":
            raise UnknownName("own model", name, ["small"])
        torch.manual_seed(0)
        return Own(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).eval()


@pytest.fixture
def third_party(monkeypatch):
    """A package that names an adapter of its own among its entry points."""
    package = ModuleType("layerwise_own")
    package.OwnAdapter = OwnAdapter
    monkeypatch.setitem(sys.modules, "layerwise_own", package)
    mine = EntryPoint("zoo", "layerwise_own:OwnAdapter", "layerwise.adapters")
    found = EntryPoints([*entry_points(group="layerwise.adapters"), mine])
    monkeypatch.setattr(adapters, "entry_points", lambda group: found.select(group=group))
    adapters.adapter_named.cache_clear()
    yield
    adapters.adapter_named.cache_clear()


@pytest.mark.usefixtures("third_party")
class TestThirdParty(AdapterTests):
    @pytest.fixture
    def name(self):
        return "own/small"

    @pytest.fixture
    def unknown(self):
        return "own/large"

    @pytest.fixture
    def inputs(self):
        return torch.randn(6, 4, generator=torch.Generator().manual_seed(0))

    def test_it_is_asked_before_the_librarys_own(self):
        assert adapters.adapter_for(Own(nn.Linear(2, 2))).name == "own"
        assert adapters.adapter_for(nn.Linear(2, 2)).name == "torch"

    def test_its_name_is_among_those_that_an_error_gives(self):
        with pytest.raises(UnknownName, match="no kind of model 'owm'; nearest: own"):
            adapters.load("owm/small")

    def test_a_profile_names_it(self, name, inputs):
        assert profile(name, [(inputs, torch.arange(6) % 3)], metrics="nc1").attrs["adapter"] == "own"


def test_the_librarys_own_adapters_are_found_by_entry_point():
    assert set(entry_points(group="layerwise.adapters").names) >= {"torch", "timm", "huggingface"}


@pytest.mark.parametrize("name", ["torch", "timm", "huggingface"])
def test_an_adapter_is_made_once(name):
    assert adapters.adapter_named(name) is adapters.adapter_named(name)


def test_an_unknown_adapter_is_told_with_the_nearest():
    with pytest.raises(UnknownName, match="no adapter 'tim'; nearest: timm"):
        adapters.adapter_named("tim")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nonsense", "no model 'nonsense'; there are: timm/NAME, hf/NAME, package.module:function"),
        ("", "no model ''"),
        ("nonsense/resnet18", "no kind of model 'nonsense'; there are: hf, timm"),
        ("tim/resnet18", "no kind of model 'tim'; nearest: timm"),
        ("nonsense:build", "no Python module 'nonsense'.*timm/NAME, hf/NAME or package.module:function"),
        ("folder/nonsense:build", "no kind of model 'folder'"),
    ],
)
def test_a_name_that_leads_nowhere_is_told_what_names_there_are(name, message):
    with pytest.raises(UnknownName, match=message):
        adapters.load(name)
