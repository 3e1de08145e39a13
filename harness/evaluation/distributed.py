"""Many processes: which of them this one is, how they are started, and the few things they tell each other.

Ranks meet before the first batch and after the last one. In between they share two counters on rank 0
(what is to be taken next, what is done), which no rank waits for. Starting processes and meeting are in one file,
because both depend on the same environment variables of the launchers.
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

from fflm_data.terminal import say
from harness.engine import threads
from harness.errors import LostProcess, UserError

# Ranks wait for the slowest before the merge, and that may take as long as the whole run; to meet, minutes do.
PATIENCE = timedelta(days=14)
MEETING = timedelta(minutes=10)
LAUNCHER = "FFLM_LAUNCHER"
# What torchrun tells every process that it starts.
TORCHRUN = "TORCHELASTIC_RUN_ID"
# In errors of torch and gloo: where they were raised, by whom that was called, and what they are about.
_SOURCE = re.compile(r"\[[^\[\]]*\.(cc|cpp|cu|h|hpp):\d+\]\s*|\s*\(at [^()]*\.(cc|cpp|cu|h|hpp):\d+\)")
_CALLERS = re.compile(r"\s*Exception raised from |\s*This is typically caused by |\s*frame #0")
_TIMEOUT = re.compile(r"timed? ?out|timeout", re.IGNORECASE)
_CONNECTION = re.compile(
    r"connection|broken pipe|reset by peer|closed by|end of file|\brecv\b|\bsend\b|socket", re.IGNORECASE
)
MOST_SAID = 160


class World:
    """This process among those of the run; alone if there are no others. Needs torch and accelerate.

    rank, size: this process and how many there are. machines: on how many machines. device: where this process
    computes. sharing: how many processes of the machine compute on that GPU, 1 on a CPU.

    Raises UserError if the others cannot be met.
    """

    def __init__(self) -> None:
        import torch
        from accelerate import PartialState

        try:
            _slurm_variables()
            size = int(os.environ.get("WORLD_SIZE", "1"))
            if size > 1:
                _share_cores()
            # accelerate starts no process group without a GPU unless it is told that the processors are meant.
            cpu = size > 1 and not torch.cuda.is_available() and not torch.xpu.is_available()
            options: dict[str, Any] = {} if size == 1 else {"timeout": MEETING}
            # NCCL refuses two processes on one GPU. Slurm shows each of its tasks its own.
            here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
            shared = processes_per_device(here, devices()) > 1 and "SLURM_PROCID" not in os.environ
            options |= {"backend": "gloo"} if shared else {}
            self._owns_group = size > 1 and not torch.distributed.is_initialized()
            self._state = PartialState(cpu=cpu, **options)
        except (ValueError, RuntimeError) as error:
            raise UserError(
                f"the processes of the run do not find each other ({_plain(error)}): start them with --num-processes, "
                "torchrun or srun, and set MASTER_PORT to a free port if that one is taken"
            ) from None
        self.rank: int = self._state.process_index
        self.size: int = self._state.num_processes
        if self.size != size:
            raise UserError(f"{size} processes were started and do not find each other: use --num-processes {size}")
        self.machines = int(os.environ.get("GROUP_WORLD_SIZE", "1"))
        self.device: Any = self._state.device
        self._store: Any = None
        self._group: Any = None
        if size > 1:
            import torch.distributed as dist

            # What GPUs exchange tells nobody when a process is gone; gloo sees the connection close.
            self._group = dist.new_group(backend="gloo", timeout=PATIENCE)
        self.sharing = self._count_sharing()

    def _count_sharing(self) -> int:
        """How many processes compute on this one's GPU."""
        if self.size == 1 or self.device.type != "cuda":
            return 1
        import torch
        import torch.distributed as dist

        mine = (socket.gethostname(), str(torch.cuda.get_device_properties(self.device).uuid))
        all_of_them: list[Any] = [None] * self.size
        dist.all_gather_object(all_of_them, mine, group=self._group)
        return all_of_them.count(mine)

    @property
    def is_first(self) -> bool:
        """Rank 0: it opens the run, shows progress, merges and scores."""
        return self.rank == 0

    @property
    def is_first_here(self) -> bool:
        """The one process of this machine that talks to the Hub."""
        return bool(self._state.is_local_main_process)

    @property
    def _another(self) -> str:
        """Which process is lost if one is: of more than two nobody says which."""
        return f"process {1 - self.rank}" if self.size == 2 else "another process"

    @contextmanager
    def first_here_goes_first(self) -> Iterator[None]:
        """The body runs on one process of each machine, then on its others; if it fails there, these end."""
        if not self.is_first_here:
            self.wait_for_all()
        yield
        if self.is_first_here:
            self.wait_for_all()

    def broadcast(self, value: Any) -> Any:
        """What rank 0 says, on every rank. All ranks must call it."""
        if self.size == 1:
            return value
        import torch
        import torch.distributed as dist

        holder = [value]
        with _losing_nobody(self._another):
            dist.broadcast_object_list(holder, src=0, group=self._group, device=torch.device("cpu"))
        return holder[0]

    def wait_for_all(self) -> None:
        """Returns when every rank has called it. Raises UserError if one has ended instead."""
        if self.size > 1:
            import torch.distributed as dist

            with _losing_nobody(self._another):
                dist.barrier(group=self._group)

    def open_counters(self) -> None:
        """Makes `add` work between ranks. All ranks must call it."""
        if self.size == 1:
            self._store = _Alone()
            return
        import torch.distributed as dist

        host, port = os.environ.get("MASTER_ADDR", "127.0.0.1"), 0
        if self.is_first:
            self._store = dist.TCPStore(host, 0, is_master=True, wait_for_workers=False, timeout=PATIENCE)
            port = self._store.port
        port = self.broadcast(port)
        if not self.is_first:
            self._store = dist.TCPStore(host, port, is_master=False, timeout=PATIENCE)

    def add(self, counter: str, amount: int) -> int:
        """Adds to a counter that all ranks share; returns the new value."""
        with _losing_nobody(self._another if self.is_first else "process 0"):  # which keeps them
            return int(self._store.add(counter, amount))

    def leave(self) -> None:
        """Leaves the others: a process that ends as one of a group may be aborted on its way out."""
        if self._owns_group:
            import torch.distributed as dist
            from accelerate import PartialState

            dist.destroy_process_group()
            PartialState._reset_state()  # so that another World can be made in this process
            self._owns_group = False


class _Alone:
    """The counters of a process without others."""

    def __init__(self) -> None:
        self._counters: dict[str, int] = {}

    def add(self, counter: str, amount: int) -> int:
        if amount:  # a thread that only looks must not write back what it saw
            self._counters[counter] = self._counters.get(counter, 0) + amount
        return self._counters.get(counter, 0)


@contextmanager
def _losing_nobody(who: str) -> Iterator[None]:
    """What torch raises when another rank is gone, in one line."""
    try:
        yield
    except RuntimeError as error:
        raise LostProcess(f"{_loss(error, who)}: what is done is kept, the same command goes on") from None


def _loss(error: RuntimeError, who: str) -> str:
    """What has become of another process, by what torch and gloo raise over it: pages for their own developers."""
    said = _plain(error)
    if _TIMEOUT.search(said):
        return f"{who} of this run does not answer"
    if _CONNECTION.search(said):
        return f"{who} of this run has ended"
    return f"{who} of this run cannot be reached ({said})"


def _plain(error: Exception) -> str:
    """The first sentences that an error says, without places in the source of a library and what called it."""
    said = _CALLERS.split(" ".join(_SOURCE.sub("", str(error)).split()))[0].strip()
    if len(said) <= MOST_SAID:
        return said
    return said[:MOST_SAID].rpartition(" ")[0].rstrip(" ,.:;") + " ..."


def devices() -> int:
    """How many GPUs this process sees that several processes can be dealt to."""
    import torch

    return int(max(torch.cuda.device_count(), torch.xpu.device_count() if torch.xpu.is_available() else 0))


def processes_per_device(processes: int, devices: int) -> int:
    """The most processes of a machine that compute on one of its GPUs; 1 where there are none."""
    return max(1, -(-processes // devices)) if devices else 1


def _share_cores() -> None:
    """Each process of a machine takes its part of the cores, unless told otherwise; srun has dealt them out already."""
    import torch

    dealt = "SLURM_PROCID" in os.environ
    if count := threads.divide(1 if dealt else int(os.environ.get("LOCAL_WORLD_SIZE", "1"))):
        torch.set_num_threads(count)


def _slurm_variables() -> None:
    """Says in torch's words what srun says in its own: rank, size, place on the machine, where rank 0 is."""
    environment = os.environ
    # Of the step, not of the job: a batch script that runs without srun is one process, whatever was allocated.
    tasks = int(environment.get("SLURM_STEP_NUM_TASKS", "1"))
    if "WORLD_SIZE" in environment or tasks == 1 or "SLURM_PROCID" not in environment:
        return
    machines = int(environment.get("SLURM_STEP_NUM_NODES", "1"))
    here = re.match(r"\d+", environment.get("SLURM_STEP_TASKS_PER_NODE", ""))
    environment.setdefault("MASTER_ADDR", first_host(environment.get("SLURM_STEP_NODELIST", "127.0.0.1")))
    # Steps of one job may run side by side on a machine.
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
    """The first name of a Slurm node list: `gpu[003-007,9],cpu1` begins with `gpu003`."""
    match = re.match(r"([^,\[]+)(?:\[([^\],-]+)[^\]]*\]([^,]*))?", nodes)
    return "".join(part or "" for part in match.groups()) if match else nodes


def is_first() -> bool:
    """Whether this process will be rank 0: what `World` says, known before torch is imported."""
    of_step = int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1
    return os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0") if of_step else "0") == "0"


def launched_by_other() -> bool:
    """Whether accelerate, torchrun or Slurm started this process as one of several."""
    return {"RANK", "WORLD_SIZE"} <= set(os.environ) or int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1


def launch(processes: int, arguments: Sequence[str]) -> int:
    """Runs `harness ARGUMENTS` in that many processes of this machine through torch's launcher; its exit status.

    If one process fails the others are ended, and its status is the answer.
    """
    import logging

    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    gpus = devices()
    if processes_per_device(processes, gpus) > 1:
        say(f"{processes} processes share {gpus} GPU{'s' if gpus > 1 else ''}, a copy of the model each")
    threads.divide(processes)
    os.environ[LAUNCHER] = str(os.getpid())
    logging.disable()  # a page about what one line of ours has said
    options = ["--standalone", "--local-addr", "127.0.0.1", "--nproc-per-node", str(processes), "-m", "harness"]
    try:
        run.run(run.parse_args([*options, *arguments]))
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode < 0:
            say(
                f"harness: process {rank} was ended by signal {-failure.exitcode}: what is done is kept, the same "
                "command goes on",
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
    """A launcher that is killed cannot end its processes, and they would go on and hold the run: they look for it.

    Ours, torchrun, and accelerate, which starts as torchrun does. Slurm ends its tasks itself; and what a shell has
    started in the background may outlive it.
    """
    if LAUNCHER not in os.environ and TORCHRUN not in os.environ:
        return
    launcher = _launcher()
    if launcher is None:  # killed before this process could look
        os._exit(1)

    def watch() -> None:
        while _alive(launcher):
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _launcher() -> psutil.Process | None:
    """The process that has started this one as one of several, if it is alive.

    torchrun and accelerate do not say who they are. They run in Python, and a process whose launcher has died belongs
    to the system; between them and this process there may be a shell (`--no-python script.sh`).
    """
    try:
        if LAUNCHER in os.environ:
            return psutil.Process(int(os.environ[LAUNCHER]))
        for above in psutil.Process().parents():
            program = _program(above)
            if not program:  # on its way out, and what is above it has started the launcher
                return None
            if "python" in program:
                return above
    except psutil.NoSuchProcess:
        pass
    return None


def _program(process: psutil.Process) -> str:
    """The file that a process runs; none if it ends just now."""
    try:
        return Path(process.exe()).name.lower()
    except psutil.AccessDenied:  # of another user, as a launcher is not
        return "unknown"


def _alive(process: psutil.Process) -> bool:
    """Whether a process still runs: one that has ended stays in the list until it is asked for its exit status."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
