"""A run folder: run.json (what was asked, on what), observations/ with their checksums, result.json (the scores).

    runs/<org>--<model>/<run id>/

The run id is a hash of all that decides what a model says, so that the same command finds its
folder again and goes on with the rows that are not there yet (shards/, gone when all is scored).
"""

import hashlib
import json
import re
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from fflm_data import GENERATOR_VERSION, ParameterError, get_config
from fflm_data.checksums import file_sha256
from fflm_data.terminal import say
from harness.errors import OtherVersion, UserError
from harness.models import name_suggestions
from harness.models.model_name import path_name
from harness.prompts.jobs import Job
from harness.prompts.prompting import Prompting
from harness.runs.version import HARNESS_VERSION
from harness.tasks import CompletionTask, get_task

RUN_SCHEMA = "fflm-run/1"
# Of the finished tables of a run, beside run.json: `sha256sum --check` reads it.
CHECKSUMS = "observations.sha256"
# In the place of what is not known of a model whose outputs came from elsewhere.
EXTERNAL = "supplied"
# What of a model decides what it says. Where and how fast it runs (processes, devices, batch size) does not.
MODEL_IDENTITY = (
    "id", "revision", "requested_dtype", "gguf_file", "tokenizer", "quantization", "adapter", "attention", "compiled",
    "strict",
)  # fmt: skip
MODEL_FORMS = {"id": r"[\w.-]+(/[\w.-]+)?", "revision": r"[0-9a-f]{40}", "dtype": r"\w+"}

# So much of a value is told where it has changed: a digest whole, of JSON nothing that would have to be cut.
MOST_TOLD = 64
# Changes of a task that follow from others, which alone are told.
_OTHER_ROWS = r"(?:parameters|version)\b|all: data\.generator"
FOLLOWS = {
    r"fingerprint|splits\.[^.]*(?:\.of)?": _OTHER_ROWS,
    r"prompting\.opened": r"prompting\.(?:template|thinking)",
    r"prompting\.(?:switch|marks)": r"prompting\.template",
    r"rendering\.first_token(?:s|_is_bos)": rf"{_OTHER_ROWS}|prompting\b|rendering\.text|all: model\.",
}


@dataclass(frozen=True)
class Run:
    """A folder and what its run.json says."""

    folder: Path
    facts: dict[str, Any]

    def table(self, job: Job) -> Path:
        """Where the observations of a job lie."""
        return self.folder / "observations" / f"{job.name}.parquet"

    @property
    def external(self) -> bool:
        """Whether its outputs came from elsewhere, so that nobody can replay them."""
        return self.facts.get("outputs") == EXTERNAL

    @property
    def shards(self) -> Path:
        """Where processes write what they have observed."""
        return self.folder / "shards"

    def jobs(self) -> list[Job]:
        """What was asked, rebuilt from run.json. Raises UserError if this version cannot regenerate it."""
        try:
            generator = self.facts["data"]["generator"]
            if generator != GENERATOR_VERSION:
                raise OtherVersion(
                    f"{self.folder} was made with generator version {generator}, this is {GENERATOR_VERSION}: "
                    "install the version of fflm that run.json names",
                    f"version {generator} of the data, this is {GENERATOR_VERSION}",
                )
            jobs = [job for name, asked in self.facts["data"]["tasks"].items() for job in self._jobs(name, asked)]
            if len({job.task.name for job in jobs}) < len(self.facts["data"]["tasks"]) or not jobs:
                raise self._damaged("a task without rows, or none at all")
            return jobs
        except (KeyError, TypeError, AttributeError, ParameterError) as error:
            raise self._damaged(error) from None

    def _jobs(self, name: str, asked: dict[str, Any]) -> Iterator[Job]:
        task = get_task(name)
        if not task.has_same_prompts(asked["version"]):
            raise OtherVersion(
                f"{self.folder} has version {asked['version']} of task {name}, this is version {task.version}: "
                "run harness eval again",
                f"version {asked['version']} of task {name}, this is version {task.version}",
            )
        if "text" in asked.get("rendering", {}):
            task = task.rendered(asked["rendering"]["text"])
        config = get_config(task.config, **asked["parameters"])
        prompting = Prompting(**asked.get("prompting", {}))
        for split, part in asked["splits"].items():
            rows = part["rows"]
            if split not in task.splits or type(rows) is not int or not 1 <= rows <= config.rows(split):
                raise self._damaged(f"{rows!r} rows of {name}.{split}")
            if part["of"] != config.rows(split) or asked["fingerprint"] != config.fingerprint():
                raise self._damaged(f"the size or the fingerprint of {name}.{split}")
            older = asked["version"] if asked["version"] != task.version else None
            yield Job(task, config, split, rows, prompting, older)

    def seal(self, job: Job) -> None:
        """Notes the checksum of a finished table, in the form of sha256sum, so that a change of a bit is found."""
        path = self.table(job)
        sums = _checksums(self.folder) | {_name(path): file_sha256(path)}
        lines = "".join(f"{checksum}  {name}\n" for name, checksum in sorted(sums.items()))
        _write_at_once(self.folder / CHECKSUMS, lines)

    def require_table(self, job: Job) -> Path:
        """Where the observations of a job lie. Raises UserError, with what makes them, if they are not there, or not
        those that were written; of runs of earlier versions nobody noted which those were."""
        path = self.table(job)
        if not path.exists():
            raise UserError(
                f"{self.folder} has no observations of {job.name} yet: go on where it stopped with the command "
                f"that began it: {self.facts.get('command')}"
            )
        noted = _checksums(self.folder).get(_name(path))
        if noted is not None and file_sha256(path) != noted:
            raise UserError(
                f"{path} has changed since it was written ({self.folder / CHECKSUMS} has another checksum): delete it "
                f"and make it again with the command that began the run: {self.facts.get('command')}"
            )
        return path

    def _damaged(self, reason: object) -> UserError:
        return UserError(
            f"{self.folder}/run.json does not say what was run ({reason!r}): "
            "delete the folder and run harness eval again"
        )


def read_by_older_rules(run: Run) -> frozenset[str]:
    """The tasks of a run that an older version asked: the scores in its result.json may be those of its rules."""
    return frozenset(job.task.name for job in run.jobs() if job.recorded_version is not None)


def data_facts(jobs: list[Job]) -> dict[str, Any]:
    """The data of a run: enough to regenerate every row."""
    tasks: dict[str, Any] = {}
    for job in jobs:
        asked = tasks.setdefault(
            job.task.name,
            {
                "version": job.version,
                "config": job.config.name,
                "parameters": job.config.parameters(),
                "fingerprint": job.config.fingerprint(),
                "splits": {},
            },
        )
        if isinstance(job.task, CompletionTask):
            asked["prompting"] = job.prompting.facts()
        asked["splits"][job.split] = {"rows": job.rows, "of": job.config.rows(job.split)}
    return {"generator": GENERATOR_VERSION, "tasks": tasks}


def run_id(model: dict[str, Any], data: dict[str, Any], harness: str = HARNESS_VERSION) -> str:
    """12 hex digits of what decides the observations: model, revision, dtype, tokenizer, data, versions."""
    deciding = [harness, _identity(model), data]
    return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()[:12]


def _identity(model: dict[str, Any]) -> dict[str, Any]:
    return {key: model.get(key) for key in MODEL_IDENTITY}


def _name(table: Path) -> str:
    return f"observations/{table.name}"


def _checksums(folder: Path) -> dict[str, str]:
    """What is noted of finished tables, by file; nothing in runs of earlier versions."""
    try:
        lines = (folder / CHECKSUMS).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return {}
    return {name: checksum for checksum, _, name in (line.partition("  ") for line in lines)}


def run_folder(output: Path, facts: dict[str, Any]) -> Path:
    """Where a run lies, made if need be; tells of a new one why nothing of earlier ones is used."""
    folder = output / path_name(facts["model"]["id"]) / run_id(facts["model"], facts["data"])
    if not (folder / "run.json").exists():
        _say_why_new(folder, facts)
    (folder / "observations").mkdir(parents=True, exist_ok=True)
    return folder


def open_run(folder: Path, facts: dict[str, Any]) -> Run:
    """The run of a folder that nobody else writes, with its run.json; the one of an earlier start stays as it is."""
    if not (folder / "run.json").exists():
        created = datetime.now(timezone.utc).isoformat(timespec="seconds")
        opened = {"schema": RUN_SCHEMA, "id": folder.name, "created": created, **facts, "starts": []}
        write_json(folder / "run.json", opened)
    return read_run(folder)


def note_start(run: Run, start: dict[str, Any]) -> int:
    """Adds to run.json that processes go to work on it; returns a number that no earlier start has."""
    starts = run.facts.setdefault("starts", [])
    taken = [int(path.name.split("-")[0]) for path in run.shards.glob("[0-9]*-*.shard")]
    starts.append({"at": datetime.now(timezone.utc).isoformat(timespec="seconds"), **start})
    write_json(run.folder / "run.json", run.facts)
    return max([len(starts) - 1, *(number + 1 for number in taken)])


def require_same_folder(folder: Path, start: int) -> None:
    """Raises UserError on a machine that does not see the folder of rank 0."""
    if not (folder / "shards").is_dir():
        raise UserError(
            f"this machine does not see the run folder {folder} (start {start}) of the first one: name a folder that "
            "all of them share with --output"
        )


def _say_why_new(folder: Path, facts: dict[str, Any]) -> None:
    """Tells of the newest other run of this model that has a task of this one what differs: that is why nothing of it
    is used."""
    asked, others = facts["data"]["tasks"], []
    for path in folder.parent.glob("*/run.json"):
        with suppress(UserError):
            others.append(read_run(path.parent))
    related = [run for run in others if asked.keys() & _tasks(run).keys()]
    if related:
        newest = max(related, key=lambda run: (run.facts["created"], run.folder.name))
        before = _tasks(newest)
        shared = asked.keys() & before.keys()
        changes = _causes(_changes(_compared(newest.facts, shared), _compared(facts, shared)))
        reasons = [_told(path, *values) for path, values in changes.items()] + _other_tasks(before, asked)
        say(f"nothing of {newest.folder} is used: {'; '.join(reasons) or 'it is of another kind'}")


def _tasks(run: Run) -> dict[str, Any]:
    tasks = run.facts["data"].get("tasks")
    return tasks if isinstance(tasks, dict) else {}


def _other_tasks(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What of two runs' tasks is in one of them alone, a phrase each."""
    sides = (("it has {} too", before.keys() - now.keys()), ("it has no {}", now.keys() - before.keys()))
    return [phrase.format(", ".join(sorted(names))) for phrase, names in sides if names]


def _compared(facts: dict[str, Any], tasks: Collection[str]) -> dict[str, Any]:
    """What decides a run, as names and values; of its tasks some only."""
    data = {**facts["data"], "tasks": {name: one for name, one in facts["data"]["tasks"].items() if name in tasks}}
    return {"harness": facts["environment"].get("fflm"), "model": _identity(facts["model"]), "data": data}


Names = tuple[str, ...]
Changes = dict[Names, tuple[Any, Any]]


def differences(before: Any, now: Any, name: str = "") -> list[str]:
    """What has changed between two values of JSON, a phrase each. name: what the values are called."""
    return [_told(path, *values) for path, values in _changes(before, now, (name,) if name else ()).items()]


def _changes(before: Any, now: Any, path: Names = ()) -> Changes:
    """By the names that lead there, what was and what is."""
    if before == now:
        return {}
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return {path: (before, now)}
    found: Changes = {}
    for key in [*before, *(key for key in now if key not in before)]:
        found |= _changes(before.get(key), now.get(key), (*path, str(key)))
    return found


def _causes(changes: Changes) -> Changes:
    """Those that do not merely follow from others of them."""
    return {path: values for path, values in changes.items() if not _follows(path, changes)}


def _follows(path: Names, changes: Changes) -> bool:
    """Whether a change of a task follows from another one, of the same task or of all."""
    if path[:2] != ("data", "tasks"):
        return False
    if path[3:4] == ("splits",) and path[-1] == "rows" and changes.get((*path[:-1], "of")) == changes[path]:
        return True  # all rows were asked, and there are more or fewer
    what = ".".join(path[3:])
    others = [".".join(other[3:]) if other[:3] == path[:3] else f"all: {'.'.join(other)}" for other in changes]
    return any(
        re.fullmatch(consequence, what) and any(re.match(cause, other) for other in others)
        for consequence, cause in FOLLOWS.items()
    )


def _told(path: Names, before: Any, now: Any) -> str:
    name, values = ".".join(path), (before, now)
    told = [value if isinstance(value, str) else json.dumps(value) for value in values]
    if any(len(text) > MOST_TOLD and not isinstance(value, str) for text, value in zip(told, values, strict=True)):
        return f"{name} is another one"
    was, is_now = (text if len(text) <= MOST_TOLD else text[:MOST_TOLD] + "..." for text in told)
    return f"{name} was {was}, is {is_now}"


def read_run(folder: Path) -> Run:
    """The run in a folder. Raises UserError if there is none."""
    if not name_suggestions.is_run(folder):
        raise name_suggestions.no_run(folder)
    try:
        facts = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"{folder}/run.json cannot be read ({error}): restore it, or delete the folder and run harness eval again"
        ) from None
    schema = facts.get("schema") if isinstance(facts, dict) else None
    if schema != RUN_SCHEMA:
        raise UserError(
            f"{folder}/run.json has schema {schema!r}, not {RUN_SCHEMA!r}: name a run folder of harness eval"
        )
    run = Run(folder, facts)
    if fault := _fault(facts):
        raise run._damaged(fault)
    return run


def _fault(facts: dict[str, Any]) -> str:
    """What is wrong with the parts of run.json that become paths and text of a page; "" if nothing."""
    kinds = {"created": str, "command": str, "model": dict, "data": dict, "environment": dict}
    for key, kind in kinds.items():
        if not isinstance(facts.get(key), kind):
            return key
    if not isinstance(facts.get("starts", []), list):
        return "starts"
    model = facts["model"]
    for key, pattern in MODEL_FORMS.items():
        if not isinstance(model.get(key), str) or not re.fullmatch(pattern, model[key], re.ASCII) or ".." in model[key]:
            return f"model.{key}"
    if type(model.get("parameters")) is not int or model["parameters"] < 0:
        return "model.parameters"
    return "" if isinstance(facts["environment"].get("device"), str) else "environment.device"


def require_writable(output: Path) -> None:
    """Raises UserError unless files can be written below `output`."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output):
            pass
    except OSError as error:
        raise UserError(f"nothing can be written to {output} ({error.strerror}): name another folder") from None


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Keeps other processes from writing the same run; a killed process keeps nobody out.

    Raises UserError while another one holds the folder.
    """
    try:
        held = FileLock(folder / ".lock").acquire(timeout=0)
    except Timeout:
        raise UserError(f"another process is writing {folder}: wait for it, or end it") from None
    except NotImplementedError:
        raise UserError(f"the file system of {folder} has no locks: name a folder on another with --output") from None
    with held:
        yield


def write_json(path: Path, value: object) -> None:
    """Writes JSON at once: the file is either the old one or the new one."""
    _write_at_once(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def _write_at_once(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8", newline="\n")
    partial.replace(path)


def environment(device: Any) -> dict[str, str]:
    """What a run was made with: an allow-list of versions and the device, no host name and no path."""
    import platform

    import torch
    import transformers

    return {
        "fflm": HARNESS_VERSION,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "system": platform.system(),
        "machine": platform.machine(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
    }
