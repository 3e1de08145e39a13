"""`harness leaderboard ...`: the site, and exchange with the Hub."""

import argparse
from pathlib import Path
from typing import Any

from harness.commands import options
from harness.errors import UserError

HELP = "build and publish the site; exchange results with the Hub"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the subcommands."""
    _add_verbs(parser.add_subparsers(required=True, metavar="VERB"))


def run(args: argparse.Namespace) -> None:
    """Runs the chosen subcommand."""
    args.action(args)


def _add_verbs(verbs: Any) -> None:
    build = verbs.add_parser("build", help="write the static site")
    build.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the site")
    build.add_argument(
        "--run", dest="runs", type=Path, nargs="+", action="extend", default=[], metavar="RUN",
        help="run folders to show with the records (repeatable)",
    )  # fmt: skip
    build.add_argument(
        "--records", metavar="DIR", help="a checkout, or ORG/NAME of the Hub (default: the records of this clone)"
    )
    build.add_argument("--url", metavar="URL", help="the address of the site, for its feed")
    build.set_defaults(action=_build)

    serve = verbs.add_parser("serve", help="serve a site on this machine")
    serve.add_argument("folder", type=Path, nargs="?", default=Path("site"), metavar="DIR", help="default: site")
    serve.add_argument("--port", type=options.not_negative, default=8000, help="default: 8000; 0 takes a free one")
    serve.set_defaults(action=_serve)

    publish = verbs.add_parser("publish", help="push a site to the Hub as a static Space")
    publish.add_argument("--space", required=True, metavar="ORG/NAME", help="the Space, created if it does not exist")
    publish.add_argument(
        "--site", type=Path, default=Path("site"), metavar="DIR", help="the built site (default: site)"
    )
    publish.set_defaults(action=_publish)

    export = verbs.add_parser("export", help="write a record in the format of Every Eval Ever")
    export.add_argument("record", type=Path, metavar="RECORD", help="a record's folder")
    export.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the exported files")
    export.set_defaults(action=_export)

    imports = verbs.add_parser("import", help="import results from model pages, as reported")
    imports.add_argument("models", nargs="+", metavar="MODEL", help="ids of the Hub")
    imports.add_argument(
        "--dataset", required=True, metavar="ORG/NAME", help="the published dataset that the results must refer to"
    )
    imports.add_argument(
        "--to", type=Path, required=True, metavar="CHECKOUT", help="a checkout of a results repository"
    )
    imports.set_defaults(action=_import)

    withdraw = verbs.add_parser("withdraw", help="mark a record as withdrawn")
    withdraw.add_argument("record", type=Path, metavar="RECORD", help="a record's folder")
    withdraw.add_argument("--reason", required=True, metavar="TEXT", help="the reason, shown to readers")
    withdraw.add_argument(
        "--by", default="a maintainer", metavar="NAME", help="who withdraws it (default: a maintainer)"
    )
    withdraw.set_defaults(action=_withdraw)


def _build(args: argparse.Namespace) -> None:
    from leaderboard.hub import repository
    from leaderboard.records import records_of
    from leaderboard.site import build

    if args.records is None:
        build.command(args.out, args.runs, None, args.url)
    elif Path(args.records).is_dir():
        build.command(args.out, args.runs, records_of(Path(args.records)), args.url)
    elif Path(args.records).exists():
        raise UserError(f"{args.records} is not a folder. Name a checkout or ORG/NAME of the Hub with --records.")
    else:
        with repository.fetched(args.records, None) as fetched:
            build.command(args.out, args.runs, fetched.root / repository.RECORDS, args.url)


def _serve(args: argparse.Namespace) -> None:
    from leaderboard.site import serve

    serve.command(args.folder, args.port)


def _publish(args: argparse.Namespace) -> None:
    from leaderboard.hub import space

    space.command(args.space, args.site)


def _export(args: argparse.Namespace) -> None:
    from leaderboard.exchange import export

    export.command(args.record, args.out)


def _import(args: argparse.Namespace) -> None:
    from leaderboard.hub import model_pages

    model_pages.import_command(args.models, args.dataset, args.to)


def _withdraw(args: argparse.Namespace) -> None:
    from leaderboard import withdraw

    withdraw.command(args.record, args.reason, args.by)
