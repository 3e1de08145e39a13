"""Distributed evaluation: the rank of this process, starting processes, and communication between them.

Ranks synchronize before the first batch and after the last one. In between they share counters on rank 0 (the next work
item, what is done), for which no rank waits. Launching and communication are in one file, because both depend on the
same environment variables of the launchers.
"""

import os
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil

from fflm_data.terminal import echo
from harness.engine import threads
from harness.errors import LostProcess, UserError

# Before the merge, ranks wait for the slowest, which may take as long as the whole run.
TIMEOUT = timedelta(days=14)
CONNECT_TIMEOUT = timedelta(minutes=10)
LAUNCHER = "FFLM_LAUNCHER"
# torchrun sets it for every process that it starts.
TORCHRUN = "TORCHELASTIC_RUN_ID"
# In errors of torch and gloo: source locations, callers, and the kind of error.
_SOURCE = re.compile(r"\[[^\[\]]*\.(cc|cpp|cu|h|hpp):\d+\]\s*|\s*\(at [^()]*\.(cc|cpp|cu|h|hpp):\d+\)")
_CALLERS = re.compile(r"\s*Exception raised from |\s*This is typically caused by |\s*frame #0")
_TIMEOUT_ERROR = re.compile(r"timed? ?out|timeout", re.IGNORECASE)
_CONNECTION = re.compile(
    r"connection|broken pipe|reset by peer|closed by|end of file|\brecv\b|\bsend\b|socket", re.IGNORECASE
)
MAX_MESSAGE = 160


class World:
    """The processes of a run, as seen by this one. Needs torch and accelerate.

    rank, size: index of this process and number of processes. machines: number of machines. device: device of this
    process. sharing: number of processes of the machine on this GPU, 1 on a CPU.

    Raises UserError if the processes cannot connect.
    """

    def __init__(self) -> None:
        import torch
        from accelerate import PartialState

        try:
            _slurm_variables()
            size = int(os.environ.get("WORLD_SIZE", "1"))
            if size > 1:
                _share_cores()
            # Without a GPU accelerate starts a process group only if cpu is set.
            cpu = size > 1 and not torch.cuda.is_available() and not torch.xpu.is_available()
            options: dict[str, Any] = {} if size == 1 else {"timeout": CONNECT_TIMEOUT}
            # NCCL does not support two processes on one GPU. Slurm shows each task only its own GPU.
            here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
            shared = processes_per_device(here, devices()) > 1 and "SLURM_PROCID" not in os.environ
            options |= {"backend": "gloo"} if shared else {}
            self._owns_group = size > 1 and not torch.distributed.is_initialized()
            self._state = PartialState(cpu=cpu, **options)
        except (ValueError, RuntimeError) as error:
            raise UserError(
                f"the processes of the run cannot connect ({_plain(error)}). Start them with --num-processes, torchrun "
                "or srun, and set MASTER_PORT to a free port if it is in use."
            ) from None
        self.rank: int = self._state.process_index
        self.size: int = self._state.num_processes
        if self.size != size:
            raise UserError(f"{size} processes were started and cannot connect. Use --num-processes {size}.")
        self.machines = int(os.environ.get("GROUP_WORLD_SIZE", "1"))
        self.device: Any = self._state.device
        self._store: Any = None
        self._group: Any = None
        if size > 1:
            import torch.distributed as dist

            # gloo notices when a process ends, since its connection closes; NCCL does not.
            self._group = dist.new_group(backend="gloo", timeout=TIMEOUT)
        self.sharing = self._count_sharing()

    def _count_sharing(self) -> int:
        """Number of processes on the GPU of this process."""
        if self.size == 1 or self.device.type != "cuda":
            return 1
        import torch
        import torch.distributed as dist

        mine = (socket.gethostname(), str(torch.cuda.get_device_properties(self.device).uuid))
        all_devices: list[Any] = [None] * self.size
        dist.all_gather_object(all_devices, mine, group=self._group)
        return all_devices.count(mine)

    @property
    def is_first(self) -> bool:
        """Rank 0: it opens the run, shows progress, merges and scores."""
        return self.rank == 0

    @property
    def is_first_here(self) -> bool:
        """The process of this machine that accesses the Hub."""
        return bool(self._state.is_local_main_process)

    @property
    def _other_process(self) -> str:
        """The name of a lost process; with more than two, it is not known which."""
        return f"process {1 - self.rank}" if self.size == 2 else "another process"

    @contextmanager
    def first_here_goes_first(self) -> Iterator[None]:
        """Runs the body on one process of each machine, then on its others, which end if the first one fails."""
        if not self.is_first_here:
            self.wait_for_all()
        yield
        if self.is_first_here:
            self.wait_for_all()

    def broadcast(self, value: Any) -> Any:
        """Returns the value of rank 0 on every rank. All ranks must call it."""
        if self.size == 1:
            return value
        import torch
        import torch.distributed as dist

        holder = [value]
        with _lost_process_errors(self._other_process):
            dist.broadcast_object_list(holder, src=0, group=self._group, device=torch.device("cpu"))
        return holder[0]

    def wait_for_all(self) -> None:
        """Returns when every rank has called it. Raises LostProcess if one has ended."""
        if self.size > 1:
            import torch.distributed as dist

            with _lost_process_errors(self._other_process):
                dist.barrier(group=self._group)

    def open_counters(self) -> None:
        """Creates the counters of `add`. All ranks must call it."""
        if self.size == 1:
            self._store = _LocalCounters()
            return
        import torch.distributed as dist

        host, port = os.environ.get("MASTER_ADDR", "127.0.0.1"), 0
        if self.is_first:
            self._store = dist.TCPStore(host, 0, is_master=True, wait_for_workers=False, timeout=TIMEOUT)
            port = self._store.port
        port = self.broadcast(port)
        if not self.is_first:
            self._store = dist.TCPStore(host, port, is_master=False, timeout=TIMEOUT)

    def add(self, counter: str, amount: int) -> int:
        """Adds to a counter that all ranks share; returns the new value."""
        with _lost_process_errors(self._other_process if self.is_first else "process 0"):  # process 0 has the counters
            return int(self._store.add(counter, amount))

    def leave(self) -> None:
        """Leaves the process group: a process that ends while in a group may be aborted."""
        if self._owns_group:
            import torch.distributed as dist
            from accelerate import PartialState

            dist.destroy_process_group()
            PartialState._reset_state()  # allows another World in this process
            self._owns_group = False


class _LocalCounters:
    """The counters of a single process."""

    def __init__(self) -> None:
        self._counters: dict[str, int] = {}

    def add(self, counter: str, amount: int) -> int:
        if amount:  # a thread that only reads must not write back an old value
            self._counters[counter] = self._counters.get(counter, 0) + amount
        return self._counters.get(counter, 0)


@contextmanager
def _lost_process_errors(who: str) -> Iterator[None]:
    """Turns torch's errors about a lost rank into one line."""
    try:
        yield
    except RuntimeError as error:
        raise LostProcess(f"{_describe_loss(error, who)}. Run the same command to resume.") from None


def _describe_loss(error: RuntimeError, who: str) -> str:
    """What happened to another process, from an error of torch or gloo."""
    message = _plain(error)
    if _TIMEOUT_ERROR.search(message):
        return f"{who} of this run does not respond"
    if _CONNECTION.search(message):
        return f"{who} of this run has ended"
    return f"{who} of this run cannot be reached ({message})"


def _plain(error: Exception) -> str:
    """The start of an error message, without source locations and callers."""
    message = _CALLERS.split(" ".join(_SOURCE.sub("", str(error)).split()))[0].strip()
    if len(message) <= MAX_MESSAGE:
        return message
    return message[:MAX_MESSAGE].rpartition(" ")[0].rstrip(" ,.:;") + " ..."


def devices() -> int:
    """Number of GPUs that this process sees."""
    import torch

    return int(max(torch.cuda.device_count(), torch.xpu.device_count() if torch.xpu.is_available() else 0))


def processes_per_device(processes: int, devices: int) -> int:
    """Maximum number of processes per GPU of a machine; 1 without GPUs."""
    return max(1, -(-processes // devices)) if devices else 1


def _share_cores() -> None:
    """Divides the cores among the processes of a machine, unless the user or srun has done so."""
    import torch

    divided = "SLURM_PROCID" in os.environ
    if count := threads.divide(1 if divided else int(os.environ.get("LOCAL_WORLD_SIZE", "1"))):
        torch.set_num_threads(count)


def _slurm_variables() -> None:
    """Sets torch's environment variables from those of srun: rank, size, local rank, address of rank 0."""
    environment = os.environ
    # Of the step, not of the job: a batch script without srun is one process, whatever the allocation.
    tasks = int(environment.get("SLURM_STEP_NUM_TASKS", "1"))
    if "WORLD_SIZE" in environment or tasks == 1 or "SLURM_PROCID" not in environment:
        return
    machines = int(environment.get("SLURM_STEP_NUM_NODES", "1"))
    here = re.match(r"\d+", environment.get("SLURM_STEP_TASKS_PER_NODE", ""))
    environment.setdefault("MASTER_ADDR", first_host(environment.get("SLURM_STEP_NODELIST", "127.0.0.1")))
    # Steps of one job may run at the same time on a machine.
    step = 100 * int(environment.get("SLURM_JOB_ID", "0")) + int(environment.get("SLURM_STEP_ID", "0"))
    environment.setdefault("MASTER_PORT", str(20_000 + step % 10_000))
    environment.update(
        WORLD_SIZE=str(tasks),
        RANK=environment["SLURM_PROCID"],
        LOCAL_RANK=environment.get("SLURM_LOCALID", "0"),
        GROUP_WORLD_SIZE=str(machines),
        LOCAL_WORLD_SIZE=here.group() if here else str(tasks // machines),
    )


def first_host(nodes: str) -> str:
    """The first host of a Slurm node list: `gpu003` of `gpu[003-007,9],cpu1`."""
    match = re.match(r"([^,\[]+)(?:\[([^\],-]+)[^\]]*\]([^,]*))?", nodes)
    return "".join(part or "" for part in match.groups()) if match else nodes


def is_first() -> bool:
    """Whether this process will be rank 0 of `World`; works before torch is imported."""
    of_step = int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1
    return os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0") if of_step else "0") == "0"


def launched_by_other() -> bool:
    """Whether accelerate, torchrun or Slurm started this process as one of several."""
    return {"RANK", "WORLD_SIZE"} <= set(os.environ) or int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1


def launch(processes: int, arguments: Sequence[str]) -> int:
    """Runs `harness ARGUMENTS` in several processes of this machine with torch's launcher. Returns the exit status.

    If a process fails, the others are terminated and its status is returned.
    """
    import logging

    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    gpus = devices()
    if processes_per_device(processes, gpus) > 1:
        echo(f"{processes} processes share {gpus} GPU{'s' if gpus > 1 else ''}, each with a copy of the model")
    threads.divide(processes)
    os.environ[LAUNCHER] = str(os.getpid())
    logging.disable()  # torch would log a page about an error that is reported in one line
    options = ["--standalone", "--local-addr", "127.0.0.1", "--nproc-per-node", str(processes), "-m", "harness"]
    try:
        run.run(run.parse_args([*options, *arguments]))
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode < 0:
            echo(
                f"harness: process {rank} was ended by signal {-failure.exitcode}. Run the same command to resume.",
                file=sys.stderr,
            )
        return 2 if failure.exitcode < 0 else failure.exitcode
    except SignalException as signal:
        return 128 + int(signal.sigval)
    finally:
        del os.environ[LAUNCHER]
        logging.disable(logging.NOTSET)
    return 0


def end_with_launcher() -> None:
    """Ends this process when its launcher dies. A killed launcher cannot end its processes, which would hold the run.

    For our launcher, torchrun and accelerate. Slurm ends its tasks itself, and background jobs of a shell may outlive
    it.
    """
    if LAUNCHER not in os.environ and TORCHRUN not in os.environ:
        return
    launcher = _launcher()
    if launcher is None:  # killed before this process started
        os._exit(1)

    def watch() -> None:
        while _alive(launcher):
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _launcher() -> psutil.Process | None:
    """The launcher of this process, if it is alive.

    torchrun and accelerate do not pass their process id. They run in Python, and a process whose launcher has died is
    adopted by the system. There may be a shell between launcher and process (`--no-python script.sh`).
    """
    try:
        if LAUNCHER in os.environ:
            return psutil.Process(int(os.environ[LAUNCHER]))
        for parent in psutil.Process().parents():
            program = _program(parent)
            if not program:  # it is ending, and its own parent started the launcher
                return None
            if "python" in program:
                return parent
    except psutil.NoSuchProcess:
        pass
    return None


def _program(process: psutil.Process) -> str:
    """The name of a process's executable; "" if the process is ending."""
    try:
        return Path(process.exe()).name.lower()
    except psutil.AccessDenied:  # of another user, which a launcher is not
        return "unknown"


def _alive(process: psutil.Process) -> bool:
    """Whether a process runs. An ended process stays in the process list until its exit status is read."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
