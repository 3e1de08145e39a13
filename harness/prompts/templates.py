"""Chat templates, rendered in a separate process with bounds on memory and time (`template_process`)."""

import atexit
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock, Timer
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


class _Process:
    """The process, started when it is first needed and after it has ended."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._started: subprocess.Popen[bytes] | None = None
        self._by = 0  # the process that started it: a fork must not write into the same pipe
        atexit.register(self.end)

    def ask(self, request: dict[str, Any]) -> list[str]:
        """What a template writes. Raises TemplateFault."""
        with self._lock:
            process = self._running()
            late = Timer(MOST_WAIT, process.kill)
            late.start()
            try:
                answer = self._answer(process, json.dumps(request).encode() + b"\n")
            finally:
                late.cancel()
        if answer is None:
            raise TemplateFault("it takes too much time or memory")
        if "fault" in answer:
            raise TemplateFault(answer["fault"])
        return [str(text) for text in answer["texts"]]

    def end(self) -> None:
        """Ends it, if it runs."""
        if self._started is not None and self._by == os.getpid():
            self._started.kill()
            self._started.communicate()
        self._started = None

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._started is None or self._by != os.getpid() or self._started.poll() is not None:
            self._by = os.getpid()
            self._started = subprocess.Popen(
                sandbox.command("harness.prompts.template_process"),
                env=sandbox.environment() | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        return self._started

    def _answer(self, process: "subprocess.Popen[bytes]", line: bytes) -> dict[str, Any] | None:
        """None if the process has ended over it."""
        if process.stdin is None or process.stdout is None:
            return None
        try:
            process.stdin.write(line)
            process.stdin.flush()
            if said := process.stdout.readline():
                return dict(json.loads(said))
        except (OSError, ValueError):
            pass
        except BaseException:  # interrupted: what it still says answers no later question
            self.end()
            raise
        self.end()
        return None


_PROCESS = _Process()


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
        texts += _PROCESS.ask(request)
    return texts


def _plain(special: Mapping[str, Any]) -> dict[str, Any]:
    """Special tokens as texts and lists of texts."""
    return {
        name: [str(one) for one in value] if isinstance(value, list | tuple) else str(value)
        for name, value in special.items()
    }
