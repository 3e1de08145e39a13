"""`harness eval` and `harness score` as a user types them, on models that run in a second."""

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset

from fflm_data import get_config
from harness.models.reference import DEFAULT_MODEL, MODELS
from harness.runs.files import CHECKSUMS, only_writer
from harness.runs.observations import COMPLETIONS
from harness.scoring.metrics.exact_count import ExactCount
from harness.scoring.metrics.glitch_rate import GlitchRate
from harness.tasks import all_tasks
from tests.conftest import Run, refused
from tests.support import models


def only_run(folder: Path) -> Path:
    (run,) = folder.glob("*/*/run.json")
    return run.parent


def scores_of(run: Path, metric: str = "accuracy") -> dict[tuple[str, str], dict[str, Any]]:
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    chosen = [score for score in result["scores"] if score["metric"] == metric and score["group"] is None]
    return {(score["task"], score["split"]): score for score in chosen}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.save_tiny(tmp_path_factory.mktemp("models") / "tiny", models.gpt2_like(), context=13_000)


def test_default_evaluation(cli: Run, tmp_path: Path) -> None:
    """Without --model and --task, all bundled models run the supported tasks of the quick suite."""
    result = cli("harness", "eval")
    assert result.returncode == 0, result.stderr
    skipped = [line for line in result.stdout.splitlines() if line.startswith("skipped: ")]
    assert len(skipped) == len(MODELS)
    assert all(re.search(r"flipflop-prose, query-count, .*cannot encode their prompts\)", line) for line in skipped)
    for name in MODELS:
        assert name in result.stdout
        (path,) = (tmp_path / "runs" / name.replace("/", "--")).glob("*/run.json")
        run = path.parent
        facts = json.loads((run / "run.json").read_text(encoding="utf-8"))
        assert facts["command"] == f"harness eval --model {name} --suite quick"
        assert list(facts["data"]["tasks"]) == ["flipflop", "flipflop-piecewise"]
        assert set(facts["left_out"]) == set(all_tasks()) - {"flipflop", "flipflop-piecewise"}
        assert facts["data"]["tasks"]["flipflop"]["splits"]["val_sparse"] == {"rows": 6, "of": 100_000}
        if name == DEFAULT_MODEL:
            assert all(score["value"] == 1 for score in scores_of(run).values())


def test_reads_of_the_bundled_model(cli: Run, tmp_path: Path) -> None:
    result = cli("harness", "eval", "--task", "flipflop", "--limit", "100")
    assert result.returncode == 0, result.stderr
    assert "fflm/lstm" in result.stdout and "val_sparse" in result.stdout and "0 / 2,6" in result.stdout
    run = only_run(tmp_path / "runs")
    assert run.parent.name == "fflm--lstm"
    facts = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert facts["command"] == "harness eval --task flipflop --limit 100"
    assert facts["model"]["parameters"] == 133_381 and len(facts["model"]["revision"]) == 40
    assert facts["data"]["tasks"]["flipflop"]["splits"]["val_sparse"] == {"rows": 100, "of": 100_000}
    for (_, split), score in scores_of(run).items():
        texts = get_config().table(split, 0, 100)["text"].to_pylist()
        assert (score["value"], score["errors"]) == (1.0, 0)
        assert score["n"] == sum(text.count("r") for text in texts)
        assert score["low"] == pytest.approx(0.025 ** (1 / 100), abs=1e-8) and score["high"] == 1
        previous = sum(text[i + 1] == text[i - 1] for text in texts for i in range(512) if text[i] == "r")
        assert score["baseline"] == pytest.approx(max(0.5, previous / score["n"]), abs=1e-8)


def test_every_task_on_random_model(cli: Run, tmp_path: Path, tiny: Path) -> None:
    result = cli("harness", "eval", "--model", tiny, "--limit", "6", "--challenges", "2", "--output", "out")
    assert result.returncode == 0, result.stderr
    run = only_run(tmp_path / "out")
    tables = {path.name for path in (run / "observations").iterdir()}
    assert tables == {
        f"{task.name}.{split}.parquet"
        for task in all_tasks().values()
        for split in task.splits
        if task.name != "flipflop-prose"  # its tokenizer writes " on" in several tokens
    }
    left_out = json.loads((run / "run.json").read_text(encoding="utf-8"))["left_out"]
    assert list(left_out) == ["flipflop-prose"] and "skipped: flipflop-prose (the tokenizer" in result.stdout

    reads = load_dataset("parquet", data_files=str(run / "observations" / "flipflop.val_dense.parquet"), split="train")
    texts = get_config().table("val_dense", 0, 6)["text"].to_pylist()
    walked = [(row, i + 1, int(text[i + 1])) for row, text in enumerate(texts) for i in range(512) if text[i] == "r"]
    assert list(zip(reads["id"], reads["position"], reads["gold"], strict=True)) == walked
    wrong = sum(predicted != right for predicted, right in zip(reads["argmax"], reads["gold_token"], strict=True))
    score = scores_of(run)["flipflop", "val_dense"]
    assert (score["errors"], score["n"]) == (wrong, len(walked))
    measured = GlitchRate().compute(predictions=reads["argmax"], references=reads["gold_token"], sequences=reads["id"])
    assert 1 - measured["glitch_rate"] == pytest.approx(score["value"], abs=1e-8)
    assert 1 - measured["high"] == pytest.approx(score["low"], abs=1e-8)

    completions = pq.read_table(run / "observations" / "letters.test.parquet").to_pylist()
    assert [row["id"] for row in completions] == list(range(6))
    assert all(row["turn"] == 0 and 1 <= row["tokens"] <= 16 and isinstance(row["output"], str) for row in completions)

    before = (run / "result.json").read_bytes()
    (run / "result.json").unlink()
    assert cli("harness", "score", run).returncode == 0
    assert (run / "result.json").read_bytes() == before


def test_same_command_resumes(cli: Run, tmp_path: Path) -> None:
    arguments = ("harness", "eval", "--task", "flipflop", "--limit", "20")
    assert cli(*arguments).returncode == 0
    run = only_run(tmp_path / "runs")
    result, kept = (run / "result.json").read_bytes(), (run / "observations" / "flipflop.val.parquet").stat()
    (run / "observations" / "flipflop.val_dense.parquet").unlink()
    (run / "observations" / "flipflop.val_dense.parquet.partial").write_bytes(b"torn")
    again = cli(*arguments)
    assert again.returncode == 0 and "flipflop.val: 20 of 20 rows done before, resuming" in again.stdout
    assert (run / "observations" / "flipflop.val.parquet").stat().st_mtime_ns == kept.st_mtime_ns
    assert (run / "result.json").read_bytes() == result
    assert not list((run / "observations").glob("*.partial"))
    assert cli("harness", "eval", "--task", "flipflop", "--limit", "21").returncode == 0
    assert len(list((tmp_path / "runs" / "fflm--lstm").iterdir())) == 2


def test_one_writer_at_a_time(cli: Run, tmp_path: Path) -> None:
    assert cli("harness", "eval", "--model", DEFAULT_MODEL, "--limit", "5").returncode == 0
    with only_writer(only_run(tmp_path / "runs")):
        assert "another process is writing" in refused(cli("harness", "eval", "--model", DEFAULT_MODEL, "--limit", "5"))
    assert cli("harness", "eval", "--model", DEFAULT_MODEL, "--limit", "5").returncode == 0


def test_parameters_of_the_data(cli: Run, tmp_path: Path) -> None:
    changed = ("--set", "flipflop.length=64", "--set", "flipflop.p_ignore=0.5")
    result = cli("harness", "eval", "--task", "flipflop", "--limit", "50", *changed)
    assert result.returncode == 0, result.stderr
    run = only_run(tmp_path / "runs")
    texts = get_config("flipflop", length=64, p_ignore=0.5).table("val", 0, 50)["text"].to_pylist()
    assert scores_of(run)["flipflop", "val"]["n"] == sum(text.count("r") for text in texts)


def test_dtype(cli: Run, tmp_path: Path, tiny: Path) -> None:
    assert (
        cli("harness", "eval", "--model", tiny, "--task", "flipflop", "--limit", "2", "--dtype", "bfloat16").returncode
        == 0
    )
    facts = json.loads((only_run(tmp_path / "runs") / "run.json").read_text(encoding="utf-8"))
    assert facts["model"]["dtype"] == "bfloat16" and "--dtype bfloat16" in facts["command"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--task", "nothing"], "there is no task 'nothing': the tasks are flipflop"),
        (["--task", "letter"], "did you mean 'letters'?"),
        (["--suite", "quik"], "did you mean 'quick'?"),
        (["--chat", "of"], "did you mean 'off'?"),
        (["--set", "flipflop.lenght=64"], "did you mean 'length'?"),
        (["--tasks", "letters"], "did you mean '--task'?: see harness eval --help"),
        (["--nothing-like-it"], "unrecognized arguments: --nothing-like-it: see harness eval --help"),
        (["--model", "./nowhere"], "'./nowhere' cannot be loaded"),
        (["--model", "nobody/nothing"], "'nobody/nothing' cannot be loaded"),
        (["--attention", "sdap"], "did you mean 'sdpa'?"),
        (["--attention", "kernels-community/flash-attn"], "there is no attention 'kernels-community/flash-attn'"),
        (["--device-map", "cuda"], "there is no device-map 'cuda': --device-map takes auto, balanced"),
        (["--task", "letters", "--task", "flipflop"], "add --task flipflop"),
        (["--task", "flipflop", "--suite", "quick"], "remove one"),
        (["--suite", "huge"], "the suites are quick, paper, full"),
        (["--chat", "maybe"], "--chat takes auto, on, off"),
        (["--shots", "65"], "at most 64"),
        (["--dtype", "int3"], "--dtype takes auto, float32"),
        (["--limit", "0"], "'0' is not an integer of at least 1"),
        (["--set", "flipflop.length=7"], "length=7 is out of range"),
        (["--set", "flipflop.size=7"], "no parameter 'size'"),
        (["--set", "length=7"], "has no task"),
        (["--task", "flipflop", "--set", "letters.seed=7"], "add --task letters"),
        (["--output", "file/runs"], "Use another folder"),
        (["--revision", "main"], "remove --revision"),
        (["--gguf-file", "no.gguf"], "there is no no.gguf"),
    ],
)
def test_refusals(cli: Run, tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "file").touch()
    assert message in refused(cli("harness", "eval", *arguments))
    assert not list(tmp_path.glob("runs/*/*/observations/*"))


def test_a_context_that_is_too_short(cli: Run, tmp_path: Path) -> None:
    models.save_tiny(tmp_path / "short", models.gpt2_like(), context=300)
    line = refused(cli("harness", "eval", "--model", "short", "--task", "flipflop"))
    assert "needs up to 511 tokens, but the context of local/short is 300: lengths up to 300 fit" in line
    assert (
        cli(
            "harness", "eval", "--model", "short", "--task", "flipflop", "--set", "flipflop.length=300", "--limit", "2"
        ).returncode
        == 0
    )

    models.save_tiny(tmp_path / "bytes", models.bytes_only(), context=1000)
    line = refused(cli("harness", "eval", "--model", "bytes", "--task", "query-count", "--task", "letters"))
    sizes = line.split("--set query-count.vocabularies=")[1].split(";")[0]
    assert line.endswith("add --task letters") and sizes.startswith("2,5")
    fitting = ("--set", f"query-count.vocabularies={sizes}", "--limit", "4")
    assert cli("harness", "eval", "--model", "bytes", "--task", "query-count", *fitting).returncode == 0


@pytest.mark.parametrize(
    ("build", "reason"), [(models.merged, "a single token"), (models.shared_symbol_token, "no token for parts")]
)
def test_a_tokenizer_whose_symbols_are_not_separable(cli: Run, tmp_path: Path, build: Any, reason: str) -> None:
    models.save_tiny(tmp_path / "model", build())
    short = ("--task", "flipflop", "--set", "flipflop.length=64")
    assert reason in refused(cli("harness", "eval", "--model", "model", *short))


def test_tokenizer_truncation_and_padding_are_ignored(cli: Run, tmp_path: Path) -> None:
    plain, marked = models.gpt2_like(), models.gpt2_like()
    marked.enable_truncation(20)
    marked.enable_padding(direction="left", length=600)
    predicted = []
    for name, tokenizer in (("plain", plain), ("marked", marked)):
        models.save_tiny(tmp_path / name, tokenizer)
        result = cli(
            "harness", "eval", "--model", name, "--task", "flipflop", "--limit", "5", "--output", f"runs-{name}"
        )
        assert result.returncode == 0, result.stderr
        predicted.append(pq.read_table(only_run(tmp_path / f"runs-{name}") / "observations" / "flipflop.val.parquet"))
    assert predicted[0].equals(predicted[1])


def test_incomplete_or_foreign_weights_are_refused(cli: Run, tmp_path: Path) -> None:
    folder = models.save_tiny(tmp_path / "model", models.gpt2_like())
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:1000])
    assert "'model' cannot be loaded" in refused(cli("harness", "eval", "--model", "model", "--task", "flipflop"))
    (folder / "model.safetensors").write_bytes(weights)
    models.fast(models.byte_level([("\u0120", letter) for letter in "01wriabcdefgh"])).save_pretrained(folder)
    line = refused(cli("harness", "eval", "--model", "model", "--task", "letters"))
    assert "name a model with its own tokenizer" in line


def test_pickled_weights_are_refused(cli: Run, tmp_path: Path) -> None:
    import torch

    folder = models.save_tiny(tmp_path / "model", models.gpt2_like())
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    assert "safetensors" in refused(cli("harness", "eval", "--model", "model", "--task", "flipflop"))


def edit(run: Path, path: Path, table: pa.Table) -> None:
    """Replaces a table, in a run without checksums."""
    pq.write_table(table, path)
    (run / CHECKSUMS).unlink(missing_ok=True)


@pytest.mark.parametrize("change", ["drop", "double", "shift", "position", "cheat", "swap"])
def test_observations_of_other_rows_are_refused(cli: Run, tmp_path: Path, change: str) -> None:
    assert cli("harness", "eval", "--task", "flipflop", "--limit", "10").returncode == 0
    run = only_run(tmp_path / "runs")
    path = run / "observations" / "flipflop.val.parquet"
    table = pq.read_table(path)
    if change == "drop":
        table = table.slice(0, table.num_rows - 1)
    elif change == "position":
        table = table.set_column(
            1, "position", pa.array([2 * place + 1 for place in range(table.num_rows)], pa.int32())
        )
    elif change == "cheat":  # makes the predictions the targets
        predicted = table["argmax"].to_pylist()
        predicted[0] = 7 - predicted[0]
        table = table.set_column(6, "argmax", pa.array(predicted, pa.int32())).set_column(
            5, "gold_token", pa.array(predicted, pa.int32())
        )
    elif change == "swap":  # both answers one token
        table = table.set_column(5, "gold_token", pa.array([3] * table.num_rows, pa.int32()))
    elif change == "double":
        table = table.take([*range(table.num_rows), table.num_rows - 1])
    else:
        table = table.set_column(
            0, "id", pq.read_table(path)["id"].combine_chunks().take(list(range(table.num_rows))[::-1])
        )
    edit(run, path, table)
    assert "flipflop.val do not match its 10 rows" in refused(cli("harness", "score", run))


def test_impossible_log_probabilities_are_refused(cli: Run, tmp_path: Path) -> None:
    assert cli("harness", "eval", "--model", DEFAULT_MODEL, "--limit", "5").returncode == 0
    run = only_run(tmp_path / "runs")
    path = run / "observations" / "flipflop.val.parquet"
    table = pq.read_table(path)
    for impossible in (0.5, float("nan")):
        values = pa.array([impossible] * (2 * table.num_rows), pa.float32())
        column = pa.FixedSizeListArray.from_arrays(values, type=table.schema.field("logprobs").type)
        edit(run, path, table.set_column(4, table.schema.field("logprobs"), column))
        assert "not all at most 0" in refused(cli("harness", "score", run))


@pytest.mark.parametrize("change", ["drop", "shift"])
def test_completions_of_other_rows_are_refused(cli: Run, tmp_path: Path, tiny: Path, change: str) -> None:
    assert cli("harness", "eval", "--model", tiny, "--task", "letters", "--limit", "5").returncode == 0
    run = only_run(tmp_path / "runs")
    path = run / "observations" / "letters.test.parquet"
    table = pq.read_table(path)
    table = table.slice(1) if change == "drop" else table.set_column(0, "id", pa.array([1, 2, 3, 4, 5]))
    edit(run, path, table)
    assert "letters.test do not match its 5 rows" in refused(cli("harness", "score", run))


def test_scores_of_known_answers(cli: Run, tmp_path: Path, tiny: Path) -> None:
    """Ten rows of letters, one of each cell, with handwritten outputs."""
    assert cli("harness", "eval", "--model", tiny, "--task", "letters", "--limit", "10").returncode == 0
    run = only_run(tmp_path / "runs")
    target = get_config("letters").table("test", 0, 10)["answer"].to_pylist()
    predicted: list[int | None] = [*target[:4], target[4] + 2, target[5] + 4, None, None, target[8], target[9]]
    outputs = [" no idea" if number is None else f" {number}." for number in predicted]
    table = pa.table([range(10), [0] * 10, outputs, [3] * 10], schema=COMPLETIONS)
    edit(run, run / "observations" / "letters.test.parquet", table)
    assert cli("harness", "score", run).returncode == 0
    accuracy, skill, error, failures = (
        scores_of(run, metric)["letters", "test"]
        for metric in ("accuracy", "skill", "mean_absolute_error", "parse_failures")
    )
    assert (accuracy["value"], accuracy["errors"], accuracy["baseline"]) == (0.6, 4, 0.2)
    assert skill["value"] == pytest.approx((0.6 - 0.2) / 0.8)
    assert (error["value"], error["n"]) == (pytest.approx(6 / 8), 8)
    assert (failures["value"], failures["errors"], failures["n"]) == (0.2, 2, 10)
    always_zero = [
        target[row] for row in range(10) if predicted[row] is not None
    ]  # the smallest of equally frequent answers
    assert error["baseline"] == pytest.approx(sum(always_zero) / 8)
    by_hand = ExactCount().compute(predictions=outputs, references=target)
    assert by_hand == {
        "accuracy": 0.6, "mean_absolute_error": 0.75, "parse_failures": 0.2, "refusals": 0, "cut_off": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("data", "generator"), "0.9.0", "generator version 0.9.0"),
        (("data", "tasks", "flipflop", "version"), 2, "version 2 of task flipflop"),
        (("data", "tasks", "flipflop", "splits", "val", "rows"), 10**9, "1000000000 rows of flipflop.val"),
        (("data", "tasks", "flipflop", "splits", "val", "rows"), "5", "'5' rows"),
        (("data", "tasks", "flipflop", "splits", "../val"), {"rows": 5}, "flipflop.../val"),
        (("data", "tasks", "flipflop", "parameters", "length"), 7, "length=7"),
        (("data", "tasks", "flipflop"), None, "is invalid"),
        (("data", "tasks", "other"), {}, "no task 'other'"),
        (("data",), [], "is invalid"),
        (("data", "tasks", "flipflop", "splits", "val", "of"), 5, "the size or the fingerprint of flipflop.val"),
        (("data", "tasks", "flipflop", "fingerprint"), "zzz", "the size or the fingerprint"),
        (("model", "id"), "../../escape", "model.id"),
        (("model", "revision"), "../../../../../escape/of/some/40/characters", "model.revision"),
        (("model", "parameters"), "many", "model.parameters"),
        (("model",), None, "is invalid ('model')"),
    ],
)
def test_an_edited_run_json_is_refused(
    cli: Run, tmp_path: Path, keys: tuple[str, ...], value: object, message: str
) -> None:
    assert cli("harness", "eval", "--model", DEFAULT_MODEL, "--limit", "5").returncode == 0
    path = only_run(tmp_path / "runs") / "run.json"
    facts = place = json.loads(path.read_text(encoding="utf-8"))
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    if keys == ("model",):
        del facts["model"]
    path.write_text(json.dumps(facts), encoding="utf-8")
    assert message in refused(cli("harness", "score", path.parent))


def test_a_table_of_another_kind_is_refused(cli: Run, tmp_path: Path) -> None:
    assert cli("harness", "eval", "--model", DEFAULT_MODEL, "--limit", "5").returncode == 0
    run = only_run(tmp_path / "runs")
    path = run / "observations" / "flipflop.val.parquet"
    (run / CHECKSUMS).unlink()
    path.write_bytes(path.read_bytes()[:100])
    assert "cannot be read" in refused(cli("harness", "score", run))
    pq.write_table(pa.table({"id": [0]}), path)
    assert "does not have the columns" in refused(cli("harness", "score", run))


def test_score_needs_a_run(cli: Run, tmp_path: Path) -> None:
    assert "is not a run folder" in refused(cli("harness", "score", tmp_path))
    (tmp_path / "run.json").write_text('{"schema": "other/1"}', encoding="utf-8")
    assert "has schema 'other/1'" in refused(cli("harness", "score", tmp_path))


def test_tasks_are_listed(cli: Run) -> None:
    output = cli("harness", "tasks").stdout
    assert all(f"name: {name}" in output for name in ("flipflop", "letters", "most-frequent", "query-count"))
