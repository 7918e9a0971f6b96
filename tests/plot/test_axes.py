import matplotlib.pyplot as plt
import pytest
from matplotlib.axes import Axes

from layerwise.plot._axes import label_layers, short_names


def numbered(pattern: str, count: int) -> list[str]:
    return [pattern.format(i) for i in range(count)]


def test_a_common_prefix_is_shown_once():
    labels, pattern = short_names(numbered("bert.encoder.layer.{}", 12))
    assert labels == numbered("{}", 12)
    assert pattern == "bert.encoder.layer.*"


def test_constant_parts_between_numbers_are_left_out():
    names = [f"encoder.stages.{s}.blocks.{b}" for s in range(2) for b in range(3)]
    assert short_names(names) == (["0.0", "0.1", "0.2", "1.0", "1.1", "1.2"], "encoder.stages.*.blocks.*")


def test_encoder_and_decoder_blocks_stay_apart():
    labels, _ = short_names(numbered("encoder.block.{}", 3) + numbered("decoder.block.{}", 3))
    assert labels == numbered("encoder.{}", 3) + numbered("decoder.{}", 3)


@pytest.mark.parametrize(
    "names",
    [
        ["bert.layer.0", "bert.layer.0.attention", "bert.layer.1", "bert.layer.1.attention"],
        [name for i in range(4) for name in (f"net.{i}", f"net.{i}.relu")],
        ["a.x", "b.x"],
        ["a", "a.a", "a.a.a"],
        ["only.one"],
    ],
)
def test_short_names_stay_distinct_and_are_never_empty(names: list[str]):
    labels, _ = short_names(names)
    assert all(labels)
    assert len(set(labels)) == len(names)


def overlapping(ax: Axes) -> list[tuple[str, str]]:
    ax.figure.draw_without_rendering()
    ticks = [tick for tick in ax.get_xticklabels() if tick.get_text()]
    boxes = [tick.get_window_extent() for tick in ticks]
    pairs = zip(range(len(ticks)), range(1, len(ticks)), strict=False)
    return [(ticks[i].get_text(), ticks[j].get_text()) for i, j in pairs if boxes[i].x1 > boxes[j].x0]


RESNET = [f"layer{stage}.{block}" for stage, blocks in enumerate((3, 8, 36, 3), 1) for block in range(blocks)]
BERT = ["bert.embeddings", *numbered("bert.encoder.layer.{}", 58), "bert.pooler"]
GPT = ["h.wte", "h.drop", *numbered("h.block.{}", 48), "h.ln_f", "lm_head"]


@pytest.mark.parametrize("width", [2.5, 4.0, 7.0])
@pytest.mark.parametrize("names", [RESNET, BERT, GPT, BERT[:12], RESNET[:12], numbered("f{}.x", 30)], ids=len)
def test_layer_labels_never_overlap(names: list[str], width: float):
    _, ax = plt.subplots(figsize=(width, 2))
    ax.set_xlim(-0.5, len(names) - 0.5)
    label_layers(ax, names)
    assert len(ax.get_xticks()) > 3
    assert overlapping(ax) == []


def test_numbered_layers_are_thinned_and_level():
    _, ax = plt.subplots(figsize=(5, 2))
    ax.set_xlim(-0.5, 59.5)
    label_layers(ax, numbered("blocks.{}", 60))
    labels = ax.get_xticklabels()
    assert {label.get_rotation() for label in labels} == {0.0}
    assert [label.get_text() for label in labels][:3] == ["0", "5", "10"]
    assert ax.get_xticks()[:3].tolist() == [0, 5, 10]
