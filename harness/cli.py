"""`harness VERB ...`: finds the verbs, runs one, and reports errors in one line with an exit status.

A verb is a module in the entry-point group `fflm.verbs` (setup.cfg), with `HELP`, `add_arguments(parser)` and
`run(args)`: those in `harness/commands` and in `leaderboard/commands`.
"""

import os
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from types import ModuleType

from harness.console import Parser, ShowVersion, echo, refuse
from harness.engine import threads
from harness.errors import LostProcess, UserError
from harness.models import packages

VERBS = "fflm.verbs"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb. Returns the exit status: 2 for an error that the user can fix."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    args = parser().parse_args(arguments)
    args.arguments = arguments
    threads.wait_briefly()
    try:
        return args.run(args) or 0
    except ModuleNotFoundError as error:
        extra = packages.extra_of((error.name or "").split(".")[0])
        if extra is None:
            raise
        return refuse(packages.missing(str(error.name), extra))
    except UserError as error:
        reported_elsewhere = isinstance(error, LostProcess) and os.environ.get("RANK", "0") != "0"
        return 2 if reported_elsewhere else refuse(str(error))
    except BrokenPipeError:  # the reader of the output, such as `head`, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # otherwise the final flush fails too
        return 1
    except (ValueError, OSError) as error:
        if isinstance(error, ValueError) and not _is_parameter_error(error):
            raise
        return refuse(_reason(error))
    except KeyboardInterrupt:
        if os.environ.get("RANK", "0") == "0":
            echo("harness: interrupted; the same command resumes this run", file=sys.stderr)
        return 130


def parser() -> Parser:
    """The parser of all verbs. It exits with status 2 on invalid arguments."""
    harness = Parser(prog="harness", description="Tests whether a language model can hold one bit and count to n.")
    harness.add_argument("--version", action=ShowVersion, nargs=0, help="show the version and exit")
    subparsers = harness.add_subparsers(required=True, metavar="VERB")
    for name, verb in find_verbs().items():
        subparser = subparsers.add_parser(name, help=verb.HELP)
        subparser.set_defaults(run=verb.run)
        verb.add_arguments(subparser)
    return harness


def find_verbs() -> dict[str, ModuleType]:
    """The modules of all verbs, by name in alphabetical order."""
    entries = {entry.name: entry for entry in entry_points(group=VERBS)}
    if not entries:
        sys.exit(refuse("no verbs are installed: in a clone of fflm, pip install -e '.[eval]'"))
    return {name: entries[name].load() for name in sorted(entries)}


def _is_parameter_error(error: ValueError) -> bool:
    """Whether the data package raised it, for an invalid parameter or a response of the Hub."""
    from fflm_data import ParameterError

    return isinstance(error, ParameterError)


def _reason(error: Exception) -> str:
    if not isinstance(error, OSError):
        return str(error)
    return f"{error.strerror or error}: {error.filename or 'free some space or name another folder'}"


if __name__ == "__main__":
    sys.exit(main())
