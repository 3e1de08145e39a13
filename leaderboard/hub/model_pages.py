"""Results in model repositories on the Hub: proposes those of a run, and imports those that are stated there.

The Hub shows `.eval_results/` of a model repository on the pages of the model and of the dataset. The tasks of the
dataset are listed in its `eval.yaml`.
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
from fflm_data.terminal import echo
from harness.errors import UserError
from harness.models.model_name import is_local
from harness.models.reference import MODELS
from harness.prompts.jobs import Job
from harness.runs.run import EXTERNAL, Run
from harness.scoring.headline_score import Headline, headlines
from harness.scoring.scores import score_run
from harness.tasks import CompletionTask, ReadTask
from leaderboard.hub import eval_results
from leaderboard.hub import files as hub_files
from leaderboard.hub.reported import REPOSITORY, Reported, ReportedScore, reportable, reported_file, write_reported
from leaderboard.records import records_of
from leaderboard.untrusted_text import quote
from leaderboard.verification.refusal import Refused
from leaderboard.verification.text_safety import text_fault

RESULTS_FILE = f"{eval_results.FOLDER}/fflm.yaml"
REPORTED = "reported"
MOST_FILES = 100
MOST_MANIFEST_BYTES = 2**20
_RESULTS = re.compile(rf"{re.escape(eval_results.FOLDER)}/[\w.-]+\.ya?ml", re.ASCII)


@dataclass(frozen=True)
class Benchmark:
    """A dataset of the Hub at a commit. tasks: its task_ids. manifest: describes its rows."""

    revision: str
    tasks: frozenset[str]
    manifest: Manifest


def propose(run: Run, dataset: str, source_url: str | None = None) -> str:
    """Opens a pull request on the model's repository with the scores of whole splits that the dataset publishes.
    Returns its address, or that of an open pull request with the same content.

    source_url: page with the outputs. Raises UserError if the model has no repository, the run has no such split, or
    the repository already has these results; HubError if the Hub refuses.
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
            f"{run.folder} has no whole split of a task of {dataset}. Run harness eval without --limit and --set."
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
            reason = f"{RESULTS_FILE} of {model} cannot be extended: {refused}"
            raise HubError(f"{reason}. Correct the file first.") from None
        if before is not None and eval_results.add(before, []).encode() == after:
            raise HubError(f"{model} already states these results. There is nothing to propose.")
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
    """Imports the scores that model repositories state for a dataset into `reported/` of a checkout.

    Prints the imported scores, and the skipped ones with the reason. Raises HubError if the Hub refuses.
    """
    folder = records_of(checkout).parent / REPORTED
    for name in [dataset, *models]:
        if not REPOSITORY.fullmatch(name):
            raise invalid_name_error(name)
    api = HfApi()
    for model in models:
        with hub_errors(model, kind=MODEL):
            imported, skipped = _stated(api, model, dataset)
        for score in imported:
            echo(f"{model}: {score.task}.{score.split} {score.value:.4f}")
        for reason in skipped:
            echo(f"{model}: skipped {reason}")
        path = reported_file(folder, model)
        if imported:
            echo(write_reported(folder, Reported(model, tuple(imported))))
        elif path.exists():
            path.unlink()
            echo(f"{model} no longer states results on {dataset}: deleted {path}")
        else:
            echo(f"{model} states no results on {dataset}")


def _require_page(url: str) -> None:
    """Raises UserError unless a URL is a public http(s) address."""
    if fault := text_fault(url):
        raise UserError(f"--source-url {fault}: {quote(url)}. Name a page that begins with https://.")
    if not re.fullmatch(r"https?://\S+", url):
        raise UserError(f"--source-url {quote(url)} is not a web address. Name a page that begins with https://.")


def _repository_of(run: Run) -> str:
    """Returns the model's repository. Raises UserError if it has none, or if the run used an adapter."""
    model = run.facts["model"]
    name = str(model["id"])
    if is_local(name) or name in MODELS or not REPOSITORY.fullmatch(name):
        raise UserError(f"{name} is not a model of the Hub. Publish it and run harness eval --model ORG/NAME.")
    if model.get("adapter"):
        raise UserError(f"{name} was run with an adapter, so the results are not those of {name}. Run it without.")
    return name


def _benchmark(api: HfApi, dataset: str) -> Benchmark:
    """Returns the current state of a dataset. Raises HubError if `fflm-data push` did not write it."""
    revision = str(api.dataset_info(dataset).sha)
    there = hub_files.sizes(api, dataset, revision, DATASET)
    try:
        tasks, manifest = (
            hub_files.fetch(api, dataset, name, revision, DATASET, there.get(name), MOST_MANIFEST_BYTES)
            for name in (EVAL_FILE, MANIFEST_FILE)
        )
    except Refused as refused:
        raise HubError(
            f"{dataset} was not written by fflm-data push: {refused}. Name another dataset with --dataset."
        ) from None
    return Benchmark(revision, _task_ids(tasks, dataset), Manifest.from_json(manifest, dataset))


def _task_ids(content: bytes, dataset: str) -> frozenset[str]:
    try:
        listed = yaml.load(content, Loader=yaml.BaseLoader)["tasks"]
        return frozenset(task["id"] for task in listed)
    except (yaml.YAMLError, RecursionError, LookupError, TypeError):
        raise HubError(f"{EVAL_FILE} of {dataset} has no tasks. Push the dataset again with fflm-data push.") from None


def _scores(run: Run, benchmark: Benchmark) -> Iterator[tuple[Job, Headline]]:
    """Yields the accuracy of each published split that was evaluated in full with finite logits."""
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
    """Returns version, options and interval of a score, in one line."""
    model = run.facts["model"]
    version = f"fflm {run.facts['environment'].get('fflm')}"
    notes = [version, "external outputs"] if run.external else [version, f"revision {model['revision'][:12]}"]
    if model["dtype"] != EXTERNAL:
        notes.append(str(model["dtype"]))
    notes += [str(model[key]) for key in ("gguf_file", "quantization") if model.get(key)]
    interval = f"95% interval {score.interval.low:.4f} to {score.interval.high:.4f}"
    return ", ".join([*notes, *_prompting(job), f"n = {score.n:,}", interval])


def _prompting(job: Job) -> list[str]:
    """Describes how a job is scored or prompted."""
    if not isinstance(job.task, CompletionTask):
        return ["every read of one forward pass" if isinstance(job.task, ReadTask) else "candidates by log-probability"]
    prompting = job.prompting
    parts = [f"{prompting.shots} shots", "chat template" if prompting.chat else "plain text"]
    parts += ["system prompt"] if prompting.system else []
    return [*parts, f"{prompting.thinking} tokens of thinking"] if prompting.thinking else parts


def _file(api: HfApi, model: str, revision: str) -> bytes | None:
    """Returns the current results file, None if there is none. Raises Refused if it is too large."""
    there = hub_files.sizes(api, model, revision, MODEL, eval_results.FOLDER)
    if RESULTS_FILE not in there:
        return None
    return hub_files.fetch(api, model, RESULTS_FILE, revision, MODEL, there[RESULTS_FILE], eval_results.MOST_BYTES)


def _open_proposal(api: HfApi, model: str, title: str, content: bytes) -> str | None:
    """Returns the address of an open pull request with the same content, None if there is none."""
    for proposal in api.get_repo_discussions(model, discussion_type="pull_request", discussion_status="open"):
        with suppress(Refused):  # too large to be the same
            if proposal.title == title and _file(api, model, f"refs/pr/{proposal.num}") == content:
                return proposal.url
    return None


def _stated(api: HfApi, model: str, dataset: str) -> tuple[list[ReportedScore], list[str]]:
    """Returns the scores that a repository states, the latest of each task and split, and the skipped ones with
    reasons."""
    revision = str(api.model_info(model).sha)
    scores: dict[tuple[str, str], ReportedScore] = {}
    skipped: list[str] = []
    there = hub_files.sizes(api, model, revision, MODEL, eval_results.FOLDER)
    files = [path for path in there if _RESULTS.fullmatch(path)]
    if len(files) > MOST_FILES:
        skipped.append(f"all but the first {MOST_FILES} of {len(files):,} files")
    for path in files[:MOST_FILES]:
        try:
            content = hub_files.fetch(api, model, path, revision, MODEL, there[path], eval_results.MOST_BYTES)
            stated = list(eval_results.scores(eval_results.parse(content), dataset))
        except Refused as refused:
            skipped.append(f"{path}: {refused}")
            continue
        for score in stated:
            if isinstance(score, str):
                skipped.append(f"{path}: {score}")
                continue
            place = (score.task, score.split)
            earlier = scores.get(place)
            if earlier is None or earlier.date < score.date:
                scores[place] = score
            if earlier is not None and earlier != score:
                skipped.append(f"{path}: another score of {score.task}.{score.split}; the latest is imported")
    return [scores[place] for place in sorted(scores)], skipped
