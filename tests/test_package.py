"""How the packages stand to each other, and what importing them costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALLOWED = {
    "fflm_data": {"fflm_data"},
    "harness": {"fflm_data", "harness"},
    "leaderboard": {"fflm_data", "harness", "leaderboard"},
}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_go_one_way(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        assert imports(path) & set(ALLOWED) <= ALLOWED[package], path
        if package == "fflm_data":
            assert not imports(path) & {"torch", "transformers", "accelerate", "evaluate"}, path


def loaded_by(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter has after running `code`."""
    script = f"import sys\ntry:\n    {code}\nexcept SystemExit: pass\nprint('\\n'.join(sys.modules), file=sys.stderr)"
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stderr
    return {name.split(".")[0] for name in output.splitlines()}


def test_data_needs_no_torch() -> None:
    without = "sys.modules.update(dict.fromkeys(['torch', 'transformers', 'accelerate', 'evaluate'])); "
    code = (
        without + "import fflm_data; from datasets import load_dataset; load_dataset('fflm', 'letters', streaming=True)"
    )
    subprocess.run([sys.executable, "-c", f"import sys; {code}"], check=True, capture_output=True)
    assert "torch" not in loaded_by("import fflm_data")


@pytest.mark.parametrize("verb", ["", "eval", "tasks", "score", "train", "submit", "leaderboard", "leaderboard build"])
def test_help_imports_nothing_heavy(verb: str) -> None:
    loaded = loaded_by(f"from harness.cli import main; main({[*verb.split(), '--help']!r})")
    assert not loaded & {"numpy", "pyarrow", "datasets", "torch", "transformers", "evaluate", "fflm_data"}


@pytest.mark.parametrize("missing", ["torch", "transformers", "accelerate", "scipy", "rich"])
def test_a_missing_extra_is_named(missing: str, tmp_path: Path) -> None:
    hidden = f"import sys; sys.modules[{missing!r}] = None"
    code = f"{hidden}\nfrom harness.cli import main; sys.exit(main(['eval', '--limit', '1']))"
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr.strip().splitlines()[-1].endswith("in a clone of fflm, pip install -e '.[eval]'")
