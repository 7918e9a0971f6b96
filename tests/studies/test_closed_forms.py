"""Studies of the theory: what needs no training holds at the quick scale too, to the last digits."""

from __future__ import annotations

import numpy as np
import pytest

from layerwise.store import open_store
from layerwise.studies.closed_forms import MODELS
from layerwise.studies.frame import find_study


@pytest.mark.parametrize("name", ["phases", "landscape", "linear_heads", "feature_flow", "complexity_bound"])
def test_every_claim_of_a_closed_form_holds_at_the_quick_scale(name):
    study = find_study(name)
    ds = study.run(study.SCALES["quick"], open_store("memory://"))
    failed = [(item.text, item.values) for item in study.claims(ds) if not item.held]
    assert not failed


@pytest.mark.parametrize("name", sorted(MODELS))
def test_the_closed_form_has_order_on_one_side_of_the_boundary_only(name):
    model = MODELS[name]
    for across in model.across:
        order = [model.predicted(across, side * model.boundary(across))[0] for side in (0.999, 1.001)]
        assert min(np.abs(order)) < 1e-12
        assert max(np.abs(order)) > 1e-5


@pytest.mark.parametrize("name", sorted(MODELS))
def test_descent_ends_at_the_closed_form_beside_the_boundary(name):
    model = MODELS[name]
    across = model.across[4]
    for side in (0.97, 1.03):
        up = side * model.boundary(across)
        solution = model.solve(across, up, seed=3)
        order, least = model.predicted(across, up)
        assert model.order(across, solution.point) == pytest.approx(order, abs=1e-6)
        assert np.isnan(least) or solution.loss == pytest.approx(least, rel=1e-6)
