"""Command lines that cannot be: one line on stderr, exit code 2, nothing printed, no file made."""

from __future__ import annotations

from pathlib import Path

import pytest

import layerwise as lw

LONG = "x" * 5000
PROFILE = ("profile", "given:iris", "sklearn:iris?limit=30")


@pytest.fixture(scope="module")
def stored(tmp_path_factory, ds) -> Path:
    """A store with two runs."""
    path = tmp_path_factory.mktemp("stored") / "runs.lw"
    store = lw.open_store(path)
    for run in ("a", "b"):
        store.write(ds, run=run)
    store.write(ds[["class_norm"]], run="classes")
    return path


@pytest.fixture
def type_in(type_in, stored):
    """Type a command in which RUNS is the store with two runs."""
    return lambda *words: type_in(*(stored if word == "RUNS" else word for word in words))


ROWS = [
    # words that there are not
    (("profil",), "No such command 'profil'. Did you mean 'profile'?"),
    (("\x1b[2J",), r"\x1b[2J"),
    (("profile",), "Missing argument"),
    (("profile", "given:iris"), "Missing argument"),
    ((*PROFILE, "more"), "unexpected extra argument"),
    ((*PROFILE, "--jacknife", "3"), "--jackknife"),
    ((*PROFILE, "--jackknife"), "requires an argument"),
    ((*PROFILE, "--jackknife", "ten"), "'--jackknife'"),
    ((*PROFILE, "--jackknife", "2.5"), "'--jackknife'"),
    ((*PROFILE, "--jackknife", "1"), "jackknife=1: a whole number: 2 groups of samples at least"),
    ((*PROFILE, "--jackknife", "-1"), "jackknife=-1"),
    ((*PROFILE, "--null", "1"), "null=1"),
    ((*PROFILE, "--null", "9" * 30), "null="),
    ((*PROFILE, "--batch-size", "0"), "batch_size=0"),
    ((*PROFILE, "--batch-size", "-4"), "batch_size=-4"),
    ((*PROFILE, "--classes", "0"), "classes=0"),
    ((*PROFILE, "--classes", "2"), "outside the classes"),
    ((*PROFILE, "--directions", "many"), "directions='many'"),
    ((*PROFILE, "--directions", "²"), "directions='²'"),
    ((*PROFILE, "--directions", "0"), "directions=0"),
    ((*PROFILE, "--memory", "some"), "not 'some'"),
    ((*PROFILE, "--memory", "-1"), "not '-1'"),
    ((*PROFILE, "--memory", "1KiB"), "memory budget is 1.0 KiB"),
    ((*PROFILE, "--device", "meta"), "the device 'meta'"),
    ((*PROFILE, "--device", "coda"), "cannot be brought to 'coda'"),
    ((*PROFILE, "--device", ""), "cannot be brought to ''"),
    ((*PROFILE, "--reduce", "gapp"), "no reduction 'gapp'; nearest: gap"),
    ((*PROFILE, "--reduce", ""), "no reduction ''"),
    ((*PROFILE, "--convention", "papian"), "nearest: papyan"),
    ((*PROFILE, "--frame", "etv"), "nearest: etf"),
    ((*PROFILE, "--metrics", "nc"), "no metric 'nc'; nearest: nc1"),
    ((*PROFILE, "--metrics", ""), "metrics="),
    ((*PROFILE, "--metrics", LONG), "5,000 characters"),
    ((*PROFILE, "--metrics", "frame_distance"), "give frame="),
    ((*PROFILE, "--metrics", "nrc1", "--null", "4"), "error"),
    ((*PROFILE, "--layers", "frist"), "no layer 'frist'; nearest: first"),
    ((*PROFILE, "--layers", ""), "layers="),
    ((*PROFILE, "--layers", "\u202e"), r"no layer '\u202e'"),
    ((*PROFILE, "--base"), "--base"),
    ((*PROFILE, "--checkpoints", "nowhere/*"), "nowhere"),
    ((*PROFILE, "--checkpoints", ""), "checkpoints=''"),
    # names of models and data
    (("profile", "", "sklearn:iris"), "no model ''"),
    (("profile", LONG, "sklearn:iris"), "no model 'x"),
    (("profile", "given:irsi", "sklearn:iris"), "no function in given 'irsi'; nearest: iris"),
    (("profile", "tim/resnet18", "sklearn:iris"), "no kind of model 'tim'; nearest: timm"),
    (("profile", "given:iris", "sklearn:irs"), "nearest: iris"),
    (("profile", "given:iris", "skleran:iris"), "no kind of data 'skleran'; nearest: sklearn"),
    (("profile", "given:iris", ""), "no kind of data ''"),
    (("profile", "given:iris", "sklearn:"), "names no data set"),
    (("profile", "given:iris", "sklearn:iris?limt=3"), "no option of 'sklearn' 'limt'; nearest: limit"),
    (("profile", "given:iris", "sklearn:iris?limit=0"), "limit=0"),
    (("profile", "given:iris", "sklearn:iris?limit=²"), "limit="),
    (("profile", "given:iris", "sklearn:iris?test=2"), "test=2"),
    (("profile", "given:iris", "sklearn:iris?test=nan"), "test=nan"),
    (("profile", "given:iris", "csv:nowhere.csv"), "nowhere.csv"),
    (("profile", "given:iris", "sklearn:digits?limit=30"), "the network fails on the first batch"),
    (("profile", "given:failing", "sklearn:iris", "--batch-size", "30"), "out of luck"),
    # names of stores and runs
    ((*PROFILE, "--store", "."), "the folder that this runs in"),
    ((*PROFILE, "--store", ""), "path="),
    ((*PROFILE, "--store", "ftp://x"), "no kind of store 'ftp://'"),
    ((*PROFILE, "--store", LONG), "no store can be opened at"),
    ((*PROFILE, "--store", "/"), "not a layerwise store"),
    ((*PROFILE, "-n", ""), "no run can be called ''"),
    ((*PROFILE, "-n", " "), "no run can be called ' '"),
    ((*PROFILE, "-n", "a//b"), "single slashes"),
    ((*PROFILE, "-n", "../b"), "single slashes"),
    ((*PROFILE, "-n", "/b"), "single slashes"),
    ((*PROFILE, "-n", "a\x1bb"), r"no run can be called 'a\x1bb'"),
    ((*PROFILE, "-n", "a\u202eb"), r"no run can be called 'a\u202eb'"),
    ((*PROFILE, "-n", "a\nb"), r"no run can be called 'a\nb'"),
    ((*PROFILE, "-n", LONG), "200 bytes"),
    ((*PROFILE, "--store", "RUNS", "-n", "a"), "has a run 'a' already"),
    ((*PROFILE, "--store", "RUNS", "-n", "a/b"), "'a' is a run itself"),
    # the other commands
    (("layers", "given:iris", "--classes", "0"), "classes=0"),
    (("layers", "given:iris", "--samples", "-5"), "samples=-5"),
    (("layers", "given:iris", "--samples", "many"), "'--samples'"),
    (("layers", "given:iris", "--memory", "some"), "not 'some'"),
    (("layers", "given:iris", "--layers", "frist"), "nearest: first"),
    (("layers", "given:nothing"), "no function in given"),
    (("plot", "RUNS", "c"), "no run 'c'; there are: a, b"),
    (("plot", "RUNS", ""), "no run ''"),
    (("plot", "RUNS", LONG), "5,000 characters"),
    (("plot", "RUNS", "a", "nc2"), "no metric 'nc2'; nearest: nc1"),
    (("plot", "RUNS", "a", "--kind", "depht"), "no kind of picture 'depht'; nearest: depth"),
    (("plot", "RUNS", "a", "--kind", ""), "no kind of picture ''"),
    (("plot", "RUNS", "a", "nc1", "nc2", "--kind", "curve"), "no metric 'nc2'; nearest: nc1"),
    (("plot", "RUNS", "a", "nc1", "--split", "tset"), "no split 'tset'"),
    (("plot", "RUNS", "a", "nc1", "-o", "a.xyz"), "cannot be written"),
    (("plot", "RUNS", "a", "nc1", "-o", "nowhere/a.png"), "cannot be written"),
    (("plot", "RUNS", "classes"), "no metric"),
    (("plot", "nowhere.lw", "a"), "there is no store at nowhere.lw"),
    (("compare", "RUNS", "a", "c"), "no run 'c'"),
    (("compare", "RUNS", "a", "b", "nc2"), "nc2"),
    (("compare", "RUNS", "a", "b", "--split", "tset"), "no split 'tset'"),
    (("compare", "RUNS", "a", "classes"), "no metric in common"),
    (("compare", "RUNS", "a", "b", "nc1", "-o", "nowhere/a.png"), "cannot be written"),
    (("similarity", "given:iris", "sklearn:iris", "--split", "tset"), "no split 'tset'"),
    (("similarity", "given:iris", "sklearn:iris", "--batch-size", "0"), "batch_size=0"),
    (("similarity", "given:iris", "sklearn:iris", "--batch-size", "3"), "fewer than four samples"),
    (("similarity", "given:iris", "sklearn:iris", "--other", "given:nothing"), "no function in given"),
    (("similarity", "given:iris", "sklearn:iris?limit=30", "-o", "nowhere/a.nc"), "cannot be written"),
    (("rank", "given:iris"), "Missing argument"),
    (("rank", "given:iris", "sklearn:iris", "--by", "probe"), "no ranking 'probe'; nearest: probe_error"),
    (("rank", "given:iris", "given:iris", "sklearn:iris"), "each once"),
    (("rank", "given:iris", "sklearn:iris?limit=30", "--target", "lable"), "no target 'lable'"),
    (("rank", "given:iris", "sklearn:iris", "--jackknife", "1"), "jackknife=1"),
    (("ls", "nowhere.lw"), "there is no store at nowhere.lw"),
    (("ls", ""), "path="),
    (("ls",), "Missing argument"),
    (("compact", "nowhere.lw"), "there is no store at nowhere.lw"),
    (("compact", ""), "path="),
    (("compact",), "Missing argument"),
    (("compact", "RUNS", "--keep", "-1"), "--keep"),
    (("compact", "RUNS", "--keep", "nan"), "--keep"),
    (("compact", "RUNS", "--keep", "10000000000"), "--keep"),
    (("export", "RUNS", "a", "a.xls"), "no format '.xls'"),
    (("export", "RUNS", "c", "a.nc"), "no run 'c'"),
    (("export", "RUNS", "a", ""), "error"),
    (("import", "a.csv", "new.lw"), "no format to import '.csv'"),
    (("import", "nowhere.nc", "new.lw"), "there is no file nowhere.nc"),
    (("metrics", "nc"), "no metric 'nc'; nearest: nc1"),
    (("metrics", ""), "no metric ''"),
    (("metrics", LONG), "5,000 characters"),
    (("study", "seperation-law"), "nearest: separation"),
    (("study", ""), "error"),
    (("study", "separation-law", "--scale", "quik"), "nearest: quick"),
    (("study", "separation-law", "--seeds", "0"), "seeds"),
    (("study", "separation-law", "--scale", "quick", "--set", "dpeth=3"), "dpeth"),
    (("study", "separation-law", "--scale", "quick", "--set", "depth"), "depth"),
    (("study", "separation-law", "--scale", "quick", "--set", "depth=ten"), "depth"),
    (("study", "separation-law", "--scale", "quick", "--config", "nowhere.toml"), "nowhere.toml"),
]


@pytest.mark.parametrize(("words", "message"), ROWS, ids=[" ".join(words)[:70] for words, _ in ROWS])
def test_a_mistake_is_one_line_and_exit_code_2(type_in, words, message, tmp_path):
    code, out, err = type_in(*words)
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert (code, out, len(errors)) == (2, "", 1), err
    assert err.splitlines()[-1] == errors[0]
    assert message in errors[0]
    assert len(errors[0]) < 1000
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_no_words_show_the_help(type_in):
    code, out, err = type_in()
    assert code == 2
    assert "profile" in out + err
    assert "error" not in err


def test_the_help_is_no_mistake(type_in):
    assert type_in("profile", "--help")[0] == 0


@pytest.mark.parametrize("metric", ["nc1_trace", "class_norm", "weight_stable_rank", "class_count"])
def test_a_profile_of_one_metric_is_printed(type_in, metric):
    code, out, _ = type_in(*PROFILE, "--metrics", metric, "--store", "new.lw")
    assert code == 0
    assert "classifier" in out
    assert metric in out or metric.startswith("class")


def test_names_in_data_cannot_control_the_terminal(type_in, stored, ds):
    named = ds.assign_attrs(model="evil\x1b[2J\u202e").assign_coords(layer=["a\x1b[31m", "b\nc", "d\u202e"])
    lw.open_store("evil.lw").write(named, run="a")
    for words in (("ls", "evil.lw"), ("compare", "evil.lw", "a", "a", "nc1", "-o", "a.pdf")):
        code, out, err = type_in(*words)
        assert code == 0, err
        assert not set("\x1b\u202e") & set(out + err)
