"""Several processes that train together do what one does. This file is also what they run."""

import atexit
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from spider_utils.common.files import read_json
from spider_utils.models.saved import laid_out
from spider_utils.train.processes import Processes
from spider_utils.train.settings import TrainSettings

SLICES = 5  # of a batch, so that no two, and no three, processes have parts of one size


def one_step(model: str, file: Path) -> None:
    """Take gradients of a batch, in double precision, so that rounding explains nothing; the first process saves."""
    settings = TrainSettings(model=model, width=2, train_height=64, train_width=64, device="cpu")
    processes = Processes("cpu")
    torch.manual_seed(0)
    network = laid_out(processes.prepare(settings.network()), processes.device).double().train()
    images = torch.rand(SLICES, 1, 64, 64, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    weights = torch.randn(SLICES, 4, 64, 64, dtype=torch.float64)
    with processes.sharing(SLICES):
        logits = processes.whole(network(processes.own(images)))
        (logits.softmax(1) * weights).sum().div(logits.abs().mean()).backward()  # no sum over slices
    processes.average_gradients(network)
    if processes.writes:
        gradients = {name: one.grad for name, one in network.named_parameters() if one.grad is not None}
        torch.save(gradients | dict(network.named_buffers()) | {"logits": logits.detach()}, file)


def launch(processes: int, *arguments: str) -> subprocess.CompletedProcess:
    """Run Python by so many processes together."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes), *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "SPIDER_STATIC": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


@pytest.mark.parametrize(
    ("model", "processes"),
    [
        ("paper_text", 3),
        pytest.param("author_code", 2, marks=pytest.mark.slow),
        pytest.param("unetpp", 2, marks=pytest.mark.slow),
    ],
)
def test_gradients_and_statistics_of_several_processes_are_those_of_one(model, processes, tmp_path):
    one_step(model, tmp_path / "one.pt")
    done = launch(processes, __file__, model, str(tmp_path / "several.pt"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("left") == processes  # the group, whose threads may abort a process that ends in it
    alone, together = (torch.load(tmp_path / name, weights_only=True) for name in ("one.pt", "several.pt"))
    assert alone.keys() == together.keys()
    for name, expected in alone.items():
        torch.testing.assert_close(together[name], expected, rtol=1e-8, atol=1e-9, msg=name)


@pytest.mark.slow
def test_two_processes_give_the_curve_of_one_and_go_on_where_it_stopped(tmp_path):
    def train(processes: int, out: str, epochs: int) -> pd.DataFrame:
        options = ["--source", "sample", "--profile", "smoke", "-p", "device", "cpu", "-p", "schedule", "cosine"]
        options += ["-p", "epoch_slices", "40", "-p", "epochs", str(epochs)]
        done = launch(processes, "-m", "spider_utils", "train", "--out", str(tmp_path / out), *options)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count(f"{epochs} epochs") == 1  # by one process
        return pd.read_csv(tmp_path / out / "train_log.csv")

    one, two = train(1, "one", 2), train(2, "two", 2)
    # Rounding grows with every step, from 2e-7 after one; two threads differ from one by as much as two processes.
    np.testing.assert_allclose(two["train_loss"], one["train_loss"], rtol=0.01)
    assert read_json(tmp_path / "two" / "provenance.json")["train"]["processes"] == 2
    assert read_json(tmp_path / "one" / "provenance.json")["train"]["processes"] == 1
    state = (tmp_path / "two" / "checkpoints" / "last.safetensors").read_bytes()
    train(1, "two", 2)  # has nothing left to do
    assert (tmp_path / "two" / "checkpoints" / "last.safetensors").read_bytes() == state


def test_a_batch_with_fewer_slices_than_processes_is_not_shared():
    processes = Processes("cpu")
    processes.number, processes.rank = 4, 1
    with processes.sharing(3):
        assert processes.own(torch.arange(3)).tolist() == [0, 1, 2]
    with processes.sharing(6):
        assert processes.own(torch.arange(6)).tolist() == [1, 2]
    assert processes.part is None


def test_parts_cover_a_batch_once():
    processes = Processes("cpu")
    for number in (2, 3, 5):
        for count in range(number, 17):
            found = []
            for rank in range(number):
                processes.number, processes.rank = number, rank
                with processes.sharing(count):
                    found += processes.own(torch.arange(count)).tolist()
            assert found == list(range(count))


if __name__ == "__main__":
    atexit.register(lambda: print("in it" if torch.distributed.is_initialized() else "left"))  # called last
    one_step(sys.argv[1], Path(sys.argv[2]))
