"""Geometric complexity is the mean squared norm of the Jacobian, at every layer, of any network, from few forwards."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import xarray as xr
from helpers.complexity_networks import CASES, Case
from helpers.interrupted import Interrupted, assert_identical, loaders
from helpers.networks import Convolutional, Perceptron, blobs, loader
from torch import Tensor, nn
from torch.autograd.functional import jacobian

from layerwise.errors import InvalidData, NoForwardDerivative, NonFiniteFeatures, NotRepeatable
from layerwise.features.derivatives import forward_mode as tangents
from layerwise.features.derivatives.directions import TOGETHER, Axes, Signs
from layerwise.features.sketch import Sketch
from layerwise.metrics import select
from layerwise.network.inference import evaluating
from layerwise.passes.resume import ResumeState
from layerwise.profiling import Profiler, profile
from layerwise.settings import Settings
from layerwise.studies.networks import ResidualMLP
from layerwise.studies.training import Recipe, train

COMPLEXITY = ["geometric_complexity", "class_geometric_complexity"]


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return Perceptron().double()


@pytest.fixture
def batches() -> list[tuple[Tensor, Tensor]]:
    inputs, labels = blobs()
    return loader(inputs.double(), labels)


@pytest.fixture(params=sorted(CASES))
def case(request) -> Case:
    torch.manual_seed(0)
    return CASES[request.param]()


def jacobians(case: Case) -> dict[str, np.ndarray]:
    """``||dh_i/dx_i||_F^2`` of every sample, one backward pass for every feature of every layer."""
    taken: dict[str, Tensor] = {}

    def forward(value: Tensor) -> tuple[Tensor, ...]:
        case.call(value)
        return tuple(pool(taken[name]) for name, pool in case.layers.items())

    def keep(name: str):
        def hook(_module, _args, output):
            # An activation in place must not change what was kept.
            taken[name] = (output[0] if isinstance(output, tuple) else output).clone()

        return hook

    handles = [case.network.get_submodule(name).register_forward_hook(keep(name)) for name in case.layers]
    with evaluating(case.network), torch.enable_grad():
        found = [[float((of_layer**2).sum()) for of_layer in jacobian(forward, sample)] for sample in case.samples]
    for handle in handles:
        handle.remove()
    return dict(zip(case.layers, np.array(found).T, strict=True))


def at_layers(ds, name: str, layers) -> np.ndarray:
    return ds[name].isel(epoch=0, split=0).sel(layer=list(layers)).values


def only(ds, name: str = "geometric_complexity") -> np.ndarray:
    return ds[name].isel(epoch=0, split=0).values


class TestAgainstJacobians:
    def test_all_axes_make_the_exact_norm_of_the_jacobian(self, case):
        expected = jacobians(case)
        ds = profile(case.network, [case.batch], classes=3, metrics=COMPLEXITY, directions="exact", **case.options)
        means = [squares.mean() for squares in expected.values()]
        np.testing.assert_allclose(at_layers(ds, "geometric_complexity", case.layers), means, rtol=case.tolerance)
        assert (ds["geometric_complexity_se"] == 0).all()
        classes = [[squares[[0, 2]].mean(), squares[1], squares[3]] for squares in expected.values()]
        by_class = at_layers(ds.isel(target=0), "class_geometric_complexity", case.layers)
        np.testing.assert_allclose(by_class, classes, rtol=case.tolerance)

    def test_random_directions_agree_within_the_standard_error(self, case):
        expected = [squares.mean() for squares in jacobians(case).values()]
        ds = profile(case.network, [case.batch], classes=3, metrics=COMPLEXITY, directions=16, **case.options)
        error = at_layers(ds, "geometric_complexity_se", case.layers)
        assert (error < 0.5 * np.array(expected)).all()
        difference = at_layers(ds, "geometric_complexity", case.layers) - expected
        # A layer whose derivative is a multiple of the identity is exact along any signs.
        assert (np.abs(difference) <= 4 * error + 1e-10 * np.array(expected)).all()

    def test_every_kind_of_network_runs_several_directions_at_once(self, case, monkeypatch):
        monkeypatch.setattr(tangents._Differentiation, "_norms_alone", lambda *_: pytest.fail("one by one"))
        profile(case.network, [case.batch], classes=3, metrics=COMPLEXITY, **case.options)

    def test_one_direction_at_a_time_changes_nothing(self, case, monkeypatch):
        together = profile(case.network, [case.batch], classes=3, metrics=COMPLEXITY, **case.options)
        monkeypatch.setattr(torch, "vmap", _refusing)
        alone = profile(case.network, [case.batch], classes=3, metrics=COMPLEXITY, **case.options)
        for name in (*COMPLEXITY, "geometric_complexity_se"):
            np.testing.assert_allclose(alone[name], together[name], rtol=1e-7, atol=1e-12)

    @pytest.mark.parametrize("reduce", ["gap", "grid:2", "flatten", "sketch:20"])
    def test_reductions_apply_to_tangents(self, reduce):
        torch.manual_seed(0)
        network = Convolutional().double()
        inputs = torch.randn(3, 3, 5, 5, dtype=torch.float64)
        pools = {
            "gap": lambda maps: maps.mean((2, 3)),
            "grid:2": lambda maps: nn.functional.adaptive_avg_pool2d(maps, 2).flatten(1),
            "flatten": lambda maps: maps.flatten(1),
            "sketch:20": lambda maps: Sketch(200, 20, 0)(maps.flatten(1)),
        }
        layers = {"stem": pools[reduce], "blocks.1": pools[reduce]}
        case = Case(network, (inputs, torch.arange(3)), list(inputs.split(1)), network, layers, {"reduce": reduce})
        ds = profile(network, [case.batch], classes=3, metrics=COMPLEXITY, directions="exact", reduce=reduce)
        expected = [squares.mean() for squares in jacobians(case).values()]
        np.testing.assert_allclose(at_layers(ds, "geometric_complexity", layers), expected, rtol=1e-10)

    @pytest.mark.parametrize("directions", [1, 8, "exact"])
    def test_a_rotation_has_the_number_of_features(self, directions):
        rotation = nn.Linear(6, 6, bias=False).double()
        nn.init.orthogonal_(rotation.weight)
        net = nn.Sequential(rotation, nn.Linear(6, 3).double())
        inputs = torch.randn(9, 6, dtype=torch.float64)
        ds = profile(net, [(inputs, torch.arange(9) % 3)], metrics=COMPLEXITY, layers=["0", "1"], directions=directions)
        np.testing.assert_allclose(only(ds)[0], 6)
        if directions == "exact":
            product = (net[1].weight @ rotation.weight).detach()
            np.testing.assert_allclose(only(ds)[1], float(product.square().sum()), rtol=1e-12)

    def test_an_embedding_has_its_width(self):
        case = CASES["Llama"]()
        for reduce in ("last", "cls"):
            ds = profile(
                case.network, [case.batch], classes=3, metrics=COMPLEXITY, layers=["embed_tokens"], reduce=reduce
            )
            np.testing.assert_allclose(only(ds), case.network.config.hidden_size)

    def test_several_real_inputs_are_differentiated_together(self):
        class Two(nn.Module):
            def __init__(self):
                super().__init__()
                self.left, self.right = nn.Linear(3, 4), nn.Linear(5, 4)
                self.sum = nn.Identity()

            def forward(self, a, b, scale):
                return self.sum(self.left(a) + self.right(b) * scale)

        torch.manual_seed(0)
        net = Two().double()
        batch = {"a": torch.randn(4, 3), "b": torch.randn(4, 5), "scale": torch.tensor(2.0)}
        batch = {name: value.double() for name, value in batch.items()} | {"labels": torch.arange(4) % 2}
        ds = profile(net, [batch], metrics=COMPLEXITY, layers=["left", "sum"], directions="exact")
        left, right = (float(map_.weight.detach().square().sum()) for map_ in (net.left, net.right))
        np.testing.assert_allclose(only(ds), [left, left + 4 * right], rtol=1e-12)


def _refusing(*_args, **_options):
    raise RuntimeError("no batching rule")


class TestRandomDirections:
    def test_the_standard_error_falls_with_the_root_of_their_number(self, network, batches):
        few, many = (profile(network, batches, metrics=COMPLEXITY, directions=number) for number in (8, 128))
        ratio = only(few, "geometric_complexity_se") / only(many, "geometric_complexity_se")
        np.testing.assert_allclose(ratio, 4, rtol=0.2)

    def test_the_standard_error_is_that_of_many_seeds(self, network, batches):
        exact = only(profile(network, batches, metrics=COMPLEXITY, directions="exact"))
        found = [profile(network, batches, metrics=COMPLEXITY, directions=4, seed=seed) for seed in range(40)]
        scores = [(only(ds) - exact) / only(ds, "geometric_complexity_se") for ds in found]
        assert abs(np.mean(scores)) < 0.4
        assert 0.8 < np.sqrt(np.mean(np.square(scores))) < 1.2

    def test_one_direction_has_no_standard_error(self, network, batches):
        ds = profile(network, batches, metrics=COMPLEXITY, directions=1)
        assert ds["geometric_complexity"].notnull().all()
        assert ds["geometric_complexity_se"].isnull().all()

    @pytest.mark.parametrize("size", [1, 7, 60])
    def test_the_size_of_batches_changes_nothing(self, network, batches, size):
        whole = profile(network, batches, metrics=COMPLEXITY, directions=11)
        cut = profile(
            network,
            loader(*(torch.cat(part) for part in zip(*batches, strict=True)), size),
            metrics=COMPLEXITY,
            directions=11,
        )
        for name in (*COMPLEXITY, "geometric_complexity_se"):
            np.testing.assert_allclose(cut[name], whole[name], rtol=1e-10)

    def test_the_seed_decides_and_is_recorded(self, network, batches):
        one, again, other = (profile(network, batches, metrics=COMPLEXITY, seed=seed) for seed in (1, 1, 2))
        assert np.array_equal(only(one), only(again))
        assert not np.allclose(only(one), only(other), rtol=1e-6)
        assert (one.attrs["directions"], one.attrs["seed"]) == (8, 1)
        assert "directions" not in profile(network, batches, metrics="nc1").attrs

    def test_signs_are_signs_and_independent(self):
        blocks = list(Signs(TOGETHER + 3, (0,)).blocks(50, 100, torch.device("cpu")))
        signs = torch.cat(blocks).double()
        assert [len(block) for block in blocks] == [TOGETHER, 3]
        assert set(signs.unique().tolist()) == {-1, 1}
        rows = signs.flatten(0, 1)
        products = rows @ rows.T / 10
        off = products[~torch.eye(len(rows), dtype=torch.bool)]
        assert abs(off.mean()) < 0.01
        assert abs(off.std() - 1) < 0.02

    def test_axes_are_all_axes(self):
        found = torch.cat(list(Axes().blocks(2, 11, torch.device("cpu"))))
        assert torch.equal(found[:, 0], torch.eye(11, dtype=torch.int8))
        assert torch.equal(found[:, 1], found[:, 0])


class TestCollapseBound:
    """Munn 2024: for Gaussian classes of variance s^2, ``cdnv <= s^2 (GC_c + GC_k) / (2 ||mu_c - mu_k||^2)``.

    Samples have exactly the means and covariances of their classes, and linear maps see no more. Behind others the
    variance of a class and its complexity differ from their expectations by a sampling error, which is computed.
    """

    SPREAD = 0.5

    def mixture(self, samples: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(0)
        labels = torch.arange(samples) % 3
        means = 2 * torch.randn(3, 6, generator=generator, dtype=torch.float64)
        noise = torch.randn(samples, 6, generator=generator, dtype=torch.float64)
        for label in range(3):
            own = noise[labels == label]
            noise[labels == label] = torch.linalg.qr(own - own.mean(0)).Q * len(own) ** 0.5
        return means[labels] + self.SPREAD * noise, labels

    def sides(self, network: nn.Module, samples: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Left and right side for all layers and pairs, and the sampling error of their difference."""
        inputs, labels = self.mixture(samples)
        taken: dict[str, np.ndarray] = {}
        profiler = Profiler(
            network,
            loader(inputs, labels, 500),
            settings=Settings(metrics=[*COMPLEXITY, "class_variance"], directions="exact"),
        )
        with evaluating(network):
            for name in (layer.name for layer in profiler.layers):
                hook = lambda _m, _a, output, name=name: taken.update({name: output.numpy().copy()})  # noqa: E731
                handle = network.get_submodule(name).register_forward_hook(hook)
                network(inputs)
                handle.remove()
        ds = profiler.measure().isel(epoch=0, split=0, target=0)
        left, right, error = [], [], []
        for layer, features in taken.items():
            own = [features[labels.numpy() == c] for c in range(3)]
            means = [part.mean(0) for part in own]
            squares = [((part - mean) ** 2).sum(1) for part, mean in zip(own, means, strict=True)]
            for c, k in ((0, 1), (0, 2), (1, 2)):
                distance = 2 * ((means[c] - means[k]) ** 2).sum()
                at = ds.sel(layer=layer)
                variances, complexities = at["class_variance"].values, at["class_geometric_complexity"].values
                left.append((variances[c] + variances[k]) / distance)
                right.append(self.SPREAD**2 * (complexities[c] + complexities[k]) / distance)
                error.append(np.sqrt(sum(squares[j].var() / len(squares[j]) for j in (c, k))) / distance)
        return np.array(left), np.array(right), np.array(error)

    def test_it_holds_at_every_layer_of_a_trained_network(self):
        torch.manual_seed(0)
        network = ResidualMLP(6, classes=3, width=16, depth=4).double()
        train(network, *self.mixture(600), Recipe(epochs=10))
        left, right, error = self.sides(network, 6000)
        assert len(left) >= 3 * 6
        assert (left <= right + 4 * error).all()
        # Far from equal where the network is not linear.
        assert (left < 0.9 * right).any()

    def test_a_linear_network_has_equality(self):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(6, 10), nn.Linear(10, 8), nn.Linear(8, 3)).double()
        left, right, _ = self.sides(network, 6000)
        np.testing.assert_allclose(left, right, rtol=1e-9)


class TestSelection:
    def test_it_is_measured_only_by_name(self, network, batches):
        ds = profile(network, batches)
        assert not {"geometric_complexity", "class_geometric_complexity"} & set(ds.data_vars)
        asked = profile(network, batches, metrics=["geometric_complexity", "cdnv"])
        assert set(asked.data_vars) == {"network_error", "geometric_complexity", "geometric_complexity_se", "cdnv"}

    @pytest.mark.parametrize("pattern", [None, "*", "class_*", "*c*"])
    def test_a_glob_of_other_metrics_does_not_choose_it(self, pattern):
        chosen = [metric.name for metric in select(pattern)]
        assert chosen
        assert not [name for name in chosen if "complexity" in name]

    @pytest.mark.parametrize("pattern", ["geometric_*", "*complexity*", ["nc1", "class_geo*"]])
    def test_a_glob_that_matches_nothing_else_chooses_it(self, pattern):
        assert any("complexity" in metric.name for metric in select(pattern))

    def test_it_has_no_target_among_its_dims(self, network, batches):
        ds = profile(network, batches, metrics=COMPLEXITY)
        for name in ("geometric_complexity", "geometric_complexity_se"):
            assert ds[name].dims == ("epoch", "split", "layer")
        assert ds["class_geometric_complexity"].dims == ("epoch", "split", "target", "layer", "class")

    def test_every_split_and_target_has_its_own(self, network, batches):
        targets = [(x, {"fine": y, "coarse": (y > 0).long()}) for x, y in batches]
        ds = profile(network, {"train": targets, "test": targets[:1]}, metrics=COMPLEXITY, directions="exact")
        means = ds["geometric_complexity"].isel(epoch=0)
        by_class = ds["class_geometric_complexity"].isel(epoch=0)
        for split, samples in (("train", 60), ("test", 16)):
            count = np.bincount(torch.cat([y for _, y in batches])[:samples].numpy())
            fine, coarse = (by_class.sel(split=split, target=name).values for name in ("fine", "coarse"))
            np.testing.assert_allclose(fine @ count / samples, means.sel(split=split), rtol=1e-12)
            np.testing.assert_allclose(coarse[:, 0], fine[:, 0], rtol=1e-12)
            assert np.isnan(coarse[:, 2]).all()

    @pytest.mark.parametrize("directions", [0, -1, "all", 2.5])
    def test_an_invalid_number_of_directions_is_refused(self, network, batches, directions):
        with pytest.raises(InvalidData, match="neither 'exact' nor a number"):
            profile(network, batches, metrics="geometric_complexity", directions=directions)

    def test_a_loader_that_runs_once_is_refused_first(self, network, batches):
        with pytest.raises(NotRepeatable, match="second run"):
            profile(network, iter(batches), metrics="geometric_complexity")


class Curved(nn.Module):
    """Two layers and what stands between them."""

    def __init__(self, between) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 4), nn.Linear(4, 3)
        self.between = between

    def forward(self, x):
        return self.second(self.between(self.first(x)))


class Twice(torch.autograd.Function):
    """Derived backward only."""

    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, gradient):
        return 2 * gradient


class TestLimits:
    @pytest.mark.parametrize(
        ("between", "name"),
        [
            (lambda x: torch.fake_quantize_per_tensor_affine(x.float(), 0.1, 0, -9, 9).double(), "fake_quantize_per"),
            (Twice.apply, "custom autograd function"),
        ],
    )
    def test_an_operation_without_a_forward_derivative_is_named(self, batches, between, name):
        net = Curved(between).double()
        with pytest.raises(NoForwardDerivative, match=f"{name}.*before layer 'second'"):
            profile(net, batches, metrics="geometric_complexity", layers=["first", "second"])
        assert not net.first._forward_hooks
        profile(net, batches, metrics="nc1", layers=["first", "second"])

    def test_a_network_that_cannot_be_batched_runs_one_direction_at_a_time(self, batches):
        def copied(x):
            rows = torch.zeros_like(x)
            for place in range(len(x)):
                rows[place] = x[place] * (2.0 if float(x[place].detach().sum()) > 0 else 3.0)
            return rows

        net = Curved(copied).double()
        ds = profile(net, batches, metrics="geometric_complexity", layers=["second"], directions="exact")
        inputs = torch.cat([x for x, _ in batches])
        scale = torch.where(net.first(inputs).sum(1) > 0, 2.0, 3.0).double()
        expected = (scale**2).mean() * (net.second.weight @ net.first.weight).detach().square().sum()
        np.testing.assert_allclose(only(ds), float(expected), rtol=1e-12)

    def test_integers_that_no_embedding_takes_are_refused(self):
        class Scaled(nn.Module):
            def forward(self, x):
                return x / 255

        batch = (torch.randint(0, 255, (6, 8)), torch.arange(6) % 3)
        with pytest.raises(InvalidData, match="nothing to derive with respect to"):
            profile(nn.Sequential(Scaled(), Perceptron()), [batch], metrics="geometric_complexity")

    def test_a_derivative_that_is_not_finite_is_an_error_or_left_out(self):
        net = Curved(lambda x: x.clamp_min(0).sqrt()).double()
        nn.init.eye_(net.first.weight)
        nn.init.zeros_(net.first.bias)
        inputs = torch.rand(12, 8, dtype=torch.float64) + 0.1
        inputs[3] = 0
        batch = (inputs, torch.arange(12) % 3)
        options = {"metrics": "geometric_complexity", "layers": ["first", "second"], "directions": "exact"}
        with pytest.raises(NonFiniteFeatures, match="derivative of layer 'second'.*8.3%"):
            profile(net, [batch], **options)
        ds = profile(net, [batch], nonfinite="drop", **options)
        kept = inputs[torch.arange(12) != 3]
        slopes = (net.second.weight.detach()[None] / (2 * kept[:, None, :4].sqrt())).square().sum((1, 2))
        np.testing.assert_allclose(only(ds), [4, float(slopes.mean())], rtol=1e-12)


class TestLeavesThingsAsTheyWere:
    def test_modes_weights_gradients_and_hooks(self, batches):
        torch.manual_seed(0)
        network = ResidualMLP(8, classes=3, width=8, depth=2).double().train()
        before = {name: value.clone() for name, value in network.state_dict().items()}
        state = torch.get_rng_state()
        profile(network, batches, metrics=COMPLEXITY)
        assert torch.equal(torch.get_rng_state(), state)
        assert all(module.training for module in network.modules())
        assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
        assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())

    def test_it_changes_no_other_metric(self, network, batches):
        alone, beside = profile(network, batches), profile(network, batches, metrics=["*", "geometric_complexity"])
        for name in alone.data_vars:
            np.testing.assert_array_equal(alone[name], beside[name])

    def test_no_more_samples_run_at_once_than_a_batch_has(self, network, batches, monkeypatch):
        under_way: list[int] = []
        along = tangents._Differentiation._norms

        def counting(self, part, origins, directions):
            under_way.append(part.size * len(directions[0]))
            return along(self, part, origins, directions)

        monkeypatch.setattr(tangents._Differentiation, "_norms", counting)
        profile(network, batches, metrics="geometric_complexity", directions=100)
        assert max(under_way) == 16

    @pytest.mark.parametrize("stop", range(2, 12))
    def test_a_killed_profile_resumes_to_the_same_numbers(self, network, tmp_path, stop):
        options = {"metrics": ["geometric_complexity", "nc1_trace"], "memory": "1GiB"}
        network.float()
        expected = profile(network, loaders(99), **options)
        with pytest.raises(Interrupted):
            profile(network, loaders(stop), resume_dir=ResumeState(tmp_path / "part", every=0), **options)
        assert_identical(
            profile(network, loaders(99), resume_dir=ResumeState(tmp_path / "part", every=0), **options), expected
        )


def test_the_attributes_of_a_profile_stay_plain(network, batches):
    ds = profile(network, batches, metrics="geometric_complexity", directions="exact")
    assert ds.attrs["directions"] == "exact"
    assert json.loads(ds.attrs["samples"]) == {"train": 60}
    assert ds["geometric_complexity"].attrs["reference"] == "Dherin 2022; Munn 2024"


def test_samples_of_a_regression_target_have_a_complexity_too():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 2))
    x = torch.randn(20, 6)
    of_values = profile(net, [(x, torch.randn(20, 2))], metrics="geometric_complexity", directions="exact")
    of_classes = profile(net, [(x, torch.arange(20) % 2)], metrics="geometric_complexity", directions="exact")
    xr.testing.assert_allclose(of_values["geometric_complexity"], of_classes["geometric_complexity"])
