"""What every adapter must do: a test class that each adapter's own tests subclass."""

from __future__ import annotations

from collections import UserDict
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from layerwise.adapters import Adapter, Batch, adapter_for, load
from layerwise.errors import InvalidData, UnknownName
from layerwise.network.weights import weight_hash
from layerwise.profiling import profile

CPU = torch.device("cpu")


class AdapterTests:
    """Subclasses name a model and give inputs; every test here then runs on it.

    Attributes
    ----------
    classes : int
        Columns of the logits; 0 for a network without a classifier.
    prefix, pooling
        What the adapter should say of the network.
    """

    classes = 3
    prefix = 0
    pooling = "mean"

    @pytest.fixture
    def name(self) -> str:
        """A name that `layerwise.adapters.load` knows, with equal weights every time."""
        raise NotImplementedError

    @pytest.fixture
    def unknown(self) -> str:
        """A name of this adapter that there is no model of."""
        raise NotImplementedError

    @pytest.fixture
    def inputs(self) -> Any:
        """Inputs of six samples, as a loader gives them."""
        raise NotImplementedError

    @pytest.fixture
    def raw(self) -> list[Any] | None:
        """Two samples as a reader gives them; None where the adapter prepares none."""
        return None

    @pytest.fixture
    def model(self, name) -> nn.Module:
        return load(name)[0]

    @pytest.fixture
    def adapter(self, model) -> Adapter:
        return adapter_for(model)

    @pytest.fixture
    def labels(self) -> Tensor:
        return torch.arange(6) % 3

    @pytest.fixture
    def batch(self, adapter, inputs, labels) -> Batch:
        return adapter.batch((inputs, labels), CPU)

    def test_it_is_an_adapter(self, adapter):
        assert isinstance(adapter, Adapter)

    def test_a_model_that_it_loads_is_claimed_by_it(self, name):
        model, adapter = load(name)
        assert adapter.claims(model)
        assert adapter_for(model) is adapter

    def test_a_model_is_loaded_in_evaluation_mode_with_the_same_weights_every_time(self, name):
        first, second = load(name)[0], load(name)[0]
        assert first is not second
        assert not any(module.training for module in first.modules())
        assert weight_hash(first) == weight_hash(second)

    def test_an_unknown_name_is_refused(self, unknown):
        with pytest.raises(UnknownName):
            load(unknown)

    @pytest.mark.parametrize("form", [tuple, list])
    def test_batches_are_pairs(self, adapter, inputs, labels, form):
        batch = adapter.batch(form([inputs, labels]), CPU)
        assert batch.size == 6
        assert list(batch.labels) == ["label"]
        assert torch.equal(batch.labels["label"], labels)

    @pytest.mark.parametrize("key", ["labels", "label", "target", "y"])
    @pytest.mark.parametrize("form", [dict, UserDict])
    def test_batches_are_mappings_with_labels(self, adapter, model, inputs, labels, key, form):
        named = inputs if isinstance(inputs, dict) else {"x": inputs}
        batch = adapter.batch(form({**named, key: labels}), CPU)
        assert batch.size == 6
        assert torch.equal(batch.labels["label"], labels)

    def test_labels_may_be_of_several_targets(self, adapter, inputs, labels):
        batch = adapter.batch((inputs, {"fine": labels, "coarse": labels // 2}), CPU)
        assert list(batch.labels) == ["fine", "coarse"]
        assert torch.equal(batch.labels["coarse"], labels // 2)

    def test_labels_may_be_a_plain_list(self, adapter, inputs, labels):
        assert torch.equal(adapter.batch((inputs, labels.tolist()), CPU).labels["label"], labels)

    def test_a_batch_without_labels_is_refused(self, adapter, inputs):
        for raw in ({"pixels": torch.ones(6, 2)}, torch.ones(6, 2), (torch.ones(6, 2),), "text"):
            with pytest.raises(InvalidData, match="labels"):
                adapter.batch(raw, CPU)

    @pytest.mark.parametrize("wrong", [{"a": torch.ones(6), "b": torch.ones(5)}, torch.tensor(1), {}])
    def test_labels_that_do_not_count_the_samples_are_refused(self, adapter, inputs, wrong):
        with pytest.raises(InvalidData, match="vectors of one length"):
            adapter.batch((inputs, wrong), CPU)

    def test_a_forward_gives_logits_where_there_is_a_classifier(self, adapter, model, batch):
        with torch.no_grad():
            logits = adapter.logits(adapter.forward(model, batch))
        if self.classes:
            assert logits is not None
            assert logits.shape == (6, self.classes)
        else:
            assert logits is None

    def test_the_forward_does_not_change_the_batch(self, adapter, model, batch):
        before = list(batch.inputs) if isinstance(batch.inputs, dict) else None
        with torch.no_grad():
            adapter.forward(model, batch)
        assert before is None or list(batch.inputs) == before

    def test_the_head_is_a_module_of_the_network(self, adapter, model):
        head = adapter.head(model)
        assert head is None or isinstance(model.get_submodule(head), nn.Module)

    def test_prefix_tokens_and_pooling_are_the_networks_own(self, adapter, model, batch):
        assert adapter.prefix_tokens(model, batch) == self.prefix
        assert adapter.pooling(model) == self.pooling

    def test_the_example_runs_through_the_network(self, adapter, model):
        batch = adapter.batch((adapter.example(model), torch.zeros(2, dtype=torch.int64)), CPU)
        with torch.no_grad():
            adapter.forward(model, batch)

    def test_raw_samples_are_prepared_for_the_network(self, adapter, model, raw):
        prepare = adapter.prepare(model)
        if raw is None:
            assert prepare is None
            return
        batch = adapter.batch((prepare(raw), torch.zeros(2, dtype=torch.int64)), CPU)
        with torch.no_grad():
            adapter.forward(model, batch)

    def test_a_profile_by_name_equals_that_of_the_model(self, name, model, inputs, labels):
        by_name = profile(name, [(inputs, labels)], metrics="nc1")
        of_model = profile(model, [(inputs, labels)], metrics="nc1")
        assert by_name["nc1"].equals(of_model["nc1"])
        assert by_name.attrs["model_hash"] == of_model.attrs["model_hash"]
