"""`fflm-data`: list and show the configs, build a folder of them, publish it, check what lies anywhere."""

import argparse
import errno
import inspect
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from fflm_data.build import build
from fflm_data.config import Config, ParameterError
from fflm_data.names import did_you_mean
from fflm_data.registry import CONFIGS, STREAMS, get_config, parse_assignment
from fflm_data.terminal import say, visible
from fflm_data.version import PACKAGE_VERSION


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; the exit status is 1 when a check finds a fault, 2 when what was asked cannot be done."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options) or 0
    except ParameterError as error:
        say(f"fflm-data: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or its flush at the end fails too
        return 1
    except OSError as error:
        where = error.filename or ("free some space" if error.errno == errno.ENOSPC else "try again")
        say(f"fflm-data: {error.strerror or error}: {where}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        say("fflm-data: interrupted", file=sys.stderr)
        return 130


class _Parser(argparse.ArgumentParser):
    """Argument errors in one line too, with what was probably meant."""

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        known = [*map(str, action.choices or ())]
        if known and value not in known:
            hint = did_you_mean(str(value), known)
            raise argparse.ArgumentError(action, f"there is no {value!r}: choose from {', '.join(known)}{hint}")

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {visible(message)}: see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="fflm-data", description="The data of fflm, generated on the spot.")
    parser.add_argument(
        "--version", action="version", version=f"fflm {PACKAGE_VERSION}", help="show the version and exit"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    listing = commands.add_parser("list", help="the configs, their splits and rows")
    listing.set_defaults(run=_list)

    show = commands.add_parser("show", help="one config: parameters, splits, first rows")
    show.add_argument("config", metavar="CONFIG", help=f"one of {', '.join(CONFIGS | STREAMS)}")
    show.add_argument("--split", help="the split whose rows to show (default: the first)")
    show.add_argument("--rows", type=int, default=3, help="how many rows (default: 3)")
    show.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a parameter (repeatable)")
    show.set_defaults(run=_show)

    building = commands.add_parser("build", help="write a folder that load_dataset(FOLDER) loads")
    building.add_argument("folder", metavar="FOLDER", type=Path)
    _add_selection(building)
    building.set_defaults(run=_build)

    pushing = commands.add_parser("push", help="publish on the Hugging Face Hub, in one commit")
    pushing.add_argument("repository", metavar="ORG/NAME")
    _add_selection(pushing)
    pushing.add_argument("--tag", help="tag the commit; a tag that is there stays as it is")
    pushing.add_argument("--create-pr", action="store_true", help="open a pull request instead of writing to main")
    pushing.add_argument("--private", action="store_true", help="make a new repository private")
    pushing.add_argument("--dry-run", action="store_true", help="say what would be uploaded, upload nothing")
    pushing.set_defaults(run=_push)

    checking = commands.add_parser("check", help="compare a folder or repository with the rows generated here")
    checking.add_argument("source", metavar="FOLDER|ORG/NAME", help="a set of fflm, or any set of flip-flop strings")
    checking.add_argument("--revision", help="a branch, tag or commit of the repository")
    checking.add_argument("--limit", type=int, metavar="N", help="of a foreign set, the first N strings of each split")
    checking.set_defaults(run=_check)
    return parser


def _add_selection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", action="append", metavar="NAME", help="only this config (repeatable)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a parameter of all these configs, or with CONFIG.KEY=VALUE of one (repeatable)",
    )


def _selected(options: argparse.Namespace) -> list[Config]:
    """The configs named, or all, with their parameters."""
    names = list(dict.fromkeys(options.config or CONFIGS))
    for name in names:
        if name in STREAMS:
            raise ParameterError(f"{name} has no end: it can only be streamed, by load_dataset")
    parameters: dict[str, dict[str, object]] = {name: {} for name in names}
    for text in options.set:
        key, value = parse_assignment(text)
        config, dot, parameter = key.rpartition(".")
        if dot and config not in parameters:
            near = did_you_mean(config, names)
            raise ParameterError(
                f"--set {text} is for {config or 'no config'}: the configs are {', '.join(names)}{near}"
            )
        for name in [config] if dot else names:
            parameters[name][parameter] = value
    return [get_config(name, **chosen) for name, chosen in parameters.items()]


def _list(options: argparse.Namespace) -> None:
    width = max(map(len, CONFIGS | STREAMS))
    for name in CONFIGS | STREAMS:
        config = get_config(name)
        say(f"{name:<{width}}  {config.title} ({config.paper})\n{'':<{width}}  {_rows(config)}", lines=True)


def _rows(config: Config) -> str:
    return ", ".join(
        f"{split} without end" if config.name in STREAMS else f"{split} {rows:,}"
        for split, rows in config.splits().items()
    )


def _show(options: argparse.Namespace) -> None:
    config = get_config(options.config, **dict(parse_assignment(text) for text in options.set))
    split = options.split or next(iter(config.splits()))
    rows = config.table(split, 0, options.rows)
    say(f"{config.name}: {config.title} ({config.paper})\n", lines=True)
    say(inspect.cleandoc(type(config).__doc__ or "") + "\n", lines=True)
    for key, value in config.parameters().items():
        say(f"  {key} = {json.dumps(value)}")
    say(f"\n  rows: {_rows(config)}\n\nfirst rows of {split}:", lines=True)
    for row in rows.to_pylist():
        say(json.dumps(row, ensure_ascii=False))


def _build(options: argparse.Namespace) -> None:
    build(options.folder, _selected(options))
    say(f'{options.folder}: load it with load_dataset("{options.folder.resolve().as_posix()}")')


def _push(options: argparse.Namespace) -> None:
    from fflm_data.publish import push

    _quiet_libraries()
    done = push(
        options.repository,
        _selected(options),
        create_pr=options.create_pr,
        private=options.private,
        tag=options.tag,
        dry_run=options.dry_run,
    )
    would = "would be " if options.dry_run else ""
    for path, size in done.files.items():
        say(f"{size:>14,} bytes  {path}")
    for path in done.deleted:
        say(f"{'deleted':>20}  {path}")
    if done.kept:
        say(f"there already: {', '.join(done.kept)}")
    if done.deleted and not done.files:
        say(f"nothing to upload, {len(done.deleted)} files {would}deleted")
    elif done.files:
        files = "1 file" if len(done.files) == 1 else f"{len(done.files)} files"
        say(f"{files}, {sum(done.files.values()):,} bytes, {would}uploaded")
    else:
        say(f"nothing to upload: {options.repository} holds these rows")
    if done.tagged:
        say(f"tag {options.tag} {would}set")
    if done.url:
        say(done.url)


def _quiet_libraries() -> None:
    """What goes wrong is said once, by us; and the client's bars are drawn on a terminal only, as ours are."""
    import datasets
    import huggingface_hub

    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    huggingface_hub.logging.set_verbosity(huggingface_hub.logging.CRITICAL)
    if not sys.stderr.isatty():
        huggingface_hub.utils.disable_progress_bars()


def _check(options: argparse.Namespace) -> int:
    from fflm_data.check import check, find_manifest, locate
    from fflm_data.foreign import describe, examine

    _quiet_libraries()
    source = locate(options.source)
    if options.revision is not None and Path(source).exists():
        raise ParameterError(f"{options.source} is no repository and has no revisions: leave out --revision")
    manifest = find_manifest(source, options.revision)
    faults = 0
    if manifest is None:
        for estimate in examine(source, options.revision, options.limit):
            say(describe(estimate), lines=True)
            faults += bool(estimate.fault)
        return 1 if faults else 0
    for finding in check(source, manifest, options.revision):
        say(f"{finding.config}/{finding.split}: {finding.fault or f'{finding.rows:,} rows as generated'}")
        faults += bool(finding.fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
