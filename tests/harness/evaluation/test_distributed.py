"""Distributed evaluation equals a single process: real processes, real launchers, two simulated machines."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.cli import main
from harness.errors import LostProcess
from harness.evaluation.distributed import _lost_process_errors, first_host, processes_per_device
from tests.conftest import Run, refused
from tests.hub import Hub
from tests.support import models, running

ACCELERATE = [sys.executable, "-m", "accelerate.commands.launch"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.save_tiny(tmp_path_factory.mktemp("models") / "tiny", models.gpt2_like(), 13_000, kind="llama")


@pytest.fixture(scope="module")
def options(tiny: Path) -> list[object]:
    return ["--model", tiny, "--task", "flipflop", "--task", "letters", "--set", "flipflop.length=64", "--limit", "70"]


@pytest.fixture(scope="module")
def undisturbed(options: list[object], tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert main(["eval", *map(str, options), "--output", str(folder / "runs")]) == 0
    assert running.starts(folder) == [{"processes": 1, "machines": 1}]
    return running.result(folder)


@pytest.mark.parametrize("batch_size", [1, 64])
def test_batch_size_does_not_change_result(
    cli: Run, tmp_path: Path, options: list[object], undisturbed: bytes, batch_size: int
) -> None:
    done = cli("harness", "eval", *options, "--batch-size", batch_size)
    assert done.returncode == 0, done.stderr
    assert running.result(tmp_path) == undisturbed


@pytest.mark.parametrize(("processes", "batch_size"), [(2, 64), pytest.param(3, 1, marks=pytest.mark.slow())])
def test_processes_do_not_change_result(
    tmp_path: Path, options: list[object], undisturbed: bytes, processes: int, batch_size: int
) -> None:
    done = running.evaluate(tmp_path, *options, "--num-processes", processes, "--batch-size", batch_size)
    assert done.returncode == 0, done.stderr
    assert running.result(tmp_path) == undisturbed
    assert running.starts(tmp_path) == [{"processes": processes, "machines": 1}]
    assert done.stdout.count("result.json") == 1  # rank 0 alone speaks


@pytest.mark.slow("harness/engine", "harness/evaluation", "harness/runs", "harness/planning")
@pytest.mark.parametrize(
    "launcher",
    [
        [*running.TORCHRUN, "--nproc-per-node", "2"],
        # On processors accelerate wants MPI to start several; its launcher for GPUs is the one that users mean.
        [*ACCELERATE, "--multi_gpu", "--num_processes", "2", "--mixed_precision", "no", "--dynamo_backend", "no"],
    ],
    ids=["torchrun", "accelerate"],
)
def test_other_launchers(tmp_path: Path, options: list[object], undisturbed: bytes, launcher: list[str]) -> None:
    done = running.run(tmp_path, *launcher, "-m", "harness", "eval", *options)
    assert done.returncode == 0, done.stderr
    assert running.result(tmp_path) == undisturbed
    assert running.starts(tmp_path) == [{"processes": 2, "machines": 1}]


@pytest.mark.slow("harness/engine", "harness/evaluation", "harness/runs", "harness/planning")
def test_slurm(tmp_path: Path, options: list[object], undisturbed: bytes) -> None:
    """The environment of srun for the tasks of a step on two nodes."""
    step = {
        "SLURM_JOB_ID": str(running.free_port() % 10_000), "SLURM_NTASKS": "2", "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_NUM_NODES": "2", "SLURM_STEP_TASKS_PER_NODE": "1(x2)", "SLURM_STEP_NODELIST": "127.0.0.[1-2]",
    }  # fmt: skip
    tasks = [
        running.start(
            tmp_path, *running.HARNESS, "eval", *options, **step, SLURM_PROCID=str(rank), SLURM_LOCALID="0",
        )
        for rank in range(2)
    ]  # fmt: skip
    for task in map(running.end, tasks):
        assert task.returncode == 0, task.stderr
    assert running.result(tmp_path) == undisturbed
    assert running.starts(tmp_path) == [{"processes": 2, "machines": 2}]


@pytest.mark.slow("harness/engine", "harness/evaluation", "harness/runs", "harness/planning")
def test_a_batch_script_without_srun_is_one_process(cli: Run, tmp_path: Path) -> None:
    done = cli(
        "harness", "eval", "--task", "flipflop", "--limit", "2", SLURM_JOB_ID="7", SLURM_NTASKS="8", SLURM_PROCID="0"
    )
    assert done.returncode == 0, done.stderr
    assert running.starts(tmp_path) == [{"processes": 1, "machines": 1}]


@pytest.mark.parametrize(
    ("nodes", "first"),
    [("gpu[003-007,9],cpu1", "gpu003"), ("a1,a2", "a1"), ("n[7,9]-ib", "n7-ib"), ("host.example", "host.example")],
)
def test_first_host(nodes: str, first: str) -> None:
    assert first_host(nodes) == first


@pytest.mark.parametrize(
    ("processes", "gpus", "sharing"), [(1, 0, 1), (8, 0, 1), (1, 1, 1), (2, 1, 2), (8, 8, 1), (3, 8, 1), (5, 2, 3)]
)
def test_processes_per_device(processes: int, gpus: int, sharing: int) -> None:
    assert processes_per_device(processes, gpus) == sharing


PAIR = "[/__w/pytorch/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:553]"
TYPICAL = "Check the logs of the remote worker before reporting an error. GLHF! \U0001f3d6\ufe0f"


@pytest.mark.parametrize(
    ("error_text", "wanted"),
    [
        (
            f"{PAIR} Connection closed by peer [127.0.0.1]:52122. This is typically caused by a remote worker "
            f"crashing. {TYPICAL}",
            "process 3 of this run has ended",
        ),
        (f"{PAIR} Read error [10.0.0.7]:17825: Connection reset by peer. {TYPICAL}", "process 3 of this run has ended"),
        (f"{PAIR} Write error [10.0.0.7]:1: Broken pipe", "process 3 of this run has ended"),
        ("Connection reset by peer", "process 3 of this run has ended"),
        ("failed to recv, got 0 bytes. Connection was likely closed.", "process 3 of this run has ended"),
        (
            "[../third_party/gloo/gloo/transport/tcp/unbound_buffer.cc:78] Timed out waiting 6000ms for recv operation",
            "process 3 of this run does not respond",
        ),
        ("Socket Timeout", "process 3 of this run does not respond"),
        (
            "[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory",
            "process 3 of this run cannot be reached (. DefaultCPUAllocator: can't allocate memory)",
        ),
        (
            "no such group Exception raised from get at ../torch/csrc/distributed/c10d/Store.cpp:9 (most recent call "
            "first): frame #0: c10::Error::Error(...)",
            "process 3 of this run cannot be reached (no such group)",
        ),
        ("word " * 60, "process 3 of this run cannot be reached (" + " ".join(["word"] * 32) + " ...)"),
    ],
)
def test_lost_process_error_message(error_text: str, wanted: str) -> None:
    with pytest.raises(LostProcess) as lost, _lost_process_errors("process 3"):
        raise RuntimeError(error_text)
    assert str(lost.value) == f"{wanted}. Run the same command to resume."


@pytest.fixture
def hub(tmp_path: Path, tiny: Path) -> Iterator[Hub]:
    with Hub(tmp_path / "hub") as serving:
        serving.add_repository("model", "org/tiny", tiny)
        yield serving


def online(hub: Hub, home: Path) -> dict[str, str]:
    return hub.environment(home=home) | {"HF_HUB_OFFLINE": "0"}


@pytest.mark.slow("harness/engine", "harness/evaluation", "harness/runs", "harness/planning")
def test_two_machines_download_once_each(tmp_path: Path, hub: Hub, options: list[object]) -> None:
    """Two processes on each of two machines that share only the output folder."""
    port = running.free_port()
    machines = [
        running.start(
            tmp_path, *running.TORCHRUN, "--nnodes", 2, "--node-rank", rank, "--nproc-per-node", 2, "--master-addr",
            "127.0.0.1", "--master-port", port, "--local-addr", f"127.0.0.{rank + 1}", "-m", "harness", "eval",
            "--model", "org/tiny", *options[2:],
            **online(hub, tmp_path / f"home{rank}"),
        )
        for rank in range(2)
    ]  # fmt: skip
    for machine in map(running.end, machines):
        assert machine.returncode == 0, machine.stderr
    assert running.starts(tmp_path) == [{"processes": 4, "machines": 2}]
    fetched = [path for method, path, status in hub.requests if method == "GET" and path.endswith("/model.safetensors")]
    assert len(fetched) == 2, hub.requests
    alone = running.evaluate(
        tmp_path, "--model", "org/tiny", *options[2:], "--output", "alone",
        **online(hub, tmp_path / "home2"),
    )  # fmt: skip
    assert alone.returncode == 0, alone.stderr
    (expected,) = tmp_path.glob("alone/*/*/result.json")
    assert running.result(tmp_path) == expected.read_bytes()


@pytest.mark.slow("harness/engine", "harness/evaluation", "harness/runs", "harness/planning")
def test_other_processes_do_not_access_hub(tmp_path: Path, hub: Hub, options: list[object]) -> None:
    requests: list[list[str]] = []
    for processes in (1, 2):
        before = len(hub.requests)
        done = running.evaluate(
            tmp_path, "--model", "org/tiny", *options[2:], "--num-processes", processes, "--output", f"out{processes}",
            **online(hub, tmp_path / f"home{processes}"),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        requests.append(sorted(map(str, hub.requests[before:])))
    assert requests[0] == requests[1]


@pytest.mark.slow("harness/engine", "harness/evaluation", "harness/runs", "harness/planning")
def test_one_model_over_two_processes(tmp_path: Path, options: list[object], undisturbed: bytes) -> None:
    done = running.evaluate(tmp_path, *options, "--num-processes", 2, "--tensor-parallel")
    assert done.returncode == 0, done.stderr
    ours, theirs = json.loads(running.result(tmp_path)), json.loads(undisturbed)
    assert ours["scores"] == theirs["scores"] and ours["model"] == theirs["model"]
    assert running.starts(tmp_path) == [{"processes": 2, "machines": 1}]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--num-processes", "2", "--task", "nothing"], "there is no task 'nothing'"),
        (["--num-processes", "2", "--model", "./nowhere"], "'./nowhere' cannot be loaded"),
        (["--num-processes", "2", "--device-map", "auto"], "Remove --num-processes"),
    ],
)
@pytest.mark.slow("harness/engine", "harness/evaluation")
def test_refusals_of_processes_are_one_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    assert message in refused(running.evaluate(tmp_path, *arguments))
    assert not list(tmp_path.glob("runs/*/*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tensor-parallel"], "Add --num-processes"),
        (["--num-processes", "2", "--strict", "--dtype", "int3"], "there is no dtype 'int3'"),
        (["--num-processes", "0"], "'0' is not an integer of at least 1"),
    ],
)
def test_refusals_are_one_line(cli: Run, tmp_path: Path, arguments: list[str], message: str) -> None:
    assert message in refused(cli("harness", "eval", *arguments))
    assert not list(tmp_path.glob("runs/*/*"))


@pytest.mark.slow("harness/engine", "harness/evaluation", "harness/runs", "harness/planning")
@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"WORLD_SIZE": "x", "RANK": "0"}, "cannot connect"),
        ({"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}, "cannot connect"),
        (
            {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"},
            "differs from the 1 processes of the launcher",
        ),
    ],
)
def test_incomplete_environment_is_one_line(tmp_path: Path, environment: dict[str, str], message: str) -> None:
    if environment["WORLD_SIZE"] == "1":
        environment = environment | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(running.free_port())}
    done = running.evaluate(tmp_path, "--limit", 2, "--num-processes", 3, **environment)
    assert done.returncode == 2
    assert message in done.stderr.strip().splitlines()[-1] and "Traceback" not in done.stderr
