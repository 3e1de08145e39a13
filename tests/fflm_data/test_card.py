"""Dataset card, figures and eval.yaml, including a run of inspect-ai."""

import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

import pytest
import yaml
from datasets import load_dataset, load_dataset_builder
from huggingface_hub import DatasetCard

from fflm_data import CONFIGS, get_config
from fflm_data.build import build
from fflm_data.eval_yaml import write_eval_yaml
from fflm_data.flipflop import TextConfig
from fflm_data.manifest import RowHash
from tests.hub import Hub

SMALL = {"train_rows": 1500, "val_rows": 300, "val_sparse_rows": 1100, "val_dense_rows": 200}
BUILT = [get_config(name, **(SMALL if name == "flipflop" else {})) for name in CONFIGS]
TEXTS = [config.name for config in BUILT if isinstance(config, TextConfig)]
SPLITS = [(config, split) for config in BUILT for split in config.splits()]
NAMES = [f"{config.name}.{split}" for config, split in SPLITS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("built") / "fflm"
    build(path, BUILT)
    return path


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))


def section(folder: Path, name: str) -> str:
    card = (folder / "README.md").read_text(encoding="utf-8")
    return card.split(f"\n## {name}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize(("config", "split"), SPLITS, ids=NAMES)
@pytest.mark.parametrize("streaming", [False, True])
def test_folder_loads_generated_rows(folder: Path, config: object, split: str, streaming: bool) -> None:
    rows = load_dataset(str(folder), config.name, split=split, streaming=streaming)
    expected = list(config.tables(split))
    assert list(rows) == [row for table in expected for row in table.to_pylist()]
    manifest = json.loads((folder / "fflm.json").read_text(encoding="utf-8"))
    digest = RowHash()
    for table in expected:
        digest.update(table)
    assert manifest["configs"][config.name]["splits"][split]["sha256"] == digest.hexdigest()


def test_card_header(folder: Path) -> None:
    data = DatasetCard.load(folder / "README.md").data
    assert [entry["config_name"] for entry in data["configs"] if entry.get("default")] == ["flipflop"]
    assert {entry["config_name"] for entry in data["configs"]} == set(CONFIGS)
    assert data["license"] == ["mit", "cc-by-4.0"]
    assert data["size_categories"] == ["10K<n<100K"]
    for config in BUILT:
        info = load_dataset_builder(str(folder), config.name).info
        assert info.features.arrow_schema.remove_metadata() == config.schema
        assert {name: split.num_examples for name, split in info.splits.items()} == config.splits()


@pytest.mark.parametrize("config", BUILT, ids=CONFIGS)
def test_card_sections(folder: Path, config: object) -> None:
    text = section(folder, config.name)
    for split, rows in config.splits().items():
        assert f"| `{split}` | {rows:,} |" in text
    assert f'load_dataset("FOLDER", "{config.name}"' in text
    assert f"https://arxiv.org/abs/{config.paper.split()[-1]}" in text
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert f"note = {{{config.paper}}}" in card.split("## Citation")[1]
    example = json.loads(re.search(r"```json\n(.*?)```", text, re.DOTALL)[1])
    assert list(example) == config.schema.names and example["id"] == 0


def test_files_are_printable_text(folder: Path) -> None:
    """An unescaped TeX backslash in a string literal would become a control character."""
    for name in ("README.md", "eval.yaml", "fflm.json"):
        text = (folder / name).read_text(encoding="utf-8")
        assert text.endswith("\n") and all(character.isprintable() for character in text.replace("\n", ""))


def test_card_baselines(folder: Path) -> None:
    counts = get_config("query-count").table("test")["answer"].to_pylist()
    always, most = counts.count(10) / len(counts), Counter(counts).most_common(1)[0][1] / len(counts)
    assert f"| `test` | 1,400 | {always:.2%} | {most:.2%} |" in section(folder, "query-count")
    right = total = 0
    for text in get_config("flipflop", **SMALL).table("val_dense")["text"].to_pylist():
        reads = [position for position in range(0, 512, 2) if text[position] == "r"]
        right, total = right + sum(text[position - 1] == text[position + 1] for position in reads), total + len(reads)
    assert f"| `val_dense` | 200 | 50.00% | {right / total:.2%} |" in section(folder, "flipflop")
    facts = get_config("capitals").table("test").to_pylist()
    best = Counter()
    for (relation, _), count in Counter((row["relation"], row["answer"]) for row in facts).items():
        best[relation] = max(best[relation], count)
    assert f"| `test` | 1,857 | {best.total() / 1857:.2%} |" in section(folder, "capitals")


@pytest.mark.parametrize(
    ("config", "split"), [pair for pair in SPLITS if isinstance(pair[0], TextConfig)],
    ids=[name for name, pair in zip(NAMES, SPLITS, strict=True) if isinstance(pair[0], TextConfig)],
)  # fmt: skip
def test_histograms(folder: Path, config: TextConfig, split: str) -> None:
    name = f"figures/{config.name}-{split}.svg"
    assert f"({name})" in section(folder, config.name)
    drawing = ET.parse(folder / name).getroot()
    space = "{http://www.w3.org/2000/svg}"
    labels = [bar.find(f"{space}title").text for bar in drawing.iter(f"{space}rect")]
    gaps: Counter[int] = Counter()
    for text in config.table(split)["text"].to_pylist():
        for position in range(0, len(text), 2):
            if text[position] == "r":
                gaps[(position - text.rindex("w", 0, position)) // 2] += 1
    expected = []
    for low, high in [(1, 1), (2, 2), (3, 4), (5, 8), (9, 16), (17, 32), (33, 64), (65, 128), (129, 255)]:
        share = sum(count for gap, count in gaps.items() if low <= gap <= high) / gaps.total()
        expected.append(f"{low}: {share:.2%}" if low == high else f"{low}\u2013{high}: {share:.2%}")
    assert labels == expected
    assert f"{gaps.total():,} reads" in "".join(drawing.itertext())


def test_eval_yaml_tasks(folder: Path) -> None:
    content = yaml.safe_load((folder / "eval.yaml").read_text(encoding="utf-8"))
    assert set(content) == {"name", "description", "evaluation_framework", "tasks"}
    tasks = [(task["id"], task["config"], task["split"]) for task in content["tasks"]]
    assert tasks == [
        (name, config.name, split) for name, (config, split) in zip(NAMES, SPLITS, strict=True) if split != "train"
    ]


# A scripted model: right answers in several formats on even rows, wrong or badly formatted answers on odd rows.
INSPECT = """
import json, sys
from pathlib import Path
from inspect_ai import eval
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from fflm_data import get_config

limit, scored = 30, {}
for name in ["flipflop-prose", "query-count", "most-frequent", "letters", "arithmetic", "capitals"]:
    rows = get_config(name).table("test", 0, limit).to_pylist()
    right = [
        "ANSWER: {}", "I think.\\nANSWER: **{}**", "answer:{}.", "ANSWER: `{}`\\n", "ANSWER: wait\\nANSWER: {}",
        "**ANSWER**: {}", "ANSWER: $\\\\boxed{{{}}}$", "ANSWER: ({}).", "ANSWER: \u201c{}\u201d",
        "ANSWER: {}?", "ANSWER: **{}**:",
    ]
    wrong = ["ANSWER: {}0", "{}", "ANSWER: {} or so", "The answer is {}", "ANSWER: {}ia", ""]
    def reply(messages, tools, tool_choice, config):
        prompt = messages[-1].text
        question = lambda row: row.get("demonstration", "") + "\\n\\n" + row.get("question", row.get("prompt"))
        (row,) = (row for row in rows if ("\\n\\n" + prompt).find(question(row) + "\\n\\nThe last line") >= 0)
        formats = right if row["id"] % 2 == 0 else wrong
        text = formats[row["id"] // 2 % len(formats)].format(row["answer"])
        output = ModelOutput.from_content("mockllm/model", text)
        output.usage = ModelUsage()  # otherwise the framework downloads a tokenizer to count tokens
        return output
    model = get_model("mockllm/model", custom_outputs=reply, memoize=False)
    (log,) = eval(f"hf/org/fflm/{name}.test", model=model, limit=limit, display="none", log_dir=sys.argv[1])
    assert log.status == "success", log.error.message
    scored[name] = [sample.scores["pattern"].value for sample in log.samples]
logs = eval("hf/org/fflm", model="mockllm/model", limit=0, display="none", log_dir=sys.argv[1])
task_names = [log.eval.task.rpartition("/")[2] for log in logs]
calls = []
model = get_model("mockllm/model", custom_outputs=lambda *arguments: calls.append(arguments), memoize=False)
(log,) = eval("hf/org/fflm/flipflop.val", model=model, limit=2, display="none", log_dir=sys.argv[1])
failure = [log.status, log.error and log.error.message, len(calls)]
Path(sys.argv[2]).write_text(json.dumps([scored, task_names, failure]), encoding="utf-8")
"""


@pytest.mark.slow("fflm_data")
def test_inspect_ai_runs_questions(folder: Path, tmp_path: Path) -> None:
    """End to end as on the Hub: eval.yaml and rows of a repository, scorers of inspect-ai."""
    with Hub(tmp_path / "hub") as hub:
        hub.add_repository("dataset", "org/fflm", folder)
        result = subprocess.run(
            [sys.executable, "-c", INSPECT, str(tmp_path / "logs"), str(tmp_path / "scored")],
            env=os.environ | hub.environment(home=tmp_path / "home"),
            cwd=tmp_path, capture_output=True, encoding="utf-8", check=False,
        )  # fmt: skip
    assert result.returncode == 0, result.stderr[-1500:]
    scored, task_names, failure = json.loads((tmp_path / "scored").read_text(encoding="utf-8"))
    assert scored == dict.fromkeys([name for name in CONFIGS if name not in TEXTS], ["C", "I"] * 15)
    assert task_names == [name for name in NAMES if name != "flipflop.train"]
    assert failure[0] == "error" and "requires samples with choices" in failure[1] and failure[2] == 0


PATTERN = write_eval_yaml([get_config("letters")])


def extract_answer(text: str) -> str | None:
    """Returns the part of an output that the scorer of inspect-ai compares."""
    pattern = yaml.safe_load(PATTERN)["tasks"][0]["scorers"][0]["args"]["pattern"]
    match = re.search(pattern, text)
    return match[1] if match else None


@pytest.mark.parametrize(
    "answer",
    [
        "42", "42!", "(42).", "[42]", "42?", "42:", "**42**?", "42?!", "42...", "42\u2026", "42 :", "42\uff1f",
        "42\uff01", "42\u3002", "\"42\"?", "\\boxed{42}:", "$42$?", "`42`:", "42;", "(42)?", "42 \n\n",
    ],
)  # fmt: skip
def test_pattern_strips_punctuation(answer: str) -> None:
    assert extract_answer(f"Let me see: 7?\nANSWER: {answer}") == "42"


@pytest.mark.parametrize(
    "answer", ["42 or 43?", "42%", "42+", "~42", "4.2", "-42", "42 r's", "42/7", "<42", "42-43", "x42"]
)
def test_pattern_keeps_other_text(answer: str) -> None:
    assert extract_answer(f"ANSWER: {answer}") != "42"


def test_answers_are_not_negative() -> None:
    for name in ("query-count", "most-frequent", "letters", "arithmetic"):
        assert min(get_config(name).table("test")["answer"].to_pylist()) >= 0
    assert (extract_answer("ANSWER: -5?"), extract_answer("ANSWER: \u22125")) == ("-5", "\u22125")


@pytest.mark.parametrize("fill", ["_", "*", '"', " ", "$"])
def test_pattern_is_fast_on_long_output(fill: str) -> None:
    task = yaml.safe_load(write_eval_yaml([get_config("letters")]))["tasks"][0]
    pattern = task["scorers"][0]["args"]["pattern"]
    assert re.search(pattern, "ANSWER: " + fill * 100_000 + "is x?\nok?") is None
    assert re.search(pattern, f"ANSWER: {fill}5{fill}")[1] == "5"
