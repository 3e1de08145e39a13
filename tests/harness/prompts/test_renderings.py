"""Spaced and plain renderings of flip-flop strings: the same reads, and suggestions of a fitting rendering."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from tokenizers import Regex, Tokenizer
from tokenizers import models as kinds
from tokenizers import pre_tokenizers as cuts
from transformers import AutoModelForCausalLM

from fflm_data import get_config
from harness.models.tokenizer_file import _encode_sample
from harness.tasks import ReadTask, all_tasks, get_task
from tests.conftest import Run, refused
from tests.support import models

OPTIONS = ("--limit", "4", "--set", "flipflop.length=48")
PLAIN = ("--set", "flipflop.rendering=plain")


def characters(unknown: bool = False, whole: str = ".") -> Tokenizer:
    """A tokenizer trained on the column `text`: five characters, no space."""
    words = {piece: number for number, piece in enumerate([*"wri01", *["?"] * unknown])}
    tokenizer = Tokenizer(kinds.WordLevel(words, **({"unk_token": "?"} if unknown else {})))
    tokenizer.pre_tokenizer = cuts.Split(Regex(whole), "isolated")
    return tokenizer


def one_run(folder: Path) -> Path:
    (found,) = folder.glob("*/*/run.json")
    return found.parent


@pytest.mark.parametrize("name", ["flipflop", "flipflop-piecewise"])
@pytest.mark.parametrize("rendering", ["spaced", "plain"])
@pytest.mark.parametrize("symbols", [2, 12, 130])
def test_target_offsets(name: str, rendering: str, symbols: int) -> None:
    task, config = get_task(name).rendered(rendering), get_config(get_task(name).config, length=300, symbols=symbols)
    assert isinstance(task, ReadTask)
    rows = config.table(task.splits[0], 0, 20)
    texts, targets = task.texts(rows), task.targets(rows)
    names = task.symbols(config)
    for row, offset, target in zip(targets.row, targets.offset, targets.target, strict=True):
        rest = texts[row][offset:]
        assert rest.startswith(names[target]) and not rest[len(names[target]) : len(names[target]) + 1].isdigit()
    assert [text.replace(" ", "") for text in texts] == rows["text"].to_pylist()
    assert (" " in texts[0]) == (rendering == "spaced")


def test_tasks_with_several_renderings() -> None:
    several = {name for name, task in all_tasks().items() if len(task.renderings) > 1}
    assert several == {"flipflop", "flipflop-piecewise"}
    assert {task.rendering for name, task in all_tasks().items() if name in several} == {"spaced"}


@pytest.mark.parametrize("tasks", [["letters"], ["strawberry", "capitals"], ["query-count"]])
def test_error_names_supported_tasks(cli: Run, tasks: list[str]) -> None:
    """The bundled model supports flip-flop strings only."""
    line = refused(cli("harness", "eval", *[word for task in tasks for word in ("--task", task)]))
    assert "the tokenizer of fflm/lstm cannot encode '" in line
    fits = "use tasks that it can encode, --task flipflop --task flipflop-piecewise, or name another --model"
    assert line.endswith(fits)


def test_ask_error_names_supported_tasks(cli: Run) -> None:
    line = refused(cli("harness", "ask", "--task", "letters", "--row", "0"))
    assert line.endswith("--task flipflop --task flipflop-piecewise, or name another --model")
    line = refused(cli("harness", "ask", "How many r are in berry?"))
    assert line.endswith("Use words in its vocabulary, or another --model.")


def test_tokenizer_without_supported_task(cli: Run, tmp_path: Path) -> None:
    models.save_tiny(tmp_path / "model", models.unknown_instructions(), kind="llama")
    for command in (["--task", "letters"], ["--suite", "quick"]):
        line = refused(cli("harness", "eval", "--model", "model", *command))
        assert line.endswith("it cannot encode any task, name another --model")


def test_character_model(cli: Run, tmp_path: Path) -> None:
    folder = models.save_tiny(tmp_path / "model", characters(), kind="llama")
    command = ("--model", "model", "--task", "flipflop", *OPTIONS)
    line = refused(cli("harness", "eval", *command))
    assert "Missing [UNK]" in line and line.endswith("add --set flipflop.rendering=plain")
    assert line == refused(cli("harness", "eval", "--model", "model", *OPTIONS))  # of all tasks, the first
    done = cli("harness", "eval", *command, *PLAIN)
    assert done.returncode == 0, done.stderr
    run = one_run(tmp_path / "runs")
    facts = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert facts["data"]["tasks"]["flipflop"]["rendering"]["text"] == "plain"
    assert "flipflop.rendering=plain" in facts["command"]

    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    observed = pq.read_table(run / "observations" / "flipflop.val.parquet").to_pydict()
    texts = get_config("flipflop", length=48).table("val", 0, 4)["text"].to_pylist()
    for row, text in enumerate(texts):
        ids = torch.tensor([["wri01".index(character) for character in text]])
        with torch.inference_mode():
            logprobs = model(ids).logits[0].log_softmax(-1)
        here = [place for place, one in enumerate(observed["id"]) if one == row]
        assert [observed["position"][place] for place in here] == [at + 1 for at, one in enumerate(text) if one == "r"]
        expected = [logprobs[observed["position"][place] - 1, 3:5].tolist() for place in here]
        assert np.abs(np.array(expected) - np.array([observed["logprobs"][place] for place in here])).max() < 2e-5
        assert [observed["gold_token"][place] for place in here] == [3 + observed["gold"][place] for place in here]

    before = (run / "result.json").read_bytes()
    for verb in ("score", "report"):
        assert cli("harness", verb, run).returncode == 0
    assert (run / "result.json").read_bytes() == before
    assert "rows done before, resuming" in cli("harness", "eval", *command, *PLAIN).stdout
    assert "w0" in cli("harness", "ask", "--model", "model", "--task", "flipflop", *PLAIN).stdout.replace("|", "")


@pytest.mark.parametrize(
    ("tokenizer", "fits"),
    [
        (characters(unknown=True), True),
        (characters(whole=r"[wri]\d|."), False),  # an instruction and its symbol are one word
        (models.shared_symbol_token(), False),
    ],
)
def test_error_suggests_plain_rendering(cli: Run, tmp_path: Path, tokenizer: Tokenizer, fits: bool) -> None:
    models.save_tiny(tmp_path / "model", tokenizer)
    line = refused(cli("harness", "eval", "--model", "model", "--task", "flipflop", *OPTIONS))
    assert ("add --set flipflop.rendering=plain" in line) == fits


def test_error_suggests_spaced_rendering(cli: Run, tmp_path: Path) -> None:
    models.save_tiny(tmp_path / "model", models.numbers(2))
    line = refused(cli("harness", "eval", "--model", "model", "--task", "flipflop", *OPTIONS, *PLAIN))
    assert line.endswith("the spaced rendering fits its tokens: add --set flipflop.rendering=spaced")


def test_default_rendering_is_unchanged(cli: Run, tmp_path: Path) -> None:
    """The bundled LSTM ignores spaces: same results for both, and no new field for the default rendering."""
    command = ("--task", "flipflop", "--task", "flipflop-piecewise", "--limit", "4")
    ways = {"usual": (), "spaced": ("--set", "flipflop.rendering=spaced"), "plain": PLAIN}
    for name, words in ways.items():
        assert cli("harness", "eval", *command, *words, "--output", name).returncode == 0
    runs = {name: one_run(tmp_path / name) for name in ways}
    assert runs["usual"].name == runs["spaced"].name != runs["plain"].name
    facts = json.loads((runs["usual"] / "run.json").read_text(encoding="utf-8"))
    assert set(facts["data"]["tasks"]["flipflop"]["rendering"]) == {"answers", "first_tokens", "first_token_is_bos"}
    for table in (runs["usual"] / "observations").iterdir():
        assert table.read_bytes() == (runs["plain"] / "observations" / table.name).read_bytes()
    assert "rendering: A spaced, B plain" in cli("harness", "compare", runs["usual"], runs["plain"]).stdout
    site = cli("harness", "leaderboard", "build", "--out", "site", "--run", runs["plain"])
    assert "flipflop with rendering=plain" in refused(site)
    terms = ("--contact", "a tester", "--licence", "MIT", "--division", "trained on fflm", "--disclosure", "None.")
    assert "in the plain rendering" in refused(cli("harness", "submit", runs["plain"], "--dry-run", *terms))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("flipflop.rendering=plan", "--set flipflop.rendering takes spaced, plain; did you mean 'plain'?"),
        ("flipflop.rendering=1", "there is no rendering 1: "),
        ("letters.rendering=plain", "letters has no parameter 'rendering'"),
        ("flipflop-prose.rendering=plain", "flipflop-prose has no parameter 'rendering'"),
    ],
)
def test_unknown_rendering_error(cli: Run, setting: str, message: str) -> None:
    task = setting.partition(".")[0]
    assert message in refused(cli("harness", "eval", "--task", task, "--set", setting))


def test_run_with_unknown_rendering_is_damaged(cli: Run, tmp_path: Path) -> None:
    assert cli("harness", "eval", "--task", "flipflop", *OPTIONS, *PLAIN).returncode == 0
    path = one_run(tmp_path / "runs") / "run.json"
    for odd, message in (("wide", "there is no rendering 'wide'"), (["plain"], "there is no rendering ['plain']")):
        facts = json.loads(path.read_text(encoding="utf-8"))
        facts["data"]["tasks"]["flipflop"]["rendering"]["text"] = odd
        path.write_text(json.dumps(facts), encoding="utf-8")
        assert message in refused(cli("harness", "score", path.parent))


def test_encode_sample_shows_surrounding_tokens() -> None:
    assert _encode_sample(characters()) == [0, 3]
    nothing = Tokenizer(kinds.WordLevel({"z": 0}))
    nothing.pre_tokenizer = cuts.Split(Regex("."), "isolated")
    assert _encode_sample(nothing) is None
