from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from helpers.profiles import made_up

from layerwise.cli.pictures import KINDS, compare_runs, draw
from layerwise.errors import InvalidData, UnknownName
from layerwise.store import open_store

PNG = b"\x89PNG"


@pytest.fixture(autouse=True)
def figures_closed():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("runs") / "runs.lw"
    opened = open_store(path)
    for seed, run in enumerate(("mlp/base", "mlp/tuned")):
        ds = made_up(epochs=2, layers=4, seed=seed)
        opened.write(ds.assign(network_error=ds["ncc_error"].isel(layer=-1, drop=True)), run=run)
    opened.write(made_up(splits=("shifted",)), run="elsewhere")
    return str(path)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_picture_is_drawn_from_a_store(kind: str, store: str, tmp_path: Path):
    draw(store, "mlp/base", (), kind=kind, path=tmp_path / "run.png")
    assert (tmp_path / "run.png").read_bytes().startswith(PNG)


def test_several_metrics_are_panels_of_a_picture(store: str, tmp_path: Path):
    draw(store, "mlp/base", ["nc1", "ncc_error"], kind="epoch", path=tmp_path / "run.png")
    assert (tmp_path / "run.png").read_bytes().startswith(PNG)


def test_two_runs_are_tables_of_their_splits_and_a_picture(store: str, tmp_path: Path):
    text = compare_runs(store, "mlp/base", "mlp/tuned", path=tmp_path / "both.png")
    assert (tmp_path / "both.png").read_bytes().startswith(PNG)
    head, train, test = text.split("\n\n")
    assert head == "a: mlp/base, b: mlp/tuned; compared on layers; a and b differ in seed (0; 1)"
    assert (train.splitlines()[0], test.splitlines()[0]) == ("train", "test")
    assert train.splitlines()[1].split() == ["nc1", "ncc_error"]
    assert len(train.splitlines()) == 3 + 4


def test_metrics_and_a_split_are_the_callers_choice(store: str, tmp_path: Path):
    text = compare_runs(store, "mlp/base", "mlp/tuned", ["stable_rank"], split="test", path=tmp_path / "both.pdf")
    _, test = text.split("\n\n")
    assert [line.split() for line in test.splitlines()[:2]] == [["test"], ["stable_rank"]]


def test_runs_that_cannot_be_compared_are_refused_and_leave_no_picture(store: str, tmp_path: Path):
    path = tmp_path / "both.png"
    with pytest.raises(UnknownName, match="no run 'mlp/bse'; nearest: mlp/base"):
        compare_runs(store, "mlp/bse", "mlp/tuned", path=path)
    with pytest.raises(InvalidData, match="no split in common"):
        compare_runs(store, "mlp/base", "elsewhere", path=path)
    with pytest.raises(UnknownName, match="nearest: nc1"):
        compare_runs(store, "mlp/base", "mlp/tuned", ["nc2"], path=path)
    assert not path.exists()


def test_a_picture_that_cannot_be_written_says_so(store: str, tmp_path: Path):
    with pytest.raises(InvalidData, match="cannot be written"):
        draw(store, "mlp/base", (), path=tmp_path / "run.doc")
