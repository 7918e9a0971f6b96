"""Settings of a type, a size or a name that they cannot have: one line, before anything is run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import layerwise as lw
from layerwise.errors import InvalidArgument, LayerwiseError, UnknownName

HUGE = 10**40
LONG = "x" * 5000

ROWS = [
    # names that there are not
    ({"jacknife": 10}, "no setting 'jacknife'; nearest: jackknife"),
    ({"metric": "nc1"}, "no setting 'metric'; nearest: metrics"),
    ({"bach_size": 8}, "no setting 'bach_size'; nearest: batch_size"),
    ({"Jackknife": 2}, "nearest: jackknife"),
    ({LONG: 1}, r"no setting 'x+'\.\.\. \(5,000 characters\)"),
    ({"metrics": "nc7"}, "no metric 'nc7'; nearest: nc1"),
    ({"metrics": ["nc1", "nope\x1b[2J"]}, r"no metric 'nope\\x1b\[2J'"),
    ({"metrics": LONG}, r"5,000 characters"),
    ({"metrics": ""}, "metrics='': metrics are a name"),
    ({"layers": "frist"}, "no layer 'frist'; nearest: first"),
    ({"layers": ""}, "layers='': layers are"),
    ({"layers": LONG}, "5,000 characters"),
    ({"layers": "[z"}, r"no layer '\[z'"),
    ({"reduce": "average"}, "no reduction 'average'"),
    ({"reduce": ""}, "no reduction ''"),
    ({"reduce": "sketch:99999999999"}, "no reduction 'sketch:99999999999'"),
    ({"convention": "papian"}, "nearest: papyan"),
    ({"nonfinite": "dorp"}, "no way to treat NaN 'dorp'; nearest: drop"),
    ({"frame": "etv"}, "no frame 'etv'; nearest: etf"),
    ({"frame": {"lable": "etf"}, "metrics": "frame_distance"}, "no target 'lable'; nearest: label"),
    ({"heads": {"lable": "first"}}, "no target 'lable'; nearest: label"),
    ({"heads": {"label": "frist"}}, "no output or layer 'frist'"),
    ({"classes": {"lable": 3}}, "no target 'lable'; nearest: label"),
    # values of another type
    ({"layers": None}, "layers=None: layers are 'blocks'"),
    ({"layers": [0]}, r"layers=\[0\]: layers are"),
    ({"layers": [0, 2]}, r"layers=\[0, 2\]"),
    ({"layers": 1}, "layers=1"),
    ({"layers": torch.nn.Linear}, "layers=<type>"),
    ({"layers": torch.ones(2)}, "layers=<Tensor>"),
    ({"layers": {"first": 1}}, "layers={'first': 1}"),
    ({"layers": b"first"}, "layers=b'first'"),
    ({"layers": []}, "no layer 'chosen by"),
    ({"reduce": None}, "reduce=None: a reduction is one of auto"),
    ({"reduce": 3}, "reduce=3"),
    ({"reduce": ["gap"]}, r"reduce=\['gap'\]"),
    ({"metrics": []}, r"metrics=\[\]: metrics are a name"),
    ({"metrics": 3}, "metrics=3"),
    ({"metrics": ["nc1", None]}, r"metrics=\['nc1', None\]"),
    ({"classes": 3.0}, "classes=3.0: classes are a number above 0 or a list of names"),
    ({"classes": "ten"}, "classes='ten'"),
    ({"classes": 0}, "classes=0"),
    ({"classes": -3}, "classes=-3"),
    ({"classes": True}, "classes=True"),
    ({"classes": []}, r"classes=\[\]"),
    ({"classes": [1, 2, 3]}, r"classes=\[1, 2, 3\]: names of classes are text"),
    ({"classes": float("nan")}, "classes=nan"),
    ({"classes": HUGE}, "classes=10{40}"),
    ({"classes": {"label": 0}}, "classes={'label': 0}"),
    ({"classes": 2}, r"label 2 of 'label' is outside the classes, 0 \.\. 1"),
    ({"heads": "2"}, "heads='2': heads says for each target"),
    ({"heads": ["first"]}, r"heads=\['first'\]"),
    ({"heads": {"label": 2}}, "heads={'label': 2}"),
    ({"heads": {0: "first"}}, "heads={0: 'first'}"),
    ({"convention": None}, "convention=None: a convention is a name"),
    ({"convention": 3}, "convention=3"),
    ({"debiased": 1}, "debiased=1: it is True or False"),
    ({"debiased": "yes"}, "debiased='yes'"),
    ({"standardize": None}, "standardize=None"),
    ({"check": 0}, "check=0"),
    ({"frame": 3}, "frame=3: a frame is 'etf'"),
    ({"frame": [[1, 2], [3]]}, r"frame=\[\[1, 2\], \[3\]\]"),
    ({"frame": np.full((3, 3), np.nan)}, "a frame is a Gram matrix of finite numbers"),
    ({"frame": np.ones((2, 3))}, r"not of shape \(2, 3\)"),
    ({"frame": -np.eye(3)}, "eigenvalues of 0 or more"),
    ({"memory": True}, "memory=True: a memory budget is written like '8GiB'"),
    ({"memory": "some"}, "not 'some'"),
    ({"memory": 0}, "not 0"),
    ({"memory": -1}, "not -1"),
    ({"memory": 1.5}, "memory=1.5"),
    ({"memory": []}, r"memory=\[\]"),
    ({"memory": LONG}, "5,000 characters"),
    ({"nonfinite": None}, "nonfinite=None: a way to treat NaN is one of raise, drop"),
    ({"nonfinite": ["drop"]}, r"nonfinite=\['drop'\]"),
    ({"ridge": "1"}, "ridge='1': the regularisation is a number of 0 or more"),
    ({"ridge": float("nan")}, "ridge=nan"),
    ({"ridge": float("inf")}, "ridge=inf"),
    ({"ridge": -1e-9}, "ridge=-1e-09"),
    ({"ridge": None}, "ridge=None"),
    ({"ridge": HUGE**10}, "ridge=a number of more than 80 digits"),
    ({"seed": -1}, "seed=-1: a seed is a whole number"),
    ({"seed": 1.0}, "seed=1.0"),
    ({"seed": "0"}, "seed='0'"),
    ({"seed": HUGE}, "seed=10{40}"),
    ({"seed": None}, "seed=None"),
    ({"directions": "many"}, "directions='many': it is neither 'exact' nor a number"),
    ({"directions": 0}, "directions=0"),
    ({"directions": 2.0}, "directions=2.0"),
    ({"directions": True}, "directions=True"),
    ({"directions": None}, "directions=None"),
    ({"jackknife": "10"}, "jackknife='10': a whole number: 2 groups of samples at least"),
    ({"jackknife": 1}, "jackknife=1"),
    ({"jackknife": -2}, "jackknife=-2"),
    ({"jackknife": 10.0}, "jackknife=10.0"),
    ({"jackknife": True}, "jackknife=True"),
    ({"jackknife": None}, "jackknife=None"),
    ({"jackknife": float("nan")}, "jackknife=nan"),
    ({"jackknife": [10]}, r"jackknife=\[10\]"),
    ({"null": 1}, "null=1: a whole number: 2 shuffles of the labels at least"),
    ({"null": "39"}, "null='39'"),
    ({"ignore_index": 0}, "ignore_index is for reduce='tokens' and 'pixels'"),
    ({"ignore_index": "0"}, "ignore_index='0': labels that do not count are a whole number"),
    ({"ignore_index": [0, "1"], "reduce": "tokens"}, r"ignore_index=\[0, '1'\]"),
    ({"samples_per_class": 0}, "samples_per_class=0: 1 or more are drawn of each class"),
    ({"samples_per_class": 5}, "samples_per_class is for reduce='tokens'"),
    ({"samples_per_class": 2.5, "reduce": "tokens"}, "samples_per_class=2.5"),
    # other arguments
    ({"device": "meta"}, "would lose its weights on the device 'meta'"),
    ({"device": torch.device("meta")}, "would lose its weights on the device 'meta'"),
    ({"device": "coda"}, "cannot be brought to 'coda'; there are cpu and"),
    ({"device": ""}, "cannot be brought to ''"),
    ({"device": 1.5}, "device=1.5: a device is a name such as 'cpu'"),
    ({"device": "cuda:99"}, "cannot be brought to 'cuda:99'"),
    ({"batch_size": 0}, "batch_size=0: a batch has 1 sample or more"),
    ({"batch_size": "64"}, "batch_size='64'"),
    ({"batch_size": 6.4}, "batch_size=6.4"),
    ({"batch_size": None}, "batch_size=None"),
    ({"settings": {"jackknife": 10}}, "settings={'jackknife': 10}: settings are a layerwise.Settings"),
    ({"settings": "fast"}, "settings='fast'"),
    ({"resume_dir": 3}, "resume_dir=3: what is not finished is kept in a folder"),
    ({"resume_dir": ""}, "resume_dir=''"),
]


@pytest.mark.parametrize(
    ("options", "message"), ROWS, ids=lambda value: repr(value)[:60] if isinstance(value, dict) else ""
)
def test_a_setting_that_cannot_be_is_one_line_and_changes_nothing(network, data, options, message):
    with pytest.raises(LayerwiseError, match=message) as raised:
        lw.profile(network, data, **options)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 600


def test_settings_take_numbers_and_names_of_numpy(network, data):
    options = {"jackknife": np.int64(2), "classes": np.array(["cat", "dog", "owl"]), "ridge": np.float32(0.5)}
    found = lw.Settings(**options)
    assert (found.jackknife, found.classes, found.ridge) == (2, ["cat", "dog", "owl"], 0.5)
    assert type(found.jackknife) is int


def test_names_of_classes_that_are_an_array_or_a_number_are_read(network):
    class Named(torch.utils.data.TensorDataset):
        classes = np.array(["cat", "dog", "owl"])

    inputs, labels = torch.randn(30, 8, generator=torch.Generator().manual_seed(0)), torch.arange(30) % 3
    batches = torch.utils.data.DataLoader(Named(inputs, labels), 10, generator=torch.Generator())
    for classes, names in ((np.array(["cat", "dog", "owl"]), ["cat", "dog", "owl"]), (3, ["0", "1", "2"])):
        Named.classes = classes
        found = lw.profile(network, batches, metrics="class_norm", check=False)
        assert found["class_name"].values.ravel().tolist() == names


def test_an_argument_error_is_a_value_error_and_a_type_error():
    assert issubclass(InvalidArgument, ValueError)
    assert issubclass(InvalidArgument, TypeError)
    assert issubclass(UnknownName, LookupError)


@pytest.mark.parametrize("name", ["jackknife", "null", "metrics", "ridge", "frame", "directions"])
def test_similarity_refuses_what_has_no_effect_on_it(network, data, name):
    value = {"metrics": "nc1", "frame": "etf"}.get(name, 4)
    with pytest.raises(LayerwiseError, match=f"{name}= has no effect here"):
        lw.similarity(network, data, **{name: value})
    with pytest.raises(LayerwiseError, match=f"{name}= has no effect here"):
        lw.similarity(network, data, settings=lw.Settings(**{name: value}))


def test_a_refused_setting_makes_no_folder(network, data, tmp_path):
    with pytest.raises(InvalidArgument):
        lw.profile(network, data, jackknife="10", resume_dir=tmp_path / "kept")
    with pytest.raises(InvalidArgument):
        lw.Tracker(network, data, store=tmp_path / "runs.lw", jackknife="10")
    assert list(Path(tmp_path).iterdir()) == []
