"""The answers of a record one by one, in the instance-level schema of Every Eval Ever: all that a model wrote.

Reads and choices are probabilities, of which no output was written; theirs stay in the record's tables.
"""

import hashlib
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from fflm_data.answers import ANSWERED
from harness.runs.run import Run
from harness.scoring.grading import grade
from harness.tasks import CompletionTask, DialogueTask


def samples(run: Run, shared: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A line for every row whose first answer counts, in the order of jobs and rows. shared: fields of all lines."""
    for job in run.jobs():
        if not isinstance(job.task, CompletionTask):
            continue
        rows = pa.concat_tables(chunk for _, chunk in job.chunks())
        graded = grade(run, job)
        asked = zip(job.task.texts(rows), job.task.answers(rows), strict=True)
        for row, (question, answer) in enumerate(asked):
            first = row * job.prompting.turns
            if graded.counted[first]:
                yield {
                    **shared,
                    "evaluation_name": job.name,
                    "evaluation_result_id": f"{job.name}.accuracy",
                    "sample_id": str(row),
                    "sample_hash": hashlib.sha256((question + answer).encode()).hexdigest(),
                    "input": {"raw": question, "reference": [answer]},
                    **_said(job.task, graded, question, range(first, first + job.prompting.turns)),
                    "evaluation": {
                        "score": float(graded.right[first]),
                        "is_correct": bool(graded.right[first]),
                        "num_turns": job.prompting.turns,
                    },
                    "metadata": {"kind": graded.kind[first]},
                }


def _said(task: CompletionTask, graded: Any, question: str, turns: range) -> dict[str, Any]:
    """What was written, and what of the first answer counts. turns: the items of a row."""
    if not isinstance(task, DialogueTask):
        said: dict[str, Any] = {
            "interaction_type": "single_turn",
            "output": {"raw": [graded.output[turns[0]]]},
        }
        return said | {"answer_attribution": _attribution(graded, turns[0], 0, "output.raw")}
    messages = []
    for item in turns:
        asked = question if item == turns[0] else task.challenge
        messages += [("user", asked), ("assistant", graded.output[item])]
    said = {
        "interaction_type": "multi_turn",
        "messages": [
            {"turn_idx": number, "role": role, "content": content} for number, (role, content) in enumerate(messages)
        ],
    }
    return said | {"answer_attribution": _attribution(graded, turns[0], 1, "messages[1].content")}


def _attribution(graded: Any, item: int, turn: int, source: str) -> list[dict[str, Any]]:
    """Where the answer of an item stands; nothing if it says none."""
    if graded.kind[item] != ANSWERED:
        return []
    return [
        {
            "turn_idx": turn,
            "source": source,
            "extracted_value": str(graded.predicted[item]),
            "extraction_method": "custom",
            "is_terminal": True,
        }
    ]
