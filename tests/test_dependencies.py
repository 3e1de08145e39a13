"""What runs is bounded from above at what is tested, and a scheduled workflow tests without the bounds."""

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
RUNNING = ("eval", "adapters", "quantization")  # the extras that users install


def requirements(text: str) -> dict[str, Requirement]:
    config = configparser.ConfigParser()
    config.read_string(text)
    lines = config["options"]["install_requires"]
    lines += "\n".join(config["options.extras_require"][name] for name in RUNNING)
    found = [Requirement(line) for line in lines.splitlines() if line]
    return {one.name: one for one in found if one.name != "fflm"}


NEEDED = requirements(TEXT)


def above(requirement: Requirement) -> list[str]:
    return [one.version for one in requirement.specifier if one.operator == "<"]


@pytest.mark.parametrize("name", NEEDED)
def test_there_is_a_bound_and_what_is_tested_is_below_it(name: str) -> None:
    assert len(above(NEEDED[name])) == 1
    try:
        tested = version(name)
    except PackageNotFoundError:
        pytest.skip(f"{name} is not installed here")
    assert NEEDED[name].specifier.contains(tested, prereleases=True), f"{name} {tested}"


def test_a_workflow_tests_without_the_bounds_every_week() -> None:
    (line,) = [one["cron"] for one in WORKFLOW["on"]["schedule"]]
    assert re.fullmatch(r"\d+ \d+ \* \* \d", line)
    script = "\n".join(step.get("run", "") for step in WORKFLOW["jobs"]["newest"]["steps"])
    found = re.search(r"sed -i -E 's/([^/]+)//' setup\.cfg", script)
    assert found is not None and "pytest" in script
    freed = requirements(re.sub(found.group(1), "", TEXT))
    assert set(freed) == set(NEEDED) and not any(map(above, freed.values()))
    assert all(freed[name].marker == NEEDED[name].marker for name in freed)
    # Lower bounds stay.
    assert all(any(one.operator in (">=", "==") for one in requirement.specifier) for requirement in freed.values())


def test_it_has_the_least_of_rights() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert all(
        re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"])
        for step in WORKFLOW["jobs"]["newest"]["steps"]
        if "uses" in step
    )
