"""Chat templates, rendered in a separate process with bounds on memory and time (`template_process`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.models import sandbox

MOST_SECONDS = 10  # of processor time, for one conversation
# By the clock, for one request, on however busy a machine: where processor time has no bounds, or none is taken.
MOST_WAIT = 120
AT_ONCE = 64

Message = dict[str, str]


class TemplateFault(Exception):
    """Why a template did not write what it was asked for, in a phrase."""


@dataclass(frozen=True)
class ChatTemplate:
    """A chat template and what it is given beside messages. whose: what its model is called in messages. special: the
    special tokens by their names, such as bos_token."""

    text: str
    whose: str
    special: Mapping[str, Any]

    def facts(self, of: str) -> dict[str, Any]:
        """As it stands in run.json; of: whether it is the model's own or its adapter's."""
        return {"text": self.text, "special_tokens": _plain(self.special), "of": of}


_PROCESS = sandbox.Answering("harness.prompts.chat_template_process", OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")


def carry_out(
    template: ChatTemplate, conversations: Sequence[Sequence[Mapping[str, Any]]], **variables: Any
) -> list[str]:
    """What a template writes for each conversation, up to where the model's answer begins.

    variables: what it is given beside the special tokens. Raises TemplateFault.
    """
    given = _plain(template.special) | variables
    texts: list[str] = []
    for start in range(0, len(conversations), AT_ONCE):
        part = [list(one) for one in conversations[start : start + AT_ONCE]]
        request = {"template": template.text, "conversations": part, "variables": given, "seconds": MOST_SECONDS}
        answer = _PROCESS.ask(request, MOST_WAIT)
        if answer is None:
            raise TemplateFault("it takes too much time or memory")
        if "fault" in answer:
            raise TemplateFault(answer["fault"])
        texts += map(str, answer["texts"])
    return texts


def _plain(special: Mapping[str, Any]) -> dict[str, Any]:
    """Special tokens as texts and lists of texts."""
    return {
        name: [str(one) for one in value] if isinstance(value, list | tuple) else str(value)
        for name, value in special.items()
    }
