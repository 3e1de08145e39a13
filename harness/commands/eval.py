"""`harness eval`: evaluate a model, collect its outputs, score them."""

import argparse
import sys

from harness.commands import options
from harness.console import quiet_libraries, say
from harness.errors import UserError

HELP = "evaluate a model: collect its outputs and score them"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this verb."""
    options.add_eval(parser)


def run(args: argparse.Namespace) -> int:
    """Evaluates in this process, or starts several that do."""
    from harness.evaluation import processes
    from harness.evaluation.progress import IMPORTING, Progress

    model = options.model_request(args)
    prompts = options.prompt_request(args)
    if args.task and args.suite:
        raise UserError("--suite and --task both choose the tasks: leave out one of them")
    processes.end_with_launcher()
    if (args.num_processes or 1) > 1 and not processes.launched_by_other():
        say(f"starting {args.num_processes} processes ...", file=sys.stderr)
        return processes.launch(args.num_processes, args.arguments)

    with Progress(processes.is_first()) as progress:
        progress.doing(IMPORTING)
        quiet_libraries()
        from harness.evaluation.evaluate import evaluate
        from harness.planning.planning import EvalRequest
        from harness.reporting import table

        request = EvalRequest(
            model=model,
            command=options.eval_command(args),
            tasks=tuple(dict.fromkeys(args.task)),
            parameters=options.data_parameters(args),
            limit=args.limit,
            output=args.output,
            continuations=args.exact_continuations,
            batch_size=args.batch_size,
            strict=args.strict,
            processes=args.num_processes,
            suite=args.suite or ("quick" if args.model is None else "full"),
            prompts=prompts,
        )
        scored = evaluate(request, progress)
    if scored is not None:
        found, result = scored
        table.show(result)
        say(f"{found.folder}: run.json, observations, result.json")
        say(f"for plots and examples: harness report {found.folder}")
    return 0
