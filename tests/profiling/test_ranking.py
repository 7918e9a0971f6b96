"""Layers of several networks are ranked by what a readout of each would get wrong on samples that were held out."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from helpers.networks import Convolutional, Perceptron, blobs, loader
from typer.testing import CliRunner

from layerwise.cli.app import app
from layerwise.errors import InvalidArgument, InvalidData, NotRepeatable, UnknownName
from layerwise.profiling.ranking import RANKED, rank


@pytest.fixture
def splits():
    return {"train": loader(*blobs(90)), "test": loader(*blobs(60, seed=1))}


@pytest.fixture
def ranking(splits):
    torch.manual_seed(0)
    return rank({"wide": Perceptron(width=32), "narrow": Perceptron(width=2)}, splits)


def test_every_layer_of_every_network_has_a_place_and_the_best_comes_first(ranking):
    frame = ranking.frame
    assert len(frame) == sum(ds.sizes["layer"] for ds in ranking.profiles.values())
    assert (np.diff(frame["probe_error"]) >= 0).all()
    assert frame["model"][0] == "wide"
    for row in frame.itertuples():
        own = ranking.profiles[row.model].squeeze().sel(layer=row.layer)
        for name, split in (("probe_error", "test"), ("ncc_error", "test"), ("h_score", "train"), ("logme", "train")):
            assert getattr(row, name) == own[name].sel(split=split)
    assert ranking.best["model"].tolist() == ["wide", "narrow"]


@pytest.mark.parametrize("by", RANKED)
def test_what_grows_with_separation_is_ranked_downward(splits, by):
    torch.manual_seed(0)
    ranking = rank({"one": Perceptron()}, splits, by=by)
    values = ranking.frame[by].to_numpy()
    best = values.min() if by.endswith("error") else values.max()
    assert values[0] == best
    assert ranking.text().startswith("the best layer of each network")


def test_of_equal_layers_the_earlier_is_the_better():
    inputs = torch.eye(3).repeat(10, 1)
    ranking = rank({"one": Perceptron(features=3)}, [(inputs, torch.arange(30) % 3)], by="ncc_error")
    same = ranking.frame[ranking.frame["ncc_error"] == ranking.frame["ncc_error"][0]]
    assert (np.diff(same["depth"]) >= 0).all()
    assert "hold samples out" in ranking.text()


def test_standard_errors_stand_beside_what_they_are_of(splits):
    ranking = rank({"one": Perceptron()}, splits, jackknife=5)
    assert {"probe_error_se", "h_score_se"} <= set(ranking.frame.columns)


def test_pooling_stands_in_a_column(splits):
    ranking = rank({"one": Perceptron()}, splits)
    assert set(ranking.frame["pooling"]) == {""}
    torch.manual_seed(0)
    pictures, labels = torch.randn(30, 3, 8, 8), torch.arange(30) % 3
    found = rank({"net": Convolutional()}, [(pictures, labels)]).frame.set_index("layer")
    assert found["pooling"]["blocks.0"] == "gap"
    assert found["pooling"]["classifier"] == ""


class Drawing:
    """A loader that gives other samples every time it runs."""

    def __init__(self, **fixed) -> None:
        self.runs, self.fixed = 0, fixed

    def __iter__(self):
        self.runs += 1
        inputs, labels = blobs(30, seed=self.runs)
        changed = labels[torch.randperm(30, generator=torch.Generator().manual_seed(self.runs))]
        yield inputs, labels if "labels" in self.fixed else changed[: 30 - self.runs].repeat(2)[:30]


@pytest.mark.parametrize("fixed", [{}, {"labels": True}])
def test_networks_that_were_given_other_samples_are_not_ranked(fixed):
    with pytest.raises((InvalidData, NotRepeatable), match="not the same|repeat"):
        rank({"one": Perceptron(), "two": Perceptron()}, Drawing(**fixed), metrics="probe_error")


def test_what_cannot_be_ranked_is_refused(splits):
    with pytest.raises(UnknownName, match="probe_error"):
        rank({"one": Perceptron()}, splits, by="probe_eror")
    with pytest.raises(UnknownName, match="label"):
        rank({"one": Perceptron()}, splits, target="labels")
    with pytest.raises(InvalidData, match="each once"):
        rank(["sklearn", "sklearn"], splits)
    with pytest.warns(UserWarning, match="1 class"), pytest.raises(InvalidData, match="two classes"):
        rank({"one": Perceptron()}, [(torch.randn(60, 8), torch.zeros(60, dtype=torch.int64))])


def test_networks_are_ranked_and_drawn_from_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n"
        "def small():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))\n"
        "def large():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))\n"
    )
    words = ["rank", "mine:small", "mine:large", "sklearn:digits?limit=200&test=0.3", "-o", "rank.png", "--json"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["split"] == "test"
    assert {row["model"] for row in told["layers"]} == {"mine:small", "mine:large"}
    assert (tmp_path / "rank.png").stat().st_size > 10_000


@pytest.mark.parametrize("given", [lambda net: net, lambda net: [net], lambda net: {"Perceptron": net}])
def test_one_network_is_ranked_by_itself_in_a_list_or_by_name(splits, given):
    net = Perceptron()
    expected = rank({"Perceptron": net}, splits).frame
    assert rank(given(net), splits).frame.equals(expected)


def test_two_networks_of_one_name_are_refused(splits):
    with pytest.raises(InvalidArgument, match="two networks have one name"):
        rank([Perceptron(), Perceptron()], splits)
