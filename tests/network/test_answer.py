"""The answer of a network: which of its outputs are class scores, and of which target."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from layerwise.network.answer import Answer, dense_scores, values_of


class Output(NamedTuple):
    logits: Tensor


FINE, COARSE = torch.eye(4), torch.eye(4)[:, :2] + torch.tensor([[0.5, 0.0]])


class TestOutputsByName:
    def test_the_only_output_has_the_empty_name(self):
        assert list(values_of(FINE, 4)) == [""]

    def test_entries_of_a_mapping_keep_their_keys(self):
        outputs = values_of({"fine": FINE, "coarse": COARSE}, 4)
        assert list(outputs) == ["fine", "coarse"]

    def test_entries_of_a_tuple_are_named_by_their_place(self):
        assert list(values_of((FINE, COARSE), 4)) == ["0", "1"]

    @pytest.mark.parametrize("output", [{"logits": FINE, "states": COARSE}, Output(FINE)])
    def test_logits_have_the_empty_name_too(self, output):
        assert values_of(output, 4)[""] is FINE

    def test_other_tensors_are_no_values(self):
        output = {"ids": torch.arange(4), "maps": torch.ones(4, 2, 3, 3), "fewer": torch.ones(3, 2), "text": "a"}
        assert values_of(output, 4) == {}

    def test_outputs_of_tokens_are_values_where_they_are_asked_for(self):
        assert list(values_of(torch.ones(4, 5, 2), 4, (2, 3))) == [""]


class TestAnswer:
    def test_the_largest_score_is_predicted(self):
        answer = Answer.of(FINE, 1, {})
        assert answer.predicted is not None
        assert answer.predicted.tolist() == [0, 1, 2, 3]
        assert answer.of_target("any") == (answer.predicted, 4)

    def test_without_scores_nothing_is_predicted(self):
        assert Answer.of(None, 1, {"embedding": FINE}).of_target("any") == (None, 0)

    def test_the_output_of_a_targets_name_has_its_scores(self):
        answer = Answer.of(FINE, 1, {"coarse": COARSE})
        predicted, count = answer.of_target("coarse")
        assert (predicted.tolist(), count) == ([0, 1, 0, 0], 2)
        assert answer.has_scores_of("coarse")
        assert answer.of_target("fine")[1] == 4
        assert not answer.has_scores_of("fine")

    def test_the_caller_can_name_another_output_for_a_target(self):
        answer = Answer.of(FINE, 1, {"second": COARSE}, {"coarse": "second"})
        assert answer.name_of("coarse") == "second"
        assert answer.of_target("coarse")[1] == 2

    def test_a_vector_has_no_class_scores(self):
        answer = Answer.of(FINE, 1, {"age": torch.ones(4)})
        assert not answer.has_scores_of("age")
        assert answer.of_target("age")[1] == 4


class TestDenseScores:
    def test_tokens_and_pixels_differ_in_their_axes(self):
        tokens, pixels = torch.ones(4, 5, 2), torch.ones(4, 2, 6, 6)
        assert dense_scores(tokens, "tokens") is tokens
        assert dense_scores(pixels, "pixels") is pixels
        assert dense_scores(tokens, "pixels") is None
        assert dense_scores(pixels, "tokens") is None

    def test_they_are_found_in_an_output_of_segmentation(self):
        pixels = torch.ones(4, 2, 6, 6)
        assert dense_scores({"out": pixels, "aux": pixels + 1}, "pixels") is pixels
        assert dense_scores(Output(pixels), "pixels") is pixels

    def test_token_numbers_are_no_scores(self):
        assert dense_scores(torch.ones(4, 5, 2, dtype=torch.int64), "tokens") is None
