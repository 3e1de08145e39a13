"""Distinct labels of several runs in one table or plot."""

from collections.abc import Sequence
from typing import Any

from harness.models.model_name import adapter_name, label


def labels(models: Sequence[dict[str, Any]]) -> list[str]:
    """A label per model: its name, with dtype, revision or other details where names are equal."""
    names = [label(model) for model in models]
    for details in (
        [str(model["dtype"]) for model in models],
        [str(model["revision"])[:7] for model in models],
        [str(model.get("gguf_file") or "") for model in models],
        [adapter_name(model).partition(" @ ")[2][:7] for model in models],
    ):
        duplicates = {name for name in names if names.count(name) > 1}
        names = [
            f"{name} {detail}".rstrip() if name in duplicates else name
            for name, detail in zip(names, details, strict=True)
        ]
    return [
        f"{name} ({names[:index].count(name) + 1})" if names.count(name) > 1 else name
        for index, name in enumerate(names)
    ]
