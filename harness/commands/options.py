"""Options shared by several verbs, their parsing, and the command line that a run stores.

`eval_command` writes the command of a run and `parse_command` parses it, so that the verification of a record sees the
same options as the verb. Heavy imports are inside functions.
"""

import argparse
import io
import shlex
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from harness.console import Parser
from harness.errors import UserError

# Options that decide the outputs of `harness eval`, in stored order, with their defaults, which are not stored.
STORED: dict[str, Any] = {
    "model": None, "revision": None, "gguf_file": None, "adapter": None, "quantization": None, "attention": None,
    "task": None, "suite": None, "set": None, "limit": None, "system": None, "thinking": None, "challenges": None,
    "dtype": "auto", "chat": "auto", "shots": 0, "exact_continuations": False, "strict": False, "compile": False,
}  # fmt: skip

# Minimum of the integer options of `harness eval`.
MINIMUM = {"limit": 1, "batch_size": 1, "shots": 0, "thinking": 0, "challenges": 0}


def eval_command(args: argparse.Namespace) -> str:
    """The command that reproduces the outputs, without options that do not affect them, such as --output."""
    words = ["harness", "eval"]
    for name, default in STORED.items():
        flag, value = "--" + name.replace("_", "-"), getattr(args, name)
        if isinstance(value, list):
            words += [word for item in value for word in (flag, str(item))]
        elif value is True:
            words.append(flag)
        elif value != default:
            words += [flag, str(value)]
    return shlex.join(words)


def parse_command(words: Sequence[str]) -> argparse.Namespace:
    """The options of a stored command, given without the word `harness`. Raises UserError for an invalid command."""
    parser = Parser(prog="harness")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    add_eval(verbs.add_parser("eval"))
    add_prompts(verbs.add_parser("prompts"))
    printed = io.StringIO()
    try:
        with redirect_stderr(printed), redirect_stdout(printed):
            return parser.parse_args(words)
    except SystemExit:
        raise UserError(printed.getvalue().strip()) from None


def positive(text: str) -> int:
    """Parses an integer above 0."""
    return _at_least(1, text)


def not_negative(text: str) -> int:
    """Parses an integer of at least 0."""
    return _at_least(0, text)


def _at_least(low: int, text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = low - 1
    if number < low:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer of at least {low}")
    return number


def add_eval(parser: argparse.ArgumentParser) -> None:
    """Adds all options of `harness eval`."""
    add_model(parser, "fflm/lstm; without --task too, all bundled models on the quick suite")
    parser.add_argument("--task", action="append", default=[], metavar="NAME", help="only this task (repeatable)")
    parser.add_argument("--suite", help="quick, paper or full (default: full, every task on all rows)")
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N rows of each split")
    add_data(parser)
    add_output(parser)
    parser.add_argument(
        "--exact-continuations",
        action="store_true",
        help="score answers of several tokens as continuations, for tokenizers that split or merge answers (slower)",
    )
    add_prompting(parser)
    speed = parser.add_argument_group("hardware and speed")
    speed.add_argument("--num-processes", type=positive, metavar="N", help="processes, one per GPU (default: 1)")
    speed.add_argument("--batch-size", type=positive, metavar="N", help="at most N sequences per batch (default: auto)")
    speed.add_argument("--strict", action="store_true", help="batch-invariant results: one sequence per batch")
    speed.add_argument("--attention", metavar="NAME", help="sdpa, eager, flash_attention_2, ... (default: the model's)")
    speed.add_argument("--compile", action="store_true", help="compile the model with torch.compile")
    speed.add_argument("--device-map", metavar="MAP", help="auto: spread the model over the GPUs of one process")
    speed.add_argument("--tensor-parallel", action="store_true", help="spread the model over the processes")


def add_prompts(parser: argparse.ArgumentParser) -> None:
    """Adds all options of `harness prompts`."""
    parser.add_argument(
        "--task", action="append", default=[], required=True, metavar="NAME", help="a task with questions (repeatable)"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="write the prompts here, as JSON lines")
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N rows of each split")
    add_data(parser)
    # Both are refused with a reason: a service has its own option for thinking, and dialogues need answers.
    add_prompting(parser, hidden=("thinking", "challenges"))


def add_model(parser: argparse.ArgumentParser, default: str) -> None:
    """Adds the options of the model. default: description of the default model."""
    parser.add_argument("--model", metavar="ID", help=f"model id on the Hub, or a folder (default: {default})")
    parser.add_argument("--revision", help="branch, tag or commit of the model (default: main)")
    parser.add_argument(
        "--dtype", default="auto", help="auto, float32, bfloat16 or float16 (default: auto, the checkpoint's)"
    )
    parser.add_argument("--gguf-file", metavar="FILE", help="GGUF file in the model's repository or folder")
    parser.add_argument("--adapter", metavar="ID", help="PEFT adapter: ID or ID@REVISION on the Hub, or a folder")
    parser.add_argument("--quantization", metavar="BITS", help="4bit or 8bit, with bitsandbytes on a CUDA GPU")


def add_output(parser: argparse.ArgumentParser) -> None:
    """Adds --output."""
    parser.add_argument(
        "--output", type=Path, default=Path("runs"), metavar="DIR", help="folder of run folders (default: runs)"
    )


def add_format(parser: argparse.ArgumentParser, default: str) -> None:
    """Adds --format. default: description of the default."""
    from harness.reporting.table_formats import FORMATS

    parser.add_argument(
        "--format",
        choices=FORMATS,
        metavar="NAME",
        help=f"print the table as {', '.join(FORMATS)} (default: {default})",
    )


def add_data(parser: argparse.ArgumentParser) -> None:
    """Adds --set."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="TASK.KEY=VALUE",
        help="set a parameter of a task's data (repeatable)",
    )


def add_prompting(parser: argparse.ArgumentParser, hidden: Sequence[str] = ()) -> None:
    """Adds the prompting options. hidden: names of those that --help leaves out."""

    def shown(name: str, text: str) -> str:
        return argparse.SUPPRESS if name in hidden else text

    group = parser.add_argument_group("prompting (not for flip-flop strings and facts, which are always plain text)")
    group.add_argument("--chat", default="auto", help="use the chat template: auto, on or off (default: auto)")
    group.add_argument(
        "--shots", type=not_negative, default=0, metavar="K", help="few-shot examples before each question (default: 0)"
    )
    group.add_argument("--system", metavar="TEXT", help="system prompt (default: that of the chat template)")
    group.add_argument(
        "--thinking",
        type=not_negative,
        metavar="N",
        help=shown(
            "thinking", "token budget for thinking before an answer (default: 0; 2048 for models that always think)"
        ),
    )
    group.add_argument(
        "--challenges",
        type=not_negative,
        metavar="N",
        help=shown("challenges", "challenges in a dialogue (default: 36; quick suite: 12)"),
    )


def model_request(args: argparse.Namespace) -> Any:
    """The ModelRequest of these options. Raises UserError for an invalid value."""
    from harness.models.attention import ATTENTIONS
    from harness.models.model_request import DEVICE_MAPS, DTYPES, QUANTIZATIONS, ModelRequest

    if args.model is not None and args.model.endswith(".gguf") and not args.gguf_file:
        # Commands and records have the folder and the file separately.
        path = Path(args.model)
        args.model, args.gguf_file = str(path.parent), path.name
    values = {"dtype": DTYPES, "quantization": QUANTIZATIONS, "attention": ATTENTIONS}
    for flag, known in values.items():
        require_one_of(flag, getattr(args, flag, None), known)
    require_one_of("device-map", getattr(args, "device_map", None), DEVICE_MAPS)
    model = {} if args.model is None else {"model": args.model}
    execution = {
        name: getattr(args, name)
        for name in ("attention", "device_map", "tensor_parallel", "compile")
        if hasattr(args, name)
    }
    return ModelRequest(
        **model,
        revision=args.revision,
        dtype=args.dtype,
        gguf_file=args.gguf_file,
        quantization=args.quantization,
        adapter=args.adapter,
        **execution,
    )


def prompt_request(args: argparse.Namespace) -> Any:
    """The PromptRequest of these options. Raises UserError for an invalid value."""
    from harness.prompts.prompting import CHAT, MAX_SHOTS, PromptRequest

    require_one_of("chat", args.chat, CHAT)
    if args.shots > MAX_SHOTS:
        raise UserError(f"--shots {args.shots} is too many: at most {MAX_SHOTS}")
    return PromptRequest(args.chat, args.shots, args.system, args.thinking, args.challenges)


def data_parameters(args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """The parameters changed by --set, by task. Raises UserError for one without a task."""
    from fflm_data.registry import parse_assignment

    parameters: dict[str, dict[str, Any]] = {}
    for text in args.set:
        name, equals, _ = text.partition("=")
        if "." not in name:
            raise UserError(
                f"--set {text} has no task: use --set TASK.KEY=VALUE, such as flipflop.length=256"
                + (_with_task(text) if equals else "")
            )
        task, _, assignment = text.partition(".")
        key, value = parse_assignment(assignment)
        _require_parameter(text, task, key, value)
        parameters.setdefault(task, {})[key] = value
    return parameters


def _with_task(text: str) -> str:
    """A suggestion for an assignment without a task, if a task has a parameter of that or a similar name."""
    from fflm_data.suggestions import nearest
    from harness.tasks import all_tasks

    name, value = text.split("=", 1)
    first = {key: task.name for task in reversed(all_tasks().values()) for key in parameters_of(task)}
    near = nearest(name, first)
    return f"; did you mean '{first[near]}.{near}={value}'?" if near else ""


def _require_parameter(text: str, task: str, key: str, value: Any) -> None:
    """Raises UserError for a key that is another option and not a data parameter."""
    option = "task" if key == "config" else key
    if option not in ("task", "suite", "limit", "shots", "system", "thinking", "challenges", "chat", "model"):
        return
    from fflm_data.suggestions import did_you_mean
    from harness.tasks import all_tasks

    if task in all_tasks() and key in parameters_of(all_tasks()[task]):
        return
    near = did_you_mean(str(value), all_tasks()) if option == "task" else ""
    raise UserError(f"--set {text} is not a data parameter of {task}: use --{option}{near}")


def parameters_of(task: Any) -> list[str]:
    """The parameters of a task for --set: those of its data config, and its rendering if it has several."""
    from dataclasses import fields

    from fflm_data.registry import CONFIGS

    names = [field.name for field in fields(CONFIGS[task.config])]
    return [*names, "rendering"] if len(task.renderings) > 1 else names


def require_one_of(flag: str, given: str | None, known: tuple[str, ...]) -> None:
    """Raises UserError for an invalid value of a flag. given: None if the flag was not used."""
    if given is not None and given not in known:
        from fflm_data.suggestions import did_you_mean

        raise UserError(f"there is no {flag} {given!r}: --{flag} takes {', '.join(known)}{did_you_mean(given, known)}")
