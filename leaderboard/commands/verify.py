"""`harness verify`: verifies records or a pull request, and runs models again."""

import argparse
import re
from pathlib import Path

from harness.commands import options

HELP = "verify a record, or what a pull request adds"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument(
        "path", metavar="PATH", help="a record, a checkout, a folder of records, or ORG/NAME of the Hub"
    )
    parser.add_argument(
        "--base", type=Path, metavar="DIR", help="the checkout before the change: verify new records, refuse changes"
    )
    parser.add_argument(
        "--pull-request", type=options.positive, metavar="N", help="verify this pull request of ORG/NAME"
    )
    parser.add_argument(
        "--attested",
        action="append",
        default=[],
        metavar="FILE",
        help="file name of an attestation that may be added (repeatable)",
    )
    parser.add_argument(
        "--own",
        action="append",
        default=[],
        metavar="DIGEST",
        help="an earlier record of the same sender, which may be superseded (repeatable)",
    )
    parser.add_argument("--json", action="store_true", help="print the verdicts as JSON")
    replay = parser.add_argument_group("running the model again (writes attestations beside the record)")
    replay.add_argument(
        "--replay", type=_count, nargs="?", default=0, const="usual", metavar="K",
        help="run K sequences again, or all, and compare (without K: 32 of each table, 64 for a model of 16 bits or "
        "fewer)",
    )  # fmt: skip
    replay.add_argument("--fresh", action="store_true", help="evaluate rows of a new seed, and record the gap")
    replay.add_argument(
        "--rows", type=options.positive, metavar="N", help="rows of each split for --fresh (default: at most 500)"
    )
    replay.add_argument("--nonce", metavar="TEXT", help="makes the choice of sequences unpredictable (default: random)")
    replay.add_argument("--by", default="a maintainer", metavar="NAME", help="your name (default: a maintainer)")
    replay.add_argument("--model", metavar="ID", help="the model, if the record names a local folder (local/...)")


def run(args: argparse.Namespace) -> int:
    """Verifies, runs the model again with --replay or --fresh, and returns the exit status."""
    from harness.console import quiet_libraries
    from leaderboard.verification import verify

    replay = verify.ReplayOptions(args.replay, args.fresh, args.rows, args.nonce, args.by, args.model)
    if replay.runs_model:
        quiet_libraries()
    return verify.command(
        args.path, base=args.base, pull_request=args.pull_request, attested=args.attested, own=args.own,
        as_json=args.json, options=replay,
    )  # fmt: skip


def _count(text: str) -> int | str | None:
    """Parses K: None for "all", "usual" for the default number of the model's dtype."""
    if not re.fullmatch(r"all|usual|-?[0-9]+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number. Type PATH --replay K, or PATH --replay all.")
    return {"all": None, "usual": text}[text] if text in ("all", "usual") else options.positive(text)
