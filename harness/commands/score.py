"""`harness score`: recomputes the scores of runs, or scores external answers."""

import argparse
import sys
from pathlib import Path

from harness.commands import options
from harness.console import echo
from harness.errors import UserError

HELP = "recompute result.json of runs, or score external answers"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this verb."""
    parser.add_argument("folders", metavar="RUN", type=Path, nargs="*", help="run folders")
    parser.add_argument("--outputs", type=Path, metavar="FILE", help="answers to prompts, as JSON lines")
    parser.add_argument(
        "--prompts",
        type=Path,
        metavar="FILE",
        help="file written by harness prompts (default: prompts.jsonl beside FILE)",
    )
    parser.add_argument("--model", metavar="ORG/NAME", help="model name")
    options.add_output(parser)
    options.add_format(parser, "a terminal table")


def run(args: argparse.Namespace) -> None:
    """Writes result.json and prints the scores."""
    if answers := next((path for path in args.folders if path.suffix == ".jsonl"), None):
        raise UserError(f"{answers} is not a run folder: use harness score --outputs {answers} --model ORG/NAME")
    if bool(args.folders) == (args.outputs is not None):
        raise UserError("name either run folders, or a file of answers with --outputs FILE")
    if args.outputs is None:
        _score_runs(args.folders, args.format)
    else:
        _score_answers(args)


def _score_runs(folders: list[Path], form: str | None) -> None:
    from harness.reporting.table import print_scores
    from harness.runs.files import write_json
    from harness.runs.several_runs import for_each_run
    from harness.scoring.scores import score_run

    scored = for_each_run(folders, lambda run: (run, score_run(run)))
    for run, result in scored:
        write_json(run.folder / "result.json", result)
    print_scores(scored, form)


def _score_answers(args: argparse.Namespace) -> None:
    from harness.evaluation.external_outputs import score_answers
    from harness.reporting.table import print_scores

    if args.model is None and args.outputs.is_file():
        raise UserError("--outputs needs the name of the model: add --model ORG/NAME")
    prompts = args.prompts or args.outputs.parent / "prompts.jsonl"
    run, result = score_answers(args.outputs, prompts, args.model or "", args.output)
    print_scores([(run, result)], args.format)
    echo(f"{run.folder}: run.json, observations, result.json", file=sys.stderr if args.format else sys.stdout)
