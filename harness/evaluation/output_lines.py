"""Reads files of external outputs: lines of {"id", "output"}, or of the batch services of OpenAI and Anthropic."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import UserError

# Finish reasons for the token limit.
CUT_OFF = frozenset({"length", "model_length", "max_tokens", "max_output_tokens"})
# Types of parts with thinking, which are not part of the output.
THINKING = frozenset({"thinking", "redacted_thinking", "reasoning", "reasoning_content"})


class _NoText(ValueError):
    """A part of an output that is not text."""


class ExternalOutput(NamedTuple):
    """One output. finished: whether the model ended it, not the token limit."""

    id: str
    output: str
    finished: bool


def read_outputs(path: Path) -> dict[str, ExternalOutput]:
    """The outputs of a file by id. Raises UserError for an invalid line or a duplicate id."""
    if not path.is_file():
        raise UserError(f"{path} is not a file. Use the file of outputs with --outputs.")
    outputs: dict[str, ExternalOutput] = {}
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    parsed = json.loads(line)
                    if failure := _failure(parsed):
                        raise UserError(f"{path}, line {number}: the service failed ({failure}). Request it again.")
                    output = _parse_line(parsed)
                except _NoText as error:
                    raise UserError(
                        f'{path}, line {number}: a part of the output is {error}. Write {{"id": ..., "output": ...}} '
                        "with its text."
                    ) from None
                except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
                    raise UserError(
                        f'{path}, line {number}, is invalid. Write {{"id": ..., "output": ...}}, or keep the line of a '
                        "batch service unchanged."
                    ) from None
                if output.id in outputs:
                    raise UserError(f"{path}, line {number}: duplicate id {output.id}. Keep one output per id.")
                outputs[output.id] = output
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text. Write it as JSON lines in UTF-8.") from None
    return outputs


def _failure(line: dict[str, Any]) -> str:
    """The error of a batch service for a request; "" if it succeeded."""
    response, result = line.get("response") or {}, line.get("result") or {}
    status = response.get("status_code", 200)
    error = line.get("error") or (response.get("body") or {}).get("error") or result.get("error")
    if error or status != 200 or result.get("type", "succeeded") != "succeeded":
        message = json.dumps(error or result.get("type") or status, ensure_ascii=False)
        return f"{line.get('custom_id')}: {message[:120]}"
    return ""


def _parse_line(line: dict[str, Any]) -> ExternalOutput:
    """Parses a line in any known format. Raises KeyError and similar errors for other formats."""
    if "output" in line:
        output, finished = line["output"], line.get("finish_reason") not in CUT_OFF
    elif "response" in line:  # batches of OpenAI's three interfaces
        body = line["response"]["body"]
        if "output" in body:
            output = [part for item in body["output"] if item["type"] == "message" for part in item["content"]]
            finished = body.get("status") != "incomplete"
        else:
            choice = body["choices"][0]
            message = choice.get("message", {})
            output = choice["text"] if "text" in choice else _text(message["content"]) or message.get("refusal")
            finished = choice.get("finish_reason") not in CUT_OFF
    else:  # Anthropic's
        message = line["result"]["message"]
        output = [part for part in message["content"] if part["type"] == "text"]
        finished = message.get("stop_reason") not in CUT_OFF
    name = line["id"] if "output" in line else line["custom_id"]
    if not isinstance(name, str):
        raise TypeError
    # Replaces half characters, which a service may cut and a table cannot hold.
    text = _text(output).encode("utf-8", "replace").decode("utf-8")
    return ExternalOutput(name, text, finished)


def _text(content: Any) -> str:
    """The text of an output that is a text, None, or a list of parts. Raises _NoText for a part of another type, and
    TypeError for other values."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise TypeError
    return "".join(part if isinstance(part, str) else _part(part) for part in content)


def _part(part: dict[str, Any]) -> str:
    kind = part.get("type", "text")
    if kind in THINKING:
        return ""
    text = part.get("refusal" if kind == "refusal" else "text")
    value = text.get("value") if isinstance(text, dict) else text
    if kind not in ("text", "output_text", "refusal") or not isinstance(value, str):
        raise _NoText(f"of type {json.dumps(kind)[:40]}" if isinstance(kind, str) else "without a type")
    return value
