"""The page of findings: its tables are those of the committed results."""

import importlib.util
from pathlib import Path

import pyarrow.parquet as pq
import pytest

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def findings():
    """Returns docs/findings.py as a module."""
    spec = importlib.util.spec_from_file_location("findings", DOCS / "findings.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tables_are_those_of_the_results(findings) -> None:
    text = findings.PAGE.read_text(encoding="utf-8")
    assert findings.page(text, pq.read_table(findings.RESULTS)) == text
    stale = text.replace("0 / ", "1 / ")
    assert stale != text and findings.page(stale, pq.read_table(findings.RESULTS)) == text


def test_figures_are_committed_and_shown(findings) -> None:
    shown = set(findings.FIGURE.findall(findings.PAGE.read_text(encoding="utf-8")))
    assert shown == {path.name for path in findings.RESULTS.parent.glob("*.svg")}


def test_seeds_of_the_transformer_have_different_errors(findings) -> None:
    """No seed was evaluated twice: their errors on the sparse tail all differ."""
    rows = [row for row in pq.read_table(findings.RESULTS).to_pylist() if row["group"] == "Transformer"]
    assert len({row["val_sparse_errors"] for row in rows}) == len({row["seed"] for row in rows}) == len(rows) > 1
