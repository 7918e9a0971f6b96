from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from helpers.traced_networks import Recurrent, ResidualMLP, double_convolution, mlp
from torch import Tensor, nn

from layerwise.network.graph.recorder import tensors
from layerwise.network.graph.records import Trace
from layerwise.network.graph.trace import trace


def outputs(found: Trace, path: str) -> list[int]:
    """The values that the first call of a module gives."""
    return [slot.value for slot in next(call for call in found.calls if call.path == path).outputs]


class TestCalls:
    def test_paths_kinds_and_order_are_recorded(self) -> None:
        net = mlp(4, 8, 3)
        calls = trace(net, lambda: net(torch.ones(2, 4))).calls
        assert [(call.path, call.kind, call.leaf) for call in calls] == [
            ("", "Sequential", False),
            ("0", "Linear", True),
            ("1", "ReLU", True),
            ("2", "Linear", True),
        ]
        assert [call.parent for call in calls] == [-1, 0, 0, 0]

    def test_repeated_calls_are_numbered(self) -> None:
        net = Recurrent()
        calls = trace(net, lambda: net(torch.ones(2, 3, dtype=torch.long))).calls
        assert [call.number for call in calls if call.path == "cell"] == [1, 2, 3]

    def test_a_tied_module_has_its_first_name(self) -> None:
        net = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        net.append(net[0])
        calls = trace(net, lambda: net(torch.ones(2, 4))).calls
        assert [(call.path, call.number) for call in calls if call.leaf] == [("0", 1), ("1", 1), ("0", 2)]

    def test_nested_structures_keep_the_keys_to_every_tensor(self) -> None:
        @dataclass
        class Pair:
            first: Tensor
            second: int

        structure = {"a": [torch.ones(1), (torch.ones(2),)], "b": Pair(torch.ones(3), 4), "c": None}
        assert [item for item, _ in tensors(structure)] == [("a", 0), ("a", 1, 0), ("b", "first")]

    def test_keyword_arguments_are_inputs(self) -> None:
        class Inner(nn.Module):
            def forward(self, x: Tensor, *, mask: Tensor) -> Tensor:
                return x * mask

        class Outer(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.inner = Inner()

            def forward(self, x: Tensor) -> Tensor:
                return self.inner(x, mask=torch.ones_like(x))

        net = Outer()
        found = trace(net, lambda: net(torch.ones(2, 4)))
        assert [slot.item for slot in found.calls[1].inputs] == [(0,), ("mask",)]

    def test_children_of_a_fused_layer_that_never_run_are_no_calls(self) -> None:
        net = nn.MultiheadAttention(8, 2, batch_first=True)
        x = torch.ones(2, 3, 8)
        found = trace(net, lambda: net(x, x, x))
        assert "out_proj" in found.modules
        assert [call.path for call in found.calls] == [""]

    def test_modules_that_make_a_weight_belong_to_its_module(self) -> None:
        net = nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4)), nn.ReLU())
        found = trace(net, lambda: net(torch.ones(2, 4)))
        assert [(call.path, call.leaf) for call in found.calls] == [("", False), ("0", True), ("1", True)]
        assert found.modules["0"].matrix


class TestValues:
    def test_an_in_place_write_makes_a_new_value(self) -> None:
        net = double_convolution(3, 4)
        found = trace(net, lambda: net(torch.ones(1, 3, 4, 4)))
        assert outputs(found, "1") != outputs(found, "2")

    def test_a_module_that_returns_its_input_makes_no_value(self) -> None:
        net = nn.Sequential(nn.Linear(4, 4), nn.Identity(), nn.Dropout(0.5))
        found = trace(net, lambda: net(torch.ones(2, 4)))
        assert outputs(found, "0") == outputs(found, "1") == outputs(found, "2")

    def test_a_write_through_a_view_reaches_the_tensor(self) -> None:
        class Writer(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

            def forward(self, x: Tensor) -> Tensor:
                x, y = self.first(x), self.second(x)
                x[:, :2] = y[:, :2]
                return x

        net = Writer()
        found = trace(net, lambda: net(torch.ones(2, 4)))
        parents = {value: operation.inputs for operation in found.operations for value in operation.outputs}
        reached, stack = set(), [found.outputs[0].value]
        while stack:
            value = stack.pop()
            reached.add(value)
            stack += parents.get(value, ())
        assert {*outputs(found, "first"), *outputs(found, "second")} <= reached

    def test_inputs_made_inside_the_run_are_found(self) -> None:
        net = mlp(4, 8, 3)
        found = trace(net, lambda: net(torch.ones(2, 4) * 2))
        assert [found.values[slot.value].shape for slot in found.inputs] == [(2, 4)]

    def test_the_meta_device_needs_no_memory(self) -> None:
        with torch.device("meta"):
            net = nn.Linear(10**6, 10**6)
            x = torch.empty(8, 10**6)
        found = trace(net, lambda: net(x))
        assert found.values[found.outputs[0].value].shape == (8, 10**6)


class TestTheModelIsLeftAsItWas:
    def test_hooks_are_removed_after_an_exception(self) -> None:
        net = mlp(4, 8, 3)
        with pytest.raises(RuntimeError):
            trace(net, lambda: net(torch.ones(2, 5)))
        assert not any(part._forward_hooks or part._forward_pre_hooks for part in net.modules())

    def test_modes_and_running_statistics_are_kept(self) -> None:
        net = double_convolution(3, 4).train()
        net[1].eval()
        trace(net, lambda: net(torch.randn(4, 3, 4, 4)))
        assert [part.training for part in net] == [True, False, True, True, True, True]
        assert int(net[4].num_batches_tracked) == 0

    def test_no_random_number_is_drawn(self) -> None:
        net = mlp(4, 8, 3)
        torch.manual_seed(0)
        expected = torch.rand(3)
        torch.manual_seed(0)
        trace(net, lambda: net(torch.rand(2, 4)))
        assert torch.equal(torch.rand(3), expected)

    def test_gradients_are_kept(self) -> None:
        net = mlp(4, 8, 3)
        net(torch.ones(2, 4)).sum().backward()
        before = [parameter.grad.clone() for parameter in net.parameters()]
        trace(net, lambda: net(torch.ones(2, 4)))
        assert torch.is_grad_enabled()
        assert all(torch.equal(old, new.grad) for old, new in zip(before, net.parameters(), strict=True))

    def test_a_compiled_model_runs_as_its_original(self) -> None:
        net = torch.compile(ResidualMLP())
        found = trace(net, lambda: net(torch.ones(2, 5)))
        assert "_orig_mod.blocks.2" in {call.path for call in found.calls}
