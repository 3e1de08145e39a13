"""Links in model folders: refused if they leave the folder, except in cache snapshots; no implicit adapters."""

import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from harness.errors import UserError
from harness.models.loading import load
from harness.models.model_request import ModelRequest
from harness.models.resolve import resolve
from harness.models.revision import folder_revision
from harness.models.source import ModelSource
from harness.models.symlinks import require_own
from tests.conftest import Run, refused
from tests.harness.models.test_gguf_files import write
from tests.hub import Hub
from tests.support import models

OPTIONS = ("--task", "flipflop", "--limit", "2", "--set", "flipflop.length=32")
COMMIT = "0123456789abcdef0123456789abcdef01234567"
TEMPLATE = "{% for message in messages %}{{ message.content }}{% endfor %}"
# Of a folder with every kind of file that is read.
FILES = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
    "model.safetensors", "additional_chat_templates/tool.jinja",
)  # fmt: skip


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = models.save_tiny(tmp_path_factory.mktemp("models") / "tiny", models.gpt2_like(), kind="llama")
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "tool.jinja").write_text(TEMPLATE, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def sharded(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "sharded"
    AutoModelForCausalLM.from_pretrained(tiny).save_pretrained(folder, max_shard_size="20KB")
    models.fast(models.gpt2_like()).save_pretrained(folder)
    assert len([*folder.glob("*.safetensors")]) > 2
    return folder


@pytest.fixture(scope="module")
def adapter(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("adapters") / "lora"
    adapted = get_peft_model(
        AutoModelForCausalLM.from_pretrained(tiny), LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM")
    )
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.5)
    adapted.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gguf") / "parts"
    write(folder, 8)
    return folder


def snapshot_of(folder: Path, cache: Path, name: str = "org--name") -> Path:
    """The files of a folder in the layout of the Hub cache: links to blobs named by hash."""
    repository = cache / f"models--{name}"
    (repository / "blobs").mkdir(parents=True)
    snapshot = repository / "snapshots" / COMMIT
    for number, path in enumerate(sorted(path for path in folder.rglob("*") if path.is_file())):
        shutil.copyfile(path, repository / "blobs" / f"{number:040x}")
        link = snapshot / path.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        ups = len(link.parent.relative_to(repository).parts)
        link.symlink_to(Path(*[".."] * ups, "blobs", f"{number:040x}"))
    return snapshot


def linked(folder: Path, name: str, target: Path) -> Path:
    """Moves a file out of a folder and leaves a link."""
    target.parent.mkdir(parents=True, exist_ok=True)
    (folder / name).rename(target)
    (folder / name).symlink_to(target)
    return folder


@torch.inference_mode()
def logits(source: ModelSource) -> torch.Tensor:
    found: torch.Tensor = load(source, torch.device("cpu"))(torch.arange(3, 40)[None]).logits
    return found


def error_line(folder: Path) -> str:
    with pytest.raises(UserError) as error:
        resolve(ModelRequest(str(folder)))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("kind", ["tiny", "sharded"])
def test_cache_snapshot_equals_files(tmp_path: Path, kind: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(kind)
    snapshot = snapshot_of(folder, tmp_path / "hub")
    plain, found = resolve(ModelRequest(str(folder))), resolve(ModelRequest(str(snapshot)))
    assert found.revision == plain.revision and torch.equal(logits(found), logits(plain))
    (tmp_path / "called").symlink_to(snapshot)  # the folder itself may be reached by a link
    assert resolve(ModelRequest(str(tmp_path / "called"))).revision == plain.revision


def test_model_in_snapshot_subfolder(tmp_path: Path, sharded: Path) -> None:
    shutil.copytree(sharded, tmp_path / "repository" / "final" / "hf")
    snapshot = snapshot_of(tmp_path / "repository", tmp_path / "hub")
    assert resolve(ModelRequest(str(snapshot / "final" / "hf"))).revision == folder_revision(sharded, None)


def test_gguf_snapshot_with_parts_and_subfolder(tmp_path: Path, gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.models.gguf_files.HF_HOME", str(tmp_path / "joined"))
    shutil.copytree(gguf, tmp_path / "repository" / "q4")
    snapshot = snapshot_of(tmp_path / "repository", tmp_path / "hub")
    first = sorted(gguf.iterdir())[0].name
    plain = resolve(ModelRequest(str(gguf), gguf_file=first))
    for folder, name in ((snapshot / "q4", first), (snapshot, f"q4/{first}")):
        found = resolve(ModelRequest(str(folder), gguf_file=name))
        assert found.revision == plain.revision and torch.equal(logits(found), logits(plain))


def test_adapter_snapshot(tmp_path: Path, tiny: Path, adapter: Path) -> None:
    snapshot = snapshot_of(adapter, tmp_path / "hub")
    plain, found = (resolve(ModelRequest(str(tiny), adapter=str(folder))) for folder in (adapter, snapshot))
    assert plain.adapter and found.adapter and found.adapter.revision == plain.adapter.revision
    assert torch.equal(logits(found), logits(plain))


@pytest.mark.parametrize("name", FILES)
def test_link_within_folder_is_allowed(tmp_path: Path, tiny: Path, name: str) -> None:
    folder = linked(shutil.copytree(tiny, tmp_path / "model"), name, tmp_path / "model" / "files" / "original")
    plain, found = resolve(ModelRequest(str(tiny))), resolve(ModelRequest(str(folder)))
    assert found.revision == plain.revision and torch.equal(logits(found), logits(plain))
    with (folder / "files" / "original").open("ab") as file:
        file.write(b" ")
    assert folder_revision(folder, None) != plain.revision


@pytest.mark.parametrize("name", FILES)
def test_link_out_of_folder_error(tmp_path: Path, tiny: Path, name: str) -> None:
    outside = tmp_path / "elsewhere" / "original"
    folder = linked(shutil.copytree(tiny, tmp_path / "model"), name, outside)
    wanted = f"{folder / name} is a link to {outside}, outside the folder: copy the file into"
    assert wanted in error_line(folder)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("loop", [False, True])
def test_broken_link_error(tmp_path: Path, tiny: Path, name: str, loop: bool) -> None:
    folder = shutil.copytree(tiny, tmp_path / "model")
    (folder / name).unlink()
    (folder / name).symlink_to(Path(name).name if loop else "../gone")
    assert f"{folder / name} is a link " in (line := error_line(folder))
    assert ("to itself" if loop else "to ../gone, which does not exist") in line


@pytest.mark.parametrize("which", ["first", "last"])
def test_linked_shard_error(tmp_path: Path, sharded: Path, which: str) -> None:
    folder = shutil.copytree(sharded, tmp_path / "model")
    shard = sorted(folder.glob("*.safetensors"))[0 if which == "first" else -1].name
    linked(folder, shard, tmp_path / "outside.safetensors")
    assert f"{shard} is a link to" in error_line(folder)


def test_missing_shard_error(tmp_path: Path, sharded: Path) -> None:
    folder = snapshot_of(sharded, tmp_path / "hub")
    shard = sorted(folder.glob("*.safetensors"))[1]
    shard.unlink()
    assert f"lists {shard.name!r} as weights, which does not exist" in error_line(folder)


def test_linked_template_folder_error(tmp_path: Path, tiny: Path) -> None:
    folder = shutil.copytree(tiny, tmp_path / "model")
    linked(folder, "additional_chat_templates", tmp_path / "templates")
    assert "outside the folder" in error_line(folder)


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("where", ["../outside", "../gone", "loop"])
def test_link_in_adapter_folder_error(tmp_path: Path, tiny: Path, adapter: Path, name: str, where: str) -> None:
    folder = shutil.copytree(adapter, tmp_path / "lora")
    shutil.copyfile((tiny if name == "tokenizer.json" else adapter) / name, tmp_path / "outside")
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(name if where == "loop" else where)
    with pytest.raises(UserError, match=f"{name} is a link "):
        resolve(ModelRequest(str(tiny), adapter=str(folder)))


@pytest.mark.parametrize("part", [0, -1])
def test_linked_gguf_part_error(cli: Run, tmp_path: Path, gguf: Path, part: int) -> None:
    folder = shutil.copytree(gguf, tmp_path / "model")
    names = sorted(path.name for path in folder.iterdir())
    linked(folder, names[part], tmp_path / "outside.gguf")
    line = refused(cli("harness", "eval", "--model", folder, "--gguf-file", names[0], *OPTIONS))
    assert f"{names[part]} is a link to {tmp_path / 'outside.gguf'}" in line


def test_gguf_in_linked_or_parent_folder_error(cli: Run, tmp_path: Path, gguf: Path) -> None:
    (folder := tmp_path / "model").mkdir()
    (folder / "q4").symlink_to(gguf)
    write(tmp_path / "whole")
    for name in (f"q4/{sorted(gguf.iterdir())[0].name}", "../whole/tiny.gguf", str(tmp_path / "whole" / "tiny.gguf")):
        line = refused(cli("harness", "eval", "--model", folder, "--gguf-file", name, *OPTIONS))
        assert "outside the folder" in line


def test_linked_file_beside_gguf_error(cli: Run, tmp_path: Path) -> None:
    write(folder := tmp_path / "model")
    (tmp_path / "outside.json").write_text('{"eos_token_id": 7}', encoding="utf-8")
    (folder / "generation_config.json").symlink_to(tmp_path / "outside.json")
    line = refused(cli("harness", "eval", "--model", folder, "--gguf-file", "tiny.gguf", *OPTIONS))
    assert "generation_config.json is a link to" in line


@pytest.mark.parametrize(
    "place", ["models--org--name/blobs/deep/file", "models--org--other/blobs/file", "models--org--name/refs/file"]
)
def test_blobs_of_other_repository_error(tmp_path: Path, tiny: Path, place: str) -> None:
    snapshot = snapshot_of(tiny, tmp_path / "hub")
    (outside := tmp_path / "hub" / place).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(tiny / "model.safetensors", outside)
    (snapshot / "model.safetensors").unlink()
    (snapshot / "model.safetensors").symlink_to(outside)
    assert "model.safetensors is a link to" in error_line(snapshot)


def test_linked_blobs_error(tmp_path: Path, tiny: Path) -> None:
    snapshot = snapshot_of(tiny, tmp_path / "hub")
    blobs = snapshot.parents[1] / "blobs"
    blob = (snapshot / "model.safetensors").resolve()
    blob.rename(tmp_path / "secret")
    blob.symlink_to(tmp_path / "secret")
    assert f"is a link to {tmp_path / 'secret'}" in error_line(snapshot)
    blob.unlink()
    (tmp_path / "secret").rename(blob)
    blobs.rename(tmp_path / "elsewhere")
    blobs.symlink_to(tmp_path / "elsewhere")
    assert "outside the folder" in error_line(snapshot)


def test_folder_named_like_cache(tmp_path: Path, tiny: Path) -> None:
    """Blobs must belong to a model repository with snapshots."""
    for number, parts in enumerate(("mine/snapshots/1", "models--org--name/kept/1")):
        folder = tmp_path / str(number) / parts
        shutil.copytree(tiny, folder)
        linked(folder, "config.json", folder.parents[1] / "blobs" / "config")
        assert "config.json is a link to" in error_line(folder)


def test_unread_links_are_ignored(tmp_path: Path, tiny: Path) -> None:
    folder = shutil.copytree(tiny, tmp_path / "model")
    (tmp_path / "train.log").touch()
    (folder / "train.log").symlink_to(tmp_path / "train.log")
    (folder / "checkpoints").symlink_to(tmp_path)
    (folder / ".#config.json").symlink_to("somebody@machine.1234")
    (folder / "gone.bin").symlink_to("nowhere")
    assert resolve(ModelRequest(str(folder))).revision == folder_revision(tiny, None)


@pytest.mark.slow("harness/models")
@pytest.mark.parametrize("pickled", [False, True])
def test_adapter_in_model_folder_error(cli: Run, tmp_path: Path, tiny: Path, adapter: Path, pickled: bool) -> None:
    folder = shutil.copytree(tiny, tmp_path / "both")
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copyfile(adapter / name, folder / name)
    if pickled:
        torch.save(load_file(folder / "adapter_model.safetensors"), folder / "adapter_model.bin")
        (folder / "adapter_model.safetensors").unlink()
    line = error_line(folder)
    assert "both is both a model and an adapter (adapter_config.json beside config.json)" in line
    assert f"--model the model it was trained on ({tiny})" in line
    with Hub(tmp_path / "hub") as hub:
        hub.add_repository("model", "org/both", folder)
        environment = hub.environment(home=tmp_path / "home") | {"HF_HUB_OFFLINE": "0"}
        assert "org/both is both a model and an adapter" in refused(
            cli("harness", "eval", "--model", "org/both", *OPTIONS, **environment)
        )


def test_missing_path_is_ignored(tmp_path: Path) -> None:
    require_own(tmp_path, [tmp_path / "missing"])
