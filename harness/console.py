"""Command-line tools: a parser with one-line errors, messages, silencing of libraries."""

import argparse
import re
import sys
import warnings
from typing import Any, NoReturn


def echo(text: object, **how: Any) -> None:
    """Calls `fflm_data.terminal.echo`, imported late because `--help` must not import anything heavy."""
    from fflm_data.terminal import echo

    echo(text, **how)


def refuse(reason: str) -> int:
    """Prints an error in one line; returns the exit status 2."""
    echo(f"harness: {reason}", file=sys.stderr)
    return 2


class Parser(argparse.ArgumentParser):
    """A parser that reports errors in one line, with a suggestion and a reference to --help."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # called for subparsers too
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            from fflm_data.suggestions import did_you_mean

            option = next((word for word in unknown if word.startswith("--")), "").partition("=")[0]
            known = re.findall(r"--[a-z][a-z-]*", self.format_usage())
            self.error(f"unrecognized arguments: {' '.join(unknown)}{did_you_mean(option, known)}")
        return parsed, unknown

    def _check_value(self, action: argparse.Action, value: Any) -> None:  # verbs, and options with choices
        known = [*map(str, action.choices or ())]
        if known and value not in known:
            from fflm_data.suggestions import did_you_mean

            hint = did_you_mean(str(value), known)
            raise argparse.ArgumentError(action, f"there is no {value!r}: choose from {', '.join(known)}{hint}")

    def error(self, message: str) -> NoReturn:
        from fflm_data.terminal import visible

        self.exit(2, f"{self.prog}: {visible(message)}: see {self.prog} --help\n")


class ShowVersion(argparse.Action):
    """The action of `--version`. Imports the number late because `--help` must not import anything heavy."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from fflm_data.version import PACKAGE_VERSION

        echo(f"fflm {PACKAGE_VERSION}")
        parser.exit()


def quiet_libraries() -> None:
    """Turns off warnings and progress bars of libraries, which would hide the harness's own output."""
    from huggingface_hub.utils import logging as hub_logging
    from transformers.utils import logging

    if not sys.warnoptions:  # deprecations concern the tests, not users
        for category in (FutureWarning, DeprecationWarning, UserWarning):
            warnings.filterwarnings(
                "ignore", category=category, module=r"(transformers|torch|accelerate|peft|datasets)\b"
            )
    hub_logging.set_verbosity_error()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
