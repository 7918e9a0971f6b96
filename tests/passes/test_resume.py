"""A profile that was interrupted goes on where it stopped, to the same numbers to the last bit."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from helpers.interrupted import Interrupted, assert_identical, loaders
from helpers.networks import Perceptron

from layerwise.passes.resume import ResumeState
from layerwise.profiling import profile as measure

TESTS = Path(__file__).parents[1]


# The plan says what is free otherwise, which changes from one moment to the next; the convention has every accumulator.
profile = partial(measure, memory="1GiB", convention="ibrahim")


@pytest.fixture
def network() -> Perceptron:
    torch.manual_seed(0)
    return Perceptron()


@pytest.fixture(params=["memory", "disk", "rerun"])
def waiting(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the plan says of where features wait for the second pass."""
    if request.param == "disk":
        monkeypatch.setattr("layerwise.passes.plan._CACHE_SHARE", 0.0)
    if request.param == "rerun":
        monkeypatch.setattr("layerwise.passes.plan._WIDEST_KEPT", 0)
    return {"memory": "wait in memory", "disk": "wait in a temporary file", "rerun": "two runs"}[request.param]


@pytest.mark.parametrize("stop", range(2, 13))
def test_from_any_batch_on_the_numbers_are_the_same_to_the_last_bit(network, waiting, stop, tmp_path):
    expected = profile(network, loaders(torch.inf))
    assert waiting in expected.attrs["plan"]
    left = float(stop)
    for _ in range(20):
        try:
            found = profile(network, loaders(left), resume_dir=ResumeState(tmp_path / "kept", every=0))
        except Interrupted:
            # Stop anew, further on each time.
            left += stop
            continue
        assert_identical(found, expected)
        return
    pytest.fail("the profile never got to its end")


def test_what_was_taken_in_is_not_run_through_the_network_again(network, tmp_path):
    kept = tmp_path / "kept"
    with pytest.raises(Interrupted):
        profile(network, loaders(3), resume_dir=ResumeState(kept, every=0))
    runs: list[int] = []
    network.register_forward_hook(lambda module, args, output: runs.append(len(output)))
    profile(network, loaders(torch.inf), resume_dir=ResumeState(kept, every=0))
    # Samples that find layers, axes, pooling and what the head reads, and check company; the first batch, which proves
    # the network; then of six batches the three that were not done.
    assert runs == [2, 3, 4, 4, 4, 1, 4, 16, 12, 16, 14]


def test_a_finished_profile_leaves_nothing_behind(network, tmp_path):
    profile(network, loaders(torch.inf), resume_dir=tmp_path / "kept")
    assert not (tmp_path / "kept").exists()
    with pytest.raises(Interrupted):
        profile(network, loaders(3), resume_dir=ResumeState(tmp_path / "kept", every=0))
    assert (tmp_path / "kept").exists()
    profile(network, loaders(torch.inf), resume_dir=tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_a_short_profile_writes_nothing(network, tmp_path):
    with pytest.raises(Interrupted):
        profile(network, loaders(3), resume_dir=tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_what_is_kept_of_another_profile_is_not_taken_for_this_one(network, tmp_path, caplog):
    with pytest.raises(Interrupted):
        profile(network, loaders(3), resume_dir=ResumeState(tmp_path / "kept", every=0))
    torch.manual_seed(1)
    other = Perceptron()
    with caplog.at_level(logging.INFO, logger="layerwise"):
        found = profile(other, loaders(torch.inf), resume_dir=tmp_path / "kept")
    assert "of another profile (model): begun anew" in caplog.text
    assert_identical(found, profile(other, loaders(torch.inf)))


def test_a_full_disk_stops_the_keeping_and_not_the_profile(network, tmp_path, caplog, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    found = profile(network, loaders(torch.inf), resume_dir=ResumeState(tmp_path / "kept", every=0))
    assert caplog.text.count("No space left on device") == 1
    assert_identical(found, profile(network, loaders(torch.inf)))


def test_a_killed_command_goes_on_and_the_profile_is_in_the_store(tmp_path):
    """Killed at any moment, and asked for again until it gets through."""
    (tmp_path / "given.py").write_text(
        "import time\nimport torch\nfrom helpers.networks import Perceptron\n\n\n"
        "class Slow(Perceptron):\n"
        "    def forward(self, inputs):\n"
        "        time.sleep(0.03)\n"
        "        return super().forward(inputs)\n\n\n"
        "def model():\n    torch.manual_seed(0)\n    return Slow(features=64, classes=10)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"}
    code = (
        "import layerwise.passes.resume as resume, sys\n"
        "resume.ResumeState.__init__.__defaults__ = (0.0,)\n"
        "from layerwise.cli import main\nsys.argv = ['layerwise', *sys.argv[1:]]\nmain()\n"
    )
    words = [
        "profile",
        "given:model",
        "sklearn:digits?test=0.25",
        "--batch-size",
        "20",
        "--metrics",
        "nc*",
        "--memory",
        "1GiB",
    ]

    def start(store: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", code, *words, "--store", store, "--run", "digits"]
        return subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)

    assert start("whole.lw").wait() == 0
    kept = tmp_path / "killed.lw.partial" / "digits"
    for delay in (0.0, 0.3, 0.1):
        begun = time.time()
        killed = start("killed.lw")
        while killed.poll() is None and not any(path.stat().st_mtime > begun for path in kept.rglob("*.pt")):
            time.sleep(0.01)
        time.sleep(delay)
        killed.send_signal(signal.SIGKILL)
        assert killed.wait() == -signal.SIGKILL
    assert start("killed.lw").wait() == 0
    assert not kept.exists()
    from layerwise.store import open_store

    whole, found = (open_store(tmp_path / f"{name}.lw")["digits"].load() for name in ("whole", "killed"))
    assert_identical(found, whole)
