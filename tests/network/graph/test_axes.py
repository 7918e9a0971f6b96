"""Axes are measured: the numbers are those of the right axes, whatever the layout and however sizes agree."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from helpers import oracle
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from layerwise.adapters.protocol import Batch
from layerwise.errors import InvalidData
from layerwise.network.graph.axes import laid_out, measured_trace, sample_axis
from layerwise.network.graph.blocks import choose
from layerwise.network.layer import Axes, Layer
from layerwise.profiling import profile

law = settings(max_examples=20, deadline=None)
# Small and alike, so that samples, positions and features are often equally many.
sizes = st.tuples(st.integers(4, 8), st.integers(2, 8), st.sampled_from([4, 6, 8]))


def batch_of(inputs: object, size: int, mask: Tensor | None = None) -> Batch:
    return Batch(inputs, {"label": torch.arange(size) % 2}, size, mask)


def layer_of(network: nn.Module, inputs: Tensor, name: str) -> Layer:
    traced = measured_trace(network, lambda batch: network(batch.inputs), batch_of(inputs, len(inputs)))
    return next(layer for layer in choose(traced, "all") if layer.name == name)


def kept(network: nn.Module, name: str, run: Callable[[], object]) -> Tensor:
    """What a module gives, by a hook of the test's own."""
    found: list[Tensor] = []
    handle = network.get_submodule(name).register_forward_hook(lambda module, args, output: found.append(output))
    with torch.no_grad():
        run()
    handle.remove()
    return found[0].detach()


def assert_trace_ratio(network: nn.Module, data: list[object], name: str, features: Tensor, labels: Tensor) -> None:
    ds = profile(network.eval(), data, metrics=["nc1_trace"], layers=[name], reduce="gap")
    expected = oracle.nc1_trace(features.double().numpy(), labels.numpy())
    np.testing.assert_allclose(ds["nc1_trace"].values.ravel(), expected, rtol=1e-4)


class SequenceFirst(nn.Module):
    """The layout of torch's own transformers: (sequence, batch, features)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed = nn.Linear(3, width)
        layer = nn.TransformerEncoderLayer(width, 2, 8)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.fc = nn.Linear(width, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.fc(self.encoder(self.embed(inputs).transpose(0, 1)).mean(0))


class Windowed(nn.Module):
    """Windows of a series are samples to its block."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed, self.block, self.fc = nn.Linear(3, width), nn.Linear(width, width), nn.Linear(width, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        windows = self.block(self.embed(inputs).unflatten(1, (-1, 2)).flatten(0, 1))
        return self.fc(windows.unflatten(0, (len(inputs), -1)).mean((1, 2)))


class ChannelNormed(nn.Module):
    """A convolution over time, normalised over its channels with the layout turned twice."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv1d(3, width, 3, padding=1), nn.LayerNorm(width)
        self.block, self.fc = nn.Identity(), nn.Linear(width, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        turned = self.norm(self.convolution(inputs).transpose(1, 2)).transpose(1, 2)
        return self.fc(self.block(torch.relu(turned)).mean(2))


class Latents(nn.Module):
    """As many latents as there are tokens look at them: a fixed number of positions, which no mask knows."""

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.randn(count, width))
        self.embed, self.mix, self.fc = nn.Embedding(20, width), nn.Linear(width, width), nn.Linear(width, 2)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        tokens = self.embed(input_ids)
        scores = (self.latents @ tokens.transpose(1, 2)).masked_fill(attention_mask[:, None] == 0, -torch.inf)
        return self.fc(self.mix(scores.softmax(-1) @ tokens).mean(1))


@law
@given(sizes)
def test_samples_on_the_second_axis(drawn: tuple[int, int, int]) -> None:
    samples, length, width = drawn
    torch.manual_seed(0)
    network, labels = SequenceFirst(width).eval(), torch.arange(samples) % 2
    inputs = torch.randn(samples, length, 3) + labels[:, None, None]
    features = kept(network, "encoder.layers.0", lambda: network(inputs)).mean(0)
    assert_trace_ratio(network, [(inputs, labels)], "encoder.layers.0", features, labels)


@law
@given(sizes)
def test_windows_are_folded_back(drawn: tuple[int, int, int]) -> None:
    samples, length, width = drawn
    torch.manual_seed(0)
    network, labels = Windowed(width).eval(), torch.arange(samples) % 2
    inputs = torch.randn(samples, 2 * length, 3) + labels[:, None, None]
    given_rows = kept(network, "block", lambda: network(inputs))
    features = given_rows.unflatten(0, (samples, -1)).mean((1, 2))
    assert_trace_ratio(network, [(inputs, labels)], "block", features, labels)


@law
@given(sizes)
def test_only_the_length_shows_the_channels(drawn: tuple[int, int, int]) -> None:
    samples, length, width = drawn
    torch.manual_seed(0)
    network, labels = ChannelNormed(width).eval(), torch.arange(samples) % 2
    inputs = torch.randn(samples, 3, length) + labels[:, None, None]
    features = kept(network, "block", lambda: network(inputs)).mean(2)
    assert_trace_ratio(network, [(inputs, labels)], "block", features, labels)


@law
@given(sizes)
def test_a_fixed_number_of_positions_has_no_padding(drawn: tuple[int, int, int]) -> None:
    samples, length, width = drawn
    torch.manual_seed(0)
    network, labels = Latents(width, length).eval(), torch.arange(samples) % 2
    mask = (torch.arange(length) < torch.randint(1, length + 1, (samples, 1))).long()
    ids = torch.randint(0, 10, (samples, length)) + 10 * labels[:, None]
    features = kept(network, "mix", lambda: network(ids, mask)).mean(1)
    data = [{"input_ids": ids, "attention_mask": mask, "labels": labels}]
    assert_trace_ratio(network, data, "mix", features, labels)


def test_a_series_cut_into_fewer_samples_than_two_is_measured() -> None:
    network = SequenceFirst(4).eval()
    assert layer_of(network, torch.randn(1, 5, 3), "encoder.layers.1").axes == Axes(
        samples=1, positions=(1,), masked=(), measured=True
    )


def test_a_network_of_one_size_keeps_its_layers() -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block, self.fc = nn.Linear(3, 4), nn.Linear(20, 2)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.fc(self.block(inputs).flatten(1))

    layer = layer_of(Fixed(), torch.randn(6, 5, 3), "block")
    assert (layer.shape, layer.channels, layer.axes.positions) == ((5, 4), -1, None)


def test_a_layer_that_mixes_samples_is_left_out_and_refused_by_name() -> None:
    class Similar(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.compare, self.fc = nn.Linear(3, 4), nn.Identity(), nn.Linear(4, 2)

        def forward(self, inputs: Tensor) -> Tensor:
            embedded = self.embed(inputs)
            return self.fc(embedded) + 0 * self.compare(embedded @ embedded.T).sum()

    data = [(torch.randn(6, 3), torch.arange(6) % 2)]
    assert "compare" not in profile(Similar(), data, layers="all", metrics=["feature_norm"]).layer
    with pytest.raises(InvalidData, match="'compare'.*does not keep samples apart"):
        profile(Similar(), data, layers=["compare"], metrics=["feature_norm"])


@pytest.mark.parametrize(
    ("shape", "more", "expected"),
    [
        ((2, 7, 16), (3, 7, 16), Axes(measured=True)),
        ((2, 2, 2), (2, 3, 2), Axes(samples=1, measured=True)),
        ((6, 4), (9, 4), Axes(folded=True, measured=True)),
        ((2,), (3,), Axes(measured=True)),
        ((7, 16), (7, 16), None),
        ((2, 2), (3, 3), None),
        ((0, 4), (0, 4), None),
        ((3, 4), (4, 4), None),
    ],
)
def test_the_axis_that_grows_with_the_samples_is_found(shape, more, expected) -> None:
    assert sample_axis(shape, more) == expected


@pytest.mark.parametrize(
    ("shape", "channels", "axes", "expected"),
    [
        ((2, 16, 40), -1, Axes(positions=(2,), measured=True), ((16, 40), 1)),
        ((7, 2, 16), -1, Axes(samples=1, positions=(1,), measured=True), ((7, 16), -1)),
        ((2, 8, 5, 6), 1, Axes(positions=(2, 3), measured=True), ((8, 5, 6), 1)),
        ((2, 5, 6, 8), 1, Axes(positions=(1, 2), measured=True), ((5, 6, 8), -1)),
        ((2, 4, 8), 1, Axes(positions=(), measured=True), ((4, 8), 1)),
        ((2, 4, 8), -1, Axes(measured=True), ((4, 8), -1)),
        ((8, 49, 16), -1, Axes(folded=True, measured=True), ((4, 49, 16), -1)),
        ((2, 9), -1, Axes(positions=(1,), measured=True), ((9,), -1)),
    ],
)
def test_one_axis_that_is_neither_samples_nor_positions_is_the_features(shape, channels, axes, expected) -> None:
    assert laid_out(shape, channels, axes) == expected
