"""Results on model pages: proposed with the real client, merged, and imported, including hostile ones."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import HfApi, close_session, constants, parse_eval_result_entries

from fflm_data import get_config, publish
from fflm_data.config import ParameterError
from harness.errors import UserError
from harness.runs.files import write_json
from harness.runs.run import Run, read_run
from leaderboard.hub import eval_results
from leaderboard.hub import model_pages as hub_results
from leaderboard.hub.reported import Reported, ReportedScore, read_reported, reportable, reported_file
from tests.hub import Hub
from tests.hub.client import pointed_at
from tests.leaderboard.external_runs import as_evaluated, external_run

DATA, MODEL, FILE = "org/fflm", "other/tiny", ".eval_results/fflm.yaml"
TASKS = ("letters", "query-count")
# Every seventh answer is wrong (external_runs.WRONG), including the first.
RIGHT = {"letters.test": 1 - 143 / 1000, "query-count.test": 1 - 200 / 1400}
OTHERS = """
# Entries of others.
- dataset: {id: cais/hle, task_id: default}
  value: 20.90
  date: 2025-01-15
- {dataset: {id: org/fflm, task_id: capitals.test}, value: .5, verifyToken: abc}
- dataset: {id: ORG/fflm, task_id: letters.test}
  value: 0.999
"""


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of an-org's model on whole splits of two tasks."""
    return external_run(tmp_path_factory.mktemp("answered"), model=MODEL, tasks=TASKS).folder


@pytest.fixture
def run(answered: Path) -> Run:
    return read_run(answered)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repositories of a Hub to which the data was pushed."""
    folder = tmp_path_factory.mktemp("published")
    hub = Hub(folder / "hub")
    with pytest.MonkeyPatch.context() as patch, pointed_at(hub, patch, folder):
        publish.push(DATA, [get_config(name) for name in TASKS])
    return hub.store.root


@pytest.fixture
def data(hub: Hub, published: Path) -> str:
    """Adds the published data to the Hub and returns its commit."""
    shutil.copytree(published, hub.store.root)
    return head(hub, "datasets", DATA)


def head(hub: Hub, kind: str = "models", name: str = MODEL) -> str:
    repository = hub.store.find(kind, name)
    assert repository
    return repository.state["refs"]["refs/heads/main"]


def add_model(hub: Hub, folder: Path, *results: str | bytes) -> None:
    """Adds a model repository with results files."""
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text("{}", encoding="utf-8")
    for number, content in enumerate(results):
        path = folder / "model" / (FILE if number == 0 else f".eval_results/{number}.yml")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    hub.add_repository("model", MODEL, folder / "model")


def refused(error: BaseException) -> str:
    """Returns the one-line error of the command line."""
    assert isinstance(error, UserError | ParameterError)
    assert "\n" not in str(error)
    return str(error)


def proposals(hub: Hub) -> list[Any]:
    return [*HfApi(endpoint=hub.url, token="hf_owner").get_repo_discussions(MODEL)]


# Proposing


def test_proposal_is_one_pull_request(hub: Hub, data: str, run: Run, tmp_path: Path) -> None:
    add_model(hub, tmp_path)
    before = head(hub)
    url = hub_results.propose(run, DATA, "https://example.org/outputs")
    assert url == f"{hub.url}/{MODEL}/discussions/1"
    assert head(hub) == before and set(hub.files("model", MODEL)) == {"config.json"}
    files = hub.files("model", MODEL, "refs/pr/1")
    assert set(files) == {"config.json", FILE}
    entries = parse_eval_result_entries(yaml.safe_load(files[FILE]))
    assert {entry.task_id: entry.value for entry in entries} == pytest.approx(RIGHT)
    for entry in entries:
        assert (entry.dataset_id, entry.dataset_revision) == (DATA, data)
        assert (entry.date, entry.source_url) == (run.facts["created"], "https://example.org/outputs")
        n = get_config(entry.task_id.split(".")[0]).rows("test")
        assert entry.notes and f"n = {n:,}, 95% interval 0.8" in entry.notes
        assert "external outputs" in entry.notes and "0 shots, chat template" in entry.notes
    listed = {task["id"] for task in yaml.safe_load(hub.files("dataset", DATA)["eval.yaml"])["tasks"]}
    assert {entry.task_id for entry in entries} == listed


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("https://ada:hunter2hunter2@host.org/outputs", "password"),
        ("https://host.org/outputs?access_token=hunter2hunter2", "token"),
        ("file:///home/ada/outputs", "begins with https://"),
        ("outputs.html", "begins with https://"),
        ("javascript:alert(1)", "markup"),
    ],
)
def test_unsafe_source_url_is_refused(run: Run, url: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        hub_results.propose(run, DATA, url)
    assert "--source-url" in refused(error.value) and message in refused(error.value)
    assert "hunter2hunter2" not in refused(error.value)


def test_notes_describe_the_prompting(hub: Hub, data: str, tmp_path: Path) -> None:
    add_model(hub, tmp_path)
    made = as_evaluated(external_run(tmp_path, "--shots", "3", "--chat", "off", model=MODEL), quantization="4bit")
    hub_results.propose(made, DATA)
    (entry,) = yaml.safe_load(hub.files("model", MODEL, "refs/pr/1")[FILE])
    revision = made.facts["model"]["revision"][:12]
    assert f", revision {revision}, bfloat16, 4bit, 3 shots, plain text, n = 1,000" in entry["notes"]
    assert "source" not in entry


def test_entries_of_others_are_kept(hub: Hub, data: str, run: Run, tmp_path: Path) -> None:
    add_model(hub, tmp_path, OTHERS)
    hub_results.propose(run, DATA)
    before, after = yaml.safe_load(OTHERS), yaml.safe_load(hub.files("model", MODEL, "refs/pr/1")[FILE])
    assert after[:2] == before[:2]
    assert [entry["dataset"]["task_id"] for entry in after[2:]] == [*RIGHT]
    assert b"value: 20.90" in hub.files("model", MODEL, "refs/pr/1")[FILE]


def test_same_results_are_proposed_once(hub: Hub, data: str, run: Run, tmp_path: Path) -> None:
    add_model(hub, tmp_path)
    first = hub_results.propose(run, DATA)
    assert hub_results.propose(run, DATA) == first
    assert hub_results.propose(run, DATA, "https://example.org/other") != first
    assert len(proposals(hub)) == 2


@pytest.mark.parametrize(
    ("options", "tasks"),
    [
        (("--limit", "20"), ("letters",)),
        ((), ("letters-spelled",)),
        (("--set", "letters.words_per_cell=99"), ("letters",)),
    ],
)
def test_only_whole_published_splits_are_proposed(
    hub: Hub, data: str, tmp_path: Path, options: tuple[str, ...], tasks: tuple[str, ...]
) -> None:
    add_model(hub, tmp_path)
    made = external_run(tmp_path, *options, model=MODEL, tasks=tasks)
    with pytest.raises(UserError) as error:
        hub_results.propose(made, DATA)
    assert "has no whole split of a task of org/fflm. Run harness eval without --limit" in refused(error.value)
    assert proposals(hub) == []


def test_unpublished_rows_are_not_proposed(hub: Hub, run: Run, tmp_path: Path) -> None:
    add_model(hub, tmp_path)
    publish.push(DATA, [get_config("letters", words_per_cell=5), get_config("query-count")])
    hub_results.propose(run, DATA)
    (entry,) = yaml.safe_load(hub.files("model", MODEL, "refs/pr/1")[FILE])
    assert entry["dataset"]["task_id"] == "query-count.test"


def test_tasks_missing_in_eval_yaml_are_not_proposed(hub: Hub, data: str, run: Run, tmp_path: Path) -> None:
    add_model(hub, tmp_path)
    content = yaml.safe_load(hub.files("dataset", DATA)["eval.yaml"])
    content["tasks"] = [task for task in content["tasks"] if task["config"] == "letters"]
    HfApi().upload_file(
        path_or_fileobj=yaml.safe_dump(content).encode(), path_in_repo="eval.yaml", repo_id=DATA, repo_type="dataset"
    )
    hub_results.propose(run, DATA)
    (entry,) = yaml.safe_load(hub.files("model", MODEL, "refs/pr/1")[FILE])
    assert entry["dataset"] == {"id": DATA, "task_id": "letters.test", "revision": head(hub, "datasets", DATA)}


@pytest.mark.parametrize("name", ["local/tiny", "fflm/lstm", "tiny"])
def test_local_models_are_refused(hub: Hub, run: Run, name: str) -> None:
    bare = Run(run.folder, {**run.facts, "model": {**run.facts["model"], "id": name}})
    with pytest.raises(UserError) as error:
        hub_results.propose(bare, DATA)
    assert refused(error.value).startswith(f"{name} is not a model of the Hub. Publish it")
    assert hub.requests == []


def test_run_with_adapter_is_refused(hub: Hub, run: Run) -> None:
    adapted = Run(run.folder, {**run.facts, "model": {**run.facts["model"], "adapter": {"id": "org/adapter"}}})
    with pytest.raises(UserError, match="was run with an adapter"):
        hub_results.propose(adapted, DATA)
    assert hub.requests == []


def test_invalid_results_file_is_not_overwritten(hub: Hub, data: str, run: Run, tmp_path: Path) -> None:
    add_model(hub, tmp_path, "just: text")
    with pytest.raises(ParameterError) as error:
        hub_results.propose(run, DATA)
    assert "cannot be extended: it is not a list of results. Correct the file first" in refused(error.value)
    assert proposals(hub) == []


@pytest.mark.parametrize("kind", ["alias", "merge"])
def test_yaml_bombs_are_not_expanded(hub: Hub, data: str, run: Run, tmp_path: Path, kind: str) -> None:
    """For a file that already states the same, beside a bomb of others."""
    add_model(hub, tmp_path, bomb(kind))
    started = time.monotonic()
    hub_results.propose(run, DATA)
    after = hub.files("model", MODEL, "refs/pr/1")[FILE]
    assert len(after) < 4_000 and after.count(b"letters.test") == 1
    repository = hub.store.find("models", MODEL)
    assert repository
    repository.push("refs/heads/main", [(FILE, repository.add_content(after))], "Merge")
    with pytest.raises(ParameterError, match="already states these results"):
        hub_results.propose(run, DATA)
    assert time.monotonic() - started < 20


def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    close_session()


TROUBLES: dict[str, tuple[Callable[[Hub, pytest.MonkeyPatch], object], str]] = {
    "bad token": (lambda hub, patch: patch.setenv("HF_TOKEN", "hf_wrong"), "the Hub does not know this token"),
    "no token": (lambda hub, patch: patch.setenv("HF_TOKEN", ""), "the Hub needs a token to open a pull request: log"),
    "token that only reads": (
        lambda hub, patch: patch.setenv("HF_TOKEN", "hf_reader"),
        "your token may not open a pull request on other/tiny: use one that may",
    ),
    "offline": (lambda hub, patch: offline(patch), "HF_HUB_OFFLINE is set: unset it"),
    "no model": (
        lambda hub, patch: hub.store.delete(hub.store.find("models", MODEL)),  # type: ignore[arg-type]
        "cannot find or access the model other/tiny: check the name",
    ),
    "no data": (
        lambda hub, patch: hub.store.delete(hub.store.find("datasets", DATA)),  # type: ignore[arg-type]
        "cannot find or access the dataset org/fflm: check the name",
    ),
    "full": (
        lambda hub, patch: hub.fail_next("POST", "/commit/", status=429, times=9),
        "the rate limit of the Hub is exceeded",
    ),
    "cut": (
        lambda hub, patch: hub.cut_next("POST", "/commit/", after_bytes=9, times=9),
        "the connection to the Hub failed (",
    ),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_errors_are_one_line(
    hub: Hub, data: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    add_model(hub, tmp_path)
    make, words = TROUBLES[trouble]
    make(hub, monkeypatch)
    with pytest.raises((UserError, ParameterError)) as error:
        hub_results.propose(run, DATA)
    assert words in refused(error.value)
    repository = hub.store.find("models", MODEL)
    assert repository is None or not [ref for ref in repository.state["refs"] if "pr" in ref]


# Importing


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "checkout" / "records").mkdir(parents=True)
    return tmp_path / "checkout"


def imported(checkout: Path, *models: str) -> list[Reported]:
    hub_results.import_command([*models] or [MODEL], DATA, checkout)
    return read_reported(checkout / "reported")


def test_merged_results_are_imported(
    hub: Hub, data: str, run: Run, tmp_path: Path, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_model(hub, tmp_path, OTHERS.replace("capitals.test", "nonsense.test"))
    assert imported(checkout) == [Reported(MODEL, (ReportedScore("letters", "test", 0.999, "", "", "", DATA),))]
    assert "entry 2: its task is not a task" in capsys.readouterr().out
    hub_results.propose(run, DATA, "https://example.org/outputs")
    repository = hub.store.find("models", MODEL)
    assert repository
    files = hub.files("model", MODEL, "refs/pr/1")
    repository.push("refs/heads/main", [(FILE, repository.add_content(files[FILE]))], "Merge")
    (reported,) = imported(checkout)
    assert {f"{score.task}.{score.split}": score.value for score in reported.scores} == pytest.approx(RIGHT)
    for score in reported.scores:
        assert (score.date, score.source) == (run.facts["created"], "https://example.org/outputs")
        assert "n = 1," in score.notes and score.dataset == DATA
    with pytest.raises(ParameterError, match="already states these results"):
        hub_results.propose(run, DATA, "https://example.org/outputs")
    message = capsys.readouterr().out
    assert f"{MODEL}: letters.test 0.8570" in message and str(checkout / "reported" / "other--tiny.json") in message

    repository.push("refs/heads/main", [(FILE, None)], "Withdraw")
    assert imported(checkout) == []
    assert not [*(checkout / "reported").iterdir()]


def entry(**fields: Any) -> str:
    whole = {"dataset": {"id": DATA, "task_id": "letters.test"}, "value": 0.5, **fields}
    return yaml.safe_dump([{key: value for key, value in whole.items() if value is not ...}], allow_unicode=True)


def bomb(kind: str) -> str:
    """Nine nested lists of nine: a gigabyte if expanded."""
    lines = [f"a0: &a0 {'{x: 1}' if kind == 'merge' else '[lol]'}"]
    for level in range(1, 10):
        names = ", ".join([f"*a{level - 1}"] * 9)
        lines.append(f"a{level}: &a{level} " + (f"{{<<: [{names}]}}" if kind == "merge" else f"[{names}]"))
    return "- " + "\n  ".join(lines)


HOSTILE: dict[str, tuple[str | bytes, str]] = {
    "markup": (entry(notes="<script>alert(1)</script>"), "its notes has markup"),
    "direction": (entry(notes="0.9 \u202e 1.0"), "its notes has an invisible character (U+202E)"),
    "zero width": (entry(notes="a\u200bb"), "U+200B"),
    "program": (entry(source={"url": "javascript:alert(1)"}), "its source has markup"),
    "other scheme": (entry(source={"url": "file:///etc/passwd"}), "its source is not an http or https address"),
    "user": (entry(source={"url": "https://huggingface.co@evil.example/"}), "not an http or https address"),
    "quote": (entry(source={"url": 'https://a.example/"onload=x'}), "not an http or https address"),
    "not a mapping": (entry(source="https://a.example"), "its source is not a mapping"),
    "long": (entry(notes="x" * 501), "its notes is longer than 500"),
    "date": (entry(date="yesterday"), "its date is not in ISO 8601"),
    "list": (entry(notes=["a"]), "its notes is not a text"),
    "percent": (entry(value=85.7), "its value is not between 0 and 1"),
    "negative": (entry(value=-0.1), "its value is not between 0 and 1"),
    "infinite": (entry(value=float("inf")), "its value is not a number"),
    "nan": (entry(value=float("nan")), "its value is not a number"),
    "text": (entry(value="0.9 (great)"), "its value is not a number"),
    "huge": (
        "- {dataset: {id: org/fflm, task_id: letters.test}, value: " + "9" * 9000 + "}",
        "its value is not a number",
    ),
    "sexagesimal": ("- {dataset: {id: org/fflm, task_id: letters.test}, value: 1:30}", "its value is not a number"),
    "none": (entry(value=...), "its value is not a number"),
    "no task": (entry(dataset={"id": DATA, "task_id": "letters-spelled.test"}), "its task is not a task"),
    "no data set": ("- value: 1\n- 3\n- [x]\n", "it has no dataset"),
    "python": ("- !!python/object/apply:os.system ['touch owned']", "it has no dataset"),
    "tags": (
        "- {dataset: {id: org/fflm, task_id: letters.test}, value: !!int '', date: !!timestamp x}",
        "not a number",
    ),
    "mapping": ("dataset: 3", "it is not a list of results"),
    "no yaml": ("- [", "it is not valid YAML"),
    "bytes": (b"\xff\xfe\xfa", "it is not valid YAML"),
    "deep": ("[" * 30_000, "it is not valid YAML"),
    "documents": ("- a\n---\n- b", "it is not valid YAML"),
    "large": ("# " + "x" * 70_000 + "\n" + entry(), "has 70,0"),
    "aliases": (bomb("alias"), "it has no dataset"),
    "merge keys": (bomb("merge"), "it has no dataset"),
    "itself": ("- &a {dataset: *a, value: *a}", "it is not valid YAML"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_results_are_skipped(
    hub: Hub, tmp_path: Path, checkout: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    """Valid entries beside them are imported."""
    content, reason = HOSTILE[kind]
    right = entry(dataset={"id": DATA.upper(), "task_id": "query-count.test"}, value=0.25, notes="2 shots\nno tools")
    add_model(hub, tmp_path, content, right)
    started = time.monotonic()
    (reported,) = imported(checkout)
    assert time.monotonic() - started < 10
    assert reported.scores == (ReportedScore("query-count", "test", 0.25, "", "", "2 shots no tools", DATA),)
    message = capsys.readouterr().out
    assert reason in message and ".eval_results/fflm.yaml: " in message
    assert message.isascii() and "<script" not in message
    assert not Path("owned").exists()
    if kind == "large":
        assert not [target for _, target, _ in hub.requests if "resolve" in target and "fflm.yaml" in target]


def test_latest_of_several_scores_is_imported(
    hub: Hub, tmp_path: Path, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_model(hub, tmp_path, entry(date="2026-02-01", value=0.2), entry(date="2026-03-01", value=0.3), entry(value=0.4))
    assert [score.value for score in imported(checkout)[0].scores] == [0.3]
    assert capsys.readouterr().out.count("another score of letters.test; the latest is imported") == 2


def test_dataset_name_is_case_insensitive(hub: Hub, tmp_path: Path, checkout: Path) -> None:
    add_model(hub, tmp_path, entry(), entry(dataset={"id": "org/other", "task_id": "query-count.test"}))
    hub_results.import_command([MODEL], "ORG/Fflm", checkout)
    ((score,),) = (one.scores for one in read_reported(checkout / "reported"))
    assert (score.task, score.dataset) == ("letters", "ORG/Fflm")


def test_models_without_results(hub: Hub, tmp_path: Path, checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add_model(hub, tmp_path)
    assert imported(checkout) == []
    assert capsys.readouterr().out == f"{MODEL} states no results on {DATA}\n"


@pytest.mark.parametrize(
    ("model", "token", "words"),
    [
        ("org/nothing", "hf_owner", "cannot find or access the model org/nothing"),
        ("org/nothing", "hf_wrong", "the Hub does not know this token"),
        ("../../etc", "hf_owner", "write ORG/NAME"),
        ("tiny", "hf_owner", "write ORG/NAME"),
    ],
)
def test_unreadable_models(
    hub: Hub, checkout: Path, monkeypatch: pytest.MonkeyPatch, model: str, token: str, words: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises((UserError, ParameterError)) as error:
        imported(checkout, model)
    assert words in refused(error.value)
    assert not (checkout / "reported").exists()


def test_import_offline_or_without_checkout(
    hub: Hub, checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="is not a checkout of fflm"):
        imported(tmp_path)
    offline(monkeypatch)
    with pytest.raises(ParameterError, match="HF_HUB_OFFLINE is set: unset it"):
        imported(checkout)
    assert hub.requests == []


# Reading imported files

SCORE = {
    "task": "letters", "split": "test", "value": 0.5, "date": "2026-01-01", "source": "", "notes": "", "dataset": DATA,
}  # fmt: skip


def test_no_reported_folder(tmp_path: Path) -> None:
    assert read_reported(tmp_path / "reported") == []


@pytest.mark.parametrize(
    "change",
    [
        {"value": 2},
        {"value": True},
        {"value": "0.5"},
        {"task": "nonsense"},
        {"task": None},
        {"notes": "<img src=x>"},
        {"notes": "two\nlines"},
        {"source": "javascript:alert(1)"},
        {"date": 2026},
        {"dataset": "../x"},
        {"more": 1},
    ],
)
def test_reported_files_are_validated(tmp_path: Path, change: dict[str, Any]) -> None:
    path = reported_file(tmp_path, MODEL)
    facts = {"schema": "fflm-reported/1", "model": MODEL, "scores": [SCORE]}
    write_json(path, facts)
    assert read_reported(tmp_path) == [Reported(MODEL, (ReportedScore(**SCORE),))]
    write_json(path, {**facts, "scores": [SCORE | change]})
    with pytest.raises(UserError, match="has no valid reported scores") as error:
        read_reported(tmp_path)
    assert refused(error.value).isascii()


@pytest.mark.parametrize(
    "facts",
    [
        {"schema": "other/1", "model": MODEL, "scores": [SCORE]},
        {"schema": "fflm-reported/1", "model": "other/else", "scores": [SCORE]},
        {"schema": "fflm-reported/1", "model": MODEL, "scores": []},
        {"schema": "fflm-reported/1", "model": MODEL, "scores": [SCORE, SCORE]},
        {"schema": "fflm-reported/1", "model": MODEL, "scores": {}},
        {"schema": "fflm-reported/1", "model": 3, "scores": [SCORE]},
        {"model": MODEL},
        [],
    ],
)
def test_invalid_reported_files(tmp_path: Path, facts: Any) -> None:
    write_json(reported_file(tmp_path, MODEL), facts)
    with pytest.raises(UserError, match="has no valid reported scores"):
        read_reported(tmp_path)


def test_task_ids_match_eval_yaml() -> None:
    from fflm_data.eval_yaml import write_eval_yaml
    from fflm_data.registry import CONFIGS

    published = yaml.safe_load(write_eval_yaml([get_config(name) for name in CONFIGS]))["tasks"]
    assert set(reportable()) == {task["id"] for task in published}
    assert all(reportable()[task["id"]] == (task["config"], task["split"]) for task in published)


def test_added_entries_keep_scalars_of_others() -> None:
    text = "- {dataset: {id: a/b, task_id: c}, value: 0x10, date: 2025-01-15, notes: '007', more: [1e3, ~, yes]}\n"
    ours = [{"dataset": {"id": DATA, "task_id": "letters.test"}, "value": 0.5}]
    assert yaml.safe_load(eval_results.add(text.encode(), ours)) == [*yaml.safe_load(text), *ours]
    assert yaml.safe_load(eval_results.add(None, ours)) == ours
