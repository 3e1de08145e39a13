"""What to say where a package is missing: the command that installs it. fflm itself is installed from a clone."""

import re

from harness.errors import UserError

# What each extra of setup.cfg brings, by the name that is imported.
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
    """The extra that brings a package, None if none does."""
    return next((extra for extra, packages in EXTRAS.items() if package in packages), None)


def missing(package: str, extra: str) -> str:
    """The refusal where a package of an extra is missing."""
    way = f"in a clone of fflm, pip install -e '.[{extra}]'"
    return f"{package} is not installed, it comes with the extra {extra!r}: {way}"


def lacks_package(error: ImportError, what: str = "a package is missing") -> UserError:
    """What to say where a library wants another one, which may be one of no extra. what: who wants it, in words."""
    reason = " ".join(str(error).split())
    advised = _ADVICE.search(reason)
    package = (error.name or "").split(".")[0] or (advised[1].rstrip(".") if advised else "")
    if extra := extra_of(package):
        return UserError(missing(package, extra))
    return UserError(f"{what} ({reason[:160]}): {f'pip install {package!r}' if package else 'install it'}")
