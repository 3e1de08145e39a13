"""What each of several runs is called in one table or plot."""

from collections.abc import Sequence
from typing import Any


def labels(models: Sequence[dict[str, Any]]) -> list[str]:
    """The models' ids, with what tells runs of one model apart."""
    found = [str(model["id"]) for model in models]
    for name, digits in (("dtype", None), ("revision", 7)):
        doubled = {label for label in found if found.count(label) > 1}
        if doubled:
            found = [
                f"{label} {str(model[name])[:digits]}" if label in doubled else label
                for label, model in zip(found, models, strict=True)
            ]
    return [
        f"{label} ({found[:place].count(label) + 1})" if found.count(label) > 1 else label
        for place, label in enumerate(found)
    ]
