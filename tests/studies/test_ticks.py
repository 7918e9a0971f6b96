"""What figures of studies share."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pytest

from layerwise.studies.frame.ticks import tick_layers


@pytest.mark.parametrize(
    ("layers", "ticks"), [(6, [1, 2, 3, 4, 5, 6]), (12, [1, 3, 5, 7, 9, 11]), (60, [*range(1, 61, 8)])]
)
def test_many_layers_have_no_more_ticks_than_can_be_read(layers, ticks):
    figure, ax = plt.subplots()
    tick_layers(ax, range(1, layers + 1))
    assert ax.get_xticks().tolist() == ticks
    plt.close(figure)
