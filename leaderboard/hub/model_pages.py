"""Results in the models' own repositories on the Hub: proposed there for a run, and read from there as reported.

The Hub shows what a repository states in `.eval_results/` on the page of the model and on that of the
data set, whose `eval.yaml` says which tasks it has.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import yaml
from huggingface_hub import CommitOperationAdd, EvalResultEntry, HfApi, eval_result_entries_to_yaml

from fflm_data.eval_yaml import EVAL_FILE
from fflm_data.hub import DATASET, MODEL, HubError, hub_errors, invalid_name_error, require_token
from fflm_data.manifest import MANIFEST_FILE, Manifest
from fflm_data.terminal import say
from harness.errors import UserError
from harness.models.model_name import is_local
from harness.models.reference import MODELS
from harness.prompts.jobs import Job
from harness.runs.run import EXTERNAL, Run
from harness.scoring.headline import Headline, headlines
from harness.scoring.scores import score_run
from harness.tasks import CompletionTask, ReadTask
from leaderboard.hub import eval_results
from leaderboard.hub import files as hub_files
from leaderboard.hub.reported import REPOSITORY, Reported, ReportedScore, reportable, reported_file, write_reported
from leaderboard.records import records_of
from leaderboard.verification.refusal import Refused, shown
from leaderboard.verification.texts import fault_of

RESULTS_FILE = f"{eval_results.FOLDER}/fflm.yaml"
REPORTED = "reported"
MOST_FILES = 100
MOST_MANIFEST_BYTES = 2**20
_RESULTS = re.compile(rf"{re.escape(eval_results.FOLDER)}/[\w.-]+\.ya?ml", re.ASCII)


@dataclass(frozen=True)
class Benchmark:
    """A data set of the Hub at a commit: its task_ids, and what its rows are."""

    revision: str
    tasks: frozenset[str]
    manifest: Manifest


def propose(run: Run, dataset: str, source_url: str | None = None) -> str:
    """Opens a pull request on the model's repository with the scores of the splits that were asked in full, over the
    rows that the data set publishes; returns its address, that of an open one if it says the same.

    source_url: where the outputs or more about them can be read. Raises UserError if the model has no repository, the
    run no such split, or the repository the same results already; HubError for what the Hub refuses.
    """
    model = _repository_of(run)
    if source_url is not None:
        _require_page(source_url)
    require_token("open a pull request")
    api = HfApi()
    with hub_errors(dataset):
        benchmark = _benchmark(api, dataset)
    scored = list(_scores(run, benchmark))
    if not scored:
        raise UserError(
            f"{run.folder} has no task of {dataset} on a whole split: run harness eval without --limit and --set"
        )
    entries = [
        EvalResultEntry(
            dataset_id=dataset,
            task_id=job.name,
            value=score.accuracy,
            dataset_revision=benchmark.revision,
            date=run.facts["created"],
            source_url=source_url,
            notes=_notes(run, job, score),
        )
        for job, score in scored
    ]
    title = f"Results on {dataset}"
    with hub_errors(model, f"open a pull request on {model}: use one that may", MODEL):
        commit = str(api.model_info(model).sha)
        try:
            before = _file(api, model, commit)
            after = eval_results.add(before, eval_result_entries_to_yaml(entries)).encode()
        except Refused as refused:
            raise HubError(f"{RESULTS_FILE} of {model} cannot be added to ({refused}): have it mended first") from None
        if before is not None and eval_results.add(before, []).encode() == after:
            raise HubError(f"{model} states these results already: there is nothing to propose")
        if (there := _open_proposal(api, model, title, after)) is not None:
            return there
        info = api.create_commit(
            model,
            [CommitOperationAdd(RESULTS_FILE, after)],
            commit_message=title,
            commit_description=f"Scores of {len(entries)} tasks, made with `harness eval` of the package fflm.",
            parent_commit=commit,
            create_pr=True,
        )
    return str(info.pr_url)


def import_command(models: list[str], dataset: str, checkout: Path) -> None:
    """Writes what the repositories of some models state of a data set's tasks below `reported/` of a checkout.

    Prints what was taken, and what was left and why. Raises HubError for what the Hub refuses.
    """
    folder = records_of(checkout).parent / REPORTED
    for name in [dataset, *models]:
        if not REPOSITORY.fullmatch(name):
            raise invalid_name_error(name)
    api = HfApi()
    for model in models:
        with hub_errors(model, kind=MODEL):
            taken, left = _stated(api, model, dataset)
        for score in taken:
            say(f"{model}: {score.task}.{score.split} {score.value:.4f}")
        for reason in left:
            say(f"{model}: left out, {reason}")
        path = reported_file(folder, model)
        if taken:
            say(write_reported(folder, Reported(model, tuple(taken))))
        elif path.exists():
            path.unlink()
            say(f"{model} states nothing of {dataset} any more: {path} is deleted")
        else:
            say(f"{model} states nothing of {dataset}")


def _require_page(url: str) -> None:
    """Raises UserError for what is no address of a page that anybody may read."""
    if fault := fault_of(url):
        raise UserError(f"--source-url {fault}: {shown(url)}")
    if not re.fullmatch(r"https?://\S+", url):
        raise UserError(f"--source-url {shown(url)} is no address of a page: name one that begins with https://")


def _repository_of(run: Run) -> str:
    """The model's repository. Raises UserError if it can have none, or the run is of more than the model."""
    model = run.facts["model"]
    name = str(model["id"])
    if is_local(name) or name in MODELS or not REPOSITORY.fullmatch(name):
        raise UserError(f"{name} is no model of the Hub: publish it there, and run harness eval --model ORG/NAME")
    if model.get("adapter"):
        raise UserError(f"{name} was asked with an adapter, whose results are not those of {name}: run it without")
    return name


def _benchmark(api: HfApi, dataset: str) -> Benchmark:
    """What a data set holds now. Raises HubError if `fflm-data push` did not write it."""
    revision = str(api.dataset_info(dataset).sha)
    there = hub_files.sizes(api, dataset, revision, DATASET)
    try:
        tasks, manifest = (
            hub_files.fetch(api, dataset, name, revision, DATASET, there.get(name), MOST_MANIFEST_BYTES)
            for name in (EVAL_FILE, MANIFEST_FILE)
        )
    except Refused as refused:
        raise HubError(f"{dataset} is none that fflm-data push wrote ({refused}): name another") from None
    return Benchmark(revision, _task_ids(tasks, dataset), Manifest.from_json(manifest, dataset))


def _task_ids(content: bytes, dataset: str) -> frozenset[str]:
    try:
        listed = yaml.load(content, Loader=yaml.BaseLoader)["tasks"]
        return frozenset(task["id"] for task in listed)
    except (yaml.YAMLError, RecursionError, LookupError, TypeError):
        raise HubError(f"{EVAL_FILE} of {dataset} lists no tasks: push it again with fflm-data push") from None


def _scores(run: Run, benchmark: Benchmark) -> Iterator[tuple[Job, Headline]]:
    """The accuracy of each split that was asked in full and answered with numbers, over rows that are published."""
    whole = {
        (job.task.name, job.split): job
        for job in run.jobs()
        if (job.task.name, job.split) == reportable().get(job.name)
        and job.name in benchmark.tasks
        and job.config in benchmark.manifest.configs
        and job.rows == job.config.rows(job.split)
    }
    if not whole:
        return
    for line in headlines(score_run(run)):
        place = (line.task, line.split)
        if place in whole and not line.nonfinite:
            yield whole[place], line


def _notes(run: Run, job: Job, score: Headline) -> str:
    """How a score was taken and how sure it is, in one line."""
    model = run.facts["model"]
    version = f"fflm {run.facts['environment'].get('fflm')}"
    made = [version, "external outputs"] if run.external else [version, f"revision {model['revision'][:12]}"]
    if model["dtype"] != EXTERNAL:
        made.append(str(model["dtype"]))
    made += [str(model[key]) for key in ("gguf_file", "quantization") if model.get(key)]
    interval = f"95% interval {score.interval.low:.4f} to {score.interval.high:.4f}"
    return ", ".join([*made, *_asked(job), f"n = {score.n:,}", interval])


def _asked(job: Job) -> list[str]:
    """How the questions of a job were put."""
    if not isinstance(job.task, CompletionTask):
        return ["every read of one forward pass" if isinstance(job.task, ReadTask) else "candidates by log-probability"]
    put = job.prompting
    asked = [f"{put.shots} shots", "chat template" if put.chat else "plain text"]
    asked += ["system prompt"] if put.system else []
    return [*asked, f"{put.thinking} tokens of thinking"] if put.thinking else asked


def _file(api: HfApi, model: str, revision: str) -> bytes | None:
    """The results file as it is, None if there is none. Raises Refused if it is too large."""
    there = hub_files.sizes(api, model, revision, MODEL, eval_results.FOLDER)
    if RESULTS_FILE not in there:
        return None
    return hub_files.fetch(api, model, RESULTS_FILE, revision, MODEL, there[RESULTS_FILE], eval_results.MOST_BYTES)


def _open_proposal(api: HfApi, model: str, title: str, content: bytes) -> str | None:
    """The address of an open pull request that proposes the same."""
    for found in api.get_repo_discussions(model, discussion_type="pull_request", discussion_status="open"):
        with suppress(Refused):  # another's, too large to be the same
            if found.title == title and _file(api, model, f"refs/pr/{found.num}") == content:
                return found.url
    return None


def _stated(api: HfApi, model: str, dataset: str) -> tuple[list[ReportedScore], list[str]]:
    """The scores that a repository states, the latest of each task and split; and what was left, with the reason."""
    revision = str(api.model_info(model).sha)
    found: dict[tuple[str, str], ReportedScore] = {}
    left: list[str] = []
    there = hub_files.sizes(api, model, revision, MODEL, eval_results.FOLDER)
    files = [path for path in there if _RESULTS.fullmatch(path)]
    if len(files) > MOST_FILES:
        left.append(f"all but the first {MOST_FILES} of {len(files):,} files")
    for path in files[:MOST_FILES]:
        try:
            content = hub_files.fetch(api, model, path, revision, MODEL, there[path], eval_results.MOST_BYTES)
            stated = list(eval_results.scores(eval_results.parse(content), dataset))
        except Refused as refused:
            left.append(f"{path}: {refused}")
            continue
        for one in stated:
            if isinstance(one, str):
                left.append(f"{path}: {one}")
                continue
            place = (one.task, one.split)
            earlier = found.get(place)
            if earlier is None or earlier.date < one.date:
                found[place] = one
            if earlier is not None and earlier != one:
                left.append(f"{path}: another number for {one.task}.{one.split}; the latest is taken")
    return [found[place] for place in sorted(found)], left
