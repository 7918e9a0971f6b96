"""Which score is of which class: what is known, what is told, and what cannot be known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerwise.passes.matching import IN_ORDER, match_scores


def matched(ids, scores, **words):
    rows, how = match_scores(np.array(ids), scores, **words)
    return None if rows is None else rows.tolist(), how


@pytest.mark.parametrize(
    ("ids", "scores", "rows", "how"),
    [
        ([0, 1, 2], 3, [0, 1, 2], ""),
        ([0, 1, 3], 4, [0, 1, 3], ""),
        ([1, 2, 3], 3, [0, 1, 2], IN_ORDER),
        ([10115, 20095], 2, [0, 1], IN_ORDER),
        ([1, 4, 2], 3, [0, 2, 1], IN_ORDER),
        ([0, 1, 7], 3, [0, 1, 2], IN_ORDER),
        ([0, 1, 2], 5, None, ""),
        ([7, 9], 5, None, ""),
        ([0, 1, 2, 3], 3, None, ""),
    ],
)
def test_ids_that_occur(ids, scores, rows, how):
    assert matched(ids, scores) == (rows, how)


def test_ids_that_may_count_from_0_or_from_1_are_not_guessed():
    rows, how = matched([1, 2, 3, 4], 5)
    assert rows is None
    assert "from 0 or from 1; classes=5 says" in how


@pytest.mark.parametrize(
    ("names", "score_names", "rows", "how"),
    [
        (["cat", "dog"], ["dog", "cat"], [1, 0], "by name"),
        (["cat", "dog"], ["Cat", "DOG"], [0, 1], ""),
        (["cat", "dog"], ["negative", "positive"], [0, 1], ""),
        (["cat", "dog"], ["bird", "dog", "fish", "cat"], [3, 1], "by name"),
        (["cat", "dog"], ["bird", "dog", "fish"], None, ""),
        (["0", "1"], ["1", "0"], [0, 1], ""),
    ],
)
def test_declared_classes_go_by_their_names_where_the_scores_have_them(names, score_names, rows, how):
    ids = range(len(names))
    assert matched(ids, len(score_names), declared=len(names), names=names, score_names=score_names) == (rows, how)


def test_ids_go_by_the_names_of_the_scores_before_their_order():
    assert matched([101, 205], 2, score_names=["205", "101"]) == ([1, 0], "by name")


@given(st.sets(st.integers(0, 50), min_size=1, max_size=12), st.integers(2, 12), st.booleans())
def test_an_id_beyond_the_scores_is_never_its_own_row_and_no_score_is_of_two_classes(ids, scores, named):
    names = [str(2 * number) for number in range(scores)] if named else ()
    rows, _ = match_scores(np.array(sorted(ids)), scores, score_names=names)
    if rows is not None:
        assert len(set(rows.tolist())) == len(ids)
        assert ((rows >= 0) & (rows < scores)).all()
