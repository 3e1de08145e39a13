"""Import order of packages and folders, and the cost of importing them."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("fflm_data", "harness", "leaderboard")
# The folders of harness in import order: each imports only earlier ones.
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
    """Returns all imports of a module, including local ones, type-checking ones and import_module."""
    imported = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            imported |= {name if name in MODULES else node.module for name in names}
        elif isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "import_module":
            imported |= {
                child.value
                for child in ast.walk(node)
                if isinstance(child, ast.Constant) and isinstance(child.value, str)
            }
    return imported - {module}


IMPORTS = {module: imports(module) for module in MODULES}


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_one_way(package: str) -> None:
    allowed = PACKAGES[: PACKAGES.index(package) + 1]
    for module in (name for name in MODULES if name.split(".")[0] == package):
        outside = {name.split(".")[0] for name in IMPORTS[module]}
        assert outside & set(PACKAGES) <= set(allowed), module
        if package == "fflm_data":
            assert not outside & HEAVY, module


def test_harness_folders_import_one_way() -> None:
    for module in (name for name in MODULES if name.startswith("harness.")):
        step = STEPS.index(module.split(".")[1])
        later = [
            name for name in IMPORTS[module] if name.startswith("harness.") and STEPS.index(name.split(".")[1]) > step
        ]
        assert not later, module


def test_no_import_cycles() -> None:
    """Removes modules without remaining imports until none is left."""
    remaining = {module: {name for name in names if name in MODULES} for module, names in IMPORTS.items()}
    while leaves := {module for module, names in remaining.items() if not names & remaining.keys()}:
        remaining = {module: names for module, names in remaining.items() if module not in leaves}
    assert not remaining


def loaded_by(code: str) -> set[str]:
    """Returns the top-level modules that a new interpreter has loaded after running `code`."""
    script = f"import sys\ntry:\n    {code}\nexcept SystemExit: pass\nprint('\\n'.join(sys.modules), file=sys.stderr)"
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stderr
    return {name.split(".")[0] for name in output.splitlines()}


def test_data_package_does_not_import_torch() -> None:
    without = "sys.modules.update(dict.fromkeys(['torch', 'transformers', 'accelerate', 'evaluate'])); "
    code = (
        without + "import fflm_data; from datasets import load_dataset; load_dataset('fflm', 'letters', streaming=True)"
    )
    subprocess.run([sys.executable, "-c", f"import sys; {code}"], check=True, capture_output=True)
    assert not loaded_by("import fflm_data") & {"torch", "datasets", "pandas"}


@pytest.mark.parametrize("verb", ["", "eval", "tasks", "score", "train", "submit", "leaderboard", "leaderboard build"])
def test_help_is_fast(verb: str) -> None:
    loaded = loaded_by(f"from harness.cli import main; main({[*verb.split(), '--help']!r})")
    assert not loaded & {"numpy", "pyarrow", "datasets", "torch", "transformers", "evaluate", "fflm_data"}


@pytest.mark.slow("fflm_data", "harness/console.py", "harness/commands", "setup.cfg")
@pytest.mark.parametrize("missing", ["torch", "transformers", "accelerate", "scipy", "rich"])
def test_missing_dependency_error(missing: str, tmp_path: Path) -> None:
    hidden = f"import sys; sys.modules[{missing!r}] = None"
    code = f"{hidden}\nfrom harness.cli import main; sys.exit(main(['eval', '--limit', '1']))"
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr.strip().splitlines()[-1].endswith("in a clone of fflm, pip install -e '.[eval]'")
