"""`fflm-data check` on unchanged, modified and external datasets."""

import json
import math
import random
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import binomtest

from fflm_data import build, get_config
from fflm_data.check import check
from fflm_data.external_strings import Estimate, wilson
from fflm_data.flipflop import IGNORE, READ, WRITE
from fflm_data.manifest import MANIFEST_FILE, Manifest
from tests.conftest import Run, refused
from tests.hub import Hub

WORDS = 120
LETTERS = "letters/test-00000-of-00001.parquet"
VAL = "flipflop/val-00000-of-00001.parquet"
ROWS = {"train": 30, "val": 12, "val_sparse": 0, "val_dense": 5}
GOOD = {
    "letters/test": "1,200 rows match",
    "flipflop/train": "30 rows match",
    "flipflop/val": "12 rows match",
    "flipflop/val_dense": "5 rows match",
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built") / "folder"
    letters = get_config("letters", words_per_cell=WORDS)
    flipflop = get_config("flipflop", length=32, **{f"{split}_rows": rows for split, rows in ROWS.items()})
    build.build(folder, [letters, flipflop])
    return folder


@pytest.fixture
def folder(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns a writable copy of a dataset with 1,200 rows of letters (more than one batch) and some of flipflop."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    return Path(shutil.copytree(built, tmp_path / "folder"))


def findings(result: "subprocess.CompletedProcess[str]") -> dict[str, str]:
    """Returns the message for each split. Fails if the exit status does not agree."""
    messages = dict(line.split(": ", 1) for line in result.stdout.splitlines())
    faults = [text for text in messages.values() if not text.endswith(" rows match")]
    assert result.returncode == (1 if faults else 0), result.stderr
    return messages


def change(path: Path, edit: Callable[[list[dict[str, Any]]], object]) -> None:
    """Edits the rows of a parquet file."""
    table = pq.read_table(path)
    rows = table.to_pylist()
    edit(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)


def changed_manifest(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
    edit(content)
    (folder / MANIFEST_FILE).write_text(json.dumps(content), encoding="utf-8")


# Datasets written by fflm


def test_check_unchanged_folder(cli: Run, folder: Path) -> None:
    result = cli("fflm-data", "check", "folder")
    assert findings(result) == GOOD
    assert result.stderr == ""


def test_check_ignores_file_encoding(cli: Run, folder: Path) -> None:
    table = pq.read_table(folder / LETTERS)
    before = (folder / LETTERS).read_bytes()
    pq.write_table(
        table.select([*reversed(table.schema.names)]), folder / LETTERS, row_group_size=77, compression="gzip"
    )
    assert (folder / LETTERS).read_bytes() != before
    assert findings(cli("fflm-data", "check", "folder")) == GOOD


@pytest.mark.parametrize("number", [0, 1023, 1024, 1199])
def test_check_finds_changed_character(cli: Run, folder: Path, number: int) -> None:
    original = pq.read_table(folder / LETTERS).to_pylist()[number]["question"]
    edited = original.replace("occur", "occus")
    change(folder / LETTERS, lambda rows: rows[number].update(question=edited))
    messages = findings(cli("fflm-data", "check", "folder"))
    text = messages.pop("letters/test")
    assert text.startswith(f"row {number} differs in question: expected ") and ", got " in text
    assert "occus" in text and "occur" in text
    assert messages == {split: text for split, text in GOOD.items() if split != "letters/test"}


def test_check_prints_values(cli: Run, folder: Path) -> None:
    change(folder / LETTERS, lambda rows: rows[0].update(answer=4))
    text = findings(cli("fflm-data", "check", "folder"))["letters/test"]
    assert text == "row 0 differs in answer: expected 3, got 4"


def test_check_reports_first_difference(cli: Run, folder: Path) -> None:
    def edit(rows: list[dict[str, Any]]) -> None:
        rows[9].update(id=7, text="w0r0")
        rows[3]["text"] = rows[3]["text"].replace("w", "i", 1)

    change(folder / VAL, edit)
    assert findings(cli("fflm-data", "check", "folder"))["flipflop/val"].startswith(
        "row 3 differs in text: expected 'w"
    )


EDITS: dict[str, tuple[Callable[[list[dict[str, Any]]], object], str]] = {
    "the last removed": (lambda rows: rows.pop(), "row 1199 is missing"),
    "many removed": (lambda rows: rows.__delitem__(slice(1000, None)), "row 1000 is missing"),
    "a batch removed": (lambda rows: rows.__delitem__(slice(1024, None)), "row 1024 is missing"),
    "one removed": (lambda rows: rows.pop(1050), "row 1050 differs in id: expected 1050, got 1051"),
    "one added": (lambda rows: rows.append(dict(rows[-1], id=1200)), "row 1200 is unexpected"),
    "many added": (lambda rows: rows.extend(rows[:1000]), "row 1200 is unexpected"),
    "two exchanged": (
        lambda rows: rows.__setitem__(slice(6, 8), [rows[7], rows[6]]),
        "row 6 differs in id: expected 6, got 7",
    ),
}


@pytest.mark.parametrize("edit", EDITS)
def test_check_finds_missing_and_extra_rows(cli: Run, folder: Path, edit: str) -> None:
    change_rows, message = EDITS[edit]
    change(folder / LETTERS, change_rows)
    messages = findings(cli("fflm-data", "check", "folder"))
    assert messages == GOOD | {"letters/test": message}


def test_check_finds_extra_row_after_full_batches(cli: Run, tmp_path: Path) -> None:
    few = {f"{split}_rows": 0 for split in ROWS} | {"val_rows": 1024}
    build.build(tmp_path / "whole", [get_config("flipflop", length=16, **few)])
    assert findings(cli("fflm-data", "check", "whole")) == {"flipflop/val": "1,024 rows match"}
    change(tmp_path / "whole" / VAL, lambda rows: rows.append(dict(rows[-1], id=1024)))
    assert findings(cli("fflm-data", "check", "whole")) == {"flipflop/val": "row 1024 is unexpected"}


def test_check_finds_missing_and_extra_columns(cli: Run, folder: Path) -> None:
    table = pq.read_table(folder / LETTERS)
    pq.write_table(table.drop_columns(["letter"]), folder / LETTERS)
    messages = findings(cli("fflm-data", "check", "folder"))
    assert "letter" in messages["letters/test"] and messages["letters/test"] != GOOD["letters/test"]
    assert messages["flipflop/val"] == GOOD["flipflop/val"]
    pq.write_table(table.append_column("more", table["id"]), folder / LETTERS)
    assert "more" in findings(cli("fflm-data", "check", "folder"))["letters/test"]


def test_check_reports_missing_and_corrupt_files(cli: Run, folder: Path) -> None:
    """Versions of `datasets` differ: a split without files is an error or has no rows."""
    (folder / LETTERS).unlink()
    (folder / VAL).write_bytes((folder / VAL).read_bytes()[:200])
    change(folder / "flipflop/train-00000-of-00001.parquet", lambda rows: rows.clear())
    messages = findings(cli("fflm-data", "check", "folder"))
    assert messages["letters/test"].startswith(("row 0 is missing", "cannot be loaded: "))
    assert messages["flipflop/val"].startswith("cannot be loaded: ")
    assert messages["flipflop/train"] != GOOD["flipflop/train"]
    assert messages["flipflop/val_dense"] == GOOD["flipflop/val_dense"]  # checked anyway


def test_check_finds_missing_shard(cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "FILE_BYTES", 1024)
    config = get_config("letters", words_per_cell=3)
    listed = list(build.build(tmp_path / "parts", [config]).splits["letters"]["test"].files)
    assert len(listed) > 2
    assert findings(cli("fflm-data", "check", "parts")) == {"letters/test": "30 rows match"}
    first = pq.read_metadata(tmp_path / "parts" / listed[0]).num_rows
    second = pq.read_metadata(tmp_path / "parts" / listed[1]).num_rows
    (tmp_path / "parts" / listed[1]).unlink()
    assert findings(cli("fflm-data", "check", "parts")) == {
        "letters/test": f"row {first} differs in id: expected {first}, got {first + second}"
    }


def test_check_finds_edited_hash(cli: Run, folder: Path) -> None:
    changed_manifest(folder, lambda content: content["configs"]["flipflop"]["splits"]["val"].update(sha256="0" * 64))
    expected = GOOD | {"flipflop/val": f"the hash of the rows differs from {MANIFEST_FILE}"}
    assert findings(cli("fflm-data", "check", "folder")) == expected


def test_check_split_missing_in_manifest(cli: Run, folder: Path) -> None:
    changed_manifest(folder, lambda content: content["configs"]["flipflop"]["splits"].pop("val"))
    assert "is corrupt (the splits of flipflop are wrong)" in refused(cli("fflm-data", "check", "folder"))


def test_check_edited_parameters(cli: Run, folder: Path) -> None:
    changed_manifest(folder, lambda content: content["configs"]["letters"]["parameters"].update(seed=1))
    messages = findings(cli("fflm-data", "check", "folder"))
    assert re.fullmatch(r"row \d differs in \w+: expected .*, got .*", messages["letters/test"])
    assert messages["flipflop/val"] == GOOD["flipflop/val"]
    changed_manifest(folder, lambda content: content["configs"]["letters"].update(parameters={"words_per_cell": 121}))
    assert "is corrupt (the entry of letters/test is wrong)" in refused(cli("fflm-data", "check", "folder"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "folder/fflm.json is corrupt"),
        (b'{"generator_version', "folder/fflm.json is corrupt"),
        (b"\xff\xfe\x00", "folder/fflm.json is corrupt"),
        (b"[]", "folder/fflm.json is corrupt"),
        (b"{}", "folder/fflm.json is corrupt ('generator_version')"),
    ],
)
def test_check_corrupt_manifest(cli: Run, folder: Path, content: bytes, message: str) -> None:
    (folder / MANIFEST_FILE).write_bytes(content)
    result = cli("fflm-data", "check", "folder")
    assert message in refused(result)
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda content: content["configs"]["letters"]["parameters"].update(words_per_cell=0), "words_per_cell=0"),
        (lambda content: content["configs"]["letters"]["parameters"].update(size=1), "no parameter 'size'"),
        (
            lambda content: content["configs"].update(nothing={"parameters": {}, "splits": {}}),
            "there is no config 'nothing'",
        ),
        (lambda content: content["configs"]["letters"].pop("splits"), "corrupt ('splits')"),
        (lambda content: content.update(generator_version="0.0"), "has rows of generator version 0.0"),
    ],
)
def test_check_invalid_manifest(cli: Run, folder: Path, edit: Callable[[dict[str, Any]], object], message: str) -> None:
    changed_manifest(folder, edit)
    assert message in refused(cli("fflm-data", "check", "folder"))


# In a repository


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with Hub(tmp_path / "hub") as hub:
        yield hub
    assert 501 not in {status for *_, status in hub.requests}, "the test Hub failed"


@pytest.mark.slow("fflm_data")
def test_check_repository_and_tag(cli: Run, folder: Path, hub: Hub) -> None:
    hub.add_repository("dataset", "org/set", folder, tags=["v1"])
    change(folder / VAL, lambda rows: rows[5].update(text=rows[5]["text"][:-1] + "7"))
    hub.add_repository("dataset", "org/set", folder)
    environment = hub.environment()
    messages = findings(cli("fflm-data", "check", "org/set", **environment))
    assert messages.pop("flipflop/val").startswith("row 5 differs in text: ")
    assert messages == {split: text for split, text in GOOD.items() if split != "flipflop/val"}
    result = cli("fflm-data", "check", "org/set", "--revision", "v1", **environment)
    assert findings(result) == GOOD
    assert "no such revision" in refused(cli("fflm-data", "check", "org/set", "--revision", "v9", **environment))


@pytest.mark.slow("fflm_data")
def test_check_external_repository(cli: Run, hub: Hub, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    texts = draw(random.Random(5), 50, 12, 0.3, 0.3)
    (theirs / "train.csv").write_text("text\n" + "\n".join(texts) + "\n")
    hub.add_repository("dataset", "org/theirs", theirs)
    result = cli("fflm-data", "check", "org/theirs", **hub.environment())
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("train: 50 of 50 strings are legal\n  length 12, 2 data symbols\n")
    assert f"  {''.join(texts).count('r')} reads, " in result.stdout
    absent = refused(cli("fflm-data", "check", "org/absent", **hub.environment()))
    assert "cannot find or access the dataset org/absent" in absent


def test_check_offline(cli: Run, tmp_path: Path) -> None:
    result = cli("fflm-data", "check", "org/set", HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path / "home"))
    assert "HF_HUB_OFFLINE is set" in refused(result)


# External datasets


def draw(
    chance: random.Random, rows: int, length: int, write: float, read: float, symbols: int = 2, space: str = ""
) -> list[str]:
    """Samples strings by Definition 1 of the paper, one instruction at a time."""
    texts = []
    for _ in range(rows):
        parts, latest = [], ""
        for index in range(length // 2):
            sample = chance.random()
            instruction = "w" if sample < write else "r" if sample < write + read else "i"
            instruction = "w" if index == 0 else "r" if index == length // 2 - 1 else instruction
            symbol = latest if instruction == "r" else str(chance.randrange(symbols))
            latest = symbol if instruction == "w" else latest
            parts += [instruction, symbol]
        texts.append(space.join(parts))
    return texts


def counted(texts: list[str]) -> tuple[Counter[str], int]:
    """Counts inner instructions (without the first and last), and sums the distances from write to read."""
    inner: Counter[str] = Counter()
    distances = 0
    for text in texts:
        instructions = re.sub(r"[\d ]", "", text)
        inner.update(instructions[1:-1])
        latest = 0
        for index, instruction in enumerate(instructions):
            latest = index if instruction == "w" else latest
            distances += index - latest if instruction == "r" else 0
    return inner, distances


def write(path: Path, texts: list[str], **more: list[Any]) -> None:
    table = pa.table({**more, "text": texts})
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    elif path.suffix == ".csv":
        lines = [",".join(map(str, row.values())) for row in table.to_pylist()]
        path.write_text("\n".join([",".join(table.schema.names), *lines]) + "\n")
    else:
        path.write_text("\n".join(texts) + "\n")


def interval(output: str, name: str) -> tuple[float, float, float]:
    (values,) = re.findall(rf"^  {name} ([\d.]+) \(95% interval ([\d.]+) to ([\d.]+)\)$", output, re.MULTILINE)
    share, low, high = map(float, values)
    return share, low, high


# One 95% interval in twenty misses. These seeds do not; test_estimate_interval_coverage counts misses.
@pytest.mark.parametrize("name", ["set.csv", "set.parquet", "set.txt", "set.jsonl"])
@pytest.mark.parametrize(("p_write", "p_read", "seed"), [(0.1, 0.1, 7), (0.01, 0.3, 2), (0.45, 0.05, 3)])
def test_check_external_file(cli: Run, tmp_path: Path, name: str, p_write: float, p_read: float, seed: int) -> None:
    texts = draw(random.Random(seed), 300, 64, p_write, p_read)
    write(tmp_path / name, texts)
    result = cli("fflm-data", "check", name)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert lines[:2] == ["train: 300 of 300 strings are legal", "  length 64, 2 data symbols"]
    inner, distances = counted(texts)
    total = inner.total()
    assert total == 300 * 30
    truths = {"p_write": p_write, "p_read": p_read, "p_ignore": 1 - p_write - p_read}
    for (label, truth), letter in zip(truths.items(), "wri", strict=True):
        share, low, high = interval(result.stdout, label)
        assert low <= truth <= high
        assert share == pytest.approx(inner[letter] / total, abs=5.1e-5)
        expected = binomtest(inner[letter], total).proportion_ci(method="wilson")
        assert (low, high) == pytest.approx((expected.low, expected.high), abs=5.1e-5)
    reads = sum(text.count("r") for text in texts)
    mean = distances / reads
    assert lines[-1] == f"  {reads:,} reads, on average {mean:.1f} instructions after their write"


def test_check_external_folder(cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "theirs").mkdir()
    splits = {"train": (40, 16), "test": (7, 32)}
    drawn = {split: draw(random.Random(9), *shape, 0.2, 0.2) for split, shape in splits.items()}
    for split, texts in drawn.items():
        write(tmp_path / "theirs" / f"{split}.parquet", texts, id=[*range(len(texts))])
    result = cli("fflm-data", "check", "theirs")
    assert result.returncode == 0, result.stderr
    for split, (rows, length) in splits.items():
        assert f"{split}: {rows} of {rows} strings are legal\n  length {length}, 2 data symbols\n" in result.stdout
        assert f"  {''.join(drawn[split]).count('r')} reads, " in result.stdout
    limited = cli("fflm-data", "check", "theirs", "--limit", "7")
    assert "train: 7 of 7 strings are legal" in limited.stdout
    assert f"  {''.join(drawn['train'][:7]).count('r')} reads, " in limited.stdout
    assert "limit must be an integer of at least 1" in refused(cli("fflm-data", "check", "theirs", "--limit", "-1"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("w0i1r1", "is not a flip-flop string: a read must repeat the latest write at instruction 2"),
        ("w0w1r1r0r1", "is not a flip-flop string: a read must repeat the latest write at instruction 3"),
        ("i0w1r1", "is not a flip-flop string: the first instruction must be w at instruction 0"),
        ("w0r0i1", "is not a flip-flop string: the last instruction must be r at instruction 2"),
        ("w0x1r0", "has 'x' at character 2"),
        ("w0i1r", "has 5 instructions and symbols, expected an even number of at least 4"),
        ("w0", "has 2 instructions and symbols"),
        ("0wi1r0", "is not a flip-flop string: expected an instruction (w, r or i) at instruction 0"),
        ("wii1r0", "is not a flip-flop string: expected a data symbol at instruction 0"),
        ("W0R0", "has 'W' at character 0"),
        ("w0é1r0", "has 'é' at character 2"),
        ("w999i1r999", "has '999' at character 1"),
    ],
)
def test_check_reports_first_illegal_string(cli: Run, tmp_path: Path, text: str, reason: str) -> None:
    texts = draw(random.Random(4), 20, 6, 0.3, 0.3)
    originals = [*texts]
    texts[13] = text
    texts[17] = "nonsense"
    write(tmp_path / "set.jsonl", texts)
    result = cli("fflm-data", "check", "set.jsonl")
    assert result.returncode == 1, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "train: 18 of 20 strings are legal"
    assert lines[1].startswith(f"  first error: row 13 {reason}")
    legal = [text for number, text in enumerate(originals) if number not in (13, 17)]
    assert f"  {''.join(legal).count('r')} reads, " in lines[-1]


def test_estimate_fault_after_first_batch() -> None:
    estimate = Estimate("train")
    estimate.add(["w0r0"] * 10)
    estimate.add(["w1r1", "w1i0r1", "w1r0"])
    estimate.add(["r0r0"])
    assert (estimate.rows, estimate.legal, estimate.reads) == (14, 12, 12)
    assert estimate.fault.startswith("row 12 is not a flip-flop string: a read must repeat")
    assert estimate.lengths == {4: 11, 6: 1}


def test_check_no_legal_strings(cli: Run, tmp_path: Path) -> None:
    write(tmp_path / "set.jsonl", ["", "prose about switches"])
    result = cli("fflm-data", "check", "set.jsonl")
    assert result.returncode == 1
    assert result.stdout.splitlines()[0] == "train: 0 of 2 strings are legal"
    assert "  first error: row 0 has 0 instructions" in result.stdout
    assert "p_write" not in result.stdout


def test_check_empty_cell(cli: Run, tmp_path: Path) -> None:
    (tmp_path / "set.jsonl").write_text('{"text": "w0r0"}\n{"text": null}\n')
    result = cli("fflm-data", "check", "set.jsonl")
    assert result.returncode == 1, result.stderr
    assert "train: 1 of 2 strings are legal\n  first error: row 1 " in result.stdout


def test_check_lengths_spaces_and_many_symbols(cli: Run, tmp_path: Path) -> None:
    chance = random.Random(6)
    texts = [
        *draw(chance, 40, 8, 0.2, 0.2),
        *draw(chance, 30, 64, 0.2, 0.2, space=" "),
        *draw(chance, 30, 40, 0.2, 0.2, symbols=300),
        *draw(chance, 30, 40, 0.2, 0.2, symbols=12, space=" "),
    ]
    chance.shuffle(texts)
    write(tmp_path / "set.txt", texts)
    result = cli("fflm-data", "check", "set.txt")
    assert result.returncode == 0, result.stdout
    free = {symbol for text in texts for symbol in re.findall(r"[wi] ?(\d+)", text)}
    assert f"train: 130 of 130 strings are legal\n  length 8 to 64, {len(free)} data symbols\n" in result.stdout
    inner, distances = counted(texts)
    assert interval(result.stdout, "p_write")[0] == pytest.approx(inner["w"] / inner.total(), abs=5.1e-5)
    reads = sum(text.count("r") for text in texts)
    mean = distances / reads
    assert result.stdout.splitlines()[-1] == f"  {reads:,} reads, on average {mean:.1f} instructions after their write"


def test_check_selects_string_column(cli: Run, tmp_path: Path) -> None:
    (tmp_path / "only.csv").write_text("id,string\n0,w0r0\n1,w1r1\n")
    assert "train: 2 of 2 strings are legal" in cli("fflm-data", "check", "only.csv").stdout
    (tmp_path / "named.csv").write_text("comment,text\nhello,w0r0\nthere,w1r1\n")
    assert "train: 2 of 2 strings are legal" in cli("fflm-data", "check", "named.csv").stdout
    (tmp_path / "two.csv").write_text("one,other\nw0r0,w0r0\n")
    assert "expected a column text or a single string column, got one, other" in refused(
        cli("fflm-data", "check", "two.csv")
    )
    (tmp_path / "none.csv").write_text("one,other\n1,2\n")
    assert "expected a column text or a single string column, got one, other" in refused(
        cli("fflm-data", "check", "none.csv")
    )


def test_check_unloadable_source(cli: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "cannot be loaded as a dataset" in refused(cli("fflm-data", "check", "empty"))
    (tmp_path / "set.parquet").write_bytes(b"PAR1 and nothing more")
    assert "set.parquet cannot be loaded as a dataset" in refused(cli("fflm-data", "check", "set.parquet"))
    (tmp_path / "set.docx").write_bytes(b"w0r0")
    assert "file must be a file that ends in .txt, .csv" in refused(cli("fflm-data", "check", "set.docx"))


@pytest.mark.parametrize(
    ("count", "total"), [(0, 1), (1, 1), (0, 50), (50, 50), (1, 9000), (8999, 9000), (37, 100), (123456, 10**6)]
)
def test_wilson(count: int, total: int) -> None:
    expected = binomtest(count, total).proportion_ci(method="wilson")
    share, low, high = wilson(count, total)
    assert share == count / total
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_estimate_interval_coverage() -> None:
    """About 380 of 400 intervals contain the true value; a difference of 15 is 3.4 standard deviations."""
    chance = random.Random(8)
    covered: Counter[int] = Counter()
    for _ in range(400):
        estimate = Estimate("train")
        estimate.add(draw(chance, 4, 64, 0.15, 0.25))
        for instruction, truth in ((WRITE, 0.15), (READ, 0.25), (IGNORE, 0.6)):
            _, low, high = estimate.probability(instruction)
            covered[instruction] += low <= truth <= high
    assert all(365 <= covered[instruction] <= 395 for instruction in (WRITE, READ, IGNORE)), covered


def test_wilson_without_data() -> None:
    share, low, high = wilson(0, 0)
    assert math.isnan(share) and (low, high) == (0.0, 1.0)


def test_check_missing_folder(cli: Run) -> None:
    assert "there is no folder 'nosuch'. Name a folder, or a repository as ORG/NAME." in refused(
        cli("fflm-data", "check", "nosuch")
    )


@pytest.mark.parametrize("name", ["fflm", "csv", "org/fflm"])
def test_check_folder_named_like_builder_or_repository(cli: Run, tmp_path: Path, name: str) -> None:
    """`load_dataset` would use its own builders for these names and compare generated rows with themselves."""
    result = cli("fflm-data", "build", name, "--config", "letters", "--set", "words_per_cell=2")
    assert f'load_dataset("{(tmp_path / name).resolve().as_posix()}")' in result.stdout
    assert findings(cli("fflm-data", "check", name)) == {"letters/test": "20 rows match"}
    path = tmp_path / name / "letters" / "test-00000-of-00001.parquet"
    table = pq.read_table(path)
    answers = [99, *table["answer"].to_pylist()[1:]]
    pq.write_table(table.set_column(table.schema.get_field_index("answer"), "answer", pa.array(answers)), path)
    messages = findings(cli("fflm-data", "check", name))
    assert messages == {"letters/test": "row 0 differs in answer: expected 3, got 99"}


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("header.csv", "text\n"),
        ("empty.txt", ""),
        ("bad.json", "{"),
        ("bad.parquet", "PAR1"),
        ("latin.csv", "text\n\xe9\n"),
    ],
)
def test_check_unloadable_files(cli: Run, tmp_path: Path, file: str, content: str) -> None:
    (tmp_path / file).write_bytes(content.encode("latin-1"))
    result = cli("fflm-data", "check", file)
    assert result.returncode in (1, 2), result.stdout
    assert len(result.stderr.splitlines()) <= 1 and "Traceback" not in result.stderr


def test_check_invalid_card(cli: Run, tmp_path: Path) -> None:
    assert cli("fflm-data", "build", "set", "--config", "letters", "--set", "words_per_cell=2").returncode == 0
    (tmp_path / "set" / "README.md").write_text("---\nconfigs: [1,2\n---\n", encoding="utf-8")
    assert "cannot be loaded" in findings(cli("fflm-data", "check", "set"))["letters/test"]
    (tmp_path / "set" / "fflm.json").unlink()
    assert "cannot be loaded as a dataset" in refused(cli("fflm-data", "check", "set"))


@pytest.mark.slow("fflm_data")
@pytest.mark.parametrize("source", ["", "..", "./nope", "a b/c"])
def test_check_invalid_source(cli: Run, source: str) -> None:
    refused(cli("fflm-data", "check", source))


def test_check_revision_of_folder(cli: Run, folder: Path) -> None:
    assert "Omit --revision" in refused(cli("fflm-data", "check", "folder", "--revision", "v1"))


def test_check_unreachable_repository_is_an_error(folder: Path) -> None:
    """Tests run offline. The error of `datasets` must not become a finding about the rows."""
    manifest = Manifest.from_json((folder / "fflm.json").read_bytes(), "folder")
    with pytest.raises(ValueError, match="HF_HUB_OFFLINE is set"):
        list(check("org/nowhere", manifest))
