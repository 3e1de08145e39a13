"""Real processes: killed and started again, several processes, bfloat16, compiled."""

import os
import signal
import sys

import pytest

from tests.harness.commands.test_train import words
from tests.harness.training.training import assert_close, contents, losses
from tests.support.running import HARNESS, end, run, start, until

pytestmark = pytest.mark.slow("harness/training", "harness/models/classes", "harness/commands/train.py")


def test_killed_and_started_again(tmp_path):
    """SIGKILL after the third checkpoint, with dropout; the same command ends bit for bit as undisturbed."""
    command = [*HARNESS, "train", *words("dropout", "--set", "schedule.steps=60"), "--output"]
    process = start(tmp_path, *command, "killed")
    folder = tmp_path / "killed" / "checkpoints"
    until((folder / "checkpoint-9" / "trainer_state.json").exists, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    again = run(tmp_path, *command, "killed")
    assert again.returncode == 0, again.stderr
    assert run(tmp_path, *command, "undisturbed").returncode == 0
    assert contents(tmp_path / "killed") == contents(tmp_path / "undisturbed")


@pytest.mark.parametrize("name", ["sharpness", "generative"])
def test_two_processes(name, tmp_path):
    """The same batches, and the mean over all labels, whichever process has them."""
    for folder, more in (("one", ()), ("two", ("--num-processes", "2", "--gradient-accumulation", "2"))):
        result = run(tmp_path, *HARNESS, "train", *words(name), *more, "--output", folder)
        assert result.returncode == 0, result.stderr
        assert result.stdout.count("loss ") == 1
    assert_close(tmp_path / "two", tmp_path / "one")


def test_error_of_two_processes(tmp_path):
    result = run(tmp_path, *HARNESS, "train", *words("alibi"), "--num-processes", "2", "--gradient-accumulation", "4", "--output", "x")  # fmt: skip  # noqa: E501
    assert result.returncode == 2
    assert [line for line in result.stderr.splitlines() if "cannot be divided" in line] == [
        line for line in result.stderr.splitlines() if not line.endswith(" ...")
    ]
    assert result.stderr.count("cannot be divided into 8 parts") == 1


@pytest.mark.parametrize("flag", ["--bf16", "--compile"])
def test_hardware_options(flag, tmp_path):
    for folder, more in (("plain", []), ("fast", [flag])):
        result = run(tmp_path, *HARNESS, "train", *words("alibi"), *more, "--output", folder)
        assert result.returncode == 0, result.stderr
    assert losses(tmp_path / "fast") == pytest.approx(losses(tmp_path / "plain"), rel=0.05)
    assert (losses(tmp_path / "fast") != losses(tmp_path / "plain")) or flag == "--compile"
    assert f" {flag} " in (tmp_path / "fast" / "README.md").read_text()


# Starts a command as a terminal does; a shell makes its background jobs, and their processes, ignore Ctrl-C.
FROM_A_TERMINAL = [
    sys.executable,
    "-c",
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])",
]


def test_interrupted_by_the_terminal(tmp_path):
    process = start(
        tmp_path, *FROM_A_TERMINAL, *HARNESS, "train", *words("alibi", "--set", "schedule.steps=5000"), "--output", "x"
    )
    until(lambda: any((tmp_path / "x" / "checkpoints").glob("checkpoint-*")), process)
    os.killpg(process.pid, signal.SIGINT)
    result = end(process)
    assert result.returncode == 130
    assert result.stderr.splitlines()[-1] == "harness: interrupted; the same command resumes this run"
