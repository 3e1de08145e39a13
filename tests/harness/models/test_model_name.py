"""Display names differ for models with different adapters, quantization or GGUF files."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from harness.models.model_name import adapter_name, label, title, variant
from harness.reporting.comparison_table import comparison_table
from harness.reporting.page import write_comparison, write_report
from harness.reporting.run_labels import labels
from harness.reporting.table import summary
from harness.runs.run import Run
from tests.harness.reporting.test_page import made_up_run

BASE: dict[str, Any] = {"id": "org/base", "revision": "c9ee93047815" + "0" * 28, "dtype": "float32"}
LORA = {"adapter": {"id": "org/lora", "revision": "0123456789ab" + "f" * 28}}
LATER = {"adapter": {"id": "org/lora", "revision": "ba9876543210" + "f" * 28}}
OTHER = {"adapter": {"id": "local/other", "revision": "0123456789ab" + "f" * 28}}
FOUR, Q4, Q8 = {"quantization": "4bit"}, {"gguf_file": "m.Q4.gguf"}, {"gguf_file": "m.Q8.gguf"}
PLAIN: dict[str, Any] = {"adapter": None, "quantization": None, "gguf_file": None}


@pytest.mark.parametrize(
    ("more", "called", "brief", "form"),
    [
        ({}, "", "", ""),
        (PLAIN, "", "", ""),
        (LORA, " + adapter org/lora @ 0123456789ab", " + adapter org/lora", "adapter org/lora @ 0123456789ab"),
        (
            OTHER,
            " + adapter local/other @ 0123456789ab",
            " + adapter local/other",
            "adapter local/other @ 0123456789ab",
        ),
        (FOUR, ", 4bit", ", 4bit", "4bit"),
        (FOUR | LORA, ", 4bit + adapter org/lora @ 0123456789ab", ", 4bit + adapter org/lora", None),
        (Q4, ", m.Q4.gguf", "", "m.Q4.gguf"),
        ({"adapter": {"id": "org/lora"}}, " + adapter org/lora", " + adapter org/lora", "adapter org/lora"),
    ],
)
def test_title_label_variant(more: dict[str, Any], called: str, brief: str, form: str | None) -> None:
    model = BASE | more
    assert title(model) == f"org/base @ c9ee93047815{called}"
    assert label(model) == f"org/base{brief}"
    assert variant(model) == ("4bit, adapter org/lora @ 0123456789ab" if form is None else form)
    assert adapter_name(model).startswith(more["adapter"]["id"] if more.get("adapter") else "")


def test_title_of_local_gguf() -> None:
    assert title(BASE | Q4 | {"id": "local/m.Q4"}) == "local/m.Q4 @ c9ee93047815"


@pytest.mark.parametrize("one", [PLAIN, LORA, LATER, OTHER, FOUR, Q4, Q8])
@pytest.mark.parametrize("other", [PLAIN, LORA, LATER, OTHER, FOUR, Q4, Q8])
def test_labels_differ(one: dict[str, Any], other: dict[str, Any]) -> None:
    a, b = labels([BASE | one, BASE | other])
    assert a != b and a.startswith("org/base") and not a.endswith(" ")
    assert (" (1)" in a) == (one == other)
    assert ("org/lora" in a) == (one in (LORA, LATER)) and ("4bit" in b) == (other == FOUR)


def test_labels_without_optional_fields() -> None:
    assert labels([BASE, BASE | {"dtype": "bfloat16"}]) == ["org/base float32", "org/base bfloat16"]


def adapted(folder: Path, seed: int, **more: Any) -> Run:
    run = made_up_run(folder, seed=seed, model="org/base", tasks=("letters",))
    run.facts["model"] |= more
    return run


def printed(table: Any) -> str:
    console = Console(width=300, file=io.StringIO())
    console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_tables_and_pages_name_adapter(tmp_path: Path) -> None:
    a, b = adapted(tmp_path / "a", 1, **LORA), adapted(tmp_path / "b", 2, **OTHER)
    revision = a.facts["model"]["revision"][:12]
    wanted = f"org/base @ {revision} + adapter org/lora @ 0123456789ab"
    assert wanted in printed(summary({"model": a.facts["model"], "data": {"tasks": {}}, "scores": []}))
    shown = printed(comparison_table(a, b, []))
    assert f"A: {wanted}" in shown and f"B: org/base @ {revision} + adapter local/other @ 0123456789ab" in shown
    assert "<h1>org/base + adapter org/lora</h1>" in write_report(a).read_text(encoding="utf-8")
    page = write_comparison([a, b], tmp_path).read_text(encoding="utf-8")
    assert "org/base + adapter org/lora, org/base + adapter local/other" in page
