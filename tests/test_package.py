"""How the packages stand to each other, and what importing them costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("fflm_data", "harness", "leaderboard")
# Of harness, the folders from the bottom up: each imports those before it only.
STEPS = (
    "errors", "tasks", "models", "prompts", "planning", "engine", "runs", "scoring", "evaluation", "training",
    "reporting", "console", "commands", "cli", "__main__",
)  # fmt: skip
HEAVY = {"torch", "transformers", "accelerate", "evaluate"}


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for package in PACKAGES for path in (ROOT / package).rglob("*.py")}


def imports(module: str) -> set[str]:
    """What a module imports anywhere in its code, for types alone and by a name in a string (import_module) too."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in names}
        elif isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "import_module":
            found |= {
                one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str)
            }
    return found - {module}


IMPORTS = {module: imports(module) for module in MODULES}


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_one_way(package: str) -> None:
    allowed = PACKAGES[: PACKAGES.index(package) + 1]
    for module in (one for one in MODULES if one.split(".")[0] == package):
        outside = {name.split(".")[0] for name in IMPORTS[module]}
        assert outside & set(PACKAGES) <= set(allowed), module
        if package == "fflm_data":
            assert not outside & HEAVY, module


def test_steps_import_one_way() -> None:
    for module in (one for one in MODULES if one.startswith("harness.")):
        step = STEPS.index(module.split(".")[1])
        later = [
            name for name in IMPORTS[module] if name.startswith("harness.") and STEPS.index(name.split(".")[1]) > step
        ]
        assert not later, module


def test_no_cycle_of_modules() -> None:
    """Leaves are taken off, module by module, until nothing is left."""
    left = {module: {name for name in found if name in MODULES} for module, found in IMPORTS.items()}
    while leaves := {module for module, found in left.items() if not found & left.keys()}:
        left = {module: found for module, found in left.items() if module not in leaves}
    assert not left


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


@pytest.mark.slow("fflm_data", "harness/console.py", "harness/commands", "setup.cfg")
@pytest.mark.parametrize("missing", ["torch", "transformers", "accelerate", "scipy", "rich"])
def test_a_missing_extra_is_named(missing: str, tmp_path: Path) -> None:
    hidden = f"import sys; sys.modules[{missing!r}] = None"
    code = f"{hidden}\nfrom harness.cli import main; sys.exit(main(['eval', '--limit', '1']))"
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr.strip().splitlines()[-1].endswith("in a clone of fflm, pip install -e '.[eval]'")
