"""Texts, pairs and token ids as models of language take them, and what is refused or told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from layerwise.adapters import adapter_for, load
from layerwise.errors import EmptyData, InvalidData
from layerwise.profiling import profile

WORDS = ["<s>", "<pad>", "</s>", "[UNK]", *(f"w{number}" for number in range(60))]
BERT = {
    "vocab_size": len(WORDS),
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "pad_token_id": 1,
}
GPT2 = {"vocab_size": len(WORDS), "n_embd": 16, "n_layer": 1, "n_head": 2, "bos_token_id": 0, "eos_token_id": 2}
LABELS = [0, 1] * 8


def tokenizer(ends: bool = True, **special: str) -> transformers.PreTrainedTokenizerFast:
    words = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, "[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    if ends:
        words.post_processor = processors.BertProcessing(("</s>", 2), ("<s>", 0))
    return transformers.PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]", **special)


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing asks the hub, and tables are converted in a folder of the test's own."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


def saved(folder: Path, model: Any, ends: bool = True, **special: str) -> str:
    torch.manual_seed(0)
    model.save_pretrained(folder)
    tokenizer(ends, **special).save_pretrained(folder)
    return f"hf/{folder}"


def bert(folder: Path, **options: Any) -> str:
    torch.manual_seed(0)
    return saved(folder, transformers.BertModel(transformers.BertConfig(**{**BERT, **options})), pad_token="<pad>")


def table(folder: Path, **columns: list[Any]) -> str:
    datasets.Dataset.from_dict({**columns, "label": LABELS}).to_parquet(folder / "t.parquet")
    return f"parquet:{folder}/t.parquet"


def texts(count: int = 16) -> list[str]:
    generator = np.random.default_rng(0)
    rows = (generator.integers(0, 30, generator.integers(2, 6)) + 30 * (row % 2) for row in range(count))
    return [" ".join(f"w{word}" for word in row) for row in rows]


class TestLimits:
    @pytest.mark.parametrize(
        ("model", "most"),
        [
            (transformers.BertModel(transformers.BertConfig(**BERT, max_position_embeddings=12)), 12),
            # The positions begin behind that of padding, which is 1.
            (transformers.RobertaModel(transformers.RobertaConfig(**BERT, max_position_embeddings=12)), 10),
            (transformers.GPT2Model(transformers.GPT2Config(**GPT2, n_positions=12)), 12),
        ],
        ids=["bert", "roberta", "gpt2"],
    )
    def test_long_texts_are_cut_to_the_positions_and_told(self, model, most, tmp_path):
        name = saved(tmp_path, model, pad_token="<pad>")
        ds = profile(name, table(tmp_path, text=texts(12) + ["w1 " * 40] * 4), batch_size=4, metrics="class_norm")
        assert ds.attrs["data_notes"] == f"[\"split 'train': 4 of 16 texts are cut to {most} tokens\"]"
        assert ds["class_norm"].notnull().all()

    def test_texts_of_a_loader_that_are_too_long_are_named(self, tmp_path):
        name = bert(tmp_path, max_position_embeddings=8)
        short, long = (torch.full((8, length), 5) for length in (6, 9))
        with pytest.raises(InvalidData, match="texts of 9 tokens, and the model has positions for 8"):
            profile(name, [(short, torch.arange(8) % 2), (long, torch.arange(8) % 2)], metrics="class_norm")
        with pytest.raises(InvalidData, match="token ids from 999 to 999, and the model knows 0 to 63"):
            ids = torch.full((8, 6), 999)
            profile(name, [(short, torch.arange(8) % 2), (ids, torch.arange(8) % 2)], metrics="class_norm")


class TestEmptyTexts:
    def test_they_are_left_out_and_told(self, tmp_path):
        name = saved(tmp_path, transformers.GPT2Model(transformers.GPT2Config(**GPT2)), False, eos_token="</s>")
        rows = texts()
        rows[4:8] = ["", "  ", "\n", ""]
        ds = profile(name, table(tmp_path, text=rows), metrics="nc1_trace")
        whole = datasets.Dataset.from_dict({"text": rows[:4] + rows[8:], "label": LABELS[:4] + LABELS[8:]})
        whole.to_parquet(tmp_path / "whole.parquet")
        kept = profile(name, f"parquet:{tmp_path}/whole.parquet", metrics="nc1_trace")
        assert ds.attrs["samples"] == '{"train": 12}'
        assert "4 of 16 texts have no token and are left out" in ds.attrs["data_notes"]
        np.testing.assert_allclose(ds["nc1_trace"], kept["nc1_trace"], rtol=1e-6)
        assert "data_notes" not in kept.attrs

    def test_what_the_tokenizer_adds_makes_no_text(self, tmp_path):
        name = bert(tmp_path)
        with pytest.raises(EmptyData, match="none of 16 texts has a token"):
            profile(name, table(tmp_path, text=[""] * 16))


class TestPairs:
    def test_both_texts_go_in_with_what_stands_between(self, tmp_path):
        model, adapter = load(bert(tmp_path))
        prepared = adapter.prepare(model)([("w1 w2", "w3"), ("w1", "w2 w3")])
        assert prepared["input_ids"].tolist() == [[0, 5, 6, 2, 7, 2], [0, 5, 2, 6, 7, 2]]
        name = f"hf/{tmp_path}"
        ds = profile(name, table(tmp_path, a=texts(), b=texts()[::-1]) + "?text=a,b", metrics="nc1_trace")
        assert "data_notes" not in ds.attrs

    def test_a_tokenizer_that_puts_nothing_between_is_told(self, tmp_path):
        name = saved(tmp_path, transformers.GPT2Model(transformers.GPT2Config(**GPT2)), False, eos_token="</s>")
        ds = profile(name, table(tmp_path, a=texts(), b=texts()) + "?text=a,b", metrics="nc1_trace")
        assert "puts nothing between the two texts" in ds.attrs["data_notes"]


class TestTokenizers:
    @pytest.mark.parametrize("special", [{}, {"eos_token": "</s>"}])
    def test_without_a_padding_token_padding_changes_nothing(self, special, tmp_path):
        model, adapter = load(
            saved(tmp_path, transformers.GPT2Model(transformers.GPT2Config(**GPT2)), False, **special)
        )
        batch = adapter.prepare(model)(["w1 w2 w3", "w4"])
        assert batch["attention_mask"].sum(1).tolist() == [3, 1]

    def test_one_without_a_vocabulary_is_refused(self, tmp_path):
        # The library makes up an empty one where none was saved.
        transformers.BertModel(transformers.BertConfig(**BERT)).save_pretrained(tmp_path)
        with pytest.raises(InvalidData, match="tokenizer"):
            profile(f"hf/{tmp_path}", table(tmp_path, text=texts()))

    def test_one_that_knows_few_words_is_told(self, tmp_path):
        rows = [f"{text} unheard of words, all of them" for text in texts()]
        ds = profile(bert(tmp_path), table(tmp_path, text=rows), metrics="nc1_trace")
        assert "does not know" in ds.attrs["data_notes"]

    def test_a_model_without_a_name_says_what_to_do(self, tmp_path):
        with pytest.raises(InvalidData, match=r"no tokenizer is known .*give a loader"):
            profile(transformers.BertModel(transformers.BertConfig(**BERT)), table(tmp_path, text=texts()))


class TestTokenIds:
    @pytest.fixture
    def ids(self):
        return np.random.default_rng(0).integers(3, 30, (16, 5)) + 30 * np.array(LABELS)[:, None]

    def test_those_of_a_file_are_those_of_a_loader(self, ids, tmp_path):
        name = bert(tmp_path)
        np.savez(tmp_path / "ids.npz", x=ids, y=LABELS)
        columns = {f"t{place}": ids[:, place].tolist() for place in range(5)}
        given = profile(name, [(torch.from_numpy(ids), torch.tensor(LABELS))], metrics="nc1_trace")["nc1_trace"]
        for data in (
            f"npz:{tmp_path}/ids.npz",
            table(tmp_path, **columns),
            table(tmp_path, input_ids=ids.tolist()),
        ):
            np.testing.assert_allclose(profile(name, data, metrics="nc1_trace")["nc1_trace"], given, rtol=1e-6)

    def test_padding_at_the_ends_does_not_count_and_is_told(self, ids, tmp_path):
        name = bert(tmp_path)
        rows = [row[: 3 + place % 3].tolist() for place, row in enumerate(ids)]
        ragged = profile(name, table(tmp_path, input_ids=rows), metrics="nc1_trace")
        padded = profile(
            name, table(tmp_path, input_ids=[row + [1] * (5 - len(row)) for row in rows]), metrics="nc1_trace"
        )
        np.testing.assert_allclose(padded["nc1_trace"], ragged["nc1_trace"], rtol=1e-6)
        assert "padding and do not count" in padded.attrs["data_notes"]
        assert "data_notes" not in ragged.attrs

    @pytest.mark.parametrize(
        ("x", "says"),
        [
            (np.full((16, 5), 64), "token ids from 64 to 64, and the model knows 0 to 63"),
            (np.full((16, 5), -1), "token ids from -1"),
            (np.full((16, 9), 5), "rows of 9 token ids are more than the 8"),
            (np.full((16, 5), 1), "16 of 16 rows of token ids hold padding alone"),
            (np.full((16, 5), 0.5), r"the data has float64 of shape \(5,\)"),
            (np.zeros((16, 8, 8, 3), np.uint8), r"the data has uint8 of shape \(8, 8, 3\)"),
        ],
    )
    def test_what_the_model_does_not_have_is_refused(self, x, says, tmp_path):
        np.savez(tmp_path / "x.npz", x=x, y=LABELS)
        with pytest.raises(InvalidData, match=says):
            profile(bert(tmp_path, max_position_embeddings=8), f"npz:{tmp_path}/x.npz")


class TestClassifiers:
    @pytest.mark.parametrize("side", ["left", "right"])
    def test_one_without_a_padding_token_reads_every_text_as_if_alone(self, side):
        torch.manual_seed(0)
        model = transformers.GPT2ForSequenceClassification(transformers.GPT2Config(**GPT2, num_labels=3)).eval()
        adapter, ids = adapter_for(model), torch.randint(0, len(WORDS), (6, 7))
        # The token that others would take for padding is a text's own last one.
        lengths = torch.tensor([7, 3, 5, 1, 2, 4])
        rows = [row[:length] for row, length in zip(ids, lengths, strict=True)]
        padded = torch.full((6, 7), 2)
        mask = torch.zeros(6, 7, dtype=torch.int64)
        for place, row in enumerate(rows):
            row[-1] = 2
            where = slice(0, len(row)) if side == "right" else slice(7 - len(row), None)
            padded[place, where], mask[place, where] = row, 1
        positions = (mask.cumsum(1) - 1).clamp_min(0)
        inputs = {"input_ids": padded, "attention_mask": mask, "position_ids": positions}
        with torch.no_grad():
            together = adapter.forward(model, adapter.batch((inputs, torch.arange(6)), torch.device("cpu"))).logits
            alone = torch.cat([model(row[None]).logits for row in rows])
        torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
        assert model.config.pad_token_id is None

    def test_one_by_name_is_profiled(self, tmp_path):
        model = transformers.GPT2ForSequenceClassification(transformers.GPT2Config(**GPT2))
        name = saved(tmp_path, model, False, eos_token="</s>")
        ds = profile(name, table(tmp_path, text=texts()), batch_size=4, metrics="nc1_trace")
        assert ds["network_error"].notnull().all()


def test_an_encoder_alone_is_loaded_as_one(tmp_path):
    sizes = {"vocab_size": len(WORDS), "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    name = saved(tmp_path, transformers.T5EncoderModel(transformers.T5Config(**sizes)), pad_token="<pad>")
    assert type(load(name)[0]).__name__ == "T5EncoderModel"
    ds = profile(name, table(tmp_path, text=texts()), metrics="nc1_trace")
    assert not any(layer.startswith("decoder") for layer in ds["layer"].values)


class TestKinds:
    @pytest.fixture
    def photos(self, tmp_path):
        generator = np.random.default_rng(0)
        for name in ("a", "b"):
            (tmp_path / "photos" / name).mkdir(parents=True)
            for number in range(6):
                values = generator.integers(0, 255, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(values).save(tmp_path / "photos" / name / f"{number}.png")
        return f"imagefolder:{tmp_path}/photos"

    @pytest.fixture
    def clip(self, tmp_path):
        small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
        config = transformers.CLIPConfig(
            text_config={**small, "vocab_size": len(WORDS), "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1},
            vision_config={**small, "image_size": 32, "patch_size": 8},
        )
        size = {"height": 32, "width": 32}
        processor = transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size)
        processor.save_pretrained(tmp_path / "clip")
        return saved(tmp_path / "clip", transformers.CLIPModel(config), pad_token="<pad>")

    def test_pictures_for_a_model_of_texts_are_refused(self, photos, tmp_path):
        with pytest.raises(InvalidData, match="BertModel takes texts, and the data has pictures"):
            profile(bert(tmp_path / "bert"), photos)

    def test_texts_for_a_model_of_pictures_are_refused(self, tmp_path):
        sizes = {key: value for key, value in BERT.items() if key not in ("vocab_size", "pad_token_id")}
        model = transformers.ViTModel(transformers.ViTConfig(**sizes, image_size=32, patch_size=8))
        with pytest.raises(InvalidData, match="ViTModel takes pictures, and the data has texts"):
            profile(saved(tmp_path, model), table(tmp_path, text=texts()))

    def test_pictures_alone_for_a_model_of_both_are_refused(self):
        sizes = {key: value for key, value in BERT.items() if key != "pad_token_id"}
        model = transformers.ViltModel(transformers.ViltConfig(**sizes, image_size=32, patch_size=8))
        with pytest.raises(InvalidData, match="ViltModel takes texts beside pictures.*give a loader"):
            adapter_for(model).prepare(model)([Image.new("RGB", (32, 32))])

    def test_a_model_of_sounds_names_what_it_takes(self, tmp_path):
        sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
        model = transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**sizes, num_conv_pos_embedding_groups=2))
        with pytest.raises(InvalidData, match="Wav2Vec2Model takes 'input_values'.*give a loader"):
            adapter_for(model).prepare(model)(["w1"])

    def test_the_tower_of_the_data_runs(self, clip, photos, tmp_path):
        pictures = profile(clip, photos, metrics="feature_norm")
        assert {layer[:4] for layer in pictures["layer"].values} == {"visi", "visu"}
        assert "only its picture tower runs" in pictures.attrs["data_notes"]
        read = profile(clip, table(tmp_path, text=texts()), metrics="feature_norm")
        assert {layer[:4] for layer in read["layer"].values} == {"text"}

    def test_a_tower_alone_gives_what_it_gives_beside_the_other(self, clip):
        model, adapter = load(clip)
        pixels, ids = torch.randn(4, 3, 32, 32), torch.randint(3, len(WORDS), (4, 6))
        with torch.no_grad():
            alone = adapter.forward(model, adapter.batch((pixels, torch.arange(4)), torch.device("cpu")))
            both = model(input_ids=ids, pixel_values=pixels)
        own = alone["features"] if isinstance(alone, dict) and "features" in alone else alone.pooler_output
        torch.testing.assert_close(torch.nn.functional.normalize(own), both.image_embeds)
