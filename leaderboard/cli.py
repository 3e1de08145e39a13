"""The verbs of the leaderboard: `harness submit`, `harness verify`, `harness leaderboard ...`; what a verb needs is
imported when it runs."""

import argparse
import re
from pathlib import Path
from typing import Any

from harness import options
from harness.errors import UserError


def add_verbs(verbs: Any) -> None:
    """Adds them to the subparsers of `harness`."""
    _add_submit(verbs.add_parser("submit", help="make a record of a run and send it to a leaderboard"))
    _add_verify(verbs.add_parser("verify", help="judge a record, or what a pull request adds"))
    board = verbs.add_parser("leaderboard", help="the site of records, and what goes to and from the Hub")
    _add_leaderboard(board.add_subparsers(required=True, metavar="VERB"))


def _add_submit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="RUN", type=Path, help="a run folder")
    parser.add_argument("--to", metavar="TARGET", help="ORG/NAME of the Hub (opens a pull request) or a git checkout")
    terms = parser.add_argument_group("who submits, on which terms (or --about FILE, a TOML file of the same names)")
    terms.add_argument("--contact", metavar="TEXT", help="whom to ask: a name of the Hub, or an address")
    terms.add_argument("--licence", metavar="NAME", help="of the observations, such as CC-BY-4.0")
    terms.add_argument("--division", metavar="NAME", help="pretrained, or 'trained on fflm'")
    terms.add_argument(
        "--disclosure",
        metavar="TEXT",
        help="what ties you to the model; what of these rows may be in its training data",
    )
    terms.add_argument(
        "--supersedes", action="append", metavar="DIGEST", help="a record that this one takes the place of (repeatable)"
    )
    terms.add_argument("--about", type=Path, metavar="FILE", help="the same in a TOML file")
    parser.add_argument("--dry-run", action="store_true", help="judge it and show its row, and send nothing")
    parser.add_argument(
        "--hub-results",
        action="store_true",
        help="open a pull request with .eval_results/fflm.yaml on the model's page",
    )
    parser.add_argument("--dataset", metavar="ORG/NAME", help="the published data that --hub-results speaks of")
    parser.add_argument("--source-url", metavar="URL", help="where --hub-results says that the outputs are")
    parser.set_defaults(run=_submit)


def _add_verify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "path", metavar="PATH", help="a record, a checkout, a folder of records, or ORG/NAME of the Hub"
    )
    parser.add_argument(
        "--base", type=Path, metavar="DIR", help="the checkout before: judge what is new, refuse changes"
    )
    parser.add_argument("--pull-request", type=options.positive, metavar="N", help="judge this request of ORG/NAME")
    parser.add_argument(
        "--attested",
        action="append",
        default=[],
        metavar="FILE",
        help="the name of an attestation that you wrote, which may be added (repeatable)",
    )
    parser.add_argument(
        "--own",
        action="append",
        default=[],
        metavar="DIGEST",
        help="an earlier record that the same account sent, by its host, and may supersede (repeatable)",
    )
    parser.add_argument("--json", action="store_true", help="verdicts for machines")
    again = parser.add_argument_group("asking the model again (writes attestations beside the record)")
    again.add_argument(
        "--replay", type=_count, nargs="?", default=0, const="usual", metavar="K",
        help="ask K sequences again, or all, and compare (without K: 32 of each table, 64 of a model of 16 bits or "
        "fewer)",
    )  # fmt: skip
    again.add_argument("--fresh", action="store_true", help="ask rows of a new seed, and record the gap")
    again.add_argument(
        "--rows", type=options.positive, metavar="N", help="of each split for --fresh (default: at most 500)"
    )
    again.add_argument("--nonce", metavar="TEXT", help="what makes the choice unforeseeable (default: drawn now)")
    again.add_argument("--by", default="a maintainer", metavar="NAME", help="who asks (default: a maintainer)")
    again.add_argument("--model", metavar="ID", help="the model, where the record's id is that of a folder (local/...)")
    parser.set_defaults(run=_verify)


def _add_leaderboard(verbs: Any) -> None:
    build = verbs.add_parser("build", help="write the static site")
    build.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the site goes")
    build.add_argument(
        "--run", dest="runs", type=Path, nargs="+", action="extend", default=[], metavar="RUN",
        help="run folders to show beside the records (repeatable)",
    )  # fmt: skip
    build.add_argument(
        "--records", metavar="DIR", help="a checkout, or ORG/NAME of the Hub (default: what came with fflm)"
    )
    build.add_argument("--url", metavar="URL", help="where the site will lie, for its feed")
    build.set_defaults(run=_build)

    serve = verbs.add_parser("serve", help="look at a site here")
    serve.add_argument("folder", type=Path, nargs="?", default=Path("site"), metavar="DIR", help="default: site")
    serve.add_argument("--port", type=options.not_negative, default=8000, help="default: 8000; 0 takes a free one")
    serve.set_defaults(run=_serve)

    publish = verbs.add_parser("publish", help="push a site to the Hub as a static Space")
    publish.add_argument("--space", required=True, metavar="ORG/NAME", help="the Space, made if need be")
    publish.add_argument(
        "--site", type=Path, default=Path("site"), metavar="DIR", help="the built site (default: site)"
    )
    publish.set_defaults(run=_publish)

    export = verbs.add_parser("export", help="write a record in the schema of Every Eval Ever")
    export.add_argument("record", type=Path, metavar="RECORD", help="a record's folder")
    export.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the file goes")
    export.set_defaults(run=_export)

    takes = verbs.add_parser("import", help="take results from models' own pages, as reported ones")
    takes.add_argument("models", nargs="+", metavar="MODEL", help="ids of the Hub")
    takes.add_argument("--dataset", required=True, metavar="ORG/NAME", help="the published data they must speak of")
    takes.add_argument("--to", type=Path, required=True, metavar="CHECKOUT", help="a checkout of a results repository")
    takes.set_defaults(run=_import)

    withdraw = verbs.add_parser("withdraw", help="say beside a record that it no longer counts")
    withdraw.add_argument("record", type=Path, metavar="RECORD", help="a record's folder")
    withdraw.add_argument("--reason", required=True, metavar="TEXT", help="why, for readers")
    withdraw.add_argument("--by", default="a maintainer", metavar="NAME", help="who says so (default: a maintainer)")
    withdraw.set_defaults(run=_withdraw)


def _count(text: str) -> int | str | None:
    """None for all of them, "usual" for as many as the dtype of the model asks for."""
    if not re.fullmatch(r"all|usual|-?[0-9]+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number: type PATH --replay K, or PATH --replay all")
    return {"all": None, "usual": text}[text] if text in ("all", "usual") else options.positive(text)


def _submit(given: argparse.Namespace) -> None:
    from leaderboard import submission, submit

    submit.require_places(given.folder, given.to)
    if not (given.to or given.hub_results or given.dry_run):
        raise UserError("where to is not said: add --to ORG/NAME, --to CHECKOUT, or --hub-results")
    if given.hub_results:
        from harness.run import read_run
        from leaderboard.hub import model_pages

        if not given.dataset:
            raise UserError("--hub-results speaks of published data: add --dataset ORG/NAME")
        url = model_pages.propose(read_run(given.folder), given.dataset, given.source_url)
        from fflm_data.terminal import say

        say(f"{url}: the pull request is open")
    if given.to or not given.hub_results:
        names = ("contact", "licence", "division", "disclosure", "supersedes")
        terms = submission.stated({name: getattr(given, name) for name in names}, given.about, submit.today())
        submit.command(given.folder, given.to, terms, given.dry_run)


def _verify(given: argparse.Namespace) -> int:
    from harness.cli import quiet_libraries
    from leaderboard import verify

    if given.replay != 0 or given.fresh:
        quiet_libraries()
    again = verify.Again(given.replay, given.fresh, given.rows, given.nonce, given.by, given.model)
    return verify.command(
        given.path, base=given.base, pull_request=given.pull_request, attested=given.attested, own=given.own,
        as_json=given.json, again=again,
    )  # fmt: skip


def _build(given: argparse.Namespace) -> None:
    from leaderboard.hub import repository
    from leaderboard.records import records_of
    from leaderboard.site import build

    if given.records is None:
        build.command(given.out, given.runs, None, given.url)
    elif Path(given.records).is_dir():
        build.command(given.out, given.runs, records_of(Path(given.records)), given.url)
    elif Path(given.records).exists():
        raise UserError(f"{given.records} is no folder: name a checkout, or ORG/NAME of the Hub, with --records")
    else:
        with repository.fetched(given.records, None) as fetched:
            build.command(given.out, given.runs, fetched.root / repository.RECORDS, given.url)


def _serve(given: argparse.Namespace) -> None:
    from leaderboard.site import serve

    serve.command(given.folder, given.port)


def _publish(given: argparse.Namespace) -> None:
    from leaderboard.hub import space

    space.command(given.space, given.site)


def _export(given: argparse.Namespace) -> None:
    from leaderboard.exchange import export

    export.command(given.record, given.out)


def _import(given: argparse.Namespace) -> None:
    from leaderboard.hub import model_pages

    model_pages.import_command(given.models, given.dataset, given.to)


def _withdraw(given: argparse.Namespace) -> None:
    from leaderboard import withdraw

    withdraw.command(given.record, given.reason, given.by)
