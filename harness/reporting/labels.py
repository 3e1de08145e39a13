"""What each of several runs is called in one table or plot."""

from collections.abc import Sequence
from typing import Any

from harness.models.model_name import adapter_name, label


def labels(models: Sequence[dict[str, Any]]) -> list[str]:
    """The models' names, with what tells runs of one model apart."""
    found = [label(model) for model in models]
    for details in (
        [str(model["dtype"]) for model in models],
        [str(model["revision"])[:7] for model in models],
        [str(model.get("gguf_file") or "") for model in models],
        [adapter_name(model).partition(" @ ")[2][:7] for model in models],
    ):
        doubled = {name for name in found if found.count(name) > 1}
        found = [
            f"{name} {told}".rstrip() if name in doubled else name for name, told in zip(found, details, strict=True)
        ]
    return [
        f"{name} ({found[:place].count(name) + 1})" if found.count(name) > 1 else name
        for place, name in enumerate(found)
    ]
