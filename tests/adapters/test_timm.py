"""timm's models by name, with the weights of a local file, and what they say of themselves."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from layerwise.adapters import adapter_named, load
from layerwise.errors import InvalidData, UnknownName
from layerwise.network.weights import weight_hash
from layerwise.testing import AdapterTests

CPU = torch.device("cpu")


@pytest.fixture
def weights(tmp_path):
    """A function that saves a model's weights and names the file."""

    def save(architecture: str, name: str = "weights.pth"):
        torch.manual_seed(0)
        model = timm.create_model(architecture)
        path = tmp_path / name
        if name.endswith(".safetensors"):
            from safetensors.torch import save_file

            save_file(model.state_dict(), path)
        else:
            torch.save(model.state_dict(), path)
        return path, weight_hash(model)

    return save


class TestConvolutional(AdapterTests):
    classes = 1000
    architecture = "test_resnet.r160_in1k"

    @pytest.fixture
    def name(self, weights):
        return f"timm/{self.architecture}?file={weights(self.architecture)[0]}"

    @pytest.fixture(params=["timm/resnet5o?pretrained=0", "timm/", "timm/resnet18.a9_in1k?pretrained=0"])
    def unknown(self, request):
        return request.param

    @pytest.fixture
    def inputs(self):
        return torch.randn(6, 3, 64, 64, generator=torch.Generator().manual_seed(0))

    @pytest.fixture
    def raw(self):
        return [Image.new("RGB", (40, 30)), np.zeros((20, 50), np.uint8)]


class TestTransformer(TestConvolutional):
    architecture = "test_vit.r160_in1k"
    prefix = 1
    pooling = "cls"

    @pytest.fixture
    def inputs(self):
        return torch.randn(6, 3, 160, 160, generator=torch.Generator().manual_seed(0))


class TestWeights:
    @pytest.mark.parametrize("option", ["file", "checkpoint"])
    @pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
    def test_weights_come_from_a_local_file(self, weights, option, name):
        path, expected = weights("test_resnet", name)
        model, _ = load(f"timm/test_resnet?{option}={path}")
        assert weight_hash(model) == expected
        assert not model.training

    @pytest.mark.parametrize("option", ["file", "checkpoint"])
    def test_a_missing_file_names_the_nearest(self, weights, option):
        path, _ = weights("test_resnet")
        with pytest.raises(UnknownName, match=r"no file of weights .*wieghts\.pth'; nearest: .*weights\.pth"):
            load(f"timm/test_resnet?{option}={path.with_name('wieghts.pth')}")

    def test_random_weights_need_no_network(self):
        torch.manual_seed(0)
        first = weight_hash(load("timm/test_resnet?pretrained=0")[0])
        torch.manual_seed(1)
        assert weight_hash(load("timm/test_resnet?pretrained=0")[0]) != first

    def test_the_size_of_the_head_is_part_of_the_name(self):
        model, adapter = load("timm/test_resnet?pretrained=0&num_classes=7")
        assert model.get_submodule(adapter.head(model)).out_features == 7
        model, adapter = load("timm/test_resnet?pretrained=0&num_classes=0")
        assert adapter.head(model) is None

    @pytest.mark.parametrize("value", ["", "ten", "-1", "2.5"])
    def test_a_size_that_is_no_number_of_classes_is_refused(self, value):
        with pytest.raises(InvalidData, match=f"num_classes={value}: a whole number"):
            load(f"timm/test_resnet?pretrained=0&num_classes={value}")


class TestNames:
    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("resnet5o", "no timm model 'resnet5o'; nearest: .*resnet50"),
            ("vit_base_patch16_22", "nearest: .*vit_base_patch16_224"),
            ("resnet50.a1_in1", r"no timm model 'resnet50\.a1_in1'; nearest: .*resnet50\.a1_in1k"),
            (
                "resnet50?weights=0",
                "no option of a timm model 'weights'; there are: pretrained, file, checkpoint, num_classes",
            ),
            ("resnet50?pretraind=0", "no option of a timm model 'pretraind'; nearest: pretrained"),
        ],
    )
    def test_a_slip_of_the_pen_is_told_with_the_nearest(self, name, message):
        with pytest.raises(UnknownName, match=message):
            load(f"timm/{name}")


class TestAnswers:
    @pytest.fixture
    def adapter(self):
        return adapter_named("timm")

    @pytest.mark.parametrize(
        ("architecture", "options", "prefix", "pooling"),
        [
            ("test_vit", {}, 1, "cls"),
            ("test_vit", {"global_pool": "avg"}, 1, "mean"),
            ("vit_tiny_patch16_224", {"reg_tokens": 4, "depth": 1}, 5, "cls"),
            ("deit_tiny_distilled_patch16_224", {"depth": 1}, 2, "cls"),
            ("vit_tiny_patch16_224", {"class_token": False, "global_pool": "avg", "depth": 1}, 0, "mean"),
            ("test_resnet", {}, 0, "mean"),
        ],
    )
    def test_class_and_register_tokens_are_counted(self, adapter, architecture, options, prefix, pooling):
        model = timm.create_model(architecture, **options)
        batch = adapter.batch((adapter.example(model), [0, 1]), CPU)
        assert adapter.prefix_tokens(model, batch) == prefix
        if hasattr(model, "blocks"):
            with torch.no_grad():
                tokens = model.eval().forward_features(batch.inputs).shape[1]
            assert tokens == model.patch_embed.num_patches + prefix
        assert adapter.pooling(model) == pooling

    @pytest.mark.parametrize(
        ("architecture", "options", "head"),
        [("test_resnet", {}, "fc"), ("test_resnet", {"num_classes": 0}, None), ("test_efficientnet", {}, "classifier")],
    )
    def test_the_head_is_the_classifier_that_timm_names_and_none_without_classes(
        self, adapter, architecture, options, head
    ):
        assert adapter.head(timm.create_model(architecture, **options)) == head

    def test_one_named_input_is_the_picture(self, adapter):
        x = torch.ones(2, 3, 8, 8)
        for key in ("pixel_values", "image", "img"):
            assert adapter.batch({key: x, "labels": [0, 1]}, CPU).inputs is x

    def test_pictures_are_prepared_as_in_training(self, adapter):
        model = timm.create_model("test_resnet")
        prepare = adapter.prepare(model)
        grey, colour = np.full((30, 40), 255, np.uint8), Image.new("RGBA", (50, 20), (255, 255, 255, 255))
        prepared = prepare([grey, colour])
        assert prepared.shape == (2, *model.pretrained_cfg["input_size"])
        mean, std = (torch.tensor(model.pretrained_cfg[key]) for key in ("mean", "std"))
        torch.testing.assert_close(prepared[0, :, 0, 0], (1 - mean) / std, rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize("value", [np.zeros((3, 4)), np.zeros(5, np.uint8)])
    def test_what_is_no_picture_is_refused(self, adapter, value):
        with pytest.raises(InvalidData, match="a picture must be"):
            adapter.prepare(timm.create_model("test_resnet"))([value])
