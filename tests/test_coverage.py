"""A sample of timm and of transformers, drawn anew on every run, and the checks that it is held against."""

from __future__ import annotations

import os
import random
import warnings
from pathlib import Path

import pytest
import timm
import torch
from helpers.traced_networks import Gated, TwoTowers, UNet, mlp, stack

from benchmarks.coverage import timm_zoo, transformers_zoo, truth
from benchmarks.coverage.record import Record, add, finding, load
from benchmarks.coverage.table import written
from layerwise.network.graph.blocks import choose, find_blocks
from layerwise.network.graph.trace import trace

#: `LAYERWISE_SEED=N` draws the sample of an earlier run again.
SEED = int(os.environ.get("LAYERWISE_SEED", random.SystemRandom().randrange(10**6)))
TABLE = (Path(__file__).parents[1] / "docs" / "coverage.md").read_text()


def rows(zoo: str) -> list[list[str]]:
    """The cells of the published table."""
    part = TABLE[TABLE.index(f"## {zoo}") :].split("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def wrong(records: list[Record]) -> str:
    """What is wrong with those that are not right, and how to see it again."""
    told = [f"{record.name}: {record.error} {record.faults}" for record in records if not record.right]
    return f"LAYERWISE_SEED={SEED} draws these again: {told}"


def test_the_layers_of_a_sample_of_timm_are_right() -> None:
    whole = {family for family, names, seen, right, _ in rows("timm") if int(seen) and seen == right}
    names = sorted(name for name in timm.list_models() if timm_zoo.family(name) in whole)
    records = [timm_zoo.examine(name, {}) for name in random.Random(SEED).sample(names, 4)]
    assert all(record.right for record in records), wrong(records)


def test_the_layers_of_a_sample_of_transformers_are_right() -> None:
    families = sorted(family for family, kinds, _, causes in rows("transformers") if "base" in kinds and not causes)
    there = {name.partition("/")[2] for name in transformers_zoo.names() if name.startswith("AutoModel/")}
    drawn = random.Random(SEED).sample([family for family in families if family in there], 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        records = [transformers_zoo.examine(f"AutoModel/{family}", {}) for family in drawn]
    assert all(record.right for record in records), wrong(records)


def test_blocks_that_read_all_blocks_before_them_are_blocks() -> None:
    name = "AutoModel/inkling2_loop_text"
    if name not in transformers_zoo.names():
        pytest.skip("this version of transformers has no such network")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        record = transformers_zoo.examine(name, {})
    assert record.right, record.faults


class TestTruth:
    def test_the_inside_of_a_residual_is_no_cut(self) -> None:
        net = stack(Gated)
        traced = trace(net, lambda: net(torch.ones(2, 8)))
        inner, outer = choose(traced, ["0.inner.0", "0"])
        assert not truth.is_cut(traced, [truth.value_of(traced, inner)])
        assert truth.is_cut(traced, [truth.value_of(traced, outer)])

    @pytest.mark.parametrize(
        ("linked", "net", "shape"), [(True, UNet(), (2, 3, 16, 16)), (False, stack(Gated), (2, 8))]
    )
    def test_long_skips_are_told_from_residuals(
        self, linked: bool, net: torch.nn.Module, shape: tuple[int, ...]
    ) -> None:
        traced = trace(net, lambda: net(torch.ones(shape)))
        layers = choose(traced, ["down1", "down2"] if linked else ["0", "1.inner.0"])
        assert not truth.is_cut(traced, [truth.value_of(traced, layers[1])])
        assert truth.is_linked(traced, layers, 1) == linked

    def test_a_list_of_features_of_several_depths_is_no_bypass(self) -> None:
        class Pyramid(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.first, self.second, self.fuse = mlp(5, 8, 8), mlp(8, 8, 8), Fuse()

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                first = self.first(x)
                return self.fuse([first, self.second(first)])

        class Fuse(torch.nn.Module):
            def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
                return torch.cat(features, 1).tanh()

        net = Pyramid()
        traced = trace(net, lambda: net(torch.ones(2, 5)))
        layers = choose(traced, ["first", "second"])
        assert not truth.is_cut(traced, [truth.value_of(traced, layers[1])])
        assert truth.is_linked(traced, layers, 1)

    def test_layers_out_of_their_order_are_seen(self) -> None:
        net = mlp(5, 8, 8, 3)
        traced = trace(net, lambda: net(torch.ones(2, 5)))
        layers = find_blocks(traced)
        assert truth.disordered(traced, layers) == []
        assert truth.disordered(traced, layers[::-1]) != []

    def test_what_was_computed_twice_has_the_same_steps(self) -> None:
        net = TwoTowers()
        traced = trace(net, lambda: net(torch.ones(2, 5), torch.ones(2, 6)))
        once, more, twice = (truth.value_of(traced, layer) for layer in choose(traced, ["left.1", "left.3", "right.1"]))
        assert truth.steps(traced, once) == truth.steps(traced, twice) != truth.steps(traced, more)


class TestHiddenStates:
    def test_states_are_known_behind_a_norm_and_with_their_padding_cut_off(self) -> None:
        class Stated(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.blocks, self.norm = torch.nn.ModuleList([Gated(), Gated()]), torch.nn.LayerNorm(8)

            def forward(self, x: torch.Tensor) -> dict[str, object]:
                states = [x]
                for block in self.blocks:
                    states.append(block(states[-1]))
                inside = states[1] + 1
                return {"last": states[-1], "states": [self.norm(states[1]), states[2][:, :3], inside]}

        net = Stated()
        traced = trace(net, lambda: net(torch.ones(2, 5, 8)))
        layers = choose(traced, ["blocks.0", "blocks.1"])
        places = transformers_zoo.layers_of_states(traced, layers)
        states = [slot.value for slot in traced.outputs if slot.item[0] == "states"]
        assert [places.get(state) for state in states] == [0, 1, None]


def test_records_are_kept_and_a_line_cut_short_is_no_record(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    wrong, right = Record("timm", "a", "x", faults=["no cut"]), Record("timm", "a", "x", layers=3)
    add(path, [wrong, right, Record("timm", "b", "x")])
    path.write_text(path.read_text()[:-20])
    assert load(path) == {("timm", "a"): right}


def test_the_table_says_what_an_older_finding_found_and_why_a_known_failure_is_one() -> None:
    fault = "vision_hidden_states: 1 of 4 are no layers"
    records = [
        Record("transformers", "AutoModel/bert", "bert", layers=3, finding=finding()),
        Record("transformers", "AutoModel/lxmert", "lxmert", layers=3, faults=[fault]),
    ]
    text = written(records)
    assert "1 of them before the finding of blocks was last changed" in text
    assert f"a layer is one tensor, of one of them ({fault}) |" in text


def test_the_table_counts_what_is_right_and_says_what_is_not() -> None:
    names = timm.list_models("resnet*")[:3]
    first, second, third = names
    records = [
        Record("timm", first, "resnet", structure="s", layers=3),
        Record("timm", second, "resnet", "alike", like=first),
        Record("timm", third, "resnet", faults=["layer1 is no cut"]),
    ]
    (row,) = (line for line in written(records).splitlines() if line.startswith("| resnet |"))
    count = sum(timm_zoo.family(name) == "resnet" for name in timm.list_models())
    assert row == f"| resnet | {count} | 3 | 2 | `{third}`: layer1 is no cut |"
