"""A network with a head for each target: every target is judged by its own, whatever the order in which heads run."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import xarray as xr
from helpers import oracle
from torch import Tensor, nn

from layerwise import profile
from layerwise.errors import InvalidData, UnknownName

TARGETS = ("fine", "coarse", "flow")


class Heads(nn.Module):
    """As many scores for two targets of classes and a regression target, from the same features."""

    def __init__(self, order: tuple[str, ...], together: str) -> None:
        super().__init__()
        self.order, self.together = order, together
        self.body = nn.Sequential(nn.Linear(8, 16), nn.Tanh())
        self.fine, self.coarse, self.flow = (nn.Linear(16, 3) for _ in range(3))

    def forward(self, x: Tensor) -> dict[str, Tensor] | tuple[Tensor, ...]:
        x = self.body(x)
        found = {name: getattr(self, name)(x) for name in self.order}
        return found if self.together == "mapping" else tuple(found[name] for name in TARGETS)


def data(names: tuple[str, ...]) -> list[tuple[Tensor, dict[str, Tensor]]]:
    inputs = torch.randn(90, 8, generator=torch.Generator().manual_seed(0))
    values = (inputs[:, :3].argmax(1), inputs[:, 3:6].argmax(1), inputs[:, 5:])
    return [
        (inputs[rows], {name: of[rows] for name, of in zip(names, values, strict=True)})
        for rows in torch.arange(90).split(40)
    ]


@pytest.mark.parametrize("rerun", [False, True])
@pytest.mark.parametrize("together", ["mapping", "tuple"])
@pytest.mark.parametrize("order", [TARGETS, TARGETS[::-1]], ids=["classes first", "classes last"])
def test_every_target_is_judged_by_the_head_that_is_called_as_it(order, together, rerun, monkeypatch):
    if rerun:
        monkeypatch.setattr("layerwise.passes.plan._WIDEST_KEPT", 0)
    torch.manual_seed(1)
    network = Heads(order, together)
    names = TARGETS if together == "mapping" else ("0", "1", "2")
    batches = data(names)
    ds = profile(network, batches, metrics=["ncc_mismatch", "self_duality"]).isel(epoch=0, split=0)
    inputs = torch.cat([x for x, _ in batches])
    with torch.no_grad():
        features, outputs = network.body(inputs).numpy(), network(inputs)
    outputs = outputs if together == "mapping" else dict(zip(names, outputs, strict=True))
    at = ds.isel(layer=ds["role"].values.tolist().index("features"))
    for name, head in zip(names[:2], (network.fine, network.coarse), strict=True):
        labels = torch.cat([own[name] for _, own in batches]).numpy()
        predicted = outputs[name].argmax(1).numpy()
        assert ds["network_error"].sel(target=name).item() == pytest.approx((predicted != labels).mean())
        expected = oracle.ncc_mismatch(features, labels, predicted)
        assert at["ncc_mismatch"].sel(target=name).item() == pytest.approx(expected)
        duality = oracle.self_duality(features, labels, head.weight.detach().numpy())
        assert at["self_duality"].sel(target=name).item() == pytest.approx(duality, rel=1e-5)
    flow = torch.cat([own[names[2]] for _, own in batches])
    assert ds["network_mse"].sel(target=names[2]).item() == pytest.approx(
        float((outputs[names[2]] - flow).square().mean()), rel=1e-5
    )
    assert np.isnan(ds["network_error"].sel(target=names[2]).item())


def test_heads_of_other_sizes_are_told_by_target():
    ds = profile(Heads(TARGETS, "mapping"), data(TARGETS), metrics="nc1", classes={"fine": 4, "coarse": 5})
    assert ds["network_error"].isnull().all()
    assert "3 scores for 4 classes of fine, 3 scores for 5 classes of coarse" in ds.attrs["classifier"]


class Shared(nn.Module):
    """As many scores for two targets of classes, from heads that are called as neither."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 16), nn.Tanh())
        self.heads = nn.ModuleDict({name: nn.Linear(16, 3) for name in ("one", "two")[:heads]})

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        x = self.body(x)
        found = tuple(head(x) for head in self.heads.values())
        return found if len(found) > 1 else found[0]


def judged(heads: int, asked: dict[str, str] | None) -> tuple[Shared, xr.Dataset]:
    torch.manual_seed(1)
    network = Shared(heads)
    batches = [(x, {name: own[name] for name in TARGETS[:2]}) for x, own in data(TARGETS)]
    return network, profile(network, batches, metrics=["ncc_mismatch", "self_duality"], heads=asked)


def assert_judged_by(network: Shared, ds: xr.Dataset, target: str, head: nn.Linear | None) -> None:
    """The numbers of a target are those of a head; of none there are none."""
    at = ds.isel(epoch=0, split=0).sel(target=target)
    at = at.isel(layer=at["role"].values.tolist().index("features"))
    found = [float(at[name]) for name in ("network_error", "ncc_mismatch", "self_duality")]
    if head is None:
        assert np.isnan(found).all()
        return
    inputs, labels = torch.cat([x for x, _ in data(TARGETS)]), torch.cat([own[target] for _, own in data(TARGETS)])
    with torch.no_grad():
        features = network.body(inputs)
        predicted = head(features).argmax(1).numpy()
    own, labels = features.numpy(), labels.numpy()
    weight = head.weight.detach().numpy()
    expected = [
        (predicted != labels).mean(),
        oracle.ncc_mismatch(own, labels, predicted),
        oracle.self_duality(own, labels, weight),
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("heads", [1, 2])
def test_a_head_that_would_do_for_two_targets_is_taken_for_neither(heads, caplog):
    network, ds = judged(heads, None)
    for target in TARGETS[:2]:
        assert_judged_by(network, ds, target, None)
    assert "fit coarse and fine alike; heads={target: name} says whose they are" in ds.attrs["classifier"]
    assert sum("says whose they are" in record.getMessage() for record in caplog.records) == 1


def test_the_caller_says_whose_the_only_head_is():
    network, ds = judged(1, {"coarse": "heads.one"})
    assert_judged_by(network, ds, "coarse", network.heads["one"])
    assert_judged_by(network, ds, "fine", None)
    assert json.loads(ds.attrs["classifier"]) == ["coarse"]
    assert json.loads(ds.attrs["heads"]) == {"coarse": "heads.one"}


@pytest.mark.parametrize("rerun", [False, True])
@pytest.mark.parametrize(
    ("asked", "order"),
    [
        ({"fine": "heads.one", "coarse": "heads.two"}, ("one", "two")),
        ({"fine": "heads.two", "coarse": "heads.one"}, ("two", "one")),
        ({"fine": "1", "coarse": "0"}, ("two", "one")),
        ({"fine": "0", "coarse": "heads.two"}, ("one", "two")),
    ],
)
def test_the_caller_says_which_output_or_layer_judges_each(asked, order, rerun, monkeypatch):
    if rerun:
        monkeypatch.setattr("layerwise.passes.plan._WIDEST_KEPT", 0)
    network, ds = judged(2, asked)
    for target, name in zip(("fine", "coarse"), order, strict=True):
        assert_judged_by(network, ds, target, network.heads[name])


def test_the_caller_says_which_output_is_of_a_regression_target():
    torch.manual_seed(1)
    network, batches = Heads(TARGETS, "tuple"), data(TARGETS)
    asked = {"fine": "0", "coarse": "1", "flow": "2"}
    ds = profile(network, batches, heads=asked, metrics=["nrc3", "self_duality"])
    inputs, flow = torch.cat([x for x, _ in batches]), torch.cat([own["flow"] for _, own in batches])
    with torch.no_grad():
        error = float((network(inputs)[2] - flow).square().mean())
    assert ds["network_mse"].sel(target="flow").item() == pytest.approx(error, rel=1e-5)
    assert json.loads(ds.attrs["regression_output"]) == ["flow"]
    assert json.loads(ds.attrs["classifier"]) == ["coarse", "fine"]


def test_targets_of_other_sizes_need_no_word():
    torch.manual_seed(1)
    batches = [(x, {"fine": own["fine"], "binary": own["coarse"] // 2}) for x, own in data(TARGETS)]
    ds = profile(Shared(1), batches, metrics="nc1")
    assert json.loads(ds.attrs["classifier"]) == ["fine"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"fien": "heads.one"}, "no target 'fien'; nearest: fine"),
        ({"fine": "heads.on"}, "no output or layer 'heads.on'; nearest: heads.one"),
    ],
)
def test_a_head_or_target_that_is_not_there_is_told_with_the_nearest(asked, message):
    with pytest.raises(UnknownName, match=message):
        judged(1, asked)


def test_two_targets_of_every_token_have_no_common_head_either():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Embedding(9, 6), nn.Linear(6, 6), nn.Linear(6, 3))
    tokens = torch.randint(0, 9, (20, 7))
    batches = [(tokens, {"fine": tokens % 3, "coarse": tokens // 3})]
    ds = profile(network, batches, reduce="tokens", metrics=["ncc_mismatch"])
    assert ds["network_error"].isnull().all()
    assert ds["ncc_mismatch"].isnull().all()
    assert "alike" in ds.attrs["classifier"]
    with pytest.raises(InvalidData, match="heads="):
        profile(network, batches, reduce="tokens", heads={"fine": "2"})
