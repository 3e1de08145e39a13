"""Upper bounds of the dependencies, and the scheduled workflow that tests without them."""

import configparser
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "setup.cfg").read_text(encoding="utf-8")
WORKFLOW = yaml.load((ROOT / ".github" / "workflows" / "newest.yml").read_text(encoding="utf-8"), yaml.BaseLoader)
RUNNING = ("eval", "adapters", "quantization")  # extras for users


def requirements(text: str) -> dict[str, Requirement]:
    config = configparser.ConfigParser()
    config.read_string(text)
    lines = config["options"]["install_requires"]
    lines += "\n".join(config["options.extras_require"][name] for name in RUNNING)
    parsed = [Requirement(line) for line in lines.splitlines() if line]
    return {requirement.name: requirement for requirement in parsed if requirement.name != "fflm"}


REQUIREMENTS = requirements(TEXT)


def upper_bounds(requirement: Requirement) -> list[str]:
    return [bound.version for bound in requirement.specifier if bound.operator == "<"]


@pytest.mark.parametrize("name", REQUIREMENTS)
def test_upper_bounds_include_tested_version(name: str) -> None:
    assert len(upper_bounds(REQUIREMENTS[name])) == 1
    try:
        tested = version(name)
    except PackageNotFoundError:
        pytest.skip(f"{name} is not installed here")
    assert REQUIREMENTS[name].specifier.contains(tested, prereleases=True), f"{name} {tested}"


def test_weekly_workflow_removes_bounds() -> None:
    (cron,) = [entry["cron"] for entry in WORKFLOW["on"]["schedule"]]
    assert re.fullmatch(r"\d+ \d+ \* \* \d", cron)
    script = "\n".join(step.get("run", "") for step in WORKFLOW["jobs"]["newest"]["steps"])
    match = re.search(r"sed -i -E 's/([^/]+)//' setup\.cfg", script)
    assert match is not None and "pytest" in script
    unbounded = requirements(re.sub(match.group(1), "", TEXT))
    assert set(unbounded) == set(REQUIREMENTS) and not any(map(upper_bounds, unbounded.values()))
    assert all(unbounded[name].marker == REQUIREMENTS[name].marker for name in unbounded)
    # Lower bounds are kept.
    assert all(
        any(bound.operator in (">=", "==") for bound in requirement.specifier) for requirement in unbounded.values()
    )


def test_workflow_permissions() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert all(
        re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"])
        for step in WORKFLOW["jobs"]["newest"]["steps"]
        if "uses" in step
    )
