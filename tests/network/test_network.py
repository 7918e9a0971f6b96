"""A network prepares batches for its model, and traces one through it."""

from __future__ import annotations

import pytest
import torch
from helpers.networks import Perceptron
from torch import Tensor, nn

from layerwise.errors import InvalidData, LayerNeverFired
from layerwise.network.network import Network
from layerwise.network.resolve import find_network


def network(model: nn.Module) -> Network:
    return find_network(model, None)[0]


class Masked(nn.Module):
    """Sums the embeddings of real tokens; another argument has the name of a mask of padding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(9, 4)
        self.classifier = nn.Linear(4, 3)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.classifier((self.embedding(input_ids) * attention_mask[..., None]).sum(1))


class WholeBatchOnly(nn.Module):
    """Runs on batches of six samples alone, as a program that was exported for one size."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.linear(inputs.reshape(6, 8))


class TestBatch:
    def test_inputs_labels_and_size_are_split(self):
        batch = network(Perceptron()).batch((torch.ones(6, 8), torch.arange(6)))
        assert batch.size == 6
        assert [values.tolist() for values in batch.labels.values()] == [list(range(6))]
        assert batch.mask is None

    def test_the_mask_of_padding_is_found_by_its_name(self):
        mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
        raw = {"input_ids": torch.ones(2, 3, dtype=torch.int64), "attention_mask": mask, "labels": torch.tensor([0, 1])}
        batch = network(Masked()).batch(raw)
        assert torch.equal(batch.mask, mask)
        assert list(batch.masks) == ["attention_mask"]

    def test_batches_prepares_each(self):
        raw = [(torch.ones(2, 8), torch.arange(2)), (torch.ones(3, 8), torch.arange(3))]
        assert [batch.size for batch in network(Perceptron()).batches(raw)] == [2, 3]


class TestTrace:
    def test_a_few_samples_are_traced_and_axes_are_measured(self):
        ready = network(Perceptron())
        traced = ready.trace(ready.batch((torch.ones(6, 8), torch.arange(6))))
        assert traced.alone
        assert traced.scored
        assert traced.outputs == ("",)
        assert traced.trace.axes["classifier", 1, "output", ()].samples == 0
        (entered,) = traced.trace.inputs
        assert traced.trace.values[entered.value].shape == (2, 8)

    def test_the_whole_batch_is_traced_where_a_few_samples_do_not_run(self):
        ready = network(WholeBatchOnly())
        traced = ready.trace(ready.batch((torch.ones(6, 8), torch.arange(6))))
        assert not traced.alone
        assert traced.trace.axes == {}
        assert traced.trace.values[traced.trace.inputs[0].value].shape == (6, 8)

    def test_a_failing_network_is_named_with_its_layer(self):
        ready = network(Perceptron())
        with pytest.raises(InvalidData, match=r"fails on the first batch: .*in layer 'first\.0' \(Linear\)"):
            ready.trace(ready.batch((torch.ones(6, 5), torch.arange(6))))

    def test_an_error_of_the_library_passes_through(self, monkeypatch):
        ready = network(Perceptron())

        def fail(*_):
            raise LayerNeverFired("asked for")

        monkeypatch.setattr(type(ready.adapter), "forward", fail)
        with pytest.raises(LayerNeverFired, match="asked for"):
            ready.trace(ready.batch((torch.ones(6, 8), torch.arange(6))))

    def test_tracing_leaves_the_model_as_it_was(self):
        ready = network(Perceptron().train())
        ready.trace(ready.batch((torch.ones(6, 8), torch.arange(6))))
        assert all(module.training for module in ready.model.modules())
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in ready.model.modules())
