"""Model files that need unlimited memory or time: a one-line error, and the reader stays within its limits."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from harness.errors import UserError
from harness.models import reference
from harness.models.model_request import ModelRequest
from harness.models.resolve import resolve
from harness.models.tokenizer_file import require_within_limits
from tests.support import models

REFERENCE = Path(reference.__file__).parent / "checkpoints"

pytestmark = pytest.mark.usefixtures("one_thread")
resource = pytest.importorskip("resource")
Facts = dict[str, Any]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.save_tiny(tmp_path_factory.mktemp("tiny") / "model", models.byte_level([("\u0120", "0")]))


def changed(tiny: Path, folder: Path, file: str, change: Callable[[Facts], object]) -> Path:
    """A copy of the model with one changed file."""
    shutil.copytree(tiny, folder)
    facts = json.loads((folder / file).read_text(encoding="utf-8"))
    change(facts)
    (folder / file).write_text(json.dumps(facts), encoding="utf-8")
    return folder


def replacing(pattern: object, content: str, times: int = 1) -> Callable[[Facts], None]:
    one = {"type": "Replace", "pattern": pattern, "content": content}
    return lambda facts: facts.update(normalizer={"type": "Sequence", "normalizers": [one] * times})


def padding(tokens: int) -> Callable[[Facts], None]:
    options = {"direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "!"}
    return lambda facts: facts.update(padding={"strategy": {"Fixed": tokens}, **options})


TOKENIZERS = {
    "huge ids": lambda facts: facts["model"]["vocab"].update({"zz": 2**32 - 2}),
    "ids that cost much": lambda facts: facts["model"]["vocab"].update({"zz": 2**28}),
    "one letter is ten million": replacing({"String": "w"}, "a" * 10**7),
    "one letter is ten, five times": replacing({"String": "e"}, "e" * 10, 5),
    "every character is a thousand": replacing({"Regex": "."}, "a" * 1000),
    "padded without end": padding(2**31),
    "padded to much": padding(2**20),
    "multiple of much": lambda facts: (padding(2)(facts), facts["padding"].update(pad_to_multiple_of=2**40)),
    "model is none": lambda facts: facts.update(model="none"),
}


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_unbounded_tokenizer_is_refused(tmp_path: Path, tiny: Path, kind: str) -> None:
    folder = changed(tiny, tmp_path / "model", "tokenizer.json", TOKENIZERS[kind])
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(UserError, match=r"tokenizer\.json cannot be read") as refused:
        resolve(ModelRequest(str(folder)))
    assert "\n" not in str(refused.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20  # KiB: of this process
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 6 * 2**20
    assert time.monotonic() - began < 200


HONEST = {
    "padded": padding(512),
    "cut": lambda facts: facts.update(
        truncation={"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0}
    ),
    "spaces are marks": replacing({"String": " "}, "\u2581"),
    "lower case": lambda facts: facts.update(normalizer={"type": "Lowercase"}),
    "decomposed": lambda facts: facts.update(normalizer={"type": "NFKD"}),
}


@pytest.mark.parametrize("kind", HONEST)
def test_tokenizer_with_padding_is_accepted(tmp_path: Path, tiny: Path, kind: str) -> None:
    folder = changed(tiny, tmp_path / "model", "tokenizer.json", HONEST[kind])
    assert resolve(ModelRequest(str(folder))).tokens_from == "tokenizer.json"


def test_tokenizer_with_unknown_characters_is_accepted(tmp_path: Path) -> None:
    """Tokenizers that raise for unknown characters, like the bundled one."""
    require_within_limits(REFERENCE / "lstm" / "tokenizer.json")
    made = Tokenizer(WordLevel({"w": 0}, unk_token="?"))
    made.save(str(tmp_path / "tokenizer.json"))
    require_within_limits(tmp_path / "tokenizer.json")


@pytest.mark.parametrize("family", ["byte_level", "with_bos_and_eos", "unknown_instructions", "shared_symbol_token"])
def test_small_vocabulary_is_accepted(tmp_path: Path, family: str) -> None:
    """Also those that can encode few of the samples."""
    made: Tokenizer = models.byte_level([]) if family == "byte_level" else getattr(models, family)()
    made.save(str(tmp_path / "tokenizer.json"))
    require_within_limits(tmp_path / "tokenizer.json")


@pytest.mark.parametrize(("field", "value"), [("n_layer", 10**7), ("num_hidden_layers", 10**5), ("n_layer", 10_001)])
def test_too_many_layers_error(tmp_path: Path, tiny: Path, field: str, value: int) -> None:
    def change(facts: Facts) -> None:
        facts.pop("n_layer")
        facts[field] = value

    folder = changed(tiny, tmp_path / "model", "config.json", change)
    with pytest.raises(UserError, match=f"config.json: n_layer is {value:,}, and at most 10,000") as no:
        resolve(ModelRequest(str(folder)))
    assert "\n" not in str(no.value)
