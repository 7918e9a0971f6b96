"""The command line as a person types it, and networks that its words can name as ``given:iris``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.networks import Perceptron

from layerwise.cli import main

#: Takes words; returns the exit code, the output and what is on stderr.
TypeIn = Callable[..., tuple[int, str, str]]


def iris() -> torch.nn.Module:
    """A network for the four features of the irises."""
    torch.manual_seed(0)
    return Perceptron(features=4)


def diabetes() -> torch.nn.Module:
    """A network for the ten features of the patients, and one number."""
    torch.manual_seed(0)
    return Perceptron(features=10, classes=1)


def failing() -> torch.nn.Module:
    """A network that fails on all irises but those of the first class."""
    network = iris()

    def fail(_module: Any, args: Any) -> None:
        if float(args[0].mean()) > 3.0:
            raise RuntimeError("out\nof luck")

    network.first.register_forward_pre_hook(fail)
    return network


@pytest.fixture
def type_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> TypeIn:
    """Type a command in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "given", sys.modules[__name__])

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["layerwise", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return run
