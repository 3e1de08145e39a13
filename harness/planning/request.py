"""What an evaluation was asked to do, in the parts that its steps read: the model, the questions, the execution."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.models.in_memory import InMemory
from harness.models.request import ModelRequest
from harness.prompts.prompting import PromptRequest
from harness.tasks.suites import get_suite


@dataclass(frozen=True, kw_only=True)
class Questions:
    """Which rows of which tasks, and how they are prompted.

    tasks: by name; if there are none, those of the suite, of which the tasks that the model cannot take are skipped.
    parameters: by task, what is changed of its data config. limit: only the first rows of each split. continuations:
    whether each possible answer is scored as a text of its own.
    """

    tasks: tuple[str, ...] = ()
    suite: str = "full"
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    limit: int | None = None
    prompts: PromptRequest = field(default_factory=PromptRequest)
    continuations: bool = False

    @property
    def challenges(self) -> int | None:
        """How often dialogues challenge an answer, None for as often as their tasks say."""
        requested = self.prompts.challenges
        return get_suite(self.suite).challenges if requested is None and not self.tasks else requested

    def suite_facts(self) -> dict[str, Any]:
        """Name and version of the suite as run.json stores them; nothing where tasks are named."""
        return {} if self.tasks else {"suite": get_suite(self.suite).facts()}


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How the work is done. output: the folder of run folders. batch_size: the most sequences in a batch, None for what
    fits. strict: one sequence per batch. processes: how many, None for as many as were started."""

    output: Path = Path("runs")
    batch_size: int | None = None
    strict: bool = False
    processes: int | None = None


@dataclass(frozen=True, kw_only=True)
class EvalRequest:
    """An evaluation. command: what gives the same outputs again, as run.json stores it."""

    model: ModelRequest | InMemory
    command: str
    questions: Questions = field(default_factory=Questions)
    execution: Execution = field(default_factory=Execution)
