"""`harness report`: writes a page with plots and examples per run, or prints the scores of runs as one table."""

import argparse
from pathlib import Path

from harness.commands import options
from harness.console import echo

HELP = "write report.html and plots of runs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this verb."""
    parser.add_argument("folders", metavar="RUN", type=Path, nargs="+", help="run folders")
    options.add_format(parser, "report.html")


def run(args: argparse.Namespace) -> None:
    """Writes the pages; with --format, prints the scores instead."""
    from harness.reporting.page import write_report
    from harness.reporting.table import print_scores
    from harness.runs.several_runs import for_each_run
    from harness.scoring.scores import score_run

    if args.format is not None:
        print_scores(for_each_run(args.folders, lambda run: (run, score_run(run))), args.format)
        return
    for page in for_each_run(args.folders, write_report):
        echo(page)
