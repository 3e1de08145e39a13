"""The `datasets` library on generated and streamed data."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from datasets import get_dataset_config_names, load_dataset

from fflm_data import CONFIGS, get_config

SMALL = {"train_rows": 2500, "val_sparse_rows": 1100, "val_dense_rows": 100}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")


@pytest.mark.parametrize("imports", ["import fflm_data, datasets.load", "import datasets, fflm_data.config"])
def test_load_default_config_in_new_process(tmp_path: Path, imports: str) -> None:
    code = f"{imports}; from datasets import load_dataset; print(load_dataset('fflm'))"
    environment = os.environ | {"HF_HOME": str(tmp_path / "home")}
    output = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=tmp_path / "empty",
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for split, rows in get_config().splits().items():
        assert f"{split}: Dataset" in output
        assert f"num_rows: {rows}\n" in output


@pytest.mark.parametrize("name", CONFIGS)
def test_load_every_config(name: str) -> None:
    parameters = SMALL if name == "flipflop" else {}
    config = get_config(name, **parameters)
    loaded, streamed = (
        load_dataset("fflm", name, **parameters),
        load_dataset("fflm", name, streaming=True, **parameters),
    )
    assert set(loaded) == set(streamed) == set(config.splits())
    for split in config.splits():
        rows = config.table(split).to_pylist()
        assert loaded[split].to_list() == rows
        assert list(streamed[split]) == rows


def test_num_proc_does_not_change_rows() -> None:
    single = load_dataset("fflm", **SMALL)["train"]
    parallel = load_dataset("fflm", num_proc=2, download_mode="force_redownload", **SMALL)["train"]
    assert single.to_list() == parallel.to_list()


def test_cache_depends_on_parameters() -> None:
    kwargs = {"train_rows": 0, "val_rows": 20, "val_sparse_rows": 0, "val_dense_rows": 0}
    default = load_dataset("fflm", **kwargs)["val"]
    longer = load_dataset("fflm", length=1024, **kwargs)["val"]
    sparser = load_dataset("fflm", p_ignore=0.95, **kwargs)["val"]
    assert {len(text) for text in longer["text"]} == {1024}
    assert len({default._fingerprint, longer._fingerprint, sparser._fingerprint}) == 3
    assert len({tuple(data["text"]) for data in (default, longer, sparser)}) == 3
    assert load_dataset("fflm", **kwargs)["val"].to_list() == default.to_list()


def test_working_directory_is_ignored(tmp_path: Path) -> None:
    before = load_dataset("fflm", "letters")["test"]
    Path("train.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    after = load_dataset("fflm", "letters")["test"]
    assert after.cache_files == before.cache_files


def test_invalid_parameters() -> None:
    with pytest.raises(ValueError, match="length=7"):
        load_dataset("fflm", length=7)
    with pytest.raises(ValueError, match="no parameter 'size'"):
        load_dataset("fflm", size=7)
    with pytest.raises(ValueError, match="nothing"):
        load_dataset("fflm", "nothing")


def test_config_names() -> None:
    assert get_dataset_config_names("fflm") == [*CONFIGS, "flipflop-train"]


def test_other_packaged_modules_still_work() -> None:
    Path("rows.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    assert load_dataset("csv", data_files="rows.csv")["train"][0] == {"a": 1, "b": 2}
