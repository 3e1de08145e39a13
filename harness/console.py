"""The command line's own tools: a parser whose errors are one line, messages, and libraries that stay quiet."""

import argparse
import re
import sys
import warnings
from typing import Any, NoReturn


def say(text: object, **how: Any) -> None:
    """`fflm_data.terminal.say`, imported when something is printed: `--help` imports nothing heavy."""
    from fflm_data.terminal import say

    say(text, **how)


def refuse(reason: str) -> int:
    """Prints the one line of an error; returns the exit status."""
    say(f"harness: {reason}", file=sys.stderr)
    return 2


class Parser(argparse.ArgumentParser):
    """A parser that reports an error in one line, with a suggestion and the command that prints the help."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # what a subparser is called with
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            from fflm_data.suggestions import did_you_mean

            option = next((word for word in unknown if word.startswith("--")), "").partition("=")[0]
            known = re.findall(r"--[a-z][a-z-]*", self.format_usage())
            self.error(f"unrecognized arguments: {' '.join(unknown)}{did_you_mean(option, known)}")
        return found, unknown

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
    """`--version`; the number is imported when it is asked for: `--help` imports nothing heavy."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from fflm_data.version import PACKAGE_VERSION

        say(f"fflm {PACKAGE_VERSION}")
        parser.exit()


def quiet_libraries() -> None:
    """Turns off the warnings and progress bars of the libraries, which would hide our own."""
    from huggingface_hub.utils import logging as hub_logging
    from transformers.utils import logging

    if not sys.warnoptions:  # deprecations are for our tests, not for a user's run
        for kind in (FutureWarning, DeprecationWarning, UserWarning):
            warnings.filterwarnings("ignore", category=kind, module=r"(transformers|torch|accelerate|peft|datasets)\b")
    hub_logging.set_verbosity_error()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
