"""What a plain install lacks is one error, which names the package and the extra that brings it."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.profiles import made_up
from torch import nn

from layerwise import adapters, data, store
from layerwise.errors import LayerwiseError, MissingPackage
from layerwise.runtime.extras import from_extra

ROOT = Path(__file__).parent.parent.parent


def export(suffix: str) -> Callable[[Path], Any]:
    return lambda folder: store.export(made_up(), folder / f"a{suffix}")


def imported(folder: Path) -> None:
    (folder / "a.nc").write_bytes(b"")
    store.import_profile(folder / "a.nc")


def trained(folder: Path) -> None:
    from layerwise.studies.training import Recipe, train

    train(nn.Linear(2, 2), torch.ones(4, 2), torch.zeros(4, dtype=torch.long), Recipe(epochs=1))


def parquet(folder: Path) -> None:
    (folder / "t.parquet").write_bytes(b"")
    data.read(f"parquet:{folder}/t.parquet")


def gguf(folder: Path) -> None:
    (folder / "a.gguf").write_bytes(b"")
    adapters.load(f"hf/{folder}")


CORNERS: dict[str, tuple[Callable[[Path], Any], str, str]] = {
    "export to NetCDF": (export(".nc"), "h5netcdf", "netcdf"),
    "import of NetCDF": (imported, "h5netcdf", "netcdf"),
    "export to Parquet": (export(".parquet"), "pyarrow", "tables"),
    "a table": (parquet, "datasets", "tables"),
    "the hub": (lambda folder: data.read("hf:nobody/nothing"), "datasets", "tables"),
    "scikit-learn": (lambda folder: data.read("sklearn:digits"), "sklearn", "sklearn"),
    "GGUF": (gguf, "gguf", "gguf"),
    "a training": (trained, "accelerate", "studies"),
}


@pytest.mark.parametrize("corner", CORNERS)
def test_a_missing_package_is_named_with_its_extra(
    corner: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, package, extra = CORNERS[corner]
    monkeypatch.setitem(sys.modules, package, None)
    if package == "datasets":
        monkeypatch.delitem(sys.modules, "layerwise.data.arrow_table", raising=False)
    with pytest.raises(MissingPackage, match=rf"needs the package {package}: pip install 'layerwise\[{extra}\]'"):
        run(tmp_path)


def test_every_extra_that_an_error_names_brings_the_package() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for _, package, extra in CORNERS.values():
        brought = packages_of(extra, extras)
        assert {"sklearn": "scikit-learn"}.get(package, package) in brought


def packages_of(extra: str, extras: dict[str, list[str]]) -> set[str]:
    """The packages that an extra brings, through the extras that it names."""
    from packaging.requirements import Requirement

    found: set[str] = set()
    for requirement in map(Requirement, extras[extra]):
        found |= {requirement.name}
        for inner in requirement.extras if requirement.name == "layerwise" else ():
            found |= packages_of(inner, extras)
    return found


def test_the_error_is_one_of_ours_and_a_missing_module() -> None:
    with pytest.raises(LayerwiseError) as caught, from_extra("tables", "a table"):
        import a_package_that_nobody_has  # noqa: F401
    assert isinstance(caught.value, ModuleNotFoundError)
    assert caught.value.name == "a_package_that_nobody_has"


def test_another_error_passes() -> None:
    with pytest.raises(ImportError, match="broken") as caught, from_extra("tables", "a table"):
        raise ImportError("broken")
    assert not isinstance(caught.value, LayerwiseError)
