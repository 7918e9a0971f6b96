"""Every token or pixel as a sample: the numbers are those of features laid out flat by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from helpers import oracle
from helpers.positions import Segmenter, Tagger, of_pictures, of_texts, pictures, texts
from torch import Tensor, nn

from layerwise.errors import EmptyData, InvalidData, InvalidLabels, NotRepeatable
from layerwise.passes.positions.streams import resized
from layerwise.passes.positions.subsample import Draw
from layerwise.profiling import profile
from layerwise.profiling.similarity import similarity

EPS = torch.finfo(torch.float32).eps


@pytest.fixture
def tagger():
    torch.manual_seed(0)
    return Tagger()


@pytest.fixture
def segmenter():
    torch.manual_seed(0)
    return Segmenter()


def check(ds, layer: str, features: Tensor, labels: Tensor, predicted: Tensor) -> None:
    """All of a layer's numbers that compare classes, against the oracle's on flat features."""
    flat, own = features.detach().double().numpy(), labels.numpy()
    at = ds.isel(epoch=0, split=0, target=0).sel(layer=layer)
    np.testing.assert_allclose(at["nc1"], oracle.nc1(flat, own, eps=EPS), rtol=1e-5)
    for name in ("cdnv", "etf_error", "ncc_error"):
        np.testing.assert_allclose(at[name], getattr(oracle, name)(flat, own), rtol=1e-5)
    means = oracle.class_means(flat, own)
    np.testing.assert_allclose(at["ncc_mismatch"], oracle.ncc_mismatch(flat, own, predicted.numpy(), means=means))
    np.testing.assert_allclose(at["class_variance"], oracle.class_variance(flat, own), rtol=1e-5)
    np.testing.assert_allclose(at["stable_rank"], oracle.stable_rank(flat), rtol=1e-5)
    assert at["class_count"].values.tolist() == np.bincount(own).tolist()


@pytest.mark.parametrize("side", ["right", "left"])
def test_tokens_have_the_numbers_of_flat_features_and_padding_never_counts(tagger, side):
    ids, mask, labels = texts(side=side)
    ds = profile(tagger, of_texts(ids, mask, labels), reduce="tokens")
    counts = (mask == 1) & (labels != -100)
    logits = tagger(ids)
    predicted = logits.argmax(-1)[counts]
    features = tagger.embedding(ids)
    for number, block in enumerate(tagger.blocks):
        features = block(features)
        check(ds, f"blocks.{number}", features[counts], labels[counts], predicted)
    check(ds, "classifier", logits[counts], labels[counts], predicted)
    np.testing.assert_allclose(ds["network_error"].item(), float((predicted != labels[counts]).double().mean()))
    assert json.loads(ds.attrs["positions"]) == {"train": {"label": int(counts.sum())}}
    assert json.loads(ds.attrs["samples"]) == {"train": len(ids)}


def test_pixels_have_the_numbers_of_label_maps_at_each_layers_resolution(segmenter):
    inputs, labels = pictures()
    ds = profile(segmenter, of_pictures(inputs, labels), reduce="pixels")
    fine = segmenter.fine(inputs)
    coarse = segmenter.coarse(fine)
    logits = segmenter.classifier(coarse)
    for layer, found in (("fine", fine), ("coarse", coarse), ("classifier", logits)):
        size = found.shape[2:]
        own = nn.functional.interpolate(labels[:, None].double(), size, mode="nearest-exact")[:, 0].long()
        predicted = nn.functional.interpolate(logits, size, mode="nearest-exact").argmax(1)
        counts = own != 255
        check(ds, layer, found.movedim(1, -1)[counts], own[counts], predicted[counts])
    assert list(json.loads(ds.attrs["positions"])["train"]) == ["label 8x10", "label 4x5"]


def test_tokens_that_fill_a_grid_are_pixels():
    class Patches(nn.Module):
        """A prefix token and patches, as a vision transformer has them."""

        num_prefix_tokens = 1

        def __init__(self) -> None:
            super().__init__()
            self.patch = nn.Conv2d(3, 6, 2, stride=2)
            self.block = nn.Linear(6, 6)
            self.head = nn.Linear(6, 3)

        def forward(self, inputs: Tensor) -> Tensor:
            tokens = self.patch(inputs).flatten(2).transpose(1, 2)
            tokens = self.block(torch.cat([tokens.mean(1, keepdim=True), tokens], 1))
            return self.head(tokens[:, 1:].unflatten(1, (4, 5)).movedim(-1, 1).movedim(1, -1)).movedim(-1, 1)

    torch.manual_seed(0)
    network = Patches()
    inputs, labels = pictures()
    ds = profile(network, of_pictures(inputs, labels), reduce="pixels", layers=["block"])
    tokens = network.patch(inputs).flatten(2).transpose(1, 2)
    features = network.block(tokens)
    own = labels[:, 1::2, 1::2].flatten(1)
    counts = own != 255
    check(ds, "block", features[counts], own[counts], network(inputs).argmax(1).flatten(1)[counts])


@pytest.mark.parametrize("cap", [None, 9])
@pytest.mark.parametrize("second", ["memory", "rerun"])
def test_the_size_of_batches_changes_nothing(tagger, segmenter, monkeypatch, cap, second):
    from layerwise.passes import plan

    if second == "rerun":
        monkeypatch.setattr(plan, "_WIDEST_KEPT", 0)
    options = {"samples_per_class": cap, "metrics": ["nc1", "ncc_*", "probe_error", "class_count"]}
    for network, how, cut in (
        (tagger, "tokens", lambda size: of_texts(*texts(), size=size)),
        (segmenter, "pixels", lambda size: of_pictures(*pictures(), size=size)),
    ):
        whole = profile(network, cut(100), reduce=how, **options)
        parts = profile(network, cut(1), reduce=how, **options)
        assert whole.attrs["data_fingerprint"] == parts.attrs["data_fingerprint"]
        for name in whole.data_vars:
            np.testing.assert_allclose(whole[name], parts[name], rtol=1e-4)


def test_a_cap_holds_for_every_class_and_layer_and_leaves_small_classes_whole(segmenter):
    inputs, labels = pictures()
    labels[labels == 2] = 0
    labels[0, :4, :4] = 2
    ds = profile(segmenter, of_pictures(inputs, labels), reduce="pixels", samples_per_class=10)
    drawn = json.loads(ds.attrs["positions"])["train"]
    for layer, maps in (("fine", labels), ("coarse", resized(labels, (4, 5)))):
        counts = np.bincount(maps.flatten(), minlength=3)[:3]
        # All are counted, and so many are drawn.
        assert ds["class_count"].sel(layer=layer).squeeze().values.tolist() == counts.tolist()
    assert drawn["label 8x10"] == 10 + 10 + min(10, int((labels == 2).sum()))
    assert drawn["label 4x5"] == int(np.minimum(counts, 10).sum())
    other = profile(segmenter, of_pictures(inputs, labels), reduce="pixels", samples_per_class=10, seed=1)
    assert (ds["nc1"] != other["nc1"]).all()


def class_errors(predicted: Tensor, labels: Tensor, classes: int) -> tuple[list[float], float]:
    """Share of wrong predictions of each class, and the mean of intersection over union."""
    errors, ious = [], []
    for number in range(classes):
        own, taken = labels == number, predicted == number
        errors.append(float((~taken[own]).double().mean()))
        if (own | taken).any():
            ious.append(int((own & taken).sum()) / int((own | taken).sum()))
    return errors, float(np.mean(ious))


@pytest.mark.parametrize("cap", [None, 4])
@pytest.mark.parametrize("declared", [None, 4])
@pytest.mark.parametrize("how", ["tokens", "pixels"])
def test_the_networks_own_errors_are_of_all_positions_by_class(tagger, segmenter, how, declared, cap):
    if how == "tokens":
        (ids, mask, labels), network = texts(), tagger if declared is None else Tagger(classes=4)
        counts, data = (mask == 1) & (labels != -100), of_texts(ids, mask, labels)
        predicted = network(ids).argmax(-1)
    else:
        (inputs, labels), network = pictures(), segmenter if declared is None else Segmenter(classes=4)
        counts, data = labels != 255, of_pictures(inputs, labels)
        predicted = nn.functional.interpolate(network(inputs), (8, 10), mode="nearest-exact").argmax(1)
    ds = profile(network, data, reduce=how, classes=declared, samples_per_class=cap, metrics="nc1", jackknife=2)
    errors, miou = class_errors(predicted[counts], labels[counts], declared or 3)
    np.testing.assert_allclose(ds["class_network_error"].squeeze(), errors)
    np.testing.assert_allclose(ds["network_miou"].item(), miou)
    np.testing.assert_allclose(ds["network_error"].item(), float((predicted != labels)[counts].double().mean()))
    parts = []
    for group in range(2):
        kept = counts & (torch.arange(len(labels)) % 2 != group).view(-1, *[1] * (labels.ndim - 1))
        parts.append(class_errors(predicted[kept], labels[kept], declared or 3)[1])
    np.testing.assert_allclose(ds["network_miou_se"].item(), abs(parts[0] - parts[1]) / 2)


def test_each_sample_of_a_class_is_drawn_as_often_as_any_other():
    labels = torch.tensor([0, 1, 0, 0, 1, 0, 0, 2])
    counts = labels.bincount()
    times = sum(Draw(2, seed, counts, torch.zeros_like(counts)).take(labels).int() for seed in range(2000))
    assert times[[1, 4, 7]].tolist() == [2000] * 3
    # Binomial, 2 of 5: a standard deviation is 22.
    assert (times[labels == 0] - 800).abs().max() < 5 * 22
    assert int(times[labels == 0].sum()) == 4000


def test_processes_that_share_the_samples_draw_as_many_as_one_alone():
    own, others = torch.tensor([0] * 30 + [1] * 3), torch.tensor([0] * 20 + [1] * 9)
    first, second = own.bincount(), others.bincount()
    drawn = [
        Draw(6, 0, first + second, before).take(labels)
        for labels, before in ((own, torch.zeros_like(first)), (others, first))
    ]
    assert sum(int((labels[taken] == 0).sum()) for labels, taken in zip((own, others), drawn, strict=True)) == 6
    assert sum(int((labels[taken] == 1).sum()) for labels, taken in zip((own, others), drawn, strict=True)) == 6


def test_data_that_does_not_repeat_itself_cannot_be_drawn_from(tagger):
    once = iter(of_texts(*texts()))
    with pytest.raises(NotRepeatable, match="runs only once"):
        profile(tagger, once, reduce="tokens", samples_per_class=3)


def test_two_targets_have_positions_of_their_own(tagger):
    ids, mask, labels = texts()
    other = ids % 2
    other[:, ::2] = -100
    batches = [
        {**batch, "labels": {"tag": batch["labels"], "even": even}}
        for batch, even in zip(of_texts(ids, mask, labels), other.split(5), strict=True)
    ]
    both = profile(tagger, batches, reduce="tokens", metrics=["nc1", "ncc_error"])
    tag = profile(tagger, of_texts(ids, mask, labels), reduce="tokens", metrics=["nc1", "ncc_error"])
    even = profile(tagger, of_texts(ids, mask, other), reduce="tokens", metrics=["nc1", "ncc_error"])
    for name in ("nc1", "ncc_error"):
        np.testing.assert_array_equal(both[name].sel(target="tag"), tag[name].squeeze("target"))
        np.testing.assert_array_equal(both[name].sel(target="even"), even[name].squeeze("target"))


def test_another_index_is_ignored_where_it_is_named(tagger):
    ids, mask, labels = texts()
    one = profile(tagger, of_texts(ids, mask, labels), reduce="tokens", metrics="nc1")
    renamed = torch.where(labels == -100, -1, labels)
    two = profile(tagger, of_texts(ids, mask, renamed), reduce="tokens", metrics="nc1", ignore_index=-1)
    np.testing.assert_array_equal(one["nc1"], two["nc1"])
    with pytest.raises(InvalidLabels, match="label -1"):
        profile(tagger, of_texts(ids, mask, renamed), reduce="tokens", metrics="nc1")


def test_255_is_a_class_where_so_many_are_declared(segmenter):
    inputs, labels = pictures()
    ds = profile(segmenter, of_pictures(inputs, labels), reduce="pixels", classes=256, metrics="class_count")
    assert int(ds["class_count"].sel(layer="fine", **{"class": 255}).item()) == int((labels == 255).sum())


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"reduce": "tokens", "metrics": "geometric_complexity"}, InvalidData, "geometric complexity"),
        ({"reduce": "tokens", "samples_per_class": 0}, InvalidData, "1 or more"),
        ({"ignore_index": 0}, InvalidData, "reduce='tokens'"),
        ({"reduce": "tokens", "ignore_index": [-100, 0, 1, 2]}, EmptyData, "all its labels are ignored"),
        ({"reduce": "pixels"}, InvalidData, "no layer has pixels"),
        ({"reduce": "mean"}, InvalidLabels, "reduce='tokens'"),
    ],
)
def test_what_tokens_do_not_have_is_refused(tagger, options, error, match):
    with pytest.raises(error, match=match):
        profile(tagger, of_texts(*texts()), **options)


def test_labels_of_whole_texts_are_no_labels_of_tokens(tagger):
    ids, mask, labels = texts()
    with pytest.raises(InvalidLabels, match=r"\(n, tokens\)"):
        profile(tagger, of_texts(ids, mask, labels[:, 0].clamp_min(0)), reduce="tokens")


def test_similarity_takes_whole_samples(tagger):
    with pytest.raises(InvalidData, match="whole samples"):
        similarity(tagger, of_texts(*texts()), reduce="tokens")


def test_a_profile_of_tokens_that_was_killed_goes_on(tagger, tmp_path):
    from layerwise.passes.resume import ResumeState

    class Killed(BaseException):
        pass

    batches = of_texts(*texts())
    options = {"reduce": "tokens", "samples_per_class": 8, "metrics": ["nc1", "ncc_error"], "check": False}
    whole = profile(tagger, batches, **options)
    runs = 0

    def stop(*_: object) -> None:
        nonlocal runs
        runs += 1
        if runs == 6:
            raise Killed

    hook = tagger.classifier.register_forward_hook(stop)
    with pytest.raises(Killed):
        profile(tagger, batches, resume_dir=ResumeState(tmp_path / "part", every=0.0), **options)
    hook.remove()
    again = profile(tagger, batches, resume_dir=ResumeState(tmp_path / "part", every=0.0), **options)
    np.testing.assert_array_equal(whole["nc1"], again["nc1"])
    np.testing.assert_array_equal(whole["ncc_error"], again["ncc_error"])


def test_a_segmentation_model_of_transformers_is_profiled_at_every_resolution():
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    torch.manual_seed(0)
    widths = [8, 16]
    network = SegformerForSemanticSegmentation(
        SegformerConfig(
            num_encoder_blocks=2,
            depths=[1, 2],
            sr_ratios=[2, 1],
            hidden_sizes=widths,
            patch_sizes=[7, 3],
            strides=[4, 2],
            num_attention_heads=[1, 2],
            mlp_ratios=[2, 2],
            decoder_hidden_size=12,
            num_labels=3,
        )
    ).eval()
    generator = torch.Generator().manual_seed(0)
    inputs, labels = torch.randn(4, 3, 32, 48, generator=generator), torch.randint(0, 3, (4, 32, 48))
    labels[:, :4] = 255
    loader = [{"pixel_values": inputs, "labels": labels}]
    ds = profile(network, loader, reduce="pixels", classes=3)
    found: list[Tensor] = []
    last = [name for name in ds["layer"].values if name.startswith("segformer")][-1]
    network.get_submodule(last).register_forward_hook(
        lambda module, given, made: found.append(made if isinstance(made, Tensor) else made[0])
    )
    with torch.no_grad():
        output = network(inputs)
    own = resized(labels, (4, 6))
    counts = own != 255
    predicted = resized(output.logits.argmax(1), (4, 6))
    check(ds, last, found[0].unflatten(1, (4, 6))[counts], own[counts], predicted[counts])
    assert {"8x12", "4x6"} == {name.split()[1] for name in json.loads(ds.attrs["positions"])["train"]}
    fine = resized(labels, output.logits.shape[2:])
    wrong = (output.logits.argmax(1) != fine)[fine != 255].double().mean()
    np.testing.assert_allclose(ds["network_error"].item(), float(wrong))
