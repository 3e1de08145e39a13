"""The sandboxed process that renders chat templates: reads one JSON request per line, writes one response per line.

A template is an untrusted program, which may loop or use memory without limit.
"""

import json
import sys
from typing import Any

from harness.models import sandbox

MAX_MEMORY = 2**30  # bytes
MAX_CHARACTERS = 2**22


def main() -> None:
    """Responds to {"template", "conversations", "variables", "seconds"} with {"texts"} or {"fault"}.

    seconds: limit on CPU time per conversation.
    """
    from transformers.utils.chat_template_utils import render_jinja_template

    sandbox.limit(MAX_MEMORY)
    for line in sys.stdin.buffer:
        request = json.loads(line)
        try:
            texts = []
            for conversation in request["conversations"]:
                sandbox.limit_cpu_time(request["seconds"])
                texts.append(_render(render_jinja_template, request["template"], conversation, request["variables"]))
            response: dict[str, Any] = {"texts": texts}
        except MemoryError:
            response = {"fault": f"it takes more than {MAX_MEMORY >> 30} GiB of memory"}
        except Exception as error:  # a template can raise anything
            response = {"fault": " ".join(str(error).split())[:500] or type(error).__name__}
        sys.stdout.write(json.dumps(response) + "\n")
        sys.stdout.flush()


def _render(render: Any, template: str, conversation: list[dict[str, str]], variables: dict[str, Any]) -> str:
    (text,), _ = render([conversation], chat_template=template, add_generation_prompt=True, **variables)
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"its output has more than {MAX_CHARACTERS:,} characters")
    return str(text)
