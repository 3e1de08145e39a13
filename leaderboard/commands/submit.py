"""`harness submit`: makes a record of a run and sends it to a leaderboard."""

import argparse
from pathlib import Path

from harness.errors import UserError

HELP = "make a record of a run and send it to a leaderboard"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument("folder", metavar="RUN", type=Path, help="a run folder")
    parser.add_argument("--to", metavar="TARGET", help="ORG/NAME of the Hub (opens a pull request) or a git checkout")
    terms = parser.add_argument_group("sender and terms (or --about FILE, a TOML file with the same names)")
    terms.add_argument("--contact", metavar="TEXT", help="a name of the Hub, or an address")
    terms.add_argument("--licence", metavar="NAME", help="of the observations, such as CC-BY-4.0")
    terms.add_argument("--division", metavar="NAME", help="pretrained, or 'trained on fflm'")
    terms.add_argument(
        "--disclosure",
        metavar="TEXT",
        help="what ties you to the model; what of these rows may be in its training data",
    )
    terms.add_argument(
        "--supersedes", action="append", metavar="DIGEST", help="an earlier record that this one replaces (repeatable)"
    )
    terms.add_argument("--about", type=Path, metavar="FILE", help="the same in a TOML file")
    parser.add_argument("--dry-run", action="store_true", help="verify it and show its row; send nothing")
    parser.add_argument(
        "--hub-results",
        action="store_true",
        help="open a pull request with .eval_results/fflm.yaml on the model's page",
    )
    parser.add_argument("--dataset", metavar="ORG/NAME", help="the published dataset that --hub-results refers to")
    parser.add_argument("--source-url", metavar="URL", help="the address of the outputs for --hub-results")


def run(args: argparse.Namespace) -> None:
    """Sends a record of the run, or opens a pull request on the model's page."""
    from leaderboard import create_record, submission_file

    create_record.require_places(args.folder, args.to)
    if not (args.to or args.hub_results or args.dry_run):
        raise UserError("the destination is missing. Add --to ORG/NAME, --to CHECKOUT, --hub-results or --dry-run.")
    if args.hub_results:
        from harness.runs.run import read_run
        from leaderboard.hub import model_pages

        if not args.dataset:
            raise UserError("--hub-results needs the published dataset. Add --dataset ORG/NAME.")
        url = model_pages.propose(read_run(args.folder), args.dataset, args.source_url)
        from fflm_data.terminal import echo

        echo(f"opened pull request {url}")
    if args.to or not args.hub_results:
        names = ("contact", "licence", "division", "disclosure", "supersedes")
        terms = submission_file.submission_from_options(
            {name: getattr(args, name) for name in names}, args.about, create_record.today()
        )
        create_record.command(args.folder, args.to, terms, args.dry_run)
