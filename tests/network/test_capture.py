"""What is captured is what the module gave, and nothing of the model is changed by looking."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from helpers.capture import captured
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from layerwise.errors import LayerNeverFired, UnknownName
from layerwise.network.capture import Capture
from layerwise.network.inference import evaluating
from layerwise.network.layer import Layer


def hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def chain() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))


class Gives(nn.Module):
    """Feeds a linear map's output to a function of it."""

    def __init__(self, form: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)
        self.form = form

    def forward(self, x: Tensor) -> Any:
        return self.form(self.inner(x))


class TestActivations:
    def test_an_in_place_operation_after_the_layer_changes_nothing(self):
        net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(inplace=True))
        x = torch.randn(4, 2, 6, 6)
        taken = captured(net, ["0", "1"], lambda: net(x))
        assert torch.equal(taken["0"], net[0](x))
        assert taken["0"].min() < 0 <= taken["1"].min()

    def test_an_activation_is_received_before_the_next_module_runs(self):
        net = chain()
        order: list[str] = []
        net[1].register_forward_pre_hook(lambda *_: order.append("next"))
        with Capture(net, [Layer("0")], lambda *_: order.append("received")):
            net(torch.ones(1, 4))
        assert order == ["received", "next"]

    def test_no_activation_outlives_the_forward_or_its_use(self):
        net = nn.Sequential(*(nn.Linear(4, 4) for _ in range(6)))
        seen: list[StorageWeakRef] = []
        alive: list[int] = []

        def receive(_layer: Layer, value: Tensor) -> None:
            alive.append(sum(not storage.expired() for storage in seen))
            seen.append(StorageWeakRef(value.untyped_storage()))

        with evaluating(net), Capture(net, [Layer(str(i)) for i in range(6)], receive) as capture, capture.forward():
            net(torch.randn(2, 4))
        # Of all earlier layers only the input of the present one is still there.
        assert max(alive) <= 1
        assert all(storage.expired() for storage in seen)

    def test_an_activation_is_not_copied(self):
        net = chain()
        given: list[int] = []
        taken: list[int] = []
        net[0].register_forward_hook(lambda _m, _a, output: given.append(output.data_ptr()))
        with Capture(net, [Layer("0")], lambda _layer, value: taken.append(value.data_ptr())):
            net(torch.ones(2, 4))
        assert taken == given

    def test_activations_carry_no_gradient(self):
        net = chain()
        with Capture(net, [Layer("0")], lambda _layer, value: needs.append(value.requires_grad)):
            needs: list[bool] = []
            net(torch.ones(2, 4))
        assert needs == [False]

    def test_each_call_of_a_module_is_a_layer(self):
        class Twice(nn.Module):
            def __init__(self):
                super().__init__()
                self.block = nn.Linear(4, 4)

            def forward(self, x):
                return self.block(self.block(x))

        net, x = Twice(), torch.randn(2, 4)
        taken = captured(net, [Layer("block"), Layer("block", call=2)], lambda: net(x))
        assert torch.equal(taken["block"], net.block(x))
        assert torch.equal(taken["block#2"], net(x))

    def test_calls_are_counted_anew_in_every_forward(self):
        net, names = chain(), []
        with Capture(net, [Layer("0")], lambda layer, _value: names.append(layer.name)) as capture:
            for _ in range(2):
                with capture.forward():
                    net(torch.ones(1, 4))
        assert names == ["0", "0"]

    def test_output_changed_by_the_users_hooks_is_captured(self):
        net, x = chain(), torch.randn(2, 4)
        net[0].register_forward_hook(lambda _m, _a, output: output + 1)
        assert torch.equal(captured(net, ["0"], lambda: net(x))["0"], net[0](x))


@dataclasses.dataclass
class Output:
    hidden: Tensor
    rest: tuple[Tensor, ...]


def model_output(value: Tensor) -> Any:
    from transformers.modeling_outputs import BaseModelOutput

    return BaseModelOutput(last_hidden_state=value)


class TestForms:
    @pytest.mark.parametrize(
        ("form", "item"),
        [
            (lambda h: (h + 1, h), (1,)),
            (lambda h: [h], (0,)),
            (lambda h: {"a": {"b": (None, h)}}, ("a", "b", 1)),
            (model_output, ("last_hidden_state",)),
            (model_output, (0,)),
            (lambda h: Output(h, ()), ("hidden",)),
            (lambda h: Output(h + 1, (h,)), ("rest", 0)),
        ],
        ids=["tuple", "list", "nested", "ModelOutput by name", "ModelOutput by place", "dataclass", "in dataclass"],
    )
    def test_the_item_is_picked_from_nested_outputs(self, form, item):
        net, x = Gives(form), torch.randn(3, 4)
        taken = captured(net, [Layer("", item=item, kind="Gives")], lambda: net(x))
        assert torch.equal(taken["Gives"], net.inner(x))

    @pytest.mark.parametrize("item", [(), (5,), ("hidden",), (0, "a")])
    def test_an_output_without_the_item_is_refused_by_name(self, item):
        net = Gives(lambda h: (None, h))
        with pytest.raises(LayerNeverFired, match="'Gives' gave a tuple where its tensor was expected"):
            captured(net, [Layer("", item=item, kind="Gives")], lambda: net(torch.ones(1, 4)))

    @pytest.mark.parametrize("item", [(0,), ("scale",), ("extra", "mask")])
    def test_inputs_are_taken_by_position_and_by_keyword(self, item):
        class Block(nn.Module):
            def forward(self, x, *, scale, extra):
                return x * scale

        given = {(0,): torch.randn(2, 3), ("scale",): torch.randn(2, 3), ("extra", "mask"): torch.randn(2, 3)}
        net = nn.ModuleDict({"block": Block()})

        def run():
            net["block"](given[0,], scale=given["scale",], extra={"mask": given["extra", "mask"]})

        taken = captured(net, [Layer("block", side="input", item=item)], run)
        assert torch.equal(taken["block:input"], given[item])

    def test_the_input_of_an_in_place_module_is_taken_before_it_is_overwritten(self):
        net, x = nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True)), torch.randn(3, 4)
        taken = captured(net, [Layer("1", side="input", item=(0,))], lambda: net(x))
        assert torch.equal(taken["1:input"], net[0](x))


class TestErrors:
    def test_an_unknown_path_is_refused_with_the_nearest(self):
        with pytest.raises(UnknownName, match=r"no module 'encoder\.layer1'; nearest: encoder\.layer0"):
            Capture(nn.ModuleDict({"encoder": nn.ModuleDict({"layer0": chain()})}), [Layer("encoder.layer1")], print)

    def test_a_layer_that_never_fires_is_named(self):
        net = nn.ModuleDict({"block_1": chain(), "block_2": chain()})
        with pytest.raises(LayerNeverFired, match="never called layer 'block_2'; nearest that did: block_1"):
            captured(net, ["block_1", "block_2"], lambda: net["block_1"](torch.ones(1, 4)))

    def test_a_call_too_many_is_named(self):
        net = chain()
        with pytest.raises(LayerNeverFired, match="never called layer '0#2'"):
            captured(net, [Layer("0"), Layer("0", call=2)], lambda: net(torch.ones(1, 4)))

    def test_an_error_of_the_forward_is_not_hidden(self):
        net = chain()
        with pytest.raises(RuntimeError, match="shapes"):
            captured(net, ["2"], lambda: net(torch.ones(1, 7)))


class TestLeftAsItWas:
    def test_hooks_are_removed(self):
        net = chain()
        with Capture(net, [Layer("0"), Layer("1", side="input", item=(0,))], lambda *_: None):
            assert hooks(net) == 2
        assert hooks(net) == 0

    @pytest.mark.parametrize("where", ["forward", "receiver", "caller"])
    def test_an_exception_restores_hooks_modes_and_fused_attention(self, where):
        class Stop(Exception):
            pass

        def fail(*_: object) -> None:
            raise Stop

        net = chain().train()
        if where == "forward":
            net[1].register_forward_pre_hook(fail)
        before = hooks(net)
        receive = fail if where == "receiver" else lambda *_: None

        def run() -> None:
            with evaluating(net), Capture(net, [Layer("0")], receive) as capture, capture.forward():
                net(torch.ones(1, 4))
                fail()

        with pytest.raises(Stop):
            run()
        assert hooks(net) == before
        assert all(module.training for module in net.modules())
        assert torch.backends.mha.get_fastpath_enabled()
        assert torch.is_grad_enabled()

    def test_every_module_keeps_its_mode(self):
        net = nn.Sequential(chain(), nn.BatchNorm1d(3), nn.Dropout(0.5)).train()
        net[0].eval()
        before = [module.training for module in net.modules()]
        with evaluating(net):
            assert not any(module.training for module in net.modules())
        assert [module.training for module in net.modules()] == before

    def test_the_models_own_eval_is_not_called(self):
        class Merges(nn.Linear):
            merged = False

            def train(self, mode: bool = True) -> Merges:
                self.merged = not mode
                return super().train(mode)

        net = nn.Sequential(Merges(4, 4)).train()
        with evaluating(net):
            assert not net[0].training
            assert not net[0].merged
        assert not net[0].merged

    def test_parameters_gradients_buffers_and_random_numbers_are_kept(self):
        net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)).train().to(torch.bfloat16)
        net(torch.randn(8, 4, dtype=torch.bfloat16)).sum().backward()
        net[0].bias.requires_grad_(False)
        before = {name: value.clone() for name, value in net.state_dict().items()}
        gradients = {name: value.grad.clone() for name, value in net.named_parameters() if value.grad is not None}
        frozen = [value.requires_grad for value in net.parameters()]
        random = torch.get_rng_state()
        x = torch.ones(8, 4, dtype=torch.bfloat16)
        first = captured(net, ["2"], lambda: net(x))["2"]
        assert torch.equal(first, captured(net, ["2"], lambda: net(x))["2"])
        after = net.state_dict()
        assert all(
            torch.equal(value, after[name]) and value.dtype == after[name].dtype for name, value in before.items()
        )
        assert all(torch.equal(dict(net.named_parameters())[name].grad, value) for name, value in gradients.items())
        assert [value.requires_grad for value in net.parameters()] == frozen
        assert torch.equal(random, torch.get_rng_state())

    def test_no_graph_is_recorded(self):
        net = chain()
        with evaluating(net):
            assert not net(torch.ones(1, 4)).requires_grad
