"""`harness eval`: evaluates a model: collects its outputs and scores them."""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.commands import options
from harness.console import echo, quiet_libraries
from harness.errors import UserError

HELP = "evaluate a model: collect its outputs and score them"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this verb."""
    options.add_eval(parser)


def run(args: argparse.Namespace) -> int:
    """Evaluates in this process, or starts several processes."""
    from harness.evaluation import distributed
    from harness.evaluation.progress_bar import IMPORTING, Progress

    requests = [eval_request(each) for each in _with_model(args)]
    distributed.end_with_launcher()
    if (args.num_processes or 1) > 1 and not distributed.launched_by_other():
        echo(f"starting {args.num_processes} processes ...", file=sys.stderr)
        return distributed.launch(args.num_processes, args.arguments)

    runs = []
    for request in requests:
        with Progress(distributed.is_first()) as progress:
            progress.start_phase(IMPORTING)
            quiet_libraries()
            from harness.evaluation.evaluate import evaluate

            scored = evaluate(request, progress)
        if scored is not None:
            runs.append(scored)
            echo(f"{scored[0].folder}: run.json, observations, result.json")
    if runs:
        from harness.reporting import table

        table.show_side_by_side([result for _, result in runs])
        echo(f"for plots and examples: harness report {' '.join(str(run.folder) for run, _ in runs)}")
    return 0


def _with_model(args: argparse.Namespace) -> list[argparse.Namespace]:
    """The options for each model: without model and task, all reference models on the quick suite."""
    from harness.models.reference import MODELS

    if args.model is not None or args.task:
        return [args]
    suite = args.suite or "quick"
    return [argparse.Namespace(**{**vars(args), "model": name, "suite": suite}) for name in MODELS]


def eval_request(args: argparse.Namespace) -> Any:
    """The EvalRequest of these options. Raises UserError for an invalid value."""
    from harness.planning.evaluation_request import EvalRequest, Execution, Questions

    model, prompts = options.model_request(args), options.prompt_request(args)
    if args.task and args.suite:
        raise UserError("--suite and --task exclude each other: remove one of them")
    questions = Questions(
        tasks=tuple(dict.fromkeys(args.task)),
        suite=args.suite or "full",
        parameters=options.data_parameters(args),
        limit=args.limit,
        prompts=prompts,
        continuations=args.exact_continuations,
    )
    execution = Execution(
        output=args.output, batch_size=args.batch_size, strict=args.strict, processes=args.num_processes
    )
    return EvalRequest(model=model, command=options.eval_command(args), questions=questions, execution=execution)


def call_request(
    model: Any, tokenizer: Any, parameters: Mapping[str, Mapping[str, Any]], values: dict[str, Any]
) -> Any:
    """The EvalRequest of a call of `harness.evaluate`. values: option values by name.

    Raises TypeError for an unknown option, UserError for an invalid value.
    """
    from fflm_data.config import require_integer

    args = options.parse_command(["eval"])
    name = values.pop("name", None)
    for option, value in values.items():
        if not hasattr(args, option) or option in ("model", "set", "num_processes"):
            raise TypeError(f"harness.evaluate has no option {option!r}: use those of harness eval")
        setattr(args, option, value)
    if any(len(name) == 1 for name in args.task):
        raise UserError("tasks must be a list of names, such as ['flipflop']")
    for option, low in options.MINIMUM.items():
        if (value := getattr(args, option)) is not None:
            require_integer(option, value, low)
    args.set = [
        f"{task}.{key}={_text(value)}" for task, changed in parameters.items() for key, value in changed.items()
    ]
    if isinstance(model, str | Path):
        args.model = str(model)
        return eval_request(args)
    from harness.models.in_memory import InMemory

    if tokenizer is None:
        raise UserError("a model in memory needs its tokenizer: harness.evaluate(model, tokenizer)")
    request = eval_request(args)
    return replace(
        request,
        model=InMemory(model, tokenizer, name),
        command=f"harness.evaluate(model, tokenizer), with the options of {request.command}",
    )


def _text(value: Any) -> str:
    """A parameter value in the format of --set."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
