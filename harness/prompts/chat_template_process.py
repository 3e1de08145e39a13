"""The process that carries out chat templates: a line of JSON in, a line out, until nobody asks any more.

A template is a program of a stranger, which may go on or grow without end.
"""

import json
import sys
from typing import Any

from harness.models import sandbox

MOST_MEMORY = 2**30
MOST_CHARACTERS = 2**22


def main() -> None:
    """Answers {"template", "conversations", "variables", "seconds"} with {"texts"} or {"fault"}. seconds: of processor
    time, for each conversation."""
    from transformers.utils.chat_template_utils import render_jinja_template

    sandbox.limit(MOST_MEMORY)
    for line in sys.stdin.buffer:
        asked = json.loads(line)
        try:
            texts = []
            for said in asked["conversations"]:
                sandbox.may_take(asked["seconds"])
                texts.append(_one(render_jinja_template, asked["template"], said, asked["variables"]))
            answer: dict[str, Any] = {"texts": texts}
        except MemoryError:
            answer = {"fault": f"it takes more than {MOST_MEMORY >> 30} GiB of memory"}
        except Exception as error:  # a template fails in any way
            answer = {"fault": " ".join(str(error).split())[:500] or type(error).__name__}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _one(render: Any, template: str, conversation: list[dict[str, str]], variables: dict[str, Any]) -> str:
    (text,), _ = render([conversation], chat_template=template, add_generation_prompt=True, **variables)
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"it writes more than {MOST_CHARACTERS:,} characters")
    return str(text)
