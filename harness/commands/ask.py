"""`harness ask`: one question to a model, with the tokens and probabilities of its answer."""

import argparse

from harness.commands import options
from harness.console import echo, quiet_libraries
from harness.errors import UserError

HELP = "ask one question, with tokens and probabilities"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this verb."""
    parser.add_argument("question", nargs="?", help="your own question (default: a row of --task)")
    options.add_model(parser, "the bundled LSTM")
    parser.add_argument("--task", metavar="NAME", help="the task of the row")
    parser.add_argument("--split", metavar="NAME", help="its split (default: the first)")
    parser.add_argument("--row", type=options.not_negative, default=0, metavar="N", help="the row's id (default: 0)")
    options.add_data(parser)
    options.add_prompting(parser)


def run(args: argparse.Namespace) -> None:
    """Prints the prompt and the answer, with tokens and probabilities."""
    model, prompts = options.model_request(args), options.prompt_request(args)
    if (args.question is None) == (args.task is None):
        raise UserError('name a row with --task NAME --row N, or give a question: harness ask "..."')
    unused = [name for name in ("split", "row", "set", "shots", "challenges") if getattr(args, name)]
    if args.question is not None and unused:
        raise UserError(f"--{unused[0]} needs a row of a task: remove it, or replace the question by --task NAME")
    from harness.evaluation.progress_bar import IMPORTING, Progress

    with Progress() as progress:
        progress.start_phase(IMPORTING)
        quiet_libraries()
        from harness.evaluation.ask import ask_freely, ask_row
        from harness.planning.evaluation_request import Questions

        progress.start_phase("loading the question and the model")
        if args.question is not None:
            lines = ask_freely(model, args.question, prompts)
        else:
            questions = Questions(tasks=(args.task,), parameters=options.data_parameters(args), prompts=prompts)
            lines = ask_row(model, questions, args.split, args.row)
        first = next(lines)
    echo(first)
    for line in lines:
        echo(line)
