from __future__ import annotations

from types import SimpleNamespace

import pytest

from layerwise.errors import LayerNeverFired, UnknownName
from layerwise.network.layer import Layer, depths, pick, select
from layerwise.runtime.module_paths import clean_name

LAYERS = [
    Layer("stem"),
    Layer("cell"),
    Layer("cell", call=2),
    Layer("module.block.0"),
    Layer("head", side="input"),
    Layer("head"),
]


def names(layers: list[Layer]) -> list[str]:
    return [layer.name for layer in layers]


class TestNames:
    @pytest.mark.parametrize(
        ("path", "name"),
        [
            ("layer3.1", "layer3.1"),
            ("module.layer3.1", "layer3.1"),
            ("_orig_mod.module.layer3.1", "layer3.1"),
            ("base_model.model.bert.encoder.layer.7", "bert.encoder.layer.7"),
            ("blocks.0._checkpoint_wrapped_module.attn", "blocks.0.attn"),
            ("blocks.0._checkpoint_wrapped_module", "blocks.0"),
            ("base_model.model.fc.base_layer.weight", "fc.weight"),
            ("base_model.model.score.modules_to_save.default.dense", "score.dense"),
            ("base_model.model.score.original_module", "score"),
            ("base_layer", "base_layer"),
            ("modules.0", "modules.0"),
        ],
    )
    def test_wrappers_are_removed(self, path: str, name: str) -> None:
        assert clean_name(path) == name

    def test_calls_and_inputs_have_suffixes(self) -> None:
        assert names(LAYERS) == ["stem", "cell", "cell#2", "block.0", "head:input", "head"]

    def test_the_network_itself_is_named_by_its_class(self) -> None:
        assert Layer("_orig_mod", kind="ResNet").name == "ResNet"


class TestDepths:
    def test_from_zero_to_one_in_equal_steps(self) -> None:
        assert depths(LAYERS) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])

    def test_one_layer_is_at_zero(self) -> None:
        assert depths(LAYERS[:1]) == [0.0]


class TestPick:
    def test_tuples_dicts_and_attributes(self) -> None:
        structure = ({"a": SimpleNamespace(b=[7, 8])},)
        assert pick(structure, (0, "a", "b", 1)) == 8

    def test_no_keys_return_the_whole(self) -> None:
        assert pick(LAYERS, ()) is LAYERS


class TestSelect:
    @pytest.mark.parametrize(
        ("chosen", "expected"),
        [
            ("head", ["head"]),
            ("head:input", ["head:input"]),
            ("cell", ["cell"]),
            ("cell#2", ["cell#2"]),
            ("module.block.0", ["block.0"]),
            ("cell*", ["cell", "cell#2"]),
            ("h*", ["head"]),
            ("h*:input", ["head:input"]),
            (["head", "stem", "s*"], ["stem", "head"]),
            (lambda layer: layer.call == 2, ["cell#2"]),
            ([], []),
        ],
    )
    def test_names_and_globs_select_layers(self, chosen, expected: list[str]) -> None:
        assert names(select(LAYERS, chosen)) == expected

    def test_words_stand_for_groups(self) -> None:
        groups = {"ends": lambda: [LAYERS[-1], LAYERS[0]]}
        assert names(select(LAYERS, ["cell", "ends"], groups=groups)) == ["stem", "cell", "head"]

    def test_a_glob_matches_preferred_layers_first(self) -> None:
        assert names(select(LAYERS, "*", preferred=LAYERS[:2])) == ["stem", "cell"]

    def test_an_unknown_name_is_an_error_with_the_nearest(self) -> None:
        with pytest.raises(UnknownName, match="nearest: cell"):
            select(LAYERS, "celll")
        with pytest.raises(LookupError, match="no layer 'x\\*'"):
            select(LAYERS, "x*")

    def test_a_module_that_never_ran_is_not_unknown(self) -> None:
        with pytest.raises(LayerNeverFired, match=r"'module\.neck'.*never called; nearest that are: stem"):
            select(LAYERS, "neck", silent=["module.neck"])
