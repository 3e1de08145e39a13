"""The request of an evaluation, in the parts that its steps read: model, questions, execution."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.models.in_memory import InMemory
from harness.models.model_request import ModelRequest
from harness.prompts.prompting import PromptRequest
from harness.tasks.suites import get_suite


@dataclass(frozen=True, kw_only=True)
class Questions:
    """The tasks and rows to evaluate, and their prompting.

    tasks: names; without any, those of the suite, skipping tasks that the model does not support. parameters: changed
    parameters of the data config, by task. limit: only the first rows of each split. continuations: whether possible
    answers are scored as continuations of several tokens.
    """

    tasks: tuple[str, ...] = ()
    suite: str = "full"
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    limit: int | None = None
    prompts: PromptRequest = field(default_factory=PromptRequest)
    continuations: bool = False

    @property
    def challenges(self) -> int | None:
        """The number of challenges in a dialogue, None for the task's default."""
        requested = self.prompts.challenges
        return get_suite(self.suite).challenges if requested is None and not self.tasks else requested

    def suite_facts(self) -> dict[str, Any]:
        """Name and version of the suite for run.json; empty if tasks are named."""
        return {} if self.tasks else {"suite": get_suite(self.suite).facts()}


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How to run the evaluation.

    output: folder of run folders. batch_size: maximum number of sequences per batch, None for what fits into memory.
    strict: one sequence per batch. processes: number of processes, None for those of the launcher.
    """

    output: Path = Path("runs")
    batch_size: int | None = None
    strict: bool = False
    processes: int | None = None


@dataclass(frozen=True, kw_only=True)
class EvalRequest:
    """An evaluation. command: the command line that reproduces it, as stored in run.json."""

    model: ModelRequest | InMemory
    command: str
    questions: Questions = field(default_factory=Questions)
    execution: Execution = field(default_factory=Execution)
