"""`harness`: every verb, its arguments, and the function it calls. What a verb needs is imported when it runs.

The way of the data: `eval` asks a model and keeps what it said, `score` makes numbers of that,
`submit` makes a record of a run, `leaderboard` a page of records. This file is the outermost layer:
it names functions of `leaderboard`, which no module below it knows.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from harness.errors import LostProcess, UserError

EXTRA_PACKAGES = {"torch", "transformers", "accelerate", "evaluate", "scipy", "jinja2", "rich", "gguf"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb; the exit status is 2 when what was asked cannot be done."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(arguments)
    options.arguments = arguments
    try:
        return options.run(options) or 0
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] not in EXTRA_PACKAGES:
            raise
        return _refuse(f"{error.name} is not installed, it comes with the extra 'eval': pip install 'fflm[eval]'")
    except UserError as error:
        others_say_it = isinstance(error, LostProcess) and os.environ.get("RANK", "0") != "0"
        return 2 if others_say_it else _refuse(str(error))
    except (ValueError, OSError) as error:
        if isinstance(error, ValueError) and type(error).__name__ != "ParameterError":
            raise
        return _refuse(_reason(error))
    except KeyboardInterrupt:
        if os.environ.get("RANK", "0") == "0":
            print("harness: interrupted; the same command goes on where this one stopped", file=sys.stderr)
        return 130


def _reason(error: Exception) -> str:
    if not isinstance(error, OSError):
        return str(error)
    return f"{error.strerror or error}: {error.filename or 'free some space or name another folder'}"


def _refuse(reason: str) -> int:
    print(f"harness: {reason}", file=sys.stderr)
    return 2


class _Parser(argparse.ArgumentParser):
    """Argument errors in one line too."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}: see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="harness", description="Whether a language model can hold one bit and count to n.")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    _add_eval(verbs.add_parser("eval", help="ask a model, keep what it says, score it"))

    tasks = verbs.add_parser("tasks", help="what is asked: tasks, data, scoring, baselines")
    tasks.set_defaults(run=_tasks)

    scoring = verbs.add_parser("score", help="recompute result.json of a run from its observations")
    scoring.add_argument("folder", metavar="RUN", type=Path, help="a run folder")
    scoring.set_defaults(run=_score)

    train = verbs.add_parser("train", help="train the bundled LSTM by its recipe")
    train.add_argument("output", metavar="FOLDER", type=Path, help="where model and tokenizer go")
    train.add_argument("--steps", type=_positive, default=500, help="default: 500")
    train.add_argument("--data-seed", type=int, default=0, help="default: 0")
    train.add_argument("--weight-seed", type=int, default=0, help="default: 0")
    train.set_defaults(run=_train)

    submit = verbs.add_parser("submit", help="make a record of a run for the leaderboard")
    submit.add_argument("folder", metavar="RUN", type=Path, help="a run folder")
    submit.add_argument("--to", type=Path, required=True, metavar="CHECKOUT", help="a git checkout of fflm")
    submit.set_defaults(run=lambda options: _leaderboard("submit")(options.folder, options.to))

    board = verbs.add_parser("leaderboard", help="the page of records").add_subparsers(required=True, metavar="VERB")
    build = board.add_parser("build", help="write the static page")
    build.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the page goes")
    build.add_argument(
        "--run",
        dest="runs",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        metavar="RUN",
        help="run folders to show beside the records (repeatable)",
    )
    build.set_defaults(run=lambda options: _leaderboard("site")(options.out, options.runs))
    return parser


def _add_eval(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", metavar="ID", help="a model of the Hub or a folder (default: the bundled LSTM on flipflop)"
    )
    parser.add_argument("--revision", help="branch, tag or commit of the model (default: main)")
    parser.add_argument(
        "--dtype", default="auto", help="auto, float32, bfloat16 or float16 (default: auto, the checkpoint's)"
    )
    parser.add_argument("--gguf-file", metavar="FILE", help="a GGUF file in the model's repository or folder")
    parser.add_argument("--adapter", metavar="ID", help="a PEFT adapter: ID or ID@REVISION of the Hub, or a folder")
    parser.add_argument("--quantization", metavar="BITS", help="4bit or 8bit, by bitsandbytes on a CUDA GPU")
    parser.add_argument(
        "--task", action="append", default=[], metavar="NAME", help="only this task (repeatable; default: all)"
    )
    parser.add_argument("--limit", type=_positive, metavar="N", help="only the first N rows of each split")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="TASK.KEY=VALUE",
        help="change a parameter of a task's data (repeatable)",
    )
    parser.add_argument(
        "--output", type=Path, default=Path("runs"), metavar="DIR", help="where run folders go (default: runs)"
    )
    parser.add_argument(
        "--exact-continuations",
        action="store_true",
        help="score each possible answer as a text of its own, for tokenizers that do not keep answers apart (slower)",
    )
    speed = parser.add_argument_group("where and how fast it runs")
    speed.add_argument(
        "--num-processes",
        type=_positive,
        metavar="N",
        help="processes, one a GPU (default: 1)",
    )
    speed.add_argument(
        "--batch-size", type=_positive, metavar="N", help="sequences in a batch, at most (default: what fits)"
    )
    speed.add_argument("--strict", action="store_true", help="one sequence a batch: no bit depends on the others")
    speed.add_argument("--attention", metavar="NAME", help="sdpa, eager, flash_attention_2, ... (default: the model's)")
    speed.add_argument("--compile", action="store_true", help="compile the model with torch.compile")
    speed.add_argument("--device-map", metavar="MAP", help="auto spreads a model over the GPUs of one process")
    speed.add_argument("--tensor-parallel", action="store_true", help="spread the model over the processes")
    parser.set_defaults(run=_eval)


def _positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return number


def _eval(options: argparse.Namespace) -> int:
    from harness import models, processes

    for flag, known in (("dtype", models.DTYPES), ("quantization", models.QUANTIZATIONS)):
        given = getattr(options, flag)
        if given is not None and given not in known:
            raise UserError(f"there is no {flag} {given!r}: --{flag} takes {', '.join(known)}")
    processes.end_with_launcher()
    if (options.num_processes or 1) > 1 and not processes.launched_by_other():
        return processes.launch(options.num_processes, options.arguments)

    _quiet_libraries()
    from fflm_data.registry import parse_assignment
    from harness import report
    from harness.evaluation import evaluate
    from harness.planning import EvalRequest

    parameters: dict[str, dict[str, Any]] = {}
    for text in options.set:
        task, dot, assignment = text.partition(".")
        if not dot:
            raise UserError(f"--set {text} names no task: write --set TASK.KEY=VALUE, such as flipflop.length=256")
        key, value = parse_assignment(assignment)
        parameters.setdefault(task, {})[key] = value
    bundled = options.model is None
    model = {} if bundled else {"model": options.model}
    request = EvalRequest(
        models.ModelRequest(
            **model,
            revision=options.revision,
            dtype=options.dtype,
            gguf_file=options.gguf_file,
            quantization=options.quantization,
            adapter=options.adapter,
            attention=options.attention,
            device_map=options.device_map,
            tensor_parallel=options.tensor_parallel,
            compile=options.compile,
        ),
        _command(options),
        tuple(options.task) or (("flipflop",) if bundled else ()),
        parameters,
        options.limit,
        options.output,
        options.exact_continuations,
        options.batch_size,
        options.strict,
        options.num_processes,
    )
    if (scored := evaluate(request)) is not None:
        run, result = scored
        report.show(result)
        print(f"{run.folder}: run.json, observations, result.json")
    return 0


def _command(options: argparse.Namespace) -> str:
    """The command that gives these observations again: what does not decide them (--output, --num-processes) is
    left out."""
    words = ["harness", "eval"]
    for flag in ("model", "revision", "gguf_file", "adapter", "quantization", "attention", "task", "set", "limit"):
        given = getattr(options, flag)
        for value in given if isinstance(given, list) else [given]:
            words += [] if value is None else ["--" + flag.replace("_", "-"), str(value)]
    words += [] if options.dtype == "auto" else ["--dtype", options.dtype]
    words += [
        "--" + flag.replace("_", "-") for flag in ("exact_continuations", "strict", "compile") if getattr(options, flag)
    ]
    return shlex.join(words)


def _quiet_libraries() -> None:
    """What the libraries say on the way (advice, bars of their own) would bury our one line or bar."""
    from huggingface_hub.utils import logging as hub_logging
    from transformers.utils import logging

    hub_logging.set_verbosity_error()
    logging.set_verbosity_error()
    logging.disable_progress_bar()


def _tasks(options: argparse.Namespace) -> None:
    from harness.tasks import all_tasks

    for task in all_tasks().values():
        print((sys.modules[type(task).__module__].__doc__ or "").strip() + f"\nversion: {task.version}\n")


def _score(options: argparse.Namespace) -> None:
    from harness import report
    from harness.run import read_run, write_json
    from harness.scoring import score_run

    result = score_run(read_run(options.folder))
    write_json(options.folder / "result.json", result)
    report.show(result)


def _train(options: argparse.Namespace) -> None:
    _quiet_libraries()
    from harness.reference.train import Recipe, train_lstm
    from harness.run import require_writable

    require_writable(options.output)
    recipe = Recipe(steps=options.steps, data_seed=options.data_seed, weight_seed=options.weight_seed)
    loss = train_lstm(options.output, recipe)
    print(f"{options.output}: last loss {loss:.4f} nats")
    print(f"score it: harness eval --model {options.output} --task flipflop")


def _leaderboard(verb: str) -> Any:
    return import_module(f"leaderboard.{verb}").command


if __name__ == "__main__":
    sys.exit(main())
