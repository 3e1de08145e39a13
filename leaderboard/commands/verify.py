"""`harness verify`: records, or what a pull request adds, checked and rescored."""

import argparse
import re
from pathlib import Path

from harness.commands import options

HELP = "verify a record, or what a pull request adds"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this verb."""
    parser.add_argument(
        "path", metavar="PATH", help="a record, a checkout, a folder of records, or ORG/NAME of the Hub"
    )
    parser.add_argument(
        "--base", type=Path, metavar="DIR", help="the checkout before: verify what is new, refuse changes"
    )
    parser.add_argument(
        "--pull-request", type=options.positive, metavar="N", help="verify this pull request of ORG/NAME"
    )
    parser.add_argument(
        "--attested",
        action="append",
        default=[],
        metavar="FILE",
        help="an attestation of yours that may be added (repeatable)",
    )
    parser.add_argument(
        "--own",
        action="append",
        default=[],
        metavar="DIGEST",
        help="a record of the same sender, as its host says, that may be superseded (repeatable)",
    )
    parser.add_argument("--json", action="store_true", help="print the verdicts as JSON")
    again = parser.add_argument_group("running the model again (writes attestations beside the record)")
    again.add_argument(
        "--replay", type=_count, nargs="?", default=0, const="usual", metavar="K",
        help="run K sequences again, or all, and compare (without K: 32 of each table, 64 for a model of 16 bits or "
        "fewer)",
    )  # fmt: skip
    again.add_argument("--fresh", action="store_true", help="run rows of a new seed, and record the gap")
    again.add_argument(
        "--rows", type=options.positive, metavar="N", help="rows of each split for --fresh (default: at most 500)"
    )
    again.add_argument("--nonce", metavar="TEXT", help="makes the choice of sequences unpredictable (default: random)")
    again.add_argument("--by", default="a maintainer", metavar="NAME", help="who runs it (default: a maintainer)")
    again.add_argument("--model", metavar="ID", help="the model, if the record is of a folder (local/...)")


def run(args: argparse.Namespace) -> int:
    """Verifies, and with --replay or --fresh runs the model again. Returns the exit status."""
    from harness.console import quiet_libraries
    from leaderboard.verification import verify

    if args.replay != 0 or args.fresh:
        quiet_libraries()
    again = verify.Again(args.replay, args.fresh, args.rows, args.nonce, args.by, args.model)
    return verify.command(
        args.path, base=args.base, pull_request=args.pull_request, attested=args.attested, own=args.own,
        as_json=args.json, again=again,
    )  # fmt: skip


def _count(text: str) -> int | str | None:
    """None for all of them, "usual" for as many as the dtype of the model asks for."""
    if not re.fullmatch(r"all|usual|-?[0-9]+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number: type PATH --replay K, or PATH --replay all")
    return {"all": None, "usual": text}[text] if text in ("all", "usual") else options.positive(text)
