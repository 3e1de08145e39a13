"""Differences between two JSON values, and which of them cause the others."""

import json
import re
from typing import Any

Names = tuple[str, ...]
Changes = dict[Names, tuple[Any, Any]]

# Longer strings are cut; longer JSON values are not quoted.
MAX_QUOTED = 64
# Changes of a task that follow from other changes; only the causes are reported. Consequence: cause, both patterns.
_OTHER_ROWS = r"(?:parameters|version)\b|all: data\.generator"
CAUSES = {
    r"fingerprint|splits\.[^.]*(?:\.of)?": _OTHER_ROWS,
    r"prompting\.opened": r"prompting\.(?:template|thinking)",
    r"prompting\.(?:switch|marks)": r"prompting\.template",
    r"rendering\.first_token(?:s|_is_bos)": rf"{_OTHER_ROWS}|prompting\b|rendering\.text|all: model\.",
}


def differences(before: Any, now: Any, name: str = "") -> list[str]:
    """One phrase for each difference between two JSON values. name: prefix of their paths."""
    return [describe(path, *values) for path, values in changes_between(before, now, (name,) if name else ()).items()]


def changes_between(before: Any, now: Any, path: Names = ()) -> Changes:
    """The old and the new value by the path of keys that leads to them."""
    if before == now:
        return {}
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return {path: (before, now)}
    changes: Changes = {}
    for key in [*before, *(key for key in now if key not in before)]:
        changes |= changes_between(before.get(key), now.get(key), (*path, str(key)))
    return changes


def without_consequences(changes: Changes) -> Changes:
    """The changes that do not follow from other changes."""
    return {path: values for path, values in changes.items() if not _follows(path, changes)}


def _follows(path: Names, changes: Changes) -> bool:
    """Whether a change of a task follows from another change of the same task or of the whole run."""
    if path[:2] != ("data", "tasks"):
        return False
    if path[3:4] == ("splits",) and path[-1] == "rows" and changes.get((*path[:-1], "of")) == changes[path]:
        return True  # all rows were evaluated, and the size of the split has changed
    consequence = ".".join(path[3:])
    others = [".".join(other[3:]) if other[:3] == path[:3] else f"all: {'.'.join(other)}" for other in changes]
    return any(
        re.fullmatch(pattern, consequence) and any(re.match(cause, other) for other in others)
        for pattern, cause in CAUSES.items()
    )


def describe(path: Names, before: Any, now: Any) -> str:
    """One difference as a phrase."""
    name, values = ".".join(path), (before, now)
    texts = [value if isinstance(value, str) else json.dumps(value) for value in values]
    if any(len(text) > MAX_QUOTED and not isinstance(value, str) for text, value in zip(texts, values, strict=True)):
        return f"{name} differs"
    was, is_now = (text if len(text) <= MAX_QUOTED else text[:MAX_QUOTED] + "..." for text in texts)
    return f"{name} was {was}, is {is_now}"
