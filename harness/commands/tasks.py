"""`harness tasks`: the tasks and suites, and one task in full."""

import argparse
import sys

from harness.commands import options
from harness.console import say

HELP = "list tasks and suites; show prompts, scoring and baselines"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this verb."""
    parser.add_argument("--show", metavar="NAME", help="one task with its full prompt")
    parser.add_argument("--shots", type=options.not_negative, default=0, metavar="K", help="with K few-shot examples")


def run(args: argparse.Namespace) -> None:
    """Prints the headers of all tasks and the suites, or one task."""
    from harness.tasks import all_tasks, get_task
    from harness.tasks.suites import suites

    if args.show is not None:
        from harness.prompts.preview import show

        say(show(get_task(args.show), args.shots), lines=True)
        return
    for task in all_tasks().values():
        say((sys.modules[type(task).__module__].__doc__ or "").strip() + f"\nversion: {task.version}\n", lines=True)
    for name, suite in suites().items():
        tasks = ", ".join(task if rows is None else f"{task} {rows}" for task, rows in suite.rows.items())
        challenges = f" ({suite.challenges} challenges)" if suite.challenges else ""
        say(f"--suite {name}: {suite.about}{challenges}\n    {tasks}", lines=True)
