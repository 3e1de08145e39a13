"""`eval.yaml`, which registers a dataset as a benchmark on the Hub: one task for each test split.

Configs with a question have the prompt template and scorer that inspect-ai needs. Its number scorers
compare five significant digits, so 16-digit sums with a wrong last digit would pass: a pattern
extracts the answer, which is compared as text. Flip-flop strings are scored at every read of one
teacher-forced pass, which inspect-ai cannot do. inspect-ai validates every task of the file, so their
tasks are complete, but the solver needs choices that the rows do not have: these tasks fail before
the model is called and get no score, and the other tasks of the run continue.
"""

from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import yaml

from fflm_data.config import Config
from fflm_data.flipflop import TextConfig

EVAL_FILE = "eval.yaml"
FRAMEWORK = "inspect-ai"
# Matches the last line of an output, without quotes, asterisks, brackets and final punctuation around the answer. The
# rest is compared as text: a number with a minus sign is always wrong, since no answer is negative.
# All repetitions are bounded, so that matching a very long output stays fast.
PATTERN = (
    r"""(?i)ANSWER[\s*_]{0,8}:[\s*_`"'\u201c\u2018$(\[\\]{0,16}(?:\\?(?:boxed|text|textbf|mathrm)\{){0,2}"""
    r"""(.{1,80}?)[\s*_`"'\u201d\u2019$)\]}\\.,;:!?\u2026\u3002\uff01\uff1a\uff1f]{0,16}\Z"""
)
NO_QUESTION = "no question, every read is scored by `harness eval`"
NUMBER = "the number in digits, without separators"
WORDS = "the words that come next"


def task_id(config: Config, split: str) -> str:
    """Returns the id of a task, which is also the name of its observation table in `harness eval`."""
    return f"{config.name}.{split}"


def scored_splits(config: Config) -> list[str]:
    """Returns the scored splits: all except train."""
    return [split for split in config.splits() if split != "train"]


def write_eval_yaml(configs: Iterable[Config]) -> str:
    """Returns the text of `eval.yaml`."""
    content = {
        "name": "fflm",
        "description": (
            "Can a language model hold one bit and count to n? Generated flip-flop strings, counting of words and "
            "letters, arithmetic and facts. The metric is accuracy, higher is better: over all reads of flip-flop "
            "strings, which `harness eval` of the package fflm scores, and over all questions of the other tasks."
        ),
        "evaluation_framework": FRAMEWORK,
        "tasks": [_task(config, split) for config in configs for split in scored_splits(config)],
    }
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)


def _task(config: Config, split: str) -> dict[str, Any]:
    task = {"id": task_id(config, split), "config": config.name, "split": split}
    if isinstance(config, TextConfig):
        return task | {
            "field_spec": {"input": "text", "target": f"literal:{NO_QUESTION}"},
            "solvers": [{"name": "multiple_choice"}],
            "scorers": [{"name": "exact"}],
        }
    names = config.schema.names
    question = "question" if "question" in names else "prompt"
    fields: dict[str, Any] = {"input": question, "target": "answer"}
    few_shot = ""
    if "demonstration" in names:
        fields["metadata"] = ["demonstration"]
        few_shot = "{demonstration}\n\n"
    answer_format = NUMBER if pa.types.is_integer(config.schema.field("answer").type) else WORDS
    template = f'{few_shot}{{prompt}}\n\nThe last line of your reply must be "ANSWER: " and {answer_format}.'
    return task | {
        "field_spec": fields,
        "solvers": [{"name": "prompt_template", "args": {"template": template}}, {"name": "generate"}],
        "scorers": [{"name": "pattern", "args": {"pattern": PATTERN}}],
    }
