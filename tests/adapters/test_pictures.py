"""Pictures of any depth and mode for networks of one and of three channels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import transformers
from PIL import Image

from layerwise.adapters import adapter_for, adapter_named
from layerwise.adapters.pictures import PicturePreparation, picture
from layerwise.data import loaders, read
from layerwise.errors import InvalidData

SHADES = np.linspace(10, 240, 48).astype(np.uint8).reshape(6, 8)


@pytest.mark.parametrize(
    "array",
    [
        SHADES,
        SHADES[..., None],
        SHADES[None],
        np.repeat(SHADES[..., None], 3, 2),
        np.repeat(SHADES[None], 3, 0),
        SHADES.astype(np.uint16) * 257,
        np.repeat((SHADES / 255)[None], 3, 0),
    ],
    ids=["h w", "h w 1", "1 h w", "h w 3", "3 h w", "16 bits", "fractions"],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_arrays_of_every_form_are_the_same_picture(array: np.ndarray, channels: int) -> None:
    read_as = np.asarray(picture(array, channels))
    assert read_as.shape == ((6, 8) if channels == 1 else (6, 8, 3))
    assert (read_as.reshape(6, 8, -1) == SHADES[..., None]).all()


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (np.zeros((3, 4)), "white may be 1 or 255"),
        (SHADES.astype(float), "from 10 to 240, and white may be 1 or 255"),
        (SHADES.astype(int), "white may be 255, 65535 or another"),
        (np.zeros(5, np.uint8), r"it is uint8 of \(5,\)"),
        (np.zeros((5, 6, 7), np.uint8), r"it is uint8 of \(5, 6, 7\)"),
        ("a film", "the data has texts, such as 'a film'"),
        (("a man", "a person"), "the data has texts"),
    ],
)
def test_pictures_of_unknown_scale_are_refused(value: object, says: str) -> None:
    with pytest.raises(InvalidData, match=f"a picture must be.*{says}"):
        picture(value)


def test_a_black_picture_is_of_the_scale_of_its_batch() -> None:
    found = PicturePreparation(list)([np.zeros((6, 8)), SHADES / 255])
    assert [np.asarray(item).max() for item in found] == [0, 240]


def write_folder(root: Path, kind: str) -> str:
    """Two classes whose pictures hold the same values at the scale of their kind."""
    generator = np.random.default_rng(0)
    for name, low in (("a", 0.1), ("b", 0.7)):
        (root / name).mkdir(parents=True)
        for number in range(3):
            values = low + 0.1 * generator.random((32, 32))
            bits = np.rint(values * 255)
            match kind:
                case "16 bits":
                    Image.fromarray((bits * 257).astype(np.uint16)).save(root / name / f"{number}.png")
                case "fractions":
                    Image.fromarray((bits / 255).astype(np.float32)).save(root / name / f"{number}.tif")
                case "mixed" if number == 1:
                    Image.fromarray((bits * 257).astype(np.uint16)).save(root / name / f"{number}.png")
                case "mixed" if number == 2:
                    Image.fromarray(bits.astype(np.uint8)).convert("RGBA").save(root / name / f"{number}.png")
                case _:
                    Image.fromarray(bits.astype(np.uint8)).save(root / name / f"{number}.png")
    return f"imagefolder:{root}"


@pytest.mark.parametrize("kind", ["16 bits", "fractions", "mixed"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_network_sees_the_same_pictures_at_every_depth(kind: str, channels: int, tmp_path: Path) -> None:
    net = timm.create_model("resnet10t", in_chans=channels)
    prepare = adapter_for(net).prepare(net)
    assert prepare is not None
    batches = [
        next(iter(loaders(read(write_folder(tmp_path / name, name)), prepare)["train"]))[0] for name in ("bytes", kind)
    ]
    assert batches[0].shape[1] == channels
    torch.testing.assert_close(*batches)
    # The classes are as far apart as their brightness is.
    assert abs((batches[0][3:] - batches[0][:3]).mean() - 0.6 / 0.226) < 0.1


def test_a_grey_network_of_transformers_sees_grey(tmp_path: Path) -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.ViTConfig(**sizes, image_size=6, patch_size=2, num_channels=1)
    transformers.ViTModel(config).save_pretrained(tmp_path)
    processor = transformers.ViTImageProcessor(size={"height": 6, "width": 6}, image_mean=[0.4, 0.5, 0.6])
    processor.save_pretrained(tmp_path)
    adapter = adapter_named("huggingface")
    prepare = adapter.prepare(adapter.load(str(tmp_path)))
    pixels = prepare([Image.fromarray(SHADES[:, :6].copy())])["pixel_values"]
    expected = (torch.from_numpy(SHADES[:, :6].copy()) / 255 - 0.5) / 0.5
    torch.testing.assert_close(pixels, expected[None, None].float(), rtol=1e-5, atol=1e-5)
    assert not list(prepare.notes)
    prepare([Image.new("RGB", (6, 6), (1, 2, 3))])
    assert "read by their brightness" in next(iter(prepare.notes))


def test_a_network_of_other_channels_is_refused() -> None:
    net = timm.create_model("resnet10t", in_chans=5)
    prepare = adapter_for(net).prepare(net)
    assert prepare is not None
    with pytest.raises(InvalidData, match="takes 5 channels"):
        prepare([SHADES])
