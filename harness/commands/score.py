"""`harness score`: the scores of run folders again, or of answers that another program has collected."""

import argparse
import sys
from pathlib import Path

from harness.commands import options
from harness.console import say
from harness.errors import UserError

HELP = "recompute result.json of runs, or score answers from elsewhere"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this verb."""
    parser.add_argument("folders", metavar="RUN", type=Path, nargs="*", help="run folders")
    parser.add_argument("--outputs", type=Path, metavar="FILE", help="answers to prompts, as JSON lines")
    parser.add_argument(
        "--prompts", type=Path, metavar="FILE", help="the file of harness prompts (default: prompts.jsonl beside them)"
    )
    parser.add_argument("--model", metavar="ORG/NAME", help="model name")
    options.add_output(parser)
    options.add_format(parser, "for the terminal")


def run(args: argparse.Namespace) -> None:
    """Writes result.json and prints the scores."""
    if answers := next((one for one in args.folders if one.suffix == ".jsonl"), None):
        raise UserError(f"answers are scored with --outputs: harness score --outputs {answers} --model ORG/NAME")
    if bool(args.folders) == (args.outputs is not None):
        raise UserError("name a run folder, or answers to prompts with --outputs")
    if args.outputs is None:
        _score_runs(args.folders, args.format)
    else:
        _score_answers(args)


def _score_runs(folders: list[Path], form: str | None) -> None:
    from harness.reporting.table import print_scores
    from harness.runs.files import write_json
    from harness.runs.selection import for_each_run
    from harness.scoring.scores import score_run

    scored = for_each_run(folders, lambda run: (run, score_run(run)))
    for found, result in scored:
        write_json(found.folder / "result.json", result)
    print_scores(scored, form)


def _score_answers(args: argparse.Namespace) -> None:
    from harness.evaluation.external_outputs import score_answers
    from harness.reporting.table import print_scores

    if args.model is None and args.outputs.is_file():
        raise UserError("--outputs does not say which model answered: add --model ORG/NAME")
    prompts = args.prompts or args.outputs.parent / "prompts.jsonl"
    found, result = score_answers(args.outputs, prompts, args.model or "", args.output)
    print_scores([(found, result)], args.format)
    say(f"{found.folder}: run.json, observations, result.json", file=sys.stderr if args.format else sys.stdout)
