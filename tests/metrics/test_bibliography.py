"""Every source that a metric names is a paper of the bibliography, with a number to find it by."""

from __future__ import annotations

import re

import pytest

from layerwise.metrics import get, list_metrics
from layerwise.metrics.bibliography import WORKS, keys_of, works_of

# Counts and norms need no source.
WITHOUT = {"class_count", "feature_norm"}
# Conference papers that have neither a DOI nor a number on arXiv.
WITHOUT_NUMBER = {"Rangamani 2023", "Roy & Vetterli 2007"}


@pytest.mark.parametrize("name", list_metrics())
def test_every_source_of_a_metric_is_in_the_bibliography(name: str) -> None:
    keys = keys_of(get(name).variable.reference)
    assert bool(keys) == (name not in WITHOUT)
    assert set(keys) <= set(WORKS)
    assert works_of(get(name).variable.reference) == [WORKS[key] for key in keys]


@pytest.mark.parametrize("reference", ["Galanti 2022", "He & Su 2022", "Kornblith 2019; Nguyen 2021"])
def test_the_sources_of_derived_variables_are_in_the_bibliography(reference: str) -> None:
    assert set(keys_of(reference)) <= set(WORKS)


@pytest.mark.parametrize("key", WORKS)
def test_a_paper_has_a_number_of_the_right_form(key: str) -> None:
    work = WORKS[key]
    assert re.fullmatch(r"[A-Z][\w&' -]+ \d{4}", key)
    assert key.split()[0] in work.authors
    assert re.fullmatch(r"(\d{4}\.\d{4,5})?", work.arxiv)
    assert re.fullmatch(r"(10\.\d{4,}/\S+)?", work.doi)
    assert bool(work.arxiv or work.doi) == (key not in WITHOUT_NUMBER)
    assert bool(work.url) == (key in WITHOUT_NUMBER)


def test_every_paper_is_named_and_no_number_twice() -> None:
    numbers = [work.identifier for work in WORKS.values()]
    assert len(set(numbers)) == len(numbers)
    named = {key for name in list_metrics() for key in keys_of(get(name).variable.reference)}
    assert set(WORKS) - named == {"Kornblith 2019", "Nguyen 2021"}


def test_what_a_paper_is_called_is_read_from_a_reference() -> None:
    assert keys_of("Rangamani & Unal 2026 (Deep NRC, NRC4)") == ["Rangamani & Unal 2026"]
    assert keys_of("Dang 2023, 2024; Hong & Ling 2023") == ["Dang 2023", "Dang 2024", "Hong & Ling 2023"]
    assert keys_of("") == []
    assert works_of("A paper of someone else 1999") == []
