"""SVSL is its formula on the layers of the training's own forward, and leaves the network as it was."""

from __future__ import annotations

import copy

import pytest
import torch
from helpers.networks import Convolutional, Perceptron, blobs
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from layerwise import Tracker
from layerwise.errors import InvalidData, InvalidLabels, LayerNeverFired, UnknownName
from layerwise.losses import SVSL, within_class_variability

X, Y = blobs()


def gradients(model: nn.Module) -> list[Tensor]:
    return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


def hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def perceptron() -> Perceptron:
    torch.manual_seed(0)
    return Perceptron()


class Tokens(nn.Module):
    """Two layers of tokens, and the masked mean of the second."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(20, 6)
        self.blocks = nn.Sequential(*(nn.Sequential(nn.Linear(6, 6), nn.ReLU()) for _ in range(2)))
        self.classifier = nn.Linear(6, 3)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden = self.blocks(self.table(input_ids))
        mask = attention_mask[..., None]
        return self.classifier((hidden * mask).sum(1) / mask.sum(1))


class TestTheTerm:
    def test_value_and_gradient_are_those_of_the_formula(self):
        net = perceptron()
        with SVSL(net, alpha=0.3, layers=["first", "second"]) as svsl:
            net(X)
            term = svsl(Y)
            term.backward()
        found = gradients(net)
        net.zero_grad()
        first = net.first(X)
        expected = 0.15 * (within_class_variability(first, Y) + within_class_variability(net.second(first), Y))
        expected.backward()
        torch.testing.assert_close(term, expected)
        torch.testing.assert_close(found, gradients(net))

    def test_gamma_leaves_the_first_layers_out_and_divides_by_all(self):
        net = perceptron()
        with SVSL(net, alpha=1.0, layers=["first", "second"], gamma=1) as svsl:
            net(X)
            assert svsl.layers == ["second"]
            torch.testing.assert_close(svsl(Y), within_class_variability(net.second(net.first(X)), Y) / 2)

    def test_during_warm_up_it_is_nothing(self):
        net = perceptron()
        values = []
        with SVSL(net, alpha=1.0, warmup=2) as svsl:
            for _ in range(4):
                net(X)
                values.append(svsl(Y).item())
        assert values[:2] == [0, 0]
        assert values[2] == values[3] > 0

    def test_a_training_that_goes_on_is_past_its_warm_up(self):
        net = perceptron()
        with SVSL(net, alpha=1.0, warmup=100) as svsl:
            svsl.steps = 100
            net(X)
            assert svsl(Y) > 0

    @pytest.mark.parametrize("reduce", ["gap", "flatten"])
    def test_an_operation_in_place_after_a_layer_does_not_change_it(self, reduce):
        torch.manual_seed(0)
        net = Convolutional()
        images, labels = torch.randn(12, 3, 6, 6), torch.arange(12) % 3
        with SVSL(net, alpha=1.0, layers=["blocks.0.convolution", "stem"], reduce=reduce) as svsl:
            net(images)
            term = svsl(labels)
            term.backward()
        stem = net.stem(images)
        features = [stem, net.blocks[0].convolution(stem)]
        features = [item.mean((2, 3)) if reduce == "gap" else item.flatten(1) for item in features]
        torch.testing.assert_close(term, sum(within_class_variability(item, labels) for item in features) / 2)
        assert net.stem.weight.grad.abs().sum() > 0

    def test_padding_never_counts(self):
        torch.manual_seed(0)
        net = Tokens()
        words, mask = torch.randint(1, 20, (6, 5)), torch.ones(6, 5)
        mask[::2, 3:] = 0
        values = []
        for padding in (0, 7):
            with SVSL(net, alpha=1.0) as svsl:
                net(torch.where(mask > 0, words, padding), attention_mask=mask)
                by_name = svsl(torch.arange(6) % 2)
                net(torch.where(mask > 0, words, padding), mask)
                values += [by_name, svsl(torch.arange(6) % 2)]
        torch.testing.assert_close(torch.stack(values), values[0].expand(4))

    def test_it_lowers_the_variability_of_its_layers(self):
        ends = []
        for alpha in (0.0, 1.0):
            net = perceptron()
            optimiser = torch.optim.SGD(net.parameters(), 0.05)
            with SVSL(net, alpha=alpha, layers="second") as svsl:
                for _ in range(60):
                    optimiser.zero_grad()
                    (cross_entropy(net(X), Y) + svsl(Y)).backward()
                    optimiser.step()
            ends.append(within_class_variability(net.second(net.first(X)), Y).item())
        assert ends[1] < ends[0] / 2


class TestTheTraining:
    def test_no_forward_is_added_after_the_look_at_the_first(self):
        net = perceptron()
        calls = []
        with SVSL(net, alpha=1.0) as svsl:
            net(X)
            net.second.register_forward_hook(lambda *_: calls.append(1))
            for _ in range(3):
                net(X)
                svsl(Y)
        assert len(calls) == 3

    def test_hooks_are_gone_afterwards_and_after_an_error(self):
        net = perceptron()
        net.eval()
        with SVSL(net, alpha=1.0) as svsl:
            net(X)
            svsl(Y)
            assert hooks(net) > 0
        assert hooks(net) == 0
        with pytest.raises(RuntimeError), SVSL(net, alpha=1.0) as svsl:
            net(X)
            net(torch.ones(2, 5))
        assert hooks(net) == 0
        assert not net.training

    def test_the_look_at_the_first_batch_draws_nothing_and_moves_no_running_mean(self):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(8, 6), nn.BatchNorm1d(6), nn.Dropout(), nn.Linear(6, 3))
        twin = copy.deepcopy(net)
        torch.manual_seed(1)
        expected = twin(X)
        torch.manual_seed(1)
        with SVSL(net, alpha=1.0):
            torch.testing.assert_close(net(X), expected, rtol=0, atol=0)
        torch.testing.assert_close(net.state_dict(), twin.state_dict(), rtol=0, atol=0)

    def test_a_profile_within_the_training_sees_the_network_and_not_the_term(self):
        ends = []
        for measured in (False, True):
            net = perceptron()
            optimiser = torch.optim.SGD(net.parameters(), 0.05)
            with SVSL(net, alpha=0.1) as svsl:
                tracker = Tracker(net, [(X, Y)], metrics="nc1") if measured else None
                for epoch in range(3):
                    optimiser.zero_grad()
                    scores = net(X)
                    if tracker is not None:
                        tracker.measure(epoch)
                    (cross_entropy(scores, Y) + svsl(Y)).backward()
                    optimiser.step()
            ends.append(torch.cat([parameter.detach().flatten() for parameter in net.parameters()]))
        assert torch.equal(*ends)

    def test_autocast_loses_no_gradient_to_the_look_at_the_first_batch(self):
        net = perceptron()
        found = []
        with SVSL(net, alpha=0.1) as svsl:
            for _ in range(2):
                net.zero_grad()
                with torch.autocast("cpu", torch.bfloat16):
                    loss = cross_entropy(net(X), Y) + svsl(Y)
                loss.backward()
                found.append(gradients(net))
        assert len(found[0]) == len(list(net.parameters()))
        torch.testing.assert_close(found[0], found[1])

    def test_checkpointing_that_keeps_gradients_changes_nothing(self):
        class Checkpointed(Perceptron):
            reentrant: bool | None = None

            def forward(self, inputs: Tensor) -> Tensor:
                if self.reentrant is None:
                    return super().forward(inputs)
                hidden = checkpoint(self.first, inputs, use_reentrant=self.reentrant)
                return self.classifier(checkpoint(self.second, hidden, use_reentrant=self.reentrant))

        torch.manual_seed(0)
        net = Checkpointed()
        found = []
        for reentrant in (None, False):
            net.zero_grad()
            net.reentrant = reentrant
            with SVSL(net, alpha=0.1, layers=["first", "second"]) as svsl:
                (cross_entropy(net(X), Y) + svsl(Y)).backward()
            found.append(gradients(net))
        torch.testing.assert_close(found[0], found[1])
        net.reentrant = True
        with pytest.raises(InvalidData, match="use_reentrant=False"), SVSL(net, alpha=0.1, layers="second"):
            net(X.requires_grad_())
        X.requires_grad_(False)

    def test_a_data_parallel_network_is_read_within_its_forward(self, tmp_path):
        torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
        try:
            net = perceptron()
            found = []
            for model in (net, nn.parallel.DistributedDataParallel(net)):
                net.zero_grad()
                with SVSL(model, alpha=0.1) as svsl:
                    (cross_entropy(model(X), Y) + svsl(Y)).backward()
                found.append(gradients(net))
        finally:
            torch.distributed.destroy_process_group()
        torch.testing.assert_close(found[0], found[1])


class TestErrors:
    def test_the_term_takes_a_forward_with_gradients_each_time(self):
        net = perceptron()
        with SVSL(net, alpha=1.0) as svsl:
            net(X)
            svsl(Y)
            with torch.no_grad():
                net(X)
            with pytest.raises(LayerNeverFired, match="no forward was read since the last call"):
                svsl(Y)

    def test_labels_of_another_batch_are_refused(self):
        net = perceptron()
        with SVSL(net, alpha=1.0) as svsl:
            net(X[:10])
            with pytest.raises(InvalidLabels, match="10 rows in this batch, for 60 labels"):
                svsl(Y)

    def test_a_layer_that_is_not_there_is_named_in_the_first_forward_whatever_the_warm_up(self):
        net = perceptron()
        with pytest.raises(UnknownName, match="nearest: second"), SVSL(net, alpha=1.0, layers="secnd", warmup=9):
            net(X)

    def test_gamma_beyond_the_layers_is_refused(self):
        net = perceptron()
        svsl = SVSL(net, alpha=1.0, layers=["first", "second"], gamma=2)
        with pytest.raises(InvalidData, match="gamma=2 leaves none of the 2 layers: first, second"), svsl:
            net(X)

    @pytest.mark.parametrize(
        "wrong", [{"alpha": -1.0}, {"alpha": float("nan")}, {"alpha": 1, "gamma": -1}, {"alpha": 1, "reduce": "tokens"}]
    )
    def test_numbers_out_of_range_are_refused(self, wrong):
        with pytest.raises(InvalidData):
            SVSL(perceptron(), **wrong)
