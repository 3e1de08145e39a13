"""The Python API of fflm: evaluate a model, load a run, measure the glitch rate of any function.

    import harness

    run = harness.evaluate("org/model", suite="quick")
    run.scores()                                  # a pandas DataFrame
    harness.glitch_rates(my_module)["val"].rate   # any function from ids to logits

Only the names in `__all__` are public. Heavy imports are deferred until they are needed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas
    import pyarrow

    from harness.evaluation.glitch_rates import GlitchRate
    from harness.scoring import metrics
    from harness.training.callback import GlitchCallback

__all__ = ["GlitchCallback", "GlitchRate", "Run", "evaluate", "glitch_rates", "load_run", "metrics"]


@dataclass(frozen=True)
class Run:
    """A run folder: settings, model outputs, scores. Returned by `evaluate` and `load_run`."""

    folder: Path

    @property
    def info(self) -> dict[str, Any]:
        """run.json: model, data, settings, versions."""
        return self._run.facts

    @property
    def result(self) -> dict[str, Any]:
        """The contents of result.json, computed from the observations."""
        from harness.scoring.scores import score_run

        return score_run(self._run)

    def scores(self) -> "pandas.DataFrame":
        """One row per score: task, split, metric, value, low, high (95% interval), n, errors, baseline, group.

        Raises harness.errors.UserError if observations are missing or do not match the run's rows.
        """
        import pandas

        columns = ("task", "split", "metric", "value", "low", "high", "n", "errors", "baseline", "group")
        return pandas.DataFrame(self.result["scores"], columns=list(columns))

    def observations(self, task: str, split: str) -> "pyarrow.Table":
        """The model's outputs on a split of a task; docs/observations.md describes the columns."""
        from harness.runs import observations

        job = self._job(task, split)
        return observations.read(self._run.require_table(job), observations.schema_of(job.task, job.config))

    def graded(self, task: str, split: str) -> "pandas.DataFrame":
        """One row per answer: row (id), place (position of a read, turn of a dialogue, else missing), target,
        predicted, right, groups.

        target, predicted: as text; without an answer, the reason (`unparsed`, `refused`, `cut off`). right: None if the
        logits were not finite. groups: names of the answer's groups.
        """
        import numpy as np
        import pandas

        from harness.scoring.comparison import item_texts
        from harness.scoring.grading import grade

        graded = grade(self._run, self._job(task, split))
        items = np.arange(len(graded.row))
        places, targets, predicted = item_texts(graded, items)
        groups: list[list[str]] = [[] for _ in items]
        for name, members in graded.groups.items():
            for item in np.flatnonzero(members).tolist():
                groups[item].append(name)
        right = [
            bool(correct) if counted else None for correct, counted in zip(graded.right, graded.counted, strict=True)
        ]
        return pandas.DataFrame(
            {"row": graded.row, "place": places, "target": targets, "predicted": predicted, "right": right,
             "groups": groups}
        )  # fmt: skip

    def report(self) -> Path:
        """Writes report.html and plots/ into the folder; returns the path of the page."""
        from harness.reporting.page import write_report

        return write_report(self._run)

    @property
    def _run(self) -> Any:
        from harness.runs.run import read_run

        return read_run(self.folder)

    def _job(self, task: str, split: str) -> Any:
        from harness.errors import UserError

        jobs = {(job.task.name, job.split): job for job in self._run.jobs()}
        if (task, split) not in jobs:
            names = ", ".join(f"{name}.{part}" for name, part in jobs)
            raise UserError(f"{self.folder} has no {task}.{split}: use one of {names}")
        return jobs[task, split]


def evaluate(
    model: Any,
    tokenizer: Any = None,
    *,
    tasks: Sequence[str] = (),
    suite: str | None = None,
    limit: int | None = None,
    output: str | Path = "runs",
    parameters: Mapping[str, Mapping[str, Any]] | None = None,
    **options: Any,
) -> Run:
    """Evaluates a model like `harness eval`, resuming an interrupted run; returns the run.

    model: Hub id, folder, or a causal LM of transformers in memory, with its tokenizer; a model in memory is evaluated
    on its device, and its state is restored. tasks: names; without any, those of the suite (default: full). limit: only
    the first rows of each split. output: folder of run folders. parameters: changed data parameters by task, such as
    {"flipflop": {"length": 256}}. options: those of the command line, with underscores: shots=4, chat="off",
    thinking=512, dtype="bfloat16", revision=..., batch_size=..., strict=True; and name=... for a model in memory.

    Raises harness.errors.UserError if the model or the settings cannot be evaluated, ValueError for a number out of
    range, TypeError for an unknown option.
    """
    from harness.commands.eval import call_request
    from harness.evaluation.evaluate import evaluate

    options |= {"task": list(tasks), "suite": suite, "limit": limit, "output": Path(output)}
    request = call_request(model, tokenizer, parameters or {}, options)
    scored = evaluate(request)
    if scored is None:
        raise RuntimeError("only rank 0 of several processes has the run: use harness eval --num-processes")
    return Run(scored[0].folder)


def load_run(folder: str | Path) -> Run:
    """Loads the run in a folder. Raises harness.errors.UserError if there is none."""
    from harness.runs.run import read_run

    return Run(read_run(Path(folder)).folder)


def glitch_rates(
    logits_of: Callable[[Any], Any],
    sets: Sequence[str] = ("val", "val_sparse", "val_dense"),
    limit: int | None = None,
    batch_size: int = 64,
    **parameters: Any,
) -> "dict[str, GlitchRate]":
    """The glitch rate of any function from ids to logits on each set of flip-flop strings (arXiv 2306.00946, section
    4), one forward pass per sequence.

    logits_of: maps token ids, an int64 tensor (batch, length) on the CPU, to logits (batch, length, 3 + symbols), those
    at position t for the token at t + 1. The vocabulary is w 0, r 1, i 2, then the symbols. An `nn.Module` gets the ids
    on its own device, in evaluation mode; an output with `.logits` is accepted. sets: splits of the config `flipflop`.
    limit: only the first rows of each. parameters: of that config, such as length=256. Returns, by set, rate, low, high
    (95% interval clustered by sequence), errors, reads, not_a_number.

    Raises harness.errors.UserError if the logits have the wrong shape or depend on later ids, ValueError for a
    parameter out of range.
    """
    from harness.evaluation.glitch_rates import glitch_rates

    return glitch_rates(logits_of, sets, limit, batch_size, **parameters)


def __getattr__(name: str) -> Any:
    if name == "GlitchCallback":
        from harness.training.callback import GlitchCallback

        return GlitchCallback
    if name == "GlitchRate":
        from harness.evaluation.glitch_rates import GlitchRate

        return GlitchRate
    if name == "metrics":
        from harness.scoring import metrics

        return metrics
    raise AttributeError(f"module 'harness' has no attribute {name!r}")
