"""Command line `fflm-data`: lists, shows, builds, publishes and checks the data configs."""

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
from fflm_data.registry import CONFIGS, STREAMS, get_config, parse_assignment
from fflm_data.suggestions import did_you_mean
from fflm_data.terminal import echo, visible
from fflm_data.version import PACKAGE_VERSION


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. Returns the exit status: 0, 1 if a check finds a difference, 2 for an error."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options) or 0
    except ParameterError as error:
        echo(f"fflm-data: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # otherwise the final flush fails too
        return 1
    except OSError as error:
        where = error.filename or ("free some space" if error.errno == errno.ENOSPC else "try again")
        echo(f"fflm-data: {error.strerror or error}: {where}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        echo("fflm-data: interrupted", file=sys.stderr)
        return 130


class _Parser(argparse.ArgumentParser):
    """Prints argument errors as one line, with a spelling suggestion."""

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        known = [*map(str, action.choices or ())]
        if known and value not in known:
            hint = did_you_mean(str(value), known)
            raise argparse.ArgumentError(action, f"invalid choice {value!r}: choose from {', '.join(known)}{hint}")

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {visible(message)}: see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="fflm-data", description="Generate, publish and check the benchmark data of fflm.")
    parser.add_argument(
        "--version", action="version", version=f"fflm {PACKAGE_VERSION}", help="show the version and exit"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    listing = commands.add_parser("list", help="list the configs with their splits and numbers of rows")
    listing.set_defaults(run=_list)

    show = commands.add_parser("show", help="show the parameters, splits and first rows of a config")
    show.add_argument("config", metavar="CONFIG", help=f"one of {', '.join(CONFIGS | STREAMS)}")
    show.add_argument("--split", help="split to show (default: the first)")
    show.add_argument("--rows", type=int, default=3, help="number of rows to show (default: 3)")
    show.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="set a parameter (repeatable)")
    show.set_defaults(run=_show)

    building = commands.add_parser("build", help="write a dataset folder for load_dataset(FOLDER)")
    building.add_argument("folder", metavar="FOLDER", type=Path)
    _add_selection(building)
    building.set_defaults(run=_build)

    pushing = commands.add_parser("push", help="publish configs on the Hugging Face Hub in one commit")
    pushing.add_argument("repository", metavar="ORG/NAME")
    _add_selection(pushing)
    pushing.add_argument("--tag", help="tag the commit; existing tags are never moved")
    pushing.add_argument("--create-pr", action="store_true", help="open a pull request instead of writing to main")
    pushing.add_argument("--private", action="store_true", help="make a new repository private")
    pushing.add_argument("--dry-run", action="store_true", help="list the files to upload, but upload nothing")
    pushing.set_defaults(run=_push)

    checking = commands.add_parser("check", help="compare a folder or repository with freshly generated rows")
    checking.add_argument("source", metavar="FOLDER|ORG/NAME", help="dataset of fflm, or any flip-flop strings")
    checking.add_argument("--revision", help="branch, tag or commit of the repository")
    checking.add_argument(
        "--limit", type=int, metavar="N", help="external datasets: check the first N strings of each split"
    )
    checking.set_defaults(run=_check)
    return parser


def _add_selection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", action="append", metavar="NAME", help="only this config (repeatable)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="set a parameter of all selected configs, or of one with CONFIG.KEY=VALUE (repeatable)",
    )


def _selected(options: argparse.Namespace) -> list[Config]:
    """Returns the selected configs (default: all) with their parameters."""
    names = list(dict.fromkeys(options.config or CONFIGS))
    for name in names:
        if name in STREAMS:
            raise ParameterError(f"{name} is an infinite stream. Use it through load_dataset(..., streaming=True).")
    parameters: dict[str, dict[str, object]] = {name: {} for name in names}
    for text in options.set:
        key, value = parse_assignment(text)
        config, dot, parameter = key.rpartition(".")
        if dot and config not in parameters:
            near = did_you_mean(config, names)
            raise ParameterError(f"--set {text} names no selected config. Choose one of {', '.join(names)}{near}")
        for name in [config] if dot else names:
            parameters[name][parameter] = value
    return [get_config(name, **values) for name, values in parameters.items()]


def _list(options: argparse.Namespace) -> None:
    width = max(map(len, CONFIGS | STREAMS))
    for name in CONFIGS | STREAMS:
        config = get_config(name)
        echo(f"{name:<{width}}  {config.title} ({config.paper})\n{'':<{width}}  {_format_splits(config)}", lines=True)


def _format_splits(config: Config) -> str:
    return ", ".join(
        f"{split} infinite" if config.name in STREAMS else f"{split} {rows:,}"
        for split, rows in config.splits().items()
    )


def _show(options: argparse.Namespace) -> None:
    config = get_config(options.config, **dict(parse_assignment(text) for text in options.set))
    split = options.split or next(iter(config.splits()))
    rows = config.table(split, 0, options.rows)
    echo(f"{config.name}: {config.title} ({config.paper})\n", lines=True)
    echo(inspect.cleandoc(type(config).__doc__ or "") + "\n", lines=True)
    for key, value in config.parameters().items():
        echo(f"  {key} = {json.dumps(value)}")
    echo(f"\n  rows: {_format_splits(config)}\n\nfirst rows of {split}:", lines=True)
    for row in rows.to_pylist():
        echo(json.dumps(row, ensure_ascii=False))


def _build(options: argparse.Namespace) -> None:
    build(options.folder, _selected(options))
    echo(f'{options.folder}: load it with load_dataset("{options.folder.resolve().as_posix()}")')


def _push(options: argparse.Namespace) -> None:
    from fflm_data.publish import push

    _quiet_libraries()
    result = push(
        options.repository,
        _selected(options),
        create_pr=options.create_pr,
        private=options.private,
        tag=options.tag,
        dry_run=options.dry_run,
    )
    would = "would be " if options.dry_run else ""
    for path, size in result.files.items():
        echo(f"{size:>14,} bytes  {path}")
    for path in result.deleted:
        echo(f"{'deleted':>20}  {path}")
    if result.unchanged:
        echo(f"unchanged: {', '.join(result.unchanged)}")
    if result.deleted and not result.files:
        echo(f"nothing to upload, {len(result.deleted)} files {would}deleted")
    elif result.files:
        files = "1 file" if len(result.files) == 1 else f"{len(result.files)} files"
        echo(f"{files}, {sum(result.files.values()):,} bytes, {would}uploaded")
    else:
        echo(f"nothing to upload: {options.repository} is up to date")
    if result.tagged:
        echo(f"tag {options.tag} {would}set")
    if result.url:
        echo(result.url)


def _quiet_libraries() -> None:
    """Silences the logs of the libraries (errors are reported here), and progress bars if stderr is no terminal."""
    import datasets
    import huggingface_hub

    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    huggingface_hub.logging.set_verbosity(huggingface_hub.logging.CRITICAL)
    if not sys.stderr.isatty():
        huggingface_hub.utils.disable_progress_bars()


def _check(options: argparse.Namespace) -> int:
    from fflm_data.check import check, find_manifest, resolve_source
    from fflm_data.external_strings import estimate_splits, format_estimate

    _quiet_libraries()
    source = resolve_source(options.source)
    if options.revision is not None and Path(source).exists():
        raise ParameterError(f"{options.source} is a folder and has no revisions. Omit --revision.")
    manifest = find_manifest(source, options.revision)
    failures = 0
    if manifest is None:
        for estimate in estimate_splits(source, options.revision, options.limit):
            echo(format_estimate(estimate), lines=True)
            failures += bool(estimate.fault)
        return 1 if failures else 0
    for finding in check(source, manifest, options.revision):
        echo(f"{finding.config}/{finding.split}: {finding.fault or f'{finding.rows:,} rows match'}")
        failures += bool(finding.fault)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
