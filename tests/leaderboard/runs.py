"""Runs of answers that are known in full, made in a moment: no model is asked."""

import json
from pathlib import Path
from typing import Any

from fflm_data import get_config
from harness.cli import main
from harness.runs.files import write_json
from harness.runs.run import Run, read_run
from harness.tasks import get_task

# Every how many rows an answer is wrong.
WRONG = 7


def external_run(folder: Path, *options: str, model: str = "org/tiny", tasks: tuple[str, ...] = ("letters",)) -> Run:
    """A run of supplied answers to whole splits, every WRONG-th of them one too many."""
    prompts, answers = folder / "prompts.jsonl", folder / "answers.jsonl"
    asked = [word for task in tasks for word in ("--task", task)]
    assert main(["prompts", *asked, *options, "--out", str(prompts)]) == 0
    target = {task: get_config(get_task(task).config).table("test")["answer"].to_pylist() for task in tasks}
    lines = []
    for line in prompts.read_text(encoding="utf-8").splitlines():
        name = json.loads(line)["id"]
        task, row = name.split("-test-")[0], int(name.rsplit("-", 1)[1])
        lines.append(json.dumps({"id": name, "output": str(target[task][row] + (row % WRONG == 0))}))
    answers.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert main(["score", "--outputs", str(answers), "--model", model, "--output", str(folder / "runs")]) == 0
    (run,) = folder.glob("runs/*/*/run.json")
    return read_run(run.parent)


def as_asked(run: Run, **model: Any) -> Run:
    """The same, as if harness eval had asked a model of the Hub."""
    facts = {**run.facts, "model": {**run.facts["model"], "dtype": "bfloat16", "parameters": 135, **model}}
    del facts["outputs"]
    write_json(run.folder / "run.json", facts)
    return read_run(run.folder)
