"""`harness tasks`: lists tasks and suites, or shows one task in full."""

import argparse

from harness.commands import options
from harness.console import echo

HELP = "list tasks and suites; show prompts, scoring and baselines"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this verb."""
    parser.add_argument("--show", metavar="NAME", help="show one task with the prompt of its first row")
    parser.add_argument(
        "--format",
        choices=("text", "markdown"),
        default="text",
        metavar="NAME",
        help="text or markdown (default: text)",
    )
    parser.add_argument(
        "--shots",
        type=options.not_negative,
        default=0,
        metavar="K",
        help="few-shot examples in the prompt (default: 0)",
    )


def run(args: argparse.Namespace) -> None:
    """Prints all tasks and suites, or one task."""
    from harness.tasks import get_task, listing

    if args.show is not None:
        from harness.prompts.preview import show

        echo(show(get_task(args.show), args.shots), lines=True)
        return
    echo(listing.as_markdown() if args.format == "markdown" else listing.as_text(), lines=True)
