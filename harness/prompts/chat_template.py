"""Chat templates, rendered in a sandboxed process with limits on memory and time (`chat_template_process`)."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.models import sandbox

MAX_SECONDS = 10  # CPU time per conversation
MAX_WAIT = 120  # seconds of wall-clock time per request, for systems without limits on CPU time
BATCH = 64  # conversations per request

Message = dict[str, str]


class TemplateFault(Exception):
    """Why a template could not be rendered, in a phrase."""


@dataclass(frozen=True)
class ChatTemplate:
    """A chat template and its special tokens.

    model: name of its model, for messages. special: special tokens by role, such as bos_token.
    """

    text: str
    model: str
    special: Mapping[str, Any]

    def facts(self, owner: str) -> dict[str, Any]:
        """The template as stored in run.json. owner: "model" or "adapter"."""
        return {"text": self.text, "special_tokens": _plain(self.special), "of": owner}


def template_hash(text: str) -> str:
    """SHA-256 of a chat template, by which run.json refers to it."""
    return hashlib.sha256(text.encode()).hexdigest()


_PROCESS = sandbox.Server("harness.prompts.chat_template_process", OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")


def render_conversations(
    template: ChatTemplate, conversations: Sequence[Sequence[Mapping[str, Any]]], **variables: Any
) -> list[str]:
    """The text of each conversation, up to where the model's answer begins.

    variables: template variables in addition to the special tokens. Raises TemplateFault.
    """
    all_variables = _plain(template.special) | variables
    texts: list[str] = []
    for start in range(0, len(conversations), BATCH):
        batch = [list(conversation) for conversation in conversations[start : start + BATCH]]
        request = {
            "template": template.text, "conversations": batch, "variables": all_variables, "seconds": MAX_SECONDS,
        }  # fmt: skip
        response = _PROCESS.request(request, MAX_WAIT)
        if response is None:
            raise TemplateFault("it takes too much time or memory")
        if "fault" in response:
            raise TemplateFault(response["fault"])
        texts += map(str, response["texts"])
    return texts


def _plain(special: Mapping[str, Any]) -> dict[str, Any]:
    """Special tokens as strings and lists of strings."""
    return {
        name: [str(token) for token in value] if isinstance(value, list | tuple) else str(value)
        for name, value in special.items()
    }
