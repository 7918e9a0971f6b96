"""What is installed, under which names, and what an import costs."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
# Where a folder at the top is installed.
INSTALLED = {"layerwise": "layerwise", "adapters": "layerwise/adapters", "studies": "layerwise/studies"}
SOURCES = sorted(
    f"{INSTALLED[folder]}/{path.relative_to(ROOT / folder).as_posix()}"
    for folder in INSTALLED
    for path in (ROOT / folder).rglob("*.py")
)
# Modules with public names that a package of an extra brings.
OPTIONAL = {
    "layerwise.data.arrow_table": "datasets",
    "layerwise.callbacks": "lightning",
    "layerwise.training.callbacks": "lightning",
    "layerwise.training.callbacks.lightning": "lightning",
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MODULES = [path.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for path in SOURCES]


def python(code: str, folder: Path, **environment: str) -> str:
    environment = {**os.environ, **environment}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def isolation() -> list[str]:
    """Build with the setuptools that is here, where it is new enough, so that no network is needed."""
    try:
        return ["--no-build-isolation"] if int(version("setuptools").split(".")[0]) >= 77 else []
    except PackageNotFoundError:
        return []


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy: building leaves folders behind."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for folder in INSTALLED:
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", *isolation(), "-w", str(target), "."]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = target.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def names(wheel) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_every_module_is_in_the_wheel(names):
    assert sorted(name for name in names if name.endswith(".py")) == SOURCES


@pytest.mark.parametrize("package", ["adapters", "studies", "data", "store", "metrics", "plot", "statistics"])
def test_every_room_is_a_package_inside_layerwise(names, package):
    assert f"layerwise/{package}/__init__.py" in names


def test_nothing_is_installed_at_the_top_but_layerwise(names):
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"layerwise"}


def test_the_wheel_says_that_it_is_typed(names):
    assert "layerwise/py.typed" in names


def test_the_rooms_are_imported_from_the_wheel_itself(wheel, tmp_path):
    code = "import layerwise.adapters as a, layerwise.studies as s; print(a.__file__, s.__file__, sep='\\n')"
    assert all(line.startswith(str(wheel)) for line in python(code, tmp_path, PYTHONPATH=str(wheel)).splitlines())


def test_the_wheel_names_its_adapters_and_its_command(wheel, names):
    (entry,) = (name for name in names if name.endswith("entry_points.txt"))
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(entry).decode()
    assert "layerwise = layerwise.cli:main" in text
    for name in ("timm", "huggingface", "torch"):
        assert f"{name} = layerwise.adapters.{name}:" in text


@pytest.mark.parametrize("module", ["layerwise", "layerwise.cli"])
def test_an_import_brings_nothing_heavy(module, tmp_path):
    heavy = ("torch", "matplotlib", "timm", "transformers", "datasets", "sklearn", "seaborn")
    loaded = python(f"import sys, {module}; print(*sys.modules)", tmp_path).split()
    assert not set(heavy) & set(loaded)


def test_profile_is_the_function_whatever_was_used_before(tmp_path):
    assert python("import layerwise; layerwise.Settings; print(callable(layerwise.profile))", tmp_path) == "True"


def test_no_module_hides_a_function_of_its_name():
    import layerwise

    functions = [name for name, place in layerwise._LAZY.items() if ":" in place]
    assert not {f"layerwise.{name}" for name in functions} & set(MODULES)


@pytest.mark.parametrize("name", ["layerwise", "layerwise.callbacks", "layerwise.training.callbacks"])
def test_completion_shows_what_is_public_and_no_more(name):
    module = import_module(name)
    assert {word for word in dir(module) if not word.startswith("_")} == set(module.__all__)
    if "callbacks" in name:
        pytest.importorskip("lightning")
    assert all(hasattr(module, word) for word in dir(module))


def test_the_version_is_that_of_the_distribution(tmp_path):
    import layerwise

    assert layerwise.__version__ == version("layerwise")
    code = "import sys; from layerwise.cli import main; sys.argv = ['layerwise', '--version']; main()"
    assert python(code, tmp_path) == f"layerwise {layerwise.__version__}"


def test_the_version_is_written_once():
    assert "version" in PROJECT["dynamic"]
    assert "version" not in PROJECT


def test_every_bound_of_a_package_is_a_lower_one_and_no_package_has_two():
    extras = PROJECT["optional-dependencies"]
    every = [Requirement(line) for group in (PROJECT["dependencies"], *extras.values()) for line in group]
    own = [item for item in every if item.name != "layerwise"]
    assert all(item.specifier for item in own)
    # Icechunk 2 stores hang in several processes.
    assert all(each.operator in (">=", "==") for item in own for each in item.specifier if item.name != "icechunk")
    bounds = {(item.name, str(item.specifier)) for item in own}
    assert len({name for name, _ in bounds}) == len(bounds)


def test_the_extra_all_brings_every_other_that_is_no_tool():
    extras = PROJECT["optional-dependencies"]

    def brought(extra: str) -> set[str]:
        inner = {
            name for line in extras[extra] if (item := Requirement(line)).name == "layerwise" for name in item.extras
        }
        return {extra}.union(*map(brought, inner))

    assert brought("all") == set(extras) - {"test"}


def test_the_core_tests_are_there():
    paths = (ROOT / ".ci" / "core.txt").read_text().split()
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("name", MODULES)
def test_a_module_names_what_is_public_and_has_it(name):
    if name.endswith("__main__"):
        return
    if name in OPTIONAL:
        pytest.importorskip(OPTIONAL[name])
    module = import_module(name)
    assert module.__file__ is not None
    source = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    if len(source.body) == 1 and ast.get_docstring(source):
        # A package that is a folder of modules and nothing more names nothing.
        return
    assert isinstance(module.__all__, list)
    assert len(set(module.__all__)) == len(module.__all__)
    missing = [public for public in module.__all__ if not hasattr(module, public)]
    assert not missing
