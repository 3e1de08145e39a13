"""Errors for missing packages, with the command that installs them. fflm is installed from a clone."""

import re

from harness.errors import UserError

# The packages of each extra in setup.cfg, by import name.
EXTRAS = {
    "eval": {
        "torch", "transformers", "accelerate", "evaluate", "filelock", "psutil", "scipy", "jinja2", "jsonschema",
        "matplotlib", "rich", "tabulate", "gguf", "tomli",
    },
    "adapters": {"peft"},
    "quantization": {"bitsandbytes"},
}  # fmt: skip
_ADVICE = re.compile(r"pip install (?:-\S+ )*['\"]?([A-Za-z0-9][\w.-]*(?:\[[\w,]+\])?)")


def extra_of(package: str) -> str | None:
    """The extra that installs a package, None if none does."""
    return next((extra for extra, packages in EXTRAS.items() if package in packages), None)


def missing(package: str, extra: str) -> str:
    """The error message for a missing package of an extra."""
    command = f"in a clone of fflm, pip install -e '.[{extra}]'"
    return f"{package} is not installed; it is part of the extra {extra!r}: {command}"


def lacks_package(error: ImportError, what: str = "a package is missing") -> UserError:
    """The error for a package that a library fails to import, in an extra or not. what: which feature needs it."""
    reason = " ".join(str(error).split())
    advised = _ADVICE.search(reason)
    package = (error.name or "").split(".")[0] or (advised[1].rstrip(".") if advised else "")
    if extra := extra_of(package):
        return UserError(missing(package, extra))
    return UserError(f"{what} ({reason[:160]}): {f'pip install {package!r}' if package else 'install it'}")
