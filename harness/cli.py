"""`harness`: every verb, its arguments, and the function it calls. What a verb needs is imported when it runs.

The way of the data: `eval` asks a model and keeps what it said, `score` makes numbers of that,
`submit` makes a record of a run, `leaderboard` a site of records; their arguments stand in `leaderboard/cli.py`,
which this outermost layer alone knows.
"""

import argparse
import os
import re
import shlex
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from harness import HARNESS_VERSION
from harness.commands import options
from harness.engine import threads
from harness.errors import LostProcess, UserError
from harness.models import packages


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb; the exit status is 2 when what was asked cannot be done."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    given = parser().parse_args(arguments)
    given.arguments = arguments
    threads.wait_briefly()
    try:
        return given.run(given) or 0
    except ModuleNotFoundError as error:
        extra = packages.extra_of((error.name or "").split(".")[0])
        if extra is None:
            raise
        return _refuse(packages.missing(str(error.name), extra))
    except UserError as error:
        others_say_it = isinstance(error, LostProcess) and os.environ.get("RANK", "0") != "0"
        return 2 if others_say_it else _refuse(str(error))
    except BrokenPipeError:  # whoever read has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or its flush at the end fails too
        return 1
    except (ValueError, OSError) as error:
        if isinstance(error, ValueError) and not _is_parameter_error(error):
            raise
        return _refuse(_reason(error))
    except KeyboardInterrupt:
        if os.environ.get("RANK", "0") == "0":
            _say("harness: interrupted; the same command goes on where this one stopped", file=sys.stderr)
        return 130


def _is_parameter_error(error: ValueError) -> bool:
    """Whether it is one of the data package's, the Hub's refusals among them."""
    from fflm_data import ParameterError

    return isinstance(error, ParameterError)


def _reason(error: Exception) -> str:
    if not isinstance(error, OSError):
        return str(error)
    return f"{error.strerror or error}: {error.filename or 'free some space or name another folder'}"


def _say(text: object, **how: Any) -> None:
    from fflm_data.terminal import say  # not before something is said: --help is instant

    say(text, **how)


def _refuse(reason: str) -> int:
    _say(f"harness: {reason}", file=sys.stderr)
    return 2


class _Parser(argparse.ArgumentParser):
    """Argument errors in one line too, which names the verb's own help."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # what a verb calls for its own
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            from fflm_data.names import did_you_mean

            option = next((word for word in unknown if word.startswith("--")), "").partition("=")[0]
            known = re.findall(r"--[a-z][a-z-]*", self.format_usage())
            self.error(f"unrecognized arguments: {' '.join(unknown)}{did_you_mean(option, known)}")
        return found, unknown

    def _check_value(self, action: argparse.Action, value: Any) -> None:  # of verbs, and of options with choices
        known = [*map(str, action.choices or ())]
        if known and value not in known:
            from fflm_data.names import did_you_mean

            hint = did_you_mean(str(value), known)
            raise argparse.ArgumentError(action, f"there is no {value!r}: choose from {', '.join(known)}{hint}")

    def error(self, message: str) -> NoReturn:
        from fflm_data.terminal import visible

        self.exit(2, f"{self.prog}: {visible(message)}: see {self.prog} --help\n")


def parser() -> argparse.ArgumentParser:
    """The parser of every verb; an error in what it is given ends the process with status 2."""
    harness = _Parser(prog="harness", description="Whether a language model can hold one bit and count to n.")
    harness.add_argument("--version", action="version", version=f"fflm {HARNESS_VERSION}")
    verbs = harness.add_subparsers(required=True, metavar="VERB")
    _add_eval(verbs.add_parser("eval", help="ask a model, keep what it says, score it"))

    _add_ask(verbs.add_parser("ask", help="one question, with tokens and probabilities"))

    tasks = verbs.add_parser("tasks", help="what is asked: tasks, suites, prompts, scoring, baselines")
    tasks.add_argument("--show", metavar="NAME", help="one task, its prompt in full")
    tasks.add_argument("--shots", type=options.not_negative, default=0, metavar="K", help="with K demonstrations")
    tasks.set_defaults(run=_tasks)

    report = verbs.add_parser("report", help="write report.html and plots of a run")
    report.add_argument("folders", metavar="RUN", type=Path, nargs="+", help="run folders")
    options.add_format(report, "the page")
    report.set_defaults(run=_report)

    compare = verbs.add_parser("compare", help="two or more runs on the same rows: differences, plots")
    compare.add_argument("folders", metavar="RUN", type=Path, nargs="+", help="run folders, the first against each")
    compare.add_argument("--out", type=Path, metavar="DIR", help="where compare.html, its plots and the rows go")
    options.add_format(compare, "the one for the terminal")
    compare.set_defaults(run=_compare)

    _add_prompts(verbs.add_parser("prompts", help="write prompts for a model behind an API"))
    _add_score(verbs.add_parser("score", help="recompute result.json of a run, or score answers from elsewhere"))

    train = verbs.add_parser("train", help="train the bundled LSTM by its recipe")
    train.add_argument("output", metavar="FOLDER", type=Path, help="where model and tokenizer go")
    train.add_argument("--steps", type=options.positive, default=500, help="default: 500")
    train.add_argument("--data-seed", type=int, default=0, help="default: 0")
    train.add_argument("--weight-seed", type=int, default=0, help="default: 0")
    train.set_defaults(run=_train)

    import_module("leaderboard.cli").add_verbs(verbs)
    return harness


def _add_eval(parser: argparse.ArgumentParser) -> None:
    options.add_model(parser, "the bundled LSTM on the quick suite")
    parser.add_argument("--task", action="append", default=[], metavar="NAME", help="only this task (repeatable)")
    parser.add_argument("--suite", help="quick, paper or full: many tasks (default: full, every task on all rows)")
    parser.add_argument("--limit", type=options.positive, metavar="N", help="only the first N rows of each split")
    options.add_data(parser)
    parser.add_argument(
        "--output", type=Path, default=Path("runs"), metavar="DIR", help="where run folders go (default: runs)"
    )
    parser.add_argument(
        "--exact-continuations",
        action="store_true",
        help="score each possible answer as a text of its own, for tokenizers that do not keep answers apart (slower)",
    )
    options.add_prompts(parser)
    speed = parser.add_argument_group("where and how fast it runs")
    speed.add_argument(
        "--num-processes",
        type=options.positive,
        metavar="N",
        help="processes, one a GPU (default: 1)",
    )
    speed.add_argument(
        "--batch-size", type=options.positive, metavar="N", help="sequences in a batch, at most (default: what fits)"
    )
    speed.add_argument("--strict", action="store_true", help="one sequence a batch: no bit depends on the others")
    speed.add_argument("--attention", metavar="NAME", help="sdpa, eager, flash_attention_2, ... (default: the model's)")
    speed.add_argument("--compile", action="store_true", help="compile the model with torch.compile")
    speed.add_argument("--device-map", metavar="MAP", help="auto spreads a model over the GPUs of one process")
    speed.add_argument("--tensor-parallel", action="store_true", help="spread the model over the processes")
    parser.set_defaults(run=_eval)


def _add_ask(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("question", nargs="?", help="a question of your own (default: a row of --task)")
    options.add_model(parser, "the bundled LSTM")
    parser.add_argument("--task", metavar="NAME", help="the task a row is taken from")
    parser.add_argument("--split", metavar="NAME", help="which split of it (default: the first)")
    parser.add_argument("--row", type=options.not_negative, default=0, metavar="N", help="which row (default: 0)")
    options.add_data(parser)
    options.add_prompts(parser)
    parser.set_defaults(run=_ask)


def _add_prompts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--task", action="append", default=[], required=True, metavar="NAME", help="a task of questions (repeatable)"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="where the prompts go, as JSON lines")
    parser.add_argument("--limit", type=options.positive, metavar="N", help="only the first N rows of each split")
    options.add_data(parser)
    options.add_prompts(parser)
    parser.set_defaults(run=_prompts)


def _add_score(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folders", metavar="RUN", type=Path, nargs="*", help="run folders")
    parser.add_argument("--outputs", type=Path, metavar="FILE", help="answers to prompts, as JSON lines")
    parser.add_argument(
        "--prompts", type=Path, metavar="FILE", help="what harness prompts wrote (default: prompts.jsonl beside them)"
    )
    parser.add_argument("--model", metavar="ORG/NAME", help="what the model that answered is called")
    parser.add_argument(
        "--output", type=Path, default=Path("runs"), metavar="DIR", help="where run folders go (default: runs)"
    )
    options.add_format(parser, "the one for the terminal")
    parser.set_defaults(run=_score)


def _eval(given: argparse.Namespace) -> int:
    from harness.evaluation import processes

    model = options.model_request(given)
    prompts = options.prompt_request(given)
    if given.task and given.suite:
        raise UserError("--suite and --task are two ways to say what is asked: leave out one")
    processes.end_with_launcher()
    if (given.num_processes or 1) > 1 and not processes.launched_by_other():
        return processes.launch(given.num_processes, given.arguments)

    quiet_libraries()
    from harness.evaluation.evaluate import evaluate
    from harness.planning.planning import EvalRequest
    from harness.reporting import table

    request = EvalRequest(
        model,
        _command(given),
        tuple(dict.fromkeys(given.task)),
        options.data_parameters(given),
        given.limit,
        given.output,
        given.exact_continuations,
        given.batch_size,
        given.strict,
        given.num_processes,
        given.suite or ("quick" if given.model is None else "full"),
        prompts,
    )
    if (scored := evaluate(request)) is not None:
        run, result = scored
        table.show(result)
        _say(f"{run.folder}: run.json, observations, result.json")
        _say(f"look at it: harness report {run.folder}")
    return 0


def _command(given: argparse.Namespace) -> str:
    """The command that gives these observations again: what does not decide them (--output, --num-processes) is
    left out."""
    words = ["harness", "eval"]
    for flag in (
        "model", "revision", "gguf_file", "adapter", "quantization", "attention", "task", "suite", "set", "limit",
        "system", "thinking", "challenges",
    ):  # fmt: skip
        values = getattr(given, flag)
        for value in values if isinstance(values, list) else [values]:
            words += [] if value is None else ["--" + flag.replace("_", "-"), str(value)]
    for flag, default in (("dtype", "auto"), ("chat", "auto"), ("shots", 0)):
        value = getattr(given, flag)
        words += [] if value == default else ["--" + flag, str(value)]
    words += [
        "--" + flag.replace("_", "-") for flag in ("exact_continuations", "strict", "compile") if getattr(given, flag)
    ]
    return shlex.join(words)


def quiet_libraries() -> None:
    """What the libraries say on the way (advice, bars of their own) would bury our one line or bar."""
    from huggingface_hub.utils import logging as hub_logging
    from transformers.utils import logging

    if not sys.warnoptions:  # what a later version will change is ours to see in tests, not the user's in a run
        for kind in (FutureWarning, DeprecationWarning, UserWarning):
            warnings.filterwarnings("ignore", category=kind, module=r"(transformers|torch|accelerate|peft|datasets)\b")
    hub_logging.set_verbosity_error()
    logging.set_verbosity_error()
    logging.disable_progress_bar()


def _tasks(given: argparse.Namespace) -> None:
    from harness.tasks import all_tasks, get_task
    from harness.tasks.suites import suites

    if given.show is not None:
        from harness.prompts.preview import show

        _say(show(get_task(given.show), given.shots), lines=True)
        return
    for task in all_tasks().values():
        _say((sys.modules[type(task).__module__].__doc__ or "").strip() + f"\nversion: {task.version}\n", lines=True)
    for name, suite in suites().items():
        asked = ", ".join(task if rows is None else f"{task} {rows}" for task, rows in suite.rows.items())
        challenges = f" ({suite.challenges} challenges)" if suite.challenges else ""
        _say(f"--suite {name}: {suite.about}{challenges}\n    {asked}", lines=True)


def _ask(given: argparse.Namespace) -> None:
    model, prompts = options.model_request(given), options.prompt_request(given)
    if (given.question is None) == (given.task is None):
        raise UserError('ask a row with --task NAME --row N, or a question of your own: harness ask "..."')
    odd = [name for name in ("split", "row", "set", "shots", "challenges") if getattr(given, name)]
    if given.question is not None and odd:
        raise UserError(f"--{odd[0]} is for a row of a task: leave it out, or name a --task in place of the question")
    quiet_libraries()
    from harness.evaluation.ask import ask_freely, ask_row
    from harness.planning.planning import EvalRequest

    if given.question is not None:
        lines = ask_freely(model, given.question, prompts)
    else:
        request = EvalRequest(model, "", (given.task,), options.data_parameters(given), prompts=prompts)
        lines = ask_row(model, request, given.split, given.row)
    for line in lines:
        _say(line)


def _prompts(given: argparse.Namespace) -> None:
    from harness.evaluation.external import write_prompts
    from harness.models.source import ModelRequest
    from harness.planning.planning import EvalRequest

    request = EvalRequest(
        ModelRequest(), shlex.join(["harness", *given.arguments]), tuple(dict.fromkeys(given.task)),
        options.data_parameters(given), given.limit, prompts=options.prompt_request(given),
    )  # fmt: skip
    count = write_prompts(request, given.out)
    _say(f"{given.out}: {count:,} prompts; when answers.jsonl has an answer to each:")
    _say(f"harness score --outputs answers.jsonl --prompts {given.out} --model ORG/NAME")


def _score(given: argparse.Namespace) -> None:
    from harness.reporting import reported

    if answers := next((one for one in given.folders if one.suffix == ".jsonl"), None):
        raise UserError(f"answers are scored with --outputs: harness score --outputs {answers} --model ORG/NAME")
    if bool(given.folders) == (given.outputs is not None):
        raise UserError("name a run folder, or answers to prompts with --outputs")
    if given.outputs is None:
        reported.score(given.folders, given.format)
        return
    from harness.evaluation.external import score_answers

    if given.model is None and given.outputs.is_file():
        raise UserError("--outputs does not say which model answered: add --model ORG/NAME")
    prompts = given.prompts or given.outputs.parent / "prompts.jsonl"
    run, result = score_answers(given.outputs, prompts, given.model or "", given.output)
    reported.show([(run, result)], given.format)
    _say(f"{run.folder}: run.json, observations, result.json", file=sys.stderr if given.format else sys.stdout)


def _report(given: argparse.Namespace) -> None:
    from harness.reporting import reported

    reported.report(given.folders, given.format)


def _compare(given: argparse.Namespace) -> None:
    from harness.reporting import reported

    if len(given.folders) < 2:
        raise UserError("one run is compared with nothing: name two run folders or more")
    reported.compare(given.folders, given.out, given.format)


def _train(given: argparse.Namespace) -> None:
    quiet_libraries()
    from harness.runs.run import require_writable
    from harness.training.lstm import Recipe, train_lstm

    require_writable(given.output)
    recipe = Recipe(steps=given.steps, data_seed=given.data_seed, weight_seed=given.weight_seed)
    loss = train_lstm(given.output, recipe)
    _say(f"{given.output}: last loss {loss:.4f} nats")
    _say(f"score it: harness eval --model {given.output} --task flipflop")


if __name__ == "__main__":
    sys.exit(main())
