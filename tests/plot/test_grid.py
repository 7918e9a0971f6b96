from __future__ import annotations

import inspect

import matplotlib.pyplot as plt
import numpy as np
import pytest
from helpers.profiles import made_up
from matplotlib.axes import Axes

from layerwise import plot
from layerwise.errors import InvalidArgument, SchemaMismatch, UnknownName

RUNS = {"base": made_up(epochs=3, layers=5, seed=1), "tuned": made_up(epochs=3, layers=5, seed=2)}
RUNS = {run: ds.assign(network_error=ds["ncc_error"].isel(layer=-1, drop=True)) for run, ds in RUNS.items()}
PICTURES = [
    (plot.epoch_heatmap, ["nc1", "stable_rank"]),
    (plot.class_heatmap, ["class_variance", "class_variance"]),
    (plot.phase_plot, ["nc1", "ncc_error"]),
]
OF_PROFILES = [*(draw for draw, _ in PICTURES), plot.depth_curve, plot.depth_heatmap]


def drawn(ax: Axes) -> list[np.ndarray]:
    """The numbers in a picture: cells, points and lines."""
    cells = [np.ma.filled(mesh.get_array(), np.nan) for mesh in ax.collections if mesh.get_array() is not None]
    return [*cells, *(line.get_xydata() for line in ax.lines)]


def same(first: Axes, second: Axes) -> bool:
    pairs = zip(drawn(first), drawn(second), strict=True)
    return all(np.array_equal(one, other, equal_nan=True) for one, other in pairs)


@pytest.mark.parametrize(("draw", "variables"), PICTURES, ids=lambda value: getattr(value, "__name__", ""))
def test_a_cell_of_a_grid_is_the_single_picture(draw, variables):
    grid = draw(RUNS, variables)
    assert grid.shape == (2, 2)
    for row, variable in zip(grid, variables, strict=True):
        for ax, (run, ds) in zip(row, RUNS.items(), strict=True):
            single = draw(ds, variable)
            assert same(ax, single)
            assert ax.get_title("left") == f"{run}: {single.get_title('left')}"


@pytest.mark.parametrize(("draw", "variables"), PICTURES, ids=lambda value: getattr(value, "__name__", ""))
def test_a_list_of_variables_or_runs_is_an_array_and_a_single_one_is_axes(draw, variables):
    assert isinstance(draw(RUNS["base"], variables[0]), Axes)
    assert draw(RUNS["base"], variables).shape == (2,)
    assert draw(RUNS["base"], variables[:1]).shape == (1,)
    assert draw(RUNS, variables[0]).shape == (2,)
    assert draw(RUNS, variables[:1]).shape == (1, 2)


def test_runs_stay_lines_of_one_curve():
    assert isinstance(plot.depth_curve(RUNS, "nc1"), Axes)
    axes = plot.depth_curve(RUNS, ["nc1", "ncc_error"])
    assert axes.shape == (2,)
    for ax, variable in zip(axes, ("nc1", "ncc_error"), strict=True):
        assert same(ax, plot.depth_curve(RUNS, variable))


def test_similarities_by_name_are_a_grid():
    names = ["first", "second"]
    ds = made_up(layers=2).assign_coords(layer=names)[["nc1"]].isel(epoch=0, split=0, target=0, drop=True)
    cka = ds.assign(cka=(("layer", "other_layer"), np.eye(2)), other_layer=names, other_depth=("other_layer", [0, 1]))
    assert plot.similarity_heatmap({"a": cka, "b": cka}).shape == (2,)


@pytest.mark.parametrize(("draw", "variables"), PICTURES, ids=lambda value: getattr(value, "__name__", ""))
def test_a_grid_that_cannot_be_drawn_leaves_no_figure(draw, variables):
    before = plt.get_fignums()
    with pytest.raises(UnknownName, match="no metric 'nc7'"):
        draw(RUNS, [*variables, "nc7"])
    with pytest.raises(SchemaMismatch, match="the mapping is empty"):
        draw({}, variables)
    assert plt.get_fignums() == before


def test_the_callers_axes_take_one_picture():
    _, ax = plt.subplots()
    with pytest.raises(InvalidArgument, match="ax takes one picture"):
        plot.epoch_heatmap(RUNS, "nc1", ax=ax)
    assert plot.epoch_heatmap(RUNS["base"], "nc1", ax=ax) is ax


@pytest.mark.parametrize("draw", OF_PROFILES, ids=lambda draw: draw.__name__)
def test_plots_of_profiles_have_one_signature(draw):
    parameters = inspect.signature(draw).parameters
    assert list(parameters)[:2] == ["ds", "variable"]
    assert {"split", "target", "ax"} <= set(parameters)
    assert all(item.kind is item.KEYWORD_ONLY for item in list(parameters.values())[2:])


@pytest.mark.parametrize("name", plot.__all__)
def test_docstrings_are_complete(name):
    text = getattr(plot, name).__doc__
    assert "%(" not in text
    parameters = inspect.signature(getattr(plot, name)).parameters
    section = text.partition("Parameters\n")[2].partition("Returns\n")[0]
    described = {
        word.strip() for line in section.splitlines() if " : " in line for word in line.split(" :")[0].split(",")
    }
    assert set(parameters) <= described
