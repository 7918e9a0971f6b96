"""The rooms of the package: imports run downward, and the map of CONTRIBUTING.md is that of the code."""

from __future__ import annotations

import ast

import pytest
from helpers.rooms import ROOMS, ROOT, arrows, house_map, imports, modules, room

FLOOR = {name: floor for floor, name in enumerate(ROOMS)}


def test_every_module_has_a_room():
    assert {room(module) for module in modules()} - {""} == set(ROOMS)


def test_no_import_runs_upward():
    upward = [
        f"{module} imports {imported}"
        for module, imported in imports()
        if room(module) and (not room(imported) or FLOOR[room(imported)] > FLOOR[room(module)])
    ]
    assert not upward, f"{len(ROOMS)} rooms, {len(arrows())} arrows, upward: {upward}"


def test_modules_import_each_other_in_no_circle():
    waiting: dict[str, set[str]] = {module: set() for module in modules()}
    for module, imported in imports():
        if module.rpartition(".")[0] != imported and imported != module:
            waiting[module].add(imported)
    # Modules whose imports are all settled are settled; what never settles is part of a circle or leads to one.
    while ready := {module for module, imported in waiting.items() if not imported}:
        waiting = {module: imported - ready for module, imported in waiting.items() if module not in ready}
    assert not waiting


@pytest.mark.parametrize("name", ["errors", "arguments", "schema", "theory", "derive", "store", "plot"])
def test_rooms_that_know_no_network_do_without_torch(name):
    for module, path in modules().items():
        if room(module) != name:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            named += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {"torch", "timm", "transformers"} & {one.partition(".")[0] for one in named}, module


def test_contributing_shows_the_rooms():
    assert house_map() in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
