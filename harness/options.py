"""Options that several verbs share: which model, which data, how its questions are put. Nothing heavy is imported."""

import argparse
from pathlib import Path
from typing import Any

from harness.errors import UserError


def positive(text: str) -> int:
    """A whole number above 0."""
    return _at_least(1, text)


def not_negative(text: str) -> int:
    """A whole number, 0 or more."""
    return _at_least(0, text)


def _at_least(low: int, text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = low - 1
    if number < low:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {low}")
    return number


def add_model(parser: argparse.ArgumentParser, default: str) -> None:
    """Which model, and in which numbers. default: what is taken where none is named, in words."""
    parser.add_argument("--model", metavar="ID", help=f"a model of the Hub or a folder (default: {default})")
    parser.add_argument("--revision", help="branch, tag or commit of the model (default: main)")
    parser.add_argument(
        "--dtype", default="auto", help="auto, float32, bfloat16 or float16 (default: auto, the checkpoint's)"
    )
    parser.add_argument("--gguf-file", metavar="FILE", help="a GGUF file in the model's repository or folder")
    parser.add_argument("--adapter", metavar="ID", help="a PEFT adapter: ID or ID@REVISION of the Hub, or a folder")
    parser.add_argument("--quantization", metavar="BITS", help="4bit or 8bit, by bitsandbytes on a CUDA GPU")


def add_format(parser: argparse.ArgumentParser, instead: str) -> None:
    """In which format a table is printed. instead: in the place of what."""
    from harness.formats import FORMATS

    parser.add_argument(
        "--format", choices=FORMATS, metavar="NAME", help=f"print the table as {', '.join(FORMATS)}, not {instead}"
    )


def add_data(parser: argparse.ArgumentParser) -> None:
    """Which parameters of the data are changed."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="TASK.KEY=VALUE",
        help="change a parameter of a task's data (repeatable)",
    )


def add_prompts(parser: argparse.ArgumentParser) -> None:
    """How questions are put."""
    how = parser.add_argument_group("how questions are put (flip-flop strings and facts are plain text always)")
    how.add_argument("--chat", default="auto", help="auto, on or off: by the chat template (default: auto, if any)")
    how.add_argument(
        "--shots", type=not_negative, default=0, metavar="K", help="solved questions before each (default: 0)"
    )
    how.add_argument("--system", metavar="TEXT", help="a system prompt (default: the template's own, if any)")
    how.add_argument(
        "--thinking",
        type=not_negative,
        metavar="N",
        help="tokens to think before an answer (default: 0; 2048 for models that always do)",
    )
    how.add_argument(
        "--challenges", type=not_negative, metavar="N", help="how often dialogues challenge (default: 36; quick: 12)"
    )


def model_request(options: argparse.Namespace) -> Any:
    """The ModelRequest. Raises UserError for values that are none."""
    from harness import models
    from harness.attention import ATTENTIONS

    if options.model is not None and options.model.endswith(".gguf") and not options.gguf_file:
        # A file of weights: its folder, and its name in it, which is what commands and records say.
        path = Path(options.model)
        options.model, options.gguf_file = str(path.parent), path.name
    values = {"dtype": models.DTYPES, "quantization": models.QUANTIZATIONS, "attention": ATTENTIONS}
    for flag, known in values.items():
        require_one_of(flag, getattr(options, flag, None), known)
    named = {} if options.model is None else {"model": options.model}
    where = {
        name: getattr(options, name)
        for name in ("attention", "device_map", "tensor_parallel", "compile")
        if hasattr(options, name)
    }
    return models.ModelRequest(
        **named,
        revision=options.revision,
        dtype=options.dtype,
        gguf_file=options.gguf_file,
        quantization=options.quantization,
        adapter=options.adapter,
        **where,
    )


def prompt_request(options: argparse.Namespace) -> Any:
    """The PromptRequest. Raises UserError for values that are none."""
    from harness.prompting import CHAT, MOST_SHOTS, PromptRequest

    require_one_of("chat", options.chat, CHAT)
    if options.shots > MOST_SHOTS:
        raise UserError(f"--shots {options.shots} is too many: at most {MOST_SHOTS}")
    return PromptRequest(options.chat, options.shots, options.system, options.thinking, options.challenges)


def data_parameters(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """By task, the parameters that --set changes. Raises UserError for one that names no task."""
    from fflm_data.registry import parse_assignment

    parameters: dict[str, dict[str, Any]] = {}
    for text in options.set:
        name, equals, _ = text.partition("=")
        if "." not in name:
            raise UserError(
                f"--set {text} names no task: write --set TASK.KEY=VALUE, such as flipflop.length=256"
                + (_with_task(text) if equals else "")
            )
        task, _, assignment = text.partition(".")
        key, value = parse_assignment(assignment)
        _require_parameter(text, task, key, value)
        parameters.setdefault(task, {})[key] = value
    return parameters


def _with_task(text: str) -> str:
    """Which assignment was meant by one without a task, where a task has its parameter, or nearly so."""
    from fflm_data.names import nearest
    from harness.tasks import all_tasks

    name, value = text.split("=", 1)
    first = {key: task.name for task in reversed(all_tasks().values()) for key in parameters_of(task)}
    near = nearest(name, first)
    return f"; did you mean '{first[near]}.{near}={value}'?" if near else ""


def _require_parameter(text: str, task: str, key: str, value: Any) -> None:
    """Raises UserError for what another option says and no parameter of data does."""
    option = "task" if key == "config" else key
    if option not in ("task", "suite", "limit", "shots", "system", "thinking", "challenges", "chat", "model"):
        return
    from fflm_data.names import did_you_mean
    from harness.tasks import all_tasks

    if task in all_tasks() and key in parameters_of(all_tasks()[task]):
        return
    near = did_you_mean(str(value), all_tasks()) if option == "task" else ""
    raise UserError(f"--set {text} sets no parameter of the data of {task}: say it with --{option}{near}")


def parameters_of(task: Any) -> list[str]:
    """What --set can change of a task: the parameters of its data, and its rendering if it has several."""
    from dataclasses import fields

    from fflm_data.registry import CONFIGS

    return [one.name for one in fields(CONFIGS[task.config])] + ["rendering"] * (len(task.renderings) > 1)


def require_one_of(flag: str, given: str | None, known: tuple[str, ...]) -> None:
    """Raises UserError for a value that a flag does not take; None is one that was not given."""
    if given is not None and given not in known:
        from fflm_data.names import did_you_mean

        raise UserError(f"there is no {flag} {given!r}: --{flag} takes {', '.join(known)}{did_you_mean(given, known)}")
