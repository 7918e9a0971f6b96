"""Tests that an adapter of another package has to pass. Only this module of the package needs pytest.

Subclass `AdapterTests` in a test file, name a model and give its inputs; pytest then runs every test of the class on
the adapter. ``pytest.register_assert_rewrite("layerwise.testing")`` in a ``conftest.py`` has pytest show both sides of
an assertion that fails.
"""

from __future__ import annotations

from collections import UserDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from layerwise.adapters import Adapter, Batch, adapter_for, load
from layerwise.errors import InvalidData, UnknownName
from layerwise.network.weights import weight_hash
from layerwise.profiling import profile

__all__ = ["AdapterTests"]

_CPU = torch.device("cpu")


class _Subject:
    """The model, the adapter and the inputs of a test. Subclasses override the fixtures that raise."""

    classes = 3
    prefix = 0
    pooling = "mean"

    @pytest.fixture
    def name(self) -> str:
        """Return a name that `layerwise.adapters.load` knows, with equal weights every time."""
        raise NotImplementedError

    @pytest.fixture
    def unknown(self) -> str:
        """Return a name with this adapter's prefix for which there is no model."""
        raise NotImplementedError

    @pytest.fixture
    def inputs(self) -> Any:
        """Return inputs of six samples, in the form that a loader yields."""
        raise NotImplementedError

    @pytest.fixture
    def raw(self) -> list[Any] | None:
        """Return two samples in the form that a reader yields; None if the adapter prepares none."""
        return None

    @pytest.fixture
    def model(self, name: str) -> nn.Module:
        """Load the model."""
        return load(name)[0]

    @pytest.fixture
    def adapter(self, model: nn.Module) -> Adapter:
        """Find the adapter of the model."""
        return adapter_for(model)

    @pytest.fixture
    def labels(self) -> Tensor:
        """Return labels of six samples in three classes."""
        return torch.arange(6) % 3

    @pytest.fixture
    def batch(self, adapter: Adapter, inputs: Any, labels: Tensor) -> Batch:
        """Return the batch that the adapter makes of the inputs and labels."""
        return adapter.batch((inputs, labels), _CPU)


class _LoadingTests(_Subject):
    """What holds for models by name."""

    def test_adapter_follows_the_protocol(self, adapter: Adapter) -> None:
        """The adapter has every method of `layerwise.adapters.Adapter`."""
        assert isinstance(adapter, Adapter)

    def test_loaded_model_is_claimed(self, name: str) -> None:
        """The adapter that loads a model claims it before any other adapter does."""
        model, adapter = load(name)
        assert adapter.claims(model)
        assert adapter_for(model) is adapter

    def test_loading_twice_yields_equal_weights(self, name: str) -> None:
        """Two loads return two models in evaluation mode with the same weights."""
        first, second = load(name)[0], load(name)[0]
        assert first is not second
        assert not any(module.training for module in first.modules())
        assert weight_hash(first) == weight_hash(second)

    def test_unknown_name_is_refused(self, unknown: str) -> None:
        """A name without a model raises `UnknownName`."""
        with pytest.raises(UnknownName):
            load(unknown)

    def test_profile_by_name_equals_profile_of_model(
        self, name: str, model: nn.Module, inputs: Any, labels: Tensor
    ) -> None:
        """A name and the model that it loads have the same profile."""
        by_name = profile(name, [(inputs, labels)], metrics="nc1")
        of_model = profile(model, [(inputs, labels)], metrics="nc1")
        assert by_name["nc1"].equals(of_model["nc1"])
        assert by_name.attrs["model_hash"] == of_model.attrs["model_hash"]


class _BatchTests(_Subject):
    """What holds for the forms of batches that loaders yield."""

    @pytest.mark.parametrize("form", [tuple, list])
    def test_pair_is_a_batch(
        self, adapter: Adapter, inputs: Any, labels: Tensor, form: Callable[[list[Any]], Any]
    ) -> None:
        """Inputs and labels may come as a tuple or a list."""
        batch = adapter.batch(form([inputs, labels]), _CPU)
        assert batch.size == 6
        assert list(batch.labels) == ["label"]
        assert torch.equal(batch.labels["label"], labels)

    @pytest.mark.parametrize("key", ["labels", "label", "target", "y"])
    @pytest.mark.parametrize("form", [dict, UserDict])
    def test_mapping_with_labels_is_a_batch(
        self, adapter: Adapter, inputs: Any, labels: Tensor, key: str, form: Callable[[dict[str, Any]], Any]
    ) -> None:
        """Labels may be one of the values of a mapping, under the usual names."""
        named = inputs if isinstance(inputs, dict) else {"x": inputs}
        batch = adapter.batch(form({**named, key: labels}), _CPU)
        assert batch.size == 6
        assert torch.equal(batch.labels["label"], labels)

    def test_labels_of_several_targets(self, adapter: Adapter, inputs: Any, labels: Tensor) -> None:
        """A mapping of labels holds several targets."""
        batch = adapter.batch((inputs, {"fine": labels, "coarse": labels // 2}), _CPU)
        assert list(batch.labels) == ["fine", "coarse"]
        assert torch.equal(batch.labels["coarse"], labels // 2)

    def test_labels_as_a_list(self, adapter: Adapter, inputs: Any, labels: Tensor) -> None:
        """Labels may be a list of integers."""
        assert torch.equal(adapter.batch((inputs, labels.tolist()), _CPU).labels["label"], labels)

    def test_batch_without_labels_is_refused(self, adapter: Adapter) -> None:
        """Inputs alone raise `InvalidData`."""
        for raw in ({"pixels": torch.ones(6, 2)}, torch.ones(6, 2), (torch.ones(6, 2),), "text"):
            with pytest.raises(InvalidData, match="labels"):
                adapter.batch(raw, _CPU)

    @pytest.mark.parametrize("wrong", [{"a": torch.ones(6), "b": torch.ones(5)}, torch.tensor(1), {}])
    def test_labels_of_other_lengths_are_refused(self, adapter: Adapter, inputs: Any, wrong: Any) -> None:
        """Labels that are not one vector a target, all of one length, raise `InvalidData`."""
        with pytest.raises(InvalidData, match="vectors of one length"):
            adapter.batch((inputs, wrong), _CPU)


class _ForwardTests(_Subject):
    """What holds for one forward, and for what the adapter states about the network."""

    def test_logits_have_a_column_a_class(self, adapter: Adapter, model: nn.Module, batch: Batch) -> None:
        """The logits have `classes` columns; a network without a classifier has none."""
        with torch.no_grad():
            logits = adapter.logits(adapter.forward(model, batch))
        if self.classes:
            assert logits is not None
            assert logits.shape == (6, self.classes)
        else:
            assert logits is None

    def test_forward_leaves_the_batch_as_it_was(self, adapter: Adapter, model: nn.Module, batch: Batch) -> None:
        """A forward adds no inputs to the batch and removes none."""
        before = list(batch.inputs) if isinstance(batch.inputs, dict) else None
        with torch.no_grad():
            adapter.forward(model, batch)
        assert before is None or list(batch.inputs) == before

    def test_head_is_a_module_of_the_network(self, adapter: Adapter, model: nn.Module) -> None:
        """The path of the head leads to a module."""
        head = adapter.head(model)
        assert head is None or isinstance(model.get_submodule(head), nn.Module)

    def test_prefix_tokens_and_pooling(self, adapter: Adapter, model: nn.Module, batch: Batch) -> None:
        """The adapter returns the attributes `prefix` and `pooling` of the test class."""
        assert adapter.prefix_tokens(model, batch) == self.prefix
        assert adapter.pooling(model) == self.pooling

    def test_example_runs_through_the_network(self, adapter: Adapter, model: nn.Module) -> None:
        """The two samples that the adapter makes up are inputs of the network."""
        batch = adapter.batch((adapter.example(model), torch.zeros(2, dtype=torch.int64)), _CPU)
        with torch.no_grad():
            adapter.forward(model, batch)

    def test_prepared_samples_run_through_the_network(
        self, adapter: Adapter, model: nn.Module, raw: list[Any] | None
    ) -> None:
        """The preprocessing turns raw samples into inputs of the network; without raw samples there is none."""
        prepare = adapter.prepare(model)
        if raw is None:
            assert prepare is None
            return
        assert prepare is not None
        batch = adapter.batch((prepare(raw), torch.zeros(2, dtype=torch.int64)), _CPU)
        with torch.no_grad():
            adapter.forward(model, batch)


class AdapterTests(_LoadingTests, _BatchTests, _ForwardTests):
    """The tests of an adapter. A subclass overrides the fixtures `name`, `unknown` and `inputs`.

    Where the adapter has a preprocessing, the subclass also overrides `raw`: two samples in the form that a reader
    yields. `name` is what `layerwise.adapters.load` takes, with equal weights at every load; `unknown` has the same
    prefix and no model; `inputs` are those of six samples.

    Attributes
    ----------
    classes : int
        Columns of the logits; 0 for a network without a classifier.
    prefix : int
        Class and register tokens in front of the tokens of the input.
    pooling : str
        How the network pools tokens: ``"cls"``, ``"mean"`` or ``"last"``.
    """
