"""A file that cannot be written to its end: one clear error, and nothing is left."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.profiles import made_up

from layerwise.store import NotWritable, export

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="the system has no limit on file sizes")


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file can be larger than 4 kB."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("suffix", [".nc", ".zarr", ".parquet", ".csv"])
def test_an_export_to_a_full_disk_is_one_clear_error_and_leaves_nothing(
    suffix: str, tmp_path: Path, full_disk: None
) -> None:
    pytest.importorskip({".nc": "h5netcdf", ".parquet": "pyarrow"}.get(suffix, "xarray"))
    with pytest.raises(NotWritable, match=rf"profile\{suffix} cannot be written: .*File too large"):
        export(made_up(20, layers=60), tmp_path / f"profile{suffix}")
    assert list(tmp_path.iterdir()) == []
