"""Labels of several processes are shuffled and grouped in the order of the data set."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from layerwise.passes import LabelReplicates, find_label_replicates
from layerwise.passes.jackknife_groups import deal
from layerwise.passes.request import PassRequest
from layerwise.settings import Settings

LABELS = torch.tensor([7, 7, 3, 7, 900_000_000_000, 3, 3, 7, 7, 3, 7])
SHARES = ([4, 0, 9], [10, 2, 6, 8], [], [1, 7, 3, 5])


def request() -> PassRequest:
    return PassRequest((), frozenset(), ("label",), {}, None, Settings(jackknife=3, null=4))  # type: ignore[arg-type]


def as_processes(monkeypatch: pytest.MonkeyPatch, shares: Any, unknown: str = "") -> list[LabelReplicates]:
    """What each of several processes finds, one after the other."""
    own = [({"label": LABELS[share]} if share else {}, torch.tensor(share).long(), unknown) for share in shares]
    places = [(len(indices), indices, why) for _, indices, why in own]
    monkeypatch.setattr(
        "layerwise.passes.label_replicates.all_gather",
        lambda given, shared: places if isinstance(given, tuple) else [labels for labels, *_ in own],
    )
    found = []
    for rank, (labels, indices, why) in enumerate(own):
        monkeypatch.setattr(
            "layerwise.passes.label_replicates.rank_and_world_size", lambda rank=rank: (rank, len(shares))
        )
        found.append(
            find_label_replicates(labels, request(), "train", shared=True, indices=indices.tolist(), unknown=why)
        )
    return found


def shuffled(found: LabelReplicates) -> list[Tensor]:
    assert found.shuffles is not None
    seen = found.shuffles.of({"label": (LABELS[:0], None)}, 0, found.samples)
    return [order["label"][0] for order in seen]


def by_hand() -> list[int]:
    met: dict[int, int] = {}
    groups = []
    for label in LABELS.tolist():
        met.setdefault(label, 0)
        groups.append((met[label] + list(met).index(label)) % 3)
        met[label] += 1
    return groups


def test_groups_of_all_samples_are_those_that_come_one_by_one():
    assert deal({"label": LABELS}, 3)["label"].tolist() == by_hand()


def test_every_sample_has_the_group_and_the_labels_that_one_process_gives_it(monkeypatch):
    whole = find_label_replicates({"label": LABELS}, request(), "train", shared=False)
    orders = shuffled(whole)
    for share, found in zip(SHARES, as_processes(monkeypatch, SHARES), strict=True):
        assert found.order == "of the data set"
        if not share:
            assert found.groups is not None
            assert not len(found.groups["label"])
            continue
        assert found.groups is not None
        assert found.groups["label"].tolist() == [by_hand()[number] for number in share]
        assert all(torch.equal(own, order[share]) for own, order in zip(shuffled(found), orders, strict=True))


def test_samples_whose_places_are_not_known_count_process_after_process(monkeypatch):
    found = as_processes(monkeypatch, SHARES, unknown="nobody knows")
    assert {own.order for own in found} == {"process after process: nobody knows"}
    labels = LABELS[[number for share in SHARES for number in share]]
    groups = torch.cat([own.groups["label"] for own in found if own.groups is not None])
    assert torch.equal(groups, deal({"label": labels}, 3)["label"])
