"""Progress output: first line, a bar that also moves within batches, and few lines without a terminal."""

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fflm_data import get_config
from harness.engine.engine import Engine
from harness.evaluation import progress_bar
from harness.evaluation.distributed import World, is_first
from harness.evaluation.progress_bar import Progress, ProgressReporter, WorkWeights, weight
from harness.planning.plans import CompletionPlan
from harness.planning.work_queue import WorkItem
from harness.prompts.jobs import Job
from harness.prompts.prompting import Prompting
from harness.tasks import get_task
from tests.conftest import Run
from tests.harness.engine.test_dialogues import plan_of, verbatim
from tests.harness.engine.test_families import TOKENIZER, drawn, read_plan, tiny
from tests.support import running

RANDOM = np.random.default_rng(0)
PROMPTS = [drawn(RANDOM, length) for length in (9, 14, 14, 3)]


def job(name: str, rows: int, **prompting: Any) -> Job:
    task = get_task(name)
    return Job(task, get_config(task.config, **task.parameters), task.splits[0], rows, Prompting(**prompting))


def item(number: int, rows: int, cost: int) -> WorkItem:
    return WorkItem(number, np.arange(rows), cost)


def shares(engine: Engine, kind: str) -> list[float]:
    """The reported shares of a plan."""
    reported: list[float] = []
    engine.progress.report = reported.append
    if kind == "reads":
        list(engine.reads(read_plan((20, 31, 12, 25))))
    elif kind == "completions":
        list(engine.completions(CompletionPlan(PROMPTS), 8, None))
    else:
        list(engine.dialogues(plan_of(PROMPTS, verbatim), 6, None))
    return reported


@pytest.mark.parametrize("kind", ["reads", "completions", "dialogues"])
@pytest.mark.parametrize("name", ["llama", "mamba"])
@pytest.mark.parametrize("batch_size", [1, None])
def test_progress_grows_from_0_to_1(name: str, kind: str, batch_size: int | None) -> None:
    reported = shares(Engine(tiny(name), TOKENIZER, batch_size), kind)
    assert reported[0] == 0 and reported[-1] == 1 and reported == sorted(reported)
    # Within the only batch too: by layers, by tokens, by turns.
    assert len({round(share, 6) for share in reported}) > (2 if kind == "reads" else 5)


def test_progress_of_dialogues_without_cache() -> None:
    engine = Engine(tiny("openai-gpt"), TOKENIZER)
    reported = shares(engine, "dialogues")
    assert reported[-1] == 1 and reported == sorted(reported) and len(set(reported)) > 5


def test_weight_includes_new_tokens() -> None:
    reads, letters, thinking = job("flipflop", 4), job("letters", 4), job("letters", 4, template="x", thinking=500)
    assert weight(reads, item(0, 4, 900)) == 900
    assert weight(letters, item(0, 4, 900)) == 900 + 4 * 4 * letters.prompting.max_new_tokens(letters.task)  # type: ignore[arg-type]
    assert weight(thinking, item(0, 4, 900)) >= weight(letters, item(0, 4, 900)) + 4 * 4 * 500
    turns = job("strawberry", 4, turns=10), job("strawberry", 4, turns=1)
    assert weight(turns[0], item(0, 4, 0)) == 10 * weight(turns[1], item(0, 4, 0))


def test_reported_weights_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_bar, "REPORTED_EVERY", 0.0)
    world = World()
    world.open_counters()
    jobs = [job("flipflop", 8), job("letters", 8)]
    items = [item(1, 3, 100), item(0, 5, 777), item(0, 3, 1)]
    reporter, weights = ProgressReporter(world, jobs), WorkWeights.of(jobs, items)
    for one in items:
        for share in (0.0, 0.1, 0.1, 0.77, 1.0):
            reporter.report(one, share)
            time.sleep(0.002)
    assert [world.add(f"weight {number}", 0) for number in range(2)] == weights.each
    assert weights.each[0] == 778 and weights.rows == 11
    assert all(world.add(f"milliseconds {number}", 0) > 0 for number in range(2))


def test_seconds_left_by_job_rate() -> None:
    jobs = [job("flipflop", 1), job("flipflop-piecewise", 1), job("letters", 1)]
    weights = WorkWeights(jobs, [1_000, 1_000, 1_000], 3)
    assert weights.seconds_left([0, 0, 0], [0, 0, 0]) is None
    # 10 ms a character of the first; the second is of its kind, and of the third nothing is known.
    assert weights.seconds_left([500, 0, 0], [5_000, 0, 0]) == pytest.approx(5 + 10 + 10)
    # The third is ten times slower, which says nothing of the second.
    assert weights.seconds_left([500, 0, 100], [5_000, 0, 10_000]) == pytest.approx(5 + 10 + 90)
    assert weights.seconds_left([1_000, 1_000, 1_000], [1, 1, 1]) == 0


def test_few_lines_without_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first estimate immediately, then lines at growing intervals, and one line at the end."""
    monkeypatch.setattr(progress_bar, "DRAWN_EVERY", 0.01)
    monkeypatch.setattr(progress_bar, "LINES_EVERY", 0.2)
    world, jobs, stream = World(), [job("flipflop", 100)], io.StringIO()
    world.open_counters()
    work = item(0, 100, 100_000)
    reporter = ProgressReporter(world, jobs)
    with Progress(stream=stream) as shown, shown.working(world, WorkWeights.of(jobs, [work])):
        shown.start_phase("flipflop.val")
        for done in range(40):
            reporter.report(work, done / 100)
            time.sleep(0.03)
    lines = stream.getvalue().splitlines()
    assert 2 <= len(lines) <= 8 and "\r" not in stream.getvalue()
    estimate = r"\d+%: 0 of 100 rows in \d\d:\d\d, flipflop.val, about \d\d:\d\d left"
    assert any(re.fullmatch(estimate, line) for line in lines)
    assert re.fullmatch(r"100%: 100 rows in \d\d:\d\d", lines[-1])


def test_other_ranks_show_no_progress(capfd: pytest.CaptureFixture[str]) -> None:
    with Progress(shown=False) as shown:
        shown.start_phase("loading the model")
        time.sleep(0.1)
    assert capfd.readouterr() == ("", "")


def test_the_first_line(cli: Run) -> None:
    done = cli("harness", "eval", "--task", "flipflop", "--limit", "4")
    assert re.match(r"fflm/lstm @ [0-9a-f]{12}: flipflop, 12 rows\n", done.stdout), done.stdout
    assert re.fullmatch(r"([a-z ]+ \.\.\.\n)*100%: 12 rows in \d\d:\d\d\n", done.stderr), done.stderr
    suite = cli("harness", "eval", "--suite", "quick", "--limit", "1")
    first, second = suite.stdout.splitlines()[:2]
    assert re.fullmatch(r"fflm/lstm @ [0-9a-f]{12}: suite quick, 2 tasks, \d+ rows", first)
    assert second.startswith("skipped: ")


SLOW_IMPORTS = """
import sys, time

class Slow:
    def find_spec(self, name, *_):
        if name == "torch":
            time.sleep(2.5)

sys.meta_path.insert(0, Slow())
"""


@pytest.mark.slow()
@pytest.mark.parametrize("words", [("eval", "--task", "flipflop", "--limit", "2"), ("ask", "w 1 i 0 r")])
def test_slow_imports_are_reported_first(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "sitecustomize.py").write_text(SLOW_IMPORTS)
    path = f"{tmp_path}{os.pathsep}{running.ENVIRONMENT['PYTHONPATH']}"
    done = running.run(tmp_path, *running.HARNESS, *words, PYTHONPATH=path)
    assert done.stderr.startswith("importing torch and transformers ...\n"), done.stderr
    assert done.returncode == 0 and "fflm/lstm @ " in done.stdout


def test_slow_phases_have_lines_without_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line soon for the first phase, none for short phases, one for each slow phase."""
    monkeypatch.setattr(progress_bar, "DRAWN_EVERY", 0.01)
    monkeypatch.setattr(progress_bar, "FIRST_LINE", 0.2)
    monkeypatch.setattr(progress_bar, "NEXT_PHASE", 0.8)
    stream = io.StringIO()
    with Progress(stream=stream) as shown:
        for step, seconds in (("importing", 0.5), ("planning", 0.01), ("loading", 1.2)):
            shown.start_phase(step)
            time.sleep(seconds)
    assert stream.getvalue() == "importing ...\nloading ...\n"


@pytest.mark.parametrize(
    ("variables", "first"),
    [
        ({}, True),
        ({"RANK": "0", "WORLD_SIZE": "2"}, True),
        ({"RANK": "1", "WORLD_SIZE": "2"}, False),
        ({"SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "4"}, False),
        ({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "4"}, True),
        ({"SLURM_PROCID": "3"}, True),  # of a batch script without srun
        ({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "4", "RANK": "2"}, False),
    ],
)
def test_is_first(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], first: bool) -> None:
    for name in ("RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert is_first() is first


# No size at all is what `script` gives without a terminal, `docker run -t` and some CI.
@pytest.mark.slow()
@pytest.mark.parametrize(("processes", "rows", "columns"), [(1, 40, 110), (2, 40, 110), (1, 0, 0), (2, 1, 0)])
def test_progress_bar_on_terminal(tmp_path: Path, processes: int, rows: int, columns: int) -> None:
    """Something is drawn every second, from importing to the last row."""
    words = ["eval", "--task", "flipflop", "--limit", "400", "--batch-size", "4", "--num-processes", processes]
    drawn = on_a_terminal(tmp_path, rows, columns, *running.HARNESS, *map(str, words))
    phases = [line for line in drawn if re.fullmatch(r"[a-z ]+ \.\.\. \d\d:\d\d", line)]
    assert any(line.startswith("loading the tokenizer") for line in phases)
    assert any(line.startswith("importing torch") for line in phases)
    bars = [re.match(r"(\d+)% \|.*\| ([\d,]+) of 1,200 rows, \d\d:\d\d, ", line) for line in drawn]
    percents = [int(bar.group(1)) for bar in bars if bar]
    assert len(percents) >= 2 and percents == sorted(percents)
    assert sum("100%: 1,200 rows in" in line for line in drawn) == 1
    assert max(map(len, filter(None, [bar and bar.string for bar in bars]))) < (columns or 80)


def on_a_terminal(folder: Path, rows: int, columns: int, *words: str) -> list[str]:
    """The lines that a command draws on a terminal of this size, split at carriage returns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    process = subprocess.Popen(words, cwd=folder, env=running.ENVIRONMENT, stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = bytearray()

    def look() -> None:
        try:
            while part := os.read(ours, 4096):
                seen.extend(part)
        except OSError:  # the other side is closed
            pass

    looking = threading.Thread(target=look)
    looking.start()
    assert process.wait(running.DEADLINE) == 0
    looking.join()
    os.close(ours)
    return [line.strip() for line in re.split(r"[\r\n]+", seen.decode())]


def test_build_bars_on_terminal_without_size(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "fflm_data.cli", "build", "data", "--config", "letters"]
    drawn = on_a_terminal(tmp_path, 0, 0, *words)
    bars = [line for line in drawn if re.match(r"letters/\w+: +\d+%\|", line)]
    assert bars and max(map(len, bars)) < 80, drawn


def test_tqdm_is_imported_once() -> None:
    """Plain tqdm bars show nothing on a terminal without a size."""
    root = Path(progress_bar.__file__).parents[2]
    users = {
        str(path.relative_to(root))
        for package in ("fflm_data", "harness", "leaderboard")
        for path in (root / package).rglob("*.py")
        if re.search(r"^\s*(from tqdm|import tqdm)", path.read_text("utf-8"), re.MULTILINE)
    }
    assert users == {"fflm_data/terminal.py"}
