"""The training loop goes on where it was killed, to the same weights and the same profile."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import xarray as xr
from helpers.study_training import data, network

from layerwise.store import open_store
from layerwise.studies.frame import Seed, find_study
from layerwise.studies.frame.settings import changed
from layerwise.studies.training import Recipe, train, train_and_track

SHARED = """
import os
import sys
import torch
from helpers.study_training import data, network
from layerwise.runtime.distributed import process_group
from layerwise.studies.training import Recipe, train

with process_group():
    seen = []
    model = network()
    model.head.register_forward_hook(lambda module, inputs, scores: seen.append(len(scores)))
    trained = train(model, *data(), Recipe(1, batch_size=90))
    counts = [None, None]
    torch.distributed.all_gather_object(counts, sum(seen))
    trained = train(network(), *data(), Recipe(3, batch_size=32))
    if torch.distributed.get_rank() == 0:
        print(*counts)
        torch.save(trained.state_dict(), sys.argv[1])
# Gloo's threads can abort a process in which the interpreter ends before them.
sys.stdout.flush()
os._exit(0)
"""


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine", "steps", "constant"])
@pytest.mark.parametrize("optimiser", ["sgd", "adam", "adamw"])
def test_a_training_that_was_killed_goes_on_to_the_same_weights(tmp_path, optimiser, schedule):
    recipe = Recipe(4, batch_size=32, learning_rate=0.01, optimiser=optimiser, schedule=schedule)
    whole = train(network(), *data(), recipe)

    def stop(epoch: int) -> None:
        if epoch == 3:
            raise KeyboardInterrupt

    path = tmp_path / "inside" / "net.pt"
    with pytest.raises(KeyboardInterrupt):
        train(network(), *data(), recipe, after_epoch=stop, checkpoint=path)
    epochs: list[int] = []
    resumed = train(network(), *data(), recipe, after_epoch=epochs.append, checkpoint=path)
    assert epochs == [3, 4]
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_training_leaves_the_global_random_numbers_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    model = network()
    torch.manual_seed(5)
    train(model, *data(), Recipe(1))
    assert torch.equal(torch.rand(3), expected)


def test_biases_and_norms_go_free_of_decay_where_asked():
    groups = Recipe(1, weight_decay=0.1, decay_biases=False).make_optimiser(network()).param_groups
    assert [(group["weight_decay"], {item.ndim for item in group["params"]}) for group in groups] == [
        (0.1, {2}),
        (0.0, {1}),
    ]


def test_a_tracked_training_that_was_killed_gives_the_same_profile(tmp_path):
    def profile(place: str, stop_at: int | None = None) -> xr.Dataset:
        def loss(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            nonlocal stop_at
            if stop_at is not None:
                stop_at -= 1
                if stop_at < 0:
                    raise KeyboardInterrupt
            return torch.nn.functional.cross_entropy(scores, labels)

        seed = Seed(3, open_store(tmp_path / place), "own/seed3")
        recipe = Recipe(3, batch_size=45)
        return train_and_track(network(), {"train": data()}, recipe, seed, metrics="nc1", every=1, loss=loss)

    whole = profile("whole.lw")
    with pytest.raises(KeyboardInterrupt):
        profile("killed.lw", stop_at=5)
    resumed = profile("killed.lw")
    assert resumed["epoch"].values.tolist() == [0, 1, 2, 3]
    xr.testing.assert_equal(whole["nc1"], resumed["nc1"])


def test_two_processes_train_the_same_network_as_one_batch_norm_and_all(tmp_path, monkeypatch):
    monkeypatch.delenv("ACCELERATE_USE_CPU", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent))
    (tmp_path / "shared.py").write_text(SHARED)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run([*launcher, "shared.py", "net.pt"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["45", "45"]
    shared = torch.load(tmp_path / "net.pt", weights_only=True)
    for name, value in train(network(), *data(), Recipe(3, batch_size=32)).state_dict().items():
        torch.testing.assert_close(value, shared[name], rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="accelerate would take the GPUs, of which there may be one")
def test_accelerate_launch_over_two_processes_gives_the_same_study(tmp_path):
    words = ["-m", "layerwise", "study", "separation-law", "--scale", "quick", "--seeds", "1"]
    words += ["--set", "recipe.epochs=2", "--store", str(tmp_path / "two.lw"), "-o", str(tmp_path)]
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes=2"]
    launcher += ["--num_machines=1", "--mixed_precision=no", "--dynamo_backend=no", "--main_process_port=0"]
    done = subprocess.run([*launcher, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    study = find_study("separation_law")
    settings = changed(study.SCALES["quick"], {"seeds": 1, "recipe.epochs": 2})
    one, two = (study.run(settings, open_store(place)) for place in ("memory://", tmp_path / "two.lw"))
    # Other sums of the same numbers: the same study, and not to the last bit.
    assert not one["separation"].equals(two["separation"])
    for name in ("separation", "slope", "r_squared"):
        xr.testing.assert_allclose(one[name], two[name], rtol=1e-3)
