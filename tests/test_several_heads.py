"""A network with a head for each target: every target is judged by its own, whatever the order in which heads run."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
import torch
from torch import Tensor, nn

from layerwise import profile

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
        monkeypatch.setattr("layerwise.plan._WIDEST_KEPT", 0)
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
