"""`harness prompts`: writes the prompts of tasks to a file, for models behind an API."""

import argparse
import shlex

from harness.commands import options
from harness.console import echo

HELP = "write prompts to a file, for models behind an API"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this verb."""
    options.add_prompts(parser)


def run(args: argparse.Namespace) -> None:
    """Writes the prompts; prints how to score the answers."""
    from harness.evaluation.external_outputs import write_prompts
    from harness.planning.evaluation_request import Questions

    questions = Questions(
        tasks=tuple(dict.fromkeys(args.task)),
        parameters=options.data_parameters(args),
        limit=args.limit,
        prompts=options.prompt_request(args),
    )
    count = write_prompts(questions, shlex.join(["harness", *args.arguments]), args.out)
    echo(f"{args.out}: {count:,} prompts; write the answers to answers.jsonl, then:")
    echo(f"harness score --outputs answers.jsonl --prompts {args.out} --model ORG/NAME")
