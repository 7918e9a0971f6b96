"""Arguments of every public function that they cannot have: one line of our error class, and nothing is changed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import layerwise as lw
from layerwise.errors import LayerwiseError

LONG = "x" * 5000
BATCH = (torch.zeros(12, 8), torch.arange(12) % 3)

Call = Callable[[nn.Module, list[Any], xr.Dataset], Any]

MODELS_AND_DATA: list[tuple[str, Call]] = [
    ("not a NoneType", lambda net, data, ds: lw.profile(None, data)),
    ("not a int", lambda net, data, ds: lw.profile(3, data)),
    ("not a type", lambda net, data, ds: lw.profile(nn.Linear, data)),
    ("no model ''", lambda net, data, ds: lw.profile("", data)),
    ("5,000 characters", lambda net, data, ds: lw.profile(LONG, data)),
    ("no kind of model 'tim'; nearest: timm", lambda net, data, ds: lw.profile("tim/x", data)),
    (r"no kind of model '\\u202e'", lambda net, data, ds: lw.profile("\u202e/x", data)),
    ("split 'train' is a NoneType", lambda net, data, ds: lw.profile(net, None)),
    ("split 'train' is a int", lambda net, data, ds: lw.profile(net, 3)),
    ("split 'train' is a Tensor", lambda net, data, ds: lw.profile(net, BATCH[0])),
    ("no kind of data", lambda net, data, ds: lw.profile(net, "photos")),
    ("no kind of data", lambda net, data, ds: lw.profile(net, "")),
    ("the mapping of split to loader is empty", lambda net, data, ds: lw.profile(net, {})),
    ("split=0: a name is printable text", lambda net, data, ds: lw.profile(net, {0: data})),
    ("split='': a name", lambda net, data, ds: lw.profile(net, {"": data})),
    (r"split='a\\u202eb': a name", lambda net, data, ds: lw.profile(net, {"a\u202eb": data})),
    ("split 'test' is a float", lambda net, data, ds: lw.profile(net, {"train": data, "test": 0.3})),
    ("split 'train' is empty", lambda net, data, ds: lw.profile(net, [])),
    ("a batch must be", lambda net, data, ds: lw.profile(net, [1, 2])),
    ("is empty: its loader gave no batch", lambda net, data, ds: lw.profile(net, [None])),
    ("a batch has no labels", lambda net, data, ds: lw.profile(net, [{"x": BATCH[0]}])),
    ("labels", lambda net, data, ds: lw.profile(net, [(BATCH[0], None)])),
    ("labels", lambda net, data, ds: lw.profile(net, [(BATCH[0], {})])),
    ("12 inputs and 6 labels", lambda net, data, ds: lw.profile(net, [(BATCH[0], BATCH[1][:6])])),
    ("labels", lambda net, data, ds: lw.profile(net, [(BATCH[0], torch.tensor(3))])),
    ("complex", lambda net, data, ds: lw.profile(net, [(BATCH[0], BATCH[1].to(torch.complex64))])),
    ("the network fails on the first batch", lambda net, data, ds: lw.profile(net, [("text", BATCH[1])])),
    ("the network fails on the first batch", lambda net, data, ds: lw.profile(net, [(None, BATCH[1])])),
    ("in layer 'first.0'", lambda net, data, ds: lw.profile(net, [(BATCH[0][:, :5], BATCH[1])])),
    ("the network", lambda net, data, ds: lw.profile(net, [(BATCH[0].long(), BATCH[1])])),
    ("sparse", lambda net, data, ds: lw.profile(net, [(BATCH[0].to_sparse(), BATCH[1])])),
    ("meta", lambda net, data, ds: lw.profile(net, [(BATCH[0].to("meta"), BATCH[1])])),
    ("have no values", lambda net, data, ds: lw.profile(copy.deepcopy(net).to("meta"), data)),
    ("models=3: networks are modules or names", lambda net, data, ds: lw.rank(3, data)),
    ("models=None", lambda net, data, ds: lw.rank(None, data)),
    ("two networks have one name", lambda net, data, ds: lw.rank([net, net], data)),
    ("at least one network", lambda net, data, ds: lw.rank({}, data)),
    ("models=1: a name", lambda net, data, ds: lw.rank({1: net}, data)),
    ("not a int", lambda net, data, ds: lw.rank({"a": 1}, data)),
    ("no ranking 'probe'; nearest: probe_error", lambda net, data, ds: lw.rank({"a": net}, data, by="probe")),
    ("by=None: a ranking is one of", lambda net, data, ds: lw.rank({"a": net}, data, by=None)),
    ("no target 'lable'; nearest: label", lambda net, data, ds: lw.rank({"a": net}, data, target="lable")),
    ("no setting 'jacknife'", lambda net, data, ds: lw.rank({"a": net}, data, jacknife=1)),
    ("missing a required argument: 'data'", lambda net, data, ds: lw.profile(net)),
    ("too many positional arguments", lambda net, data, ds: lw.profile(net, data, "cpu")),
    ("no split 'tset'", lambda net, data, ds: lw.similarity(net, data, split="tset")),
    ("split=3", lambda net, data, ds: lw.similarity(net, data, split=3)),
    ("not a int", lambda net, data, ds: lw.similarity(net, data, other=3)),
    ("fewer than four samples", lambda net, data, ds: lw.similarity(net, [(BATCH[0][:3], BATCH[1][:3])])),
]

TRAINING: list[tuple[str, Call]] = [
    ("no setting 'evry'; nearest: every", lambda net, data, ds: lw.Tracker(net, data, evry=2)),
    ("every=0: it measures nothing", lambda net, data, ds: lw.Tracker(net, data, every=0)),
    ("every=1.5", lambda net, data, ds: lw.Tracker(net, data, every=1.5)),
    ("every=None", lambda net, data, ds: lw.Tracker(net, data, every=None)),
    ("no schedule 'lgo'; nearest: log", lambda net, data, ds: lw.Tracker(net, data, every="lgo")),
    ("no way to count 'epochs'; nearest: epoch", lambda net, data, ds: lw.Tracker(net, data, by="epochs")),
    ("by=3", lambda net, data, ds: lw.Tracker(net, data, by=3)),
    ("run=3: a name", lambda net, data, ds: lw.Tracker(net, data, run=3)),
    ("run='': a name", lambda net, data, ds: lw.Tracker(net, data, run="")),
    (r"run='a\\x1b': a name", lambda net, data, ds: lw.Tracker(net, data, run="a\x1b")),
    ("run='x+'... ", lambda net, data, ds: lw.Tracker(net, data, run=LONG)),
    ("single slashes", lambda net, data, ds: lw.Tracker(net, data, run="a//b", store="memory://")),
    ("resume=1", lambda net, data, ds: lw.Tracker(net, data, resume=1)),
    ("store=3: a store is a path", lambda net, data, ds: lw.Tracker(net, data, store=3)),
    ("again and again", lambda net, data, ds: lw.Tracker(net, iter(data))),
    ("epoch='1': an epoch is a number", lambda net, data, ds: lw.Tracker(net, data, check=False).measure("1")),
    ("epoch=nan", lambda net, data, ds: lw.Tracker(net, data, check=False).measure(float("nan"))),
    ("epoch=None", lambda net, data, ds: lw.Tracker(net, data, check=False).measure(None)),
    ("no whole number", lambda net, data, ds: lw.Tracker(net, data, check=False).measure(1.5)),
    ("step=-1", lambda net, data, ds: lw.Tracker(net, data, check=False).measure(1, -1)),
    ("nothing was measured yet", lambda net, data, ds: lw.Tracker(net, data, check=False).dataset),
    ("checkpoints=3: it is a path", lambda net, data, ds: lw.profile_checkpoints(net, data, 3)),
    ("checkpoints=''", lambda net, data, ds: lw.profile_checkpoints(net, data, "")),
    ("nowhere", lambda net, data, ds: lw.profile_checkpoints(net, data, "nowhere/*")),
    ("no setting 'overwrit'", lambda net, data, ds: lw.profile_checkpoints(net, data, "x", overwrit=True)),
]

OF_PROFILES: list[tuple[str, Call]] = [
    ("level='0.9': an interval holds a share", lambda net, data, ds: lw.interval(ds, "nc1", level="0.9")),
    ("level=95", lambda net, data, ds: lw.interval(ds, "nc1", level=95)),
    ("level=nan", lambda net, data, ds: lw.interval(ds, "nc1", level=float("nan"))),
    ("level=0", lambda net, data, ds: lw.interval(ds, "nc1", level=0)),
    ("no metric with an interval 'nc2'", lambda net, data, ds: lw.interval(ds, "nc2")),
    ("metric=None: it is the name of one metric", lambda net, data, ds: lw.interval(ds, None)),
    (r"metric=\['nc1', 'ncc_error'\]", lambda net, data, ds: lw.interval(ds, ["nc1", "ncc_error"])),
    ("ds=None: a profile is an xarray Dataset", lambda net, data, ds: lw.interval(None, "nc1")),
    ("ds=<DataArray>", lambda net, data, ds: lw.effective_depth(ds["nc1"])),
    ("ds='runs.lw'", lambda net, data, ds: lw.effective_depth("runs.lw")),
    ("eps='0.02': eps is a level", lambda net, data, ds: lw.effective_depth(ds, eps="0.02")),
    ("eps=None", lambda net, data, ds: lw.effective_depth(ds, eps=None)),
    ("no metric 'ncc'", lambda net, data, ds: lw.effective_depth(ds, metric="ncc")),
    ("no metric 'nc'", lambda net, data, ds: lw.monotonicity(ds, "nc")),
    ("missing a required argument: 'metric'", lambda net, data, ds: lw.monotonicity(ds)),
    ("level='1'", lambda net, data, ds: lw.onset(ds, "nc1", "1")),
    ("no metric 'nc9'", lambda net, data, ds: lw.onset(ds, "nc9", 1.0)),
    ("no direction of collapse", lambda net, data, ds: lw.onset(ds, "class_norm", 1.0)),
    ("every=3", lambda net, data, ds: lw.separation_law(ds, every=3)),
    ("no metric 'separation'", lambda net, data, ds: lw.separation_law(ds[["nc1"]])),
    ("edges='20'", lambda net, data, ds: lw.by_class_size(ds, "20")),
    (r"edges=\['20'\]", lambda net, data, ds: lw.by_class_size(ds, ["20"])),
    ("ascend", lambda net, data, ds: lw.by_class_size(ds, [20, 10])),
    ("class_count", lambda net, data, ds: lw.by_class_size(ds[["nc1"]])),
    ("b=None", lambda net, data, ds: lw.compare(ds, None)),
    ("no way to compare 'layer'; nearest: layers", lambda net, data, ds: lw.compare(ds, ds, on="layer")),
    ("points=1: a grid", lambda net, data, ds: lw.compare(ds, ds, on="depth", points=1)),
    ("points='9'", lambda net, data, ds: lw.compare(ds, ds, on="depth", points="9")),
    ("strict='yes'", lambda net, data, ds: lw.compare(ds, ds, strict="yes")),
    ("no metric in common", lambda net, data, ds: lw.compare(ds[["nc1"]], ds[["ncc_error"]])),
    ("no metric in common", lambda net, data, ds: lw.compare(ds[["nc1"]], ds[["network_error"]])),
    (
        "no metric in common: nc1; ncc_error",
        lambda net, data, ds: lw.compare(ds[["nc1", "network_error"]], ds[["ncc_error", "network_error"]]),
    ),
    ("no argument of compare 'onn'", lambda net, data, ds: lw.compare(ds, ds, onn="depth")),
    ("no metric in common", lambda net, data, ds: lw.compare(xr.Dataset(), ds)),
    ("no format '.xls'", lambda net, data, ds: lw.export(ds, "a.xls")),
    ("no format ''", lambda net, data, ds: lw.export(ds, "a")),
    ("path=None", lambda net, data, ds: lw.export(ds, None)),
    ("path=''", lambda net, data, ds: lw.export(ds, "")),
    ("dataset=3", lambda net, data, ds: lw.export(3, "a.nc")),
    ("not a layerwise profile", lambda net, data, ds: lw.export(xr.Dataset(), "a.nc")),
    ("overwrite='no'", lambda net, data, ds: lw.export(ds, "a.nc", overwrite="no")),
    ("no format to import '.csv'", lambda net, data, ds: lw.import_profile("a.csv")),
    ("there is no file", lambda net, data, ds: lw.import_profile("nowhere.nc")),
    ("path=3", lambda net, data, ds: lw.import_profile(3)),
    ("path=None: it is a path", lambda net, data, ds: lw.open_store(None)),
    ("path=''", lambda net, data, ds: lw.open_store("")),
    ("no kind of store 'ftp://'", lambda net, data, ds: lw.open_store("ftp://x")),
    ("there is no store", lambda net, data, ds: lw.open_store("nowhere.lw", create=False)),
    ("no store can be opened at", lambda net, data, ds: lw.open_store(LONG)),
    (r"path='a\\x00b'", lambda net, data, ds: lw.open_store("a\0b")),
    ("no run 'x'", lambda net, data, ds: lw.open_store("memory://")["x"]),
    ("no run", lambda net, data, ds: lw.open_store("memory://")[3]),
    ("no run can be called ''", lambda net, data, ds: lw.open_store("memory://").write(ds, run="")),
    ("no run can be called 3: a name is text", lambda net, data, ds: lw.open_store("memory://").write(ds, run=3)),
    (
        r"called 'a\\u202eb': a name has no characters that control or turn text",
        lambda net, data, ds: lw.open_store("memory://").write(ds, run="a\u202eb"),
    ),
    ("single slashes", lambda net, data, ds: lw.open_store("memory://").write(ds, run="a\nb")),
    ("200 bytes", lambda net, data, ds: lw.open_store("memory://").write(ds, run=LONG)),
    ("single slashes", lambda net, data, ds: lw.open_store("memory://").write(ds, run="../x")),
]

PLOTS: list[tuple[str, Call]] = [
    ("no metric 'nc2'; nearest: nc1", lambda net, data, ds: lw.plot.depth_heatmap(ds, "nc2")),
    (r"variable=\[\]", lambda net, data, ds: lw.plot.depth_heatmap(ds, [])),
    ("variable=3", lambda net, data, ds: lw.plot.depth_heatmap(ds, 3)),
    (r"variable=\['nc1', 2\]", lambda net, data, ds: lw.plot.depth_heatmap(ds, ["nc1", 2])),
    ("ds=3: a profile is", lambda net, data, ds: lw.plot.depth_heatmap(3)),
    ("ds={'a': 3}", lambda net, data, ds: lw.plot.depth_heatmap({"a": 3}, "nc1")),
    ("the mapping is empty", lambda net, data, ds: lw.plot.depth_heatmap({}, "nc1")),
    ("no split 'tset'", lambda net, data, ds: lw.plot.depth_heatmap(ds, "nc1", split="tset")),
    ("split=3", lambda net, data, ds: lw.plot.depth_heatmap(ds, "nc1", split=3)),
    ("epoch='last'", lambda net, data, ds: lw.plot.depth_heatmap(ds, "nc1", epoch="last")),
    ("no epoch '7'", lambda net, data, ds: lw.plot.depth_heatmap(ds, "nc1", epoch=7)),
    ("ax='ax'", lambda net, data, ds: lw.plot.depth_heatmap(ds, "nc1", ax="ax")),
    ("no argument of depth_heatmap 'metrik'", lambda net, data, ds: lw.plot.depth_heatmap(ds, metrik="nc1")),
    ("variable={'nc1': 1}", lambda net, data, ds: lw.plot.depth_curve(ds, {"nc1": 1})),
    ("no hue 'splits'; nearest: split", lambda net, data, ds: lw.plot.depth_curve(ds, "nc1", hue="splits")),
    ("hue=3", lambda net, data, ds: lw.plot.depth_curve(ds, "nc1", hue=3)),
    ("no metric 'nc2'", lambda net, data, ds: lw.plot.epoch_heatmap(ds, ["nc1", "nc2"])),
    ("ds=None", lambda net, data, ds: lw.plot.epoch_heatmap(None, "nc1")),
    ("a value for every class", lambda net, data, ds: lw.plot.epoch_heatmap(ds, "class_norm")),
    ("no per-class metric 'nc1'", lambda net, data, ds: lw.plot.class_heatmap(ds, "nc1")),
    ("no metric 'class_variance'", lambda net, data, ds: lw.plot.class_heatmap(ds)),
    ("no order of classes 'sizes'", lambda net, data, ds: lw.plot.class_heatmap(ds, "class_norm", order="sizes")),
    ("no target 'lable'", lambda net, data, ds: lw.plot.class_heatmap(ds, "class_norm", target="lable")),
    ("no layer 'frist'", lambda net, data, ds: lw.plot.phase_plot(ds, "nc1", layer="frist")),
    ("tolerance='0'", lambda net, data, ds: lw.plot.phase_plot(ds, "nc1", tolerance="0")),
    ("error=None", lambda net, data, ds: lw.plot.phase_plot(ds, "nc1", error=None)),
    ("no metric 'cka'", lambda net, data, ds: lw.plot.similarity_heatmap(ds)),
    ("ds=<DataArray>", lambda net, data, ds: lw.plot.similarity_heatmap(ds["nc1"])),
    ("b=None", lambda net, data, ds: lw.plot.compare_heatmap(ds, None)),
    ("names='ab'", lambda net, data, ds: lw.plot.compare_heatmap(ds, ds, names="ab")),
    (r"variable=\[\]", lambda net, data, ds: lw.plot.compare_heatmap(ds, ds, [])),
    ("no metric 'nc2'", lambda net, data, ds: lw.plot.compare_heatmap(ds, ds, "nc2")),
    ("two dims", lambda net, data, ds: lw.plot.phase_diagram(ds["nc1"])),
    ("values=3", lambda net, data, ds: lw.plot.phase_diagram(3)),
    ("scale=3", lambda net, data, ds: lw.plot.phase_diagram(ds["nc1"], scale=3)),
]

MODULES: list[tuple[str, Call]] = [
    ("no kind of data 'cvs'; nearest: csv", lambda net, data, ds: lw.data.read("cvs:a.csv")),
    ("name=3", lambda net, data, ds: lw.data.read(3)),
    ("name=None", lambda net, data, ds: lw.data.read(None)),
    ("alpha", lambda net, data, ds: lw.losses.SVSL(net, alpha="1")),
    ("alpha", lambda net, data, ds: lw.losses.SVSL(net, alpha=float("nan"))),
    ("gamma", lambda net, data, ds: lw.losses.SVSL(net, alpha=1.0, gamma="1")),
    ("layers=None", lambda net, data, ds: lw.losses.SVSL(net, alpha=1.0, layers=None)),
    ("not a int", lambda net, data, ds: lw.losses.SVSL(3, alpha=1.0)),
    ("no argument of SVSL 'alhpa'; nearest: alpha", lambda net, data, ds: lw.losses.SVSL(net, alhpa=1.0)),
    ("classes='10'", lambda net, data, ds: lw.heads.ETFClassifier(16, classes="10")),
    ("features=0.5", lambda net, data, ds: lw.heads.ETFClassifier(0.5, classes=10)),
    ("at least two classes, not 1", lambda net, data, ds: lw.heads.ETFClassifier(16, classes=1)),
    ("name=3", lambda net, data, ds: lw.metrics.get(3)),
    ("no metric 'nc'", lambda net, data, ds: lw.metrics.get("nc")),
    ("classes='4'", lambda net, data, ds: lw.theory.frames.simplex_etf_gram("4")),
    ("a name", lambda net, data, ds: lw.losses.SVSL(net, alpha=1.0, layers=[""])),
    ("pattern=3", lambda net, data, ds: lw.metrics.list_metrics(3)),
]


ROWS = [*MODELS_AND_DATA, *TRAINING, *OF_PROFILES, *PLOTS, *MODULES]


@pytest.mark.parametrize(("message", "call"), ROWS, ids=[message[:50] for message, _ in ROWS])
def test_a_mistake_is_one_line_and_changes_nothing(network, data, ds, message, call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = ds.copy(deep=True)
    with pytest.raises(LayerwiseError, match=message) as raised:
        call(network, data, ds)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 1000
    assert list(tmp_path.iterdir()) == []
    assert ds.identical(before)


def test_names_in_messages_are_cut_and_spelled_out():
    near = LayerwiseError("a\x1b[31m\n  b\u202e " + "y" * 5000)
    assert str(near).startswith("a\\x1b[31m b\\u202e yyy")
    assert len(str(near)) < 600
    assert np.all([sign.isprintable() for sign in str(near)])
