"""Hugging Face models from local folders, with their tokenizers, offline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from layerwise.adapters import adapter_for, adapter_named, load
from layerwise.errors import InvalidData, UnknownName
from layerwise.network.weights import weight_hash
from layerwise.profiling import profile
from layerwise.testing import AdapterTests

CPU = torch.device("cpu")

WORDS = ["the", "a", "film", "was", "is", "good", "bad", "very", "dull", "bright", "story", "ending"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[EOS]"]
VOCABULARY = {word: number for number, word in enumerate([*SPECIAL, *WORDS, "##s", "##ly"])}
SIZES = {"vocab_size": len(VOCABULARY), "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
BERT = dict(SIZES, intermediate_size=32, max_position_embeddings=32, hidden_dropout_prob=0.0)
VIT = dict(SIZES, intermediate_size=32, image_size=32, patch_size=8)
GPT2 = {
    "vocab_size": len(VOCABULARY),
    "n_embd": 16,
    "n_layer": 2,
    "n_head": 2,
    "n_positions": 32,
    "bos_token_id": 4,
    "eos_token_id": 4,
}


def tokenizer(side: str = "right", **special: str) -> transformers.PreTrainedTokenizerFast:
    """A WordPiece tokenizer of a few words."""
    words = Tokenizer(models.WordPiece(VOCABULARY, unk_token="[UNK]"))
    words.normalizer = normalizers.BertNormalizer()
    words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    if "cls_token" in special:
        words.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="[UNK]", padding_side=side, model_max_length=32, **special
    )


BERT_TOKENS = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Path:
    """Tiny models, as `save_pretrained` leaves them."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    saved = {
        "bert": transformers.BertModel(transformers.BertConfig(**BERT)),
        "masked": transformers.BertForMaskedLM(transformers.BertConfig(**BERT)),
        "sentiment": transformers.BertForSequenceClassification(transformers.BertConfig(**BERT, num_labels=3)),
        "decoder": transformers.GPT2LMHeadModel(transformers.GPT2Config(**GPT2)),
        "pictures": transformers.ViTForImageClassification(transformers.ViTConfig(**VIT, num_labels=3)),
    }
    for name, model in saved.items():
        model.save_pretrained(folder / name)
    for name in ("bert", "masked", "sentiment"):
        tokenizer(**BERT_TOKENS).save_pretrained(folder / name)
    # As many decoders: padding on the left, and no padding token.
    tokenizer("left", eos_token="[EOS]").save_pretrained(folder / "decoder")
    processor = transformers.ViTImageProcessor(size={"height": 32, "width": 32})
    processor.save_pretrained(folder / "pictures")
    return folder


@pytest.fixture(autouse=True)
def offline(monkeypatch) -> None:
    """Nothing here may ask the hub."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


def text_inputs() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(len(SPECIAL), len(VOCABULARY), (6, 7), generator=generator)
    mask = (torch.arange(7) < torch.tensor([7, 3, 5, 7, 2, 4])[:, None]).long()
    return {"input_ids": ids * mask, "attention_mask": mask}


class TestEncoder(AdapterTests):
    classes = 0
    folder = "bert"

    @pytest.fixture
    def name(self, folders):
        return f"hf/{folders}/{self.folder}"

    @pytest.fixture
    def unknown(self, folders):
        return f"hf/{folders}/nowhere"

    @pytest.fixture
    def inputs(self):
        return text_inputs()

    @pytest.fixture
    def raw(self):
        return ["the film was good", "a very very dull ending"]


class TestEncoderOfAMaskedLanguageModel(TestEncoder):
    folder = "masked"


class TestClassifier(TestEncoder):
    classes = 3
    folder = "sentiment"


class TestDecoder(TestEncoder):
    pooling = "last"
    folder = "decoder"


class TestPictures(TestEncoder):
    classes = 3
    prefix = 1
    pooling = "cls"
    folder = "pictures"

    @pytest.fixture
    def inputs(self):
        return torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))

    @pytest.fixture
    def raw(self):
        return [Image.new("L", (40, 30)), np.zeros((20, 50, 3), np.uint8)]


class TestLoading:
    def test_a_fine_tuned_classification_head_is_kept(self, folders):
        saved = transformers.BertForSequenceClassification.from_pretrained(folders / "sentiment")
        model, adapter = load(f"hf/{folders}/sentiment")
        assert torch.equal(model.classifier.weight, saved.classifier.weight)
        assert adapter.name == "hf"

    def test_a_pooler_without_weights_in_the_checkpoint_is_taken_off(self, folders):
        model, _ = load(f"hf/{folders}/masked")
        assert model.pooler is None
        assert load(f"hf/{folders}/bert")[0].pooler is not None

    def test_a_missing_folder_is_told_with_the_nearest(self, folders):
        with pytest.raises(UnknownName, match=r"no Hugging Face model .*sentiments'; there are: .*sentiment"):
            load(f"hf/{folders}/sentiments")

    def test_a_model_object_is_prepared_by_its_own_folder(self, folders):
        model = transformers.AutoModel.from_pretrained(folders / "bert")
        prepared = adapter_for(model).prepare(model)(["the film"])
        assert prepared["input_ids"].tolist() == [[2, VOCABULARY["the"], VOCABULARY["film"], 3]]


class TestText:
    def test_texts_are_padded_and_cut(self, folders):
        model, adapter = load(f"hf/{folders}/bert")
        prepared = adapter.prepare(model)(["good", "very " * 100])
        assert prepared["input_ids"].shape == (2, 32)
        assert prepared["attention_mask"].sum(1).tolist() == [3, 32]

    def test_a_decoder_without_a_padding_token_is_padded_on_its_own_side(self, folders):
        model, adapter = load(f"hf/{folders}/decoder")
        prepared = adapter.prepare(model)(["good", "the film was good"])
        assert prepared["attention_mask"].tolist() == [[0, 0, 0, 1], [1, 1, 1, 1]]

    @pytest.mark.parametrize("reduce", ["auto", "mean", "cls"])
    @pytest.mark.parametrize(("folder", "side"), [("decoder", "left"), ("decoder", "right"), ("bert", "left")])
    def test_padding_does_not_change_a_profile(self, folders, folder, side, reduce):
        model, _adapter = load(f"hf/{folders}/{folder}")
        generator = torch.Generator().manual_seed(0)
        rows = torch.randint(len(SPECIAL), len(VOCABULARY), (9, 4), generator=generator)
        labels, filling = torch.arange(9) % 3, torch.zeros(9, 3, dtype=torch.int64)
        order = [filling, rows] if side == "left" else [rows, filling]
        padded = torch.cat(order, 1)
        mask = (
            torch.cat([filling, rows.new_ones(9, 4)] if side == "left" else [rows.new_ones(9, 4), filling], 1)
        ).long()
        positions = torch.where(mask > 0, mask.cumsum(1) - 1, 0)
        batch = {"input_ids": padded, "attention_mask": mask, "position_ids": positions, "labels": labels}
        options = {"layers": "*.1", "reduce": reduce, "metrics": "class_norm"}
        found = profile(model, [batch], **options)
        alone = profile(
            model, [{"input_ids": rows, "attention_mask": torch.ones_like(rows), "labels": labels}], **options
        )
        np.testing.assert_allclose(found["class_norm"], alone["class_norm"], rtol=1e-4)

    def test_tokens_and_their_mask_may_come_without_names(self, folders):
        model, adapter = load(f"hf/{folders}/bert")
        named = text_inputs()
        batch = adapter.batch((*named.values(), torch.arange(6)), CPU)
        assert list(batch.inputs) == ["input_ids", "attention_mask"]
        assert torch.equal(batch.mask, named["attention_mask"])
        with torch.no_grad():
            output = adapter.forward(model, batch)
        assert torch.equal(output.last_hidden_state, model(**named).last_hidden_state)

    def test_several_tensors_of_tokens_without_names_are_refused(self, folders):
        adapter, ids = adapter_named("huggingface"), torch.ones(2, 4, dtype=torch.int64)
        with pytest.raises(InvalidData, match="give a mapping"):
            adapter.batch((ids, ids, ids, torch.arange(2)), CPU)

    def test_a_batch_encoding_is_a_batch(self, folders):
        encoding = tokenizer(**BERT_TOKENS)(["a film", "the story was bad"], padding=True, return_tensors="pt")
        encoding["labels"] = torch.tensor([0, 1])
        batch = adapter_named("huggingface").batch(encoding, CPU)
        assert batch.mask.tolist() == [[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]]
        assert "labels" not in batch.inputs


class TestForward:
    def test_no_key_value_cache_is_kept(self, folders):
        model, adapter = load(f"hf/{folders}/decoder")
        batch = adapter.batch((text_inputs(), torch.arange(6)), CPU)
        assert adapter.forward(model, batch).past_key_values is None

    def test_an_encoder_decoder_starts_from_its_start_token_and_is_profiled(self):
        sizes = {"vocab_size": len(VOCABULARY), "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
        torch.manual_seed(0)
        model = transformers.T5Model(transformers.T5Config(**sizes, decoder_start_token_id=0)).eval()
        profiled = profile(model, [(text_inputs(), torch.arange(6) % 3)], metrics="class_norm")
        assert {"encoder.block.1", "decoder.block.1"} <= set(profiled["layer"].values.tolist())
        # Attention from the start token to the text alone tells samples apart.
        assert float(profiled["class_norm"].sel(layer="decoder.block.1").min()) > 0

    @pytest.mark.parametrize(
        ("kind", "options", "prefix"),
        [("ViT", {}, 1), ("Dinov2WithRegisters", {"num_register_tokens": 4}, 5), ("DeiT", {}, 2), ("BeIT", {}, 1)],
    )
    def test_class_and_register_tokens_are_counted(self, kind, options, prefix):
        kind = {"BeIT": "Beit"}.get(kind, kind)
        if not hasattr(transformers, f"{kind}Config"):
            pytest.skip(f"transformers {transformers.__version__} has no {kind}")
        sizes = {name: value for name, value in VIT.items() if name not in ("vocab_size", "intermediate_size")}
        config = getattr(transformers, f"{kind}Config")(**sizes, **options)
        model = getattr(transformers, f"{kind}Model")(config).eval()
        adapter = adapter_for(model)
        batch = adapter.batch((adapter.example(model), torch.arange(2)), CPU)
        assert adapter.prefix_tokens(model, batch) == prefix
        with torch.no_grad():
            assert adapter.forward(model, batch).last_hidden_state.shape[1] == 16 + prefix


# PEFT asks transformers 5 by an old name.
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")
class TestPeft:
    def test_a_model_within_peft_is_claimed_by_its_own_adapter(self, folders):
        peft = pytest.importorskip("peft")
        import timm

        bert = peft.get_peft_model(load(f"hf/{folders}/bert")[0], peft.LoraConfig(target_modules=["query"]))
        vit = peft.get_peft_model(timm.create_model("test_vit"), peft.LoraConfig(target_modules=["qkv"]))
        plain = peft.get_peft_model(torch.nn.Sequential(torch.nn.Linear(2, 2)), peft.LoraConfig(target_modules=["0"]))
        assert [adapter_for(model).name for model in (bert, vit, plain)] == ["hf", "timm", "torch"]

    def test_a_fine_tuned_twin_has_the_names_of_its_base(self, folders):
        peft = pytest.importorskip("peft")
        model, _ = load(f"hf/{folders}/sentiment")
        data = [(text_inputs(), torch.arange(6) % 3)]
        names = profile(model, data, metrics="nc1")["layer"].values.tolist()
        twin = peft.get_peft_model(model, peft.LoraConfig(task_type="SEQ_CLS", target_modules=["query"]))
        assert profile(twin, data, metrics="nc1")["layer"].values.tolist() == names

    def test_a_wrapper_and_what_it_wraps_are_one_layer(self, folders):
        peft = pytest.importorskip("peft")
        model, _ = load(f"hf/{folders}/sentiment")
        twin = peft.get_peft_model(model, peft.LoraConfig(task_type="SEQ_CLS", target_modules=["query"]))
        profiled = profile(twin, [(text_inputs(), torch.arange(6) % 3)], layers="all", metrics="feature_norm")
        names = profiled["layer"].values.tolist()
        assert len(set(names)) == len(names)
        assert "classifier" in names

    def test_a_hash_tells_a_tuned_model_from_its_base(self, folders):
        peft = pytest.importorskip("peft")
        model, _ = load(f"hf/{folders}/bert")
        before = weight_hash(model)
        assert weight_hash(peft.get_peft_model(model, peft.LoraConfig(target_modules=["query"]))) != before
