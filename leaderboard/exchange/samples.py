"""The completions of a record, one per line, in the instance-level schema of Every Eval Ever.

Reads and choices have probabilities and no output text. They stay in the record's tables.
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
    """Yields a line for every row whose first answer counts, ordered by job and row. shared: fields of all lines."""
    for job in run.jobs():
        if not isinstance(job.task, CompletionTask):
            continue
        rows = pa.concat_tables(chunk for _, chunk in job.chunks())
        graded = grade(run, job)
        prompts = zip(job.task.texts(rows), job.task.answers(rows), strict=True)
        for row, (question, answer) in enumerate(prompts):
            first = row * job.prompting.turns
            if graded.counted[first]:
                yield {
                    **shared,
                    "evaluation_name": job.name,
                    "evaluation_result_id": f"{job.name}.accuracy",
                    "sample_id": str(row),
                    "sample_hash": hashlib.sha256((question + answer).encode()).hexdigest(),
                    "input": {"raw": question, "reference": [answer]},
                    **_outputs(job.task, graded, question, range(first, first + job.prompting.turns)),
                    "evaluation": {
                        "score": float(graded.right[first]),
                        "is_correct": bool(graded.right[first]),
                        "num_turns": job.prompting.turns,
                    },
                    "metadata": {"kind": graded.kind[first]},
                }


def _outputs(task: CompletionTask, graded: Any, question: str, turns: range) -> dict[str, Any]:
    """Returns the outputs of a row, and the span of its first answer. turns: the items of the row."""
    if not isinstance(task, DialogueTask):
        fields: dict[str, Any] = {
            "interaction_type": "single_turn",
            "output": {"raw": [graded.output[turns[0]]]},
        }
        return fields | {"answer_attribution": _attribution(graded, turns[0], 0, "output.raw")}
    messages = []
    for item in turns:
        prompt = question if item == turns[0] else task.challenge
        messages += [("user", prompt), ("assistant", graded.output[item])]
    fields = {
        "interaction_type": "multi_turn",
        "messages": [
            {"turn_idx": number, "role": role, "content": content} for number, (role, content) in enumerate(messages)
        ],
    }
    return fields | {"answer_attribution": _attribution(graded, turns[0], 1, "messages[1].content")}


def _attribution(graded: Any, item: int, turn: int, source: str) -> list[dict[str, Any]]:
    """Returns where the answer of an item was found; empty if there is no answer."""
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
