"""The command line: what a person types, what is printed, and the one line of a mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from layerwise.metrics import get, list_metrics
from layerwise.store import open_store


@pytest.fixture
def with_run(type_in):
    """The same, beside a store with two runs."""
    for run in ("a", "b"):
        assert type_in("profile", "given:iris", "sklearn:iris?test=0.3", "--store", "runs.lw", "--run", run)[0] == 0
    return type_in


def test_a_profile_is_printed_and_kept(type_in):
    code, out, err = type_in("profile", "given:iris", "sklearn:iris?test=0.3", "--store", "runs.lw")
    assert code == 0
    for word in ("train", "test", "first", "classifier", "nc1", "effective depth"):
        assert word in out
    assert "wrote run 'given.iris/sklearn-iris' to runs.lw" in err
    assert open_store("runs.lw").runs() == ["given.iris/sklearn-iris"]
    assert not Path("runs.lw.partial").exists()


def test_a_profile_of_numbers_is_printed_and_drawn(type_in):
    words = ("profile", "given:diabetes", "sklearn:diabetes?test=0.3", "--standardize", "--store", "runs.lw", "-n", "a")
    code, out, _ = type_in(*words)
    assert code == 0
    for word in ("train", "test", "second", "nrc1", "linear_r2", "1 of the target's directions"):
        assert word in out
    assert "nc1 " not in out.replace("nrc1", "")
    assert open_store("runs.lw")["a"].attrs["standardize"] == "True"
    for kind in ("depth", "epoch", "curve", "phase"):
        assert type_in("plot", "runs.lw", "a", "--kind", kind)[0] == 0


def test_jackknife_null_and_debiased_are_measured_on_request(type_in):
    words = ("--jackknife", "4", "--null", "3", "--debiased", "--metrics", "nc1", "--store", "runs.lw", "-n", "a")
    code, out, _ = type_in("profile", "given:iris", "sklearn:iris?test=0.3", *words)
    assert code == 0
    assert "±" in out
    ds = open_store("runs.lw")["a"]
    assert {"nc1", "nc1_se", "nc1_bias", "nc1_null", "nc1_null_low", "nc1_null_high"} <= set(ds)
    assert (ds.attrs["jackknife"], ds.attrs["null"], ds.attrs["debiased"]) == (4, 3, "True")
    code, _, err = type_in("profile", "given:iris", "sklearn:iris?test=0.3", "--jackknife", "1", "--store", "runs.lw")
    assert code == 2
    assert "2 groups of samples at least" in err


def test_costly_metrics_are_measured_when_named(type_in):
    words = ("--metrics", "geometric_complexity", "--metrics", "cdnv", "--directions", "exact", "--store", "runs.lw")
    code, out, _ = type_in("profile", "given:iris", "sklearn:iris", "--run", "a", *words)
    assert code == 0
    assert "geometric_complexity" in out
    ds = open_store("runs.lw")["a"]
    assert ds.attrs["directions"] == "exact"
    assert bool((ds["geometric_complexity"] > 0).all())
    code, _, err = type_in("profile", "given:iris", "sklearn:iris", "--run", "b", *words[:4], "--directions", "many")
    assert (code, "neither 'exact' nor a number" in err) == (2, True)


def test_a_run_is_replaced_only_when_asked(with_run):
    words = ("profile", "given:iris", "sklearn:iris", "--store", "runs.lw", "--run", "a")
    code, _, err = with_run(*words)
    assert (code, err.splitlines()[-1]) == (
        2,
        "error: runs.lw has a run 'a' already; choose another with --run, or --overwrite it",
    )
    assert with_run(*words, "--overwrite")[0] == 0
    assert open_store("runs.lw")["a"]["split"].values.tolist() == ["train"]


def test_programs_read_json(with_run):
    code, out, _ = with_run("layers", "given:iris", "--json")
    assert code == 0
    assert [row["layer"] for row in json.loads(out)["layers"]] == ["first", "second", "classifier"]
    assert json.loads(out)["plan"]["passes"] == 2
    code, out, _ = with_run("profile", "given:iris", "sklearn:iris", "--store", "runs.lw", "--run", "c", "--json")
    assert code == 0
    rows = json.loads(out)["layers"]["train"]
    assert [row["layer"] for row in rows] == ["first", "second", "classifier"]
    assert rows[0]["self_duality"] is None
    code, out, _ = with_run("ls", "runs.lw", "--json")
    assert [(row["run"], row["epochs"], row["layers"]) for row in json.loads(out)] == [
        ("a", 1, 3),
        ("b", 1, 3),
        ("c", 1, 3),
    ]


def test_layers_forecast_the_cost(type_in):
    code, out, _ = type_in("layers", "given:iris", "--classes", "3", "--samples", "150")
    assert code == 0
    assert "for 3 classes and 150 samples: two passes over one run of the data" in out


def test_metrics_are_listed_as_the_registry_has_them(type_in):
    code, out, _ = type_in("metrics", "--json")
    rows = json.loads(out)
    assert code == 0
    assert [row["name"] for row in rows] == list_metrics()
    nc1 = get("nc1").variable
    assert rows[list_metrics().index("nc1")] == {
        "name": "nc1",
        "long_name": nc1.long_name,
        "direction": "down",
        "dims": "epoch, split, target, layer",
        "passes": 2,
        "source": nc1.reference,
        "papers": "doi:10.1073/pnas.2015509117, arXiv:2105.02375",
    }
    code, out, _ = type_in("metrics", "weight_*")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["name", *list_metrics("weight_*")]
    (line,) = (line for line in out.splitlines() if line.startswith("weight_stable_rank"))
    assert line.endswith("layer                 0       Jacot 2024")


@pytest.mark.parametrize("kind", ["depth", "epoch", "curve", "class", "phase"])
def test_a_run_is_drawn(with_run, kind):
    code, out, _ = with_run("plot", "runs.lw", "a", "--kind", kind)
    assert (code, out) == (0, f"wrote a-{kind}.png\n")
    assert Path(f"a-{kind}.png").stat().st_size > 1000


def test_two_runs_are_compared(with_run):
    code, out, _ = with_run("compare", "runs.lw", "a", "b", "nc1", "-o", "both.pdf")
    assert code == 0
    assert "b - a" in out
    assert Path("both.pdf").exists()


def test_unlike_runs_are_reported_and_refused_if_strict(with_run):
    with_run("profile", "given:iris", "sklearn:iris?limit=90", "--store", "runs.lw", "-n", "fewer", "--metrics", "nc1")
    code, out, _ = with_run("compare", "runs.lw", "a", "fewer", "nc1")
    assert code == 0
    assert "a and b differ in" in out.splitlines()[0]
    assert "samples" in out.splitlines()[0]
    code, _, err = with_run("compare", "runs.lw", "a", "fewer", "nc1", "--strict")
    assert code == 2
    assert "strict: the profiles differ in" in err


@pytest.mark.parametrize("suffix", ["nc", "zarr"])
def test_export_and_import_round_trip(with_run, suffix):
    assert with_run("export", "runs.lw", "a", f"one.{suffix}")[:2] == (0, f"wrote one.{suffix}\n")
    assert with_run("import", f"one.{suffix}", "others.lw", "-n", "a")[0] == 0
    one, other = (open_store(store)["a"].load() for store in ("runs.lw", "others.lw"))
    assert one.identical(other)


def test_a_profile_that_fails_leaves_no_new_store(type_in):
    assert type_in("profile", "given:iris", "sklearn:irs", "--store", "new.lw")[0] == 2
    assert not Path("new.lw").exists()


@pytest.mark.filterwarnings("default")
def test_a_warning_is_one_line(type_in):
    Path("one.csv").write_text("a,b,c,d,label\n" + "1,2,3,4,x\n" * 20)
    code, _, err = type_in("profile", "given:iris", "csv:one.csv?columns=a,b,c,d&label=label", "--store", "one.lw")
    assert code == 0
    assert "warning: split 'train' has 1 class of target 'label'; what compares classes is NaN there\n" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("metrics", "nc"), "no metric 'nc'; nearest: nc1"),
        (("layers", "timm/resnet5"), "no timm model 'resnet5'; nearest: resnet50"),
        (("layers", "given:iris", "--layers", "frist"), "no layer 'frist'; nearest: first"),
        (("profile", "given:iris", "sklearn:irs"), "nearest: iris"),
        (("profile", "given:iris", "sklearn:iris", "--reduce", "gapp"), "no reduction 'gapp'; nearest: gap"),
        (("profile", "given:iris", "sklearn:iris", "--metrics", "nc"), "no metric 'nc'; nearest: nc1"),
        (("profile", "given:iris", "sklearn:iris", "--memory", "some"), "a memory budget is written like"),
        (("profile", "given:iris", "sklearn:iris", "--store", "runs.lw", "-n", "a/b"), "'a' is a run itself"),
        (("profile", "given:iris", "sklearn:iris", "-n", "a//b"), "use words separated by single slashes"),
        (("plot", "runs.lw", "c"), "no run 'c'; there are: a, b"),
        (("plot", "runs.lw", "a", "--kind", "depht"), "no kind of picture 'depht'; nearest: depth"),
        (("ls", "nowhere.lw"), "there is no store at nowhere.lw"),
        (("export", "runs.lw", "a", "a.xls"), "no format '.xls'"),
        (("import", "a.csv", "runs.lw"), "no format to import '.csv'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(with_run, words, message):
    code, out, err = with_run(*words)
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err
