"""`fflm-data`: list and show the configs, build a folder of them."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from fflm_data.build import build
from fflm_data.config import Config, ParameterError
from fflm_data.registry import CONFIGS, get_config, parse_assignment


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; the exit status is 2 when what was asked cannot be done."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except ParameterError as error:
        print(f"fflm-data: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"fflm-data: {error.strerror or error}: {error.filename or 'free some space'}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("fflm-data: interrupted", file=sys.stderr)
        return 130
    return 0


class _Parser(argparse.ArgumentParser):
    """Argument errors in one line too."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}: see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="fflm-data", description="The data of fflm, generated on the spot.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    listing = commands.add_parser("list", help="the configs, their splits and rows")
    listing.set_defaults(run=_list)

    show = commands.add_parser("show", help="one config: parameters, splits, first rows")
    show.add_argument("config", metavar="CONFIG", help=f"one of {', '.join(CONFIGS)}")
    show.add_argument("--split", help="the split whose rows to show (default: the first)")
    show.add_argument("--rows", type=int, default=3, help="how many rows (default: 3)")
    _add_set(show)
    show.set_defaults(run=_show)

    building = commands.add_parser("build", help="write a folder that load_dataset(FOLDER) loads")
    building.add_argument("folder", metavar="FOLDER", type=Path)
    building.add_argument("--config", action="append", metavar="NAME", help="only this config (repeatable)")
    _add_set(building)
    building.set_defaults(run=_build)
    return parser


def _add_set(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a parameter (repeatable)"
    )


def _parameters(options: argparse.Namespace) -> dict[str, object]:
    return dict(parse_assignment(text) for text in options.set)


def _list(options: argparse.Namespace) -> None:
    width = max(map(len, CONFIGS))
    for name in CONFIGS:
        config = get_config(name)
        splits = ", ".join(f"{split} {rows:,}" for split, rows in config.splits().items())
        print(f"{name:<{width}}  {config.title} ({config.paper})\n{'':<{width}}  {splits}")


def _show(options: argparse.Namespace) -> None:
    config = get_config(options.config, **_parameters(options))
    split = options.split or next(iter(config.splits()))
    print(f"{config.name}: {config.title} ({config.paper})\n")
    print((type(config).__doc__ or "").strip() + "\n")
    for key, value in config.parameters().items():
        print(f"  {key} = {json.dumps(value)}")
    print()
    for name, rows in config.splits().items():
        print(f"  {name}: {rows:,} rows")
    print(f"\nfirst rows of {split}:")
    for row in config.table(split, 0, options.rows).to_pylist():
        print(json.dumps(row, ensure_ascii=False))


def _build(options: argparse.Namespace) -> None:
    names = options.config or list(CONFIGS)
    parameters = _parameters(options)
    configs: list[Config] = [get_config(name, **parameters) for name in names]
    build(options.folder, configs)
    print(f'{options.folder}: load it with load_dataset("{options.folder.as_posix()}")')


if __name__ == "__main__":
    sys.exit(main())
