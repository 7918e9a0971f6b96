"""The example of an adapter in CONTRIBUTING.md is a package that works, and its tests pass."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from helpers.rooms import ROOT


def write_example(folder: Path) -> None:
    """Write the files of the example, and the metadata that an installation of it has."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for name, source in re.findall(r"```python\n# (\w+\.py)\n(.*?)```", text, re.S):
        (folder / name).write_text(source, encoding="utf-8")
    (project,) = re.findall(r"```toml\n(.*?)```", text, re.S)
    (metadata := folder / "my_zoo-1.dist-info").mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: my-zoo\nVersion: 1\n", encoding="utf-8")
    ((group, names),) = tomllib.loads(project)["project"]["entry-points"].items()
    lines = [f"[{group}]", *(f"{name} = {value}" for name, value in names.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")


def test_example_of_an_adapter_passes_its_tests(tmp_path: Path) -> None:
    write_example(tmp_path)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "test_my_zoo.py"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^\d\d passed", done.stdout, re.M)
