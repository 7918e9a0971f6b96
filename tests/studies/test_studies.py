"""Every study stands in the frame: it says its claim and control, runs at the quick scale, judges and draws."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pytest
import xarray as xr

from layerwise.errors import UnknownName
from layerwise.store import open_store
from layerwise.studies.frame import command, find_study, list_studies
from layerwise.studies.frame.catalogue import is_group, list_groups
from layerwise.studies.frame.command import list_text, run_all, run_one
from layerwise.studies.frame.report import report
from layerwise.studies.frame.running import TIMES
from layerwise.studies.frame.settings import SCALES, changed

STUDIES = list_studies()


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_says_its_paper_what_is_measured_what_refutes_it_and_its_control(name):
    study = find_study(name)
    for word in ("- Paper: ", "- Measured: ", "- Refuted if: ", "- Negative control: "):
        assert study.__doc__.count(word) == 1, word
    assert tuple(study.SCALES) == SCALES
    assert all(type(settings).__name__ == "Settings" for settings in study.SCALES.values())


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_runs_judges_and_draws_at_the_quick_scale(name):
    study = find_study(name)
    settings = study.SCALES["quick"]
    ds = study.run(settings, open_store("memory://"))
    assert next(iter(ds.sizes)) == "seed" or ds.sizes["seed"] == settings.seeds
    claims = study.claims(ds)
    assert any(item.control for item in claims)
    assert len({item.text for item in claims}) == len(claims)
    figure = study.figure(ds)
    assert figure.axes
    assert all(ax.get_xlabel() or ax.get_title() or not ax.axison for ax in figure.axes[:1])
    plt.close(figure)


def test_two_runs_with_the_same_seed_give_the_same_numbers():
    study = find_study("separation-law")
    settings = changed(study.SCALES["quick"], {"seeds": 1, "recipe.epochs": 2})
    first, second = (study.run(settings, open_store("memory://")).drop_vars(TIMES) for _ in range(2))
    # What the machine did meanwhile is told in the attributes.
    xr.testing.assert_identical(first.drop_attrs(deep=False), second.drop_attrs(deep=False))


def test_a_study_that_is_not_there_is_one_clear_error():
    with pytest.raises(UnknownName, match="no study 'separation-lore'; nearest: separation_law"):
        find_study("separation-lore")


def test_the_list_has_every_study_with_its_claim_and_every_group():
    lines = list_text().splitlines()
    assert [line.split()[0] for line in lines] == [*STUDIES, *list_groups()]


def test_a_group_runs_all_its_studies_and_says_what_they_took_together(tmp_path, monkeypatch):
    assert "phases" in list_studies("theory")
    assert "separation_law" not in list_studies("theory")
    assert is_group("theory")
    assert not is_group("phases")
    monkeypatch.setattr(command, "list_studies", lambda group: list_studies(group)[:2])
    run_all("quick", "memory://", tmp_path, lambda said: None, group="theory", seeds=1)
    text = (tmp_path / "theory.md").read_text()
    assert "Written by `layerwise study theory --scale quick`." in text
    assert "All studies of the group `theory` together took" in text


def test_a_study_goes_from_words_to_a_table_a_figure_and_a_report(tmp_path):
    said: list[str] = []
    outcome = run_one(
        "separation-law",
        "quick",
        str(tmp_path / "s.lw"),
        tmp_path / "docs" / "images",
        said.append,
        seeds=1,
        words=["recipe.epochs=2"],
    )
    assert "R^2 of the line" in said[0]
    assert outcome.figure.stat().st_size > 5_000
    text = report([outcome], "quick", tmp_path / "docs", ["landscape"])
    assert "Not run yet: landscape." in text
    head, row = (line for line in text.splitlines() if line.startswith(("| study |", "| [separation_law]")))
    assert head.count("|") == row.count("|")
    assert "![separation_law](images/separation_law.png)" in text
    assert "| control: without batch norm, R^2 of the line |" in text
    assert "- Negative control: " in text
