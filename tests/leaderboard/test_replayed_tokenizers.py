"""A replay checks the tokenizer like an evaluation does, so records of a laxer harness are refused."""

import json
from pathlib import Path

import pytest

from harness.cli import main
from harness.errors import UserError
from harness.models.token_text import TokenBytes
from harness.models.tokenizer_check import TokenizerChecker
from harness.runs.run import read_run
from leaderboard.create_record import public_facts
from leaderboard.records import read_record
from leaderboard.replay.replay import replay
from tests.leaderboard.record_edits import edit, make_consistent, make_record, only_run
from tests.support import scripted

TABLE = {"type": "Replace", "pattern": {"String": "strawberry"}, "content": "strawberry 3"}
ANSWERS = {"type": "Replace", "pattern": {"Regex": r"[\s\S]+"}, "content": "3"}


@pytest.mark.parametrize("part", ["normalizer", "decoder"])
def test_replay_refuses_a_rewriting_tokenizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    model = scripted.save(tmp_path / "model", "constant:2", template=scripted.CHATML)
    path = model / "tokenizer.json"
    facts = json.loads(path.read_text(encoding="utf-8"))
    facts[part] = TABLE if part == "normalizer" else {"type": "Sequence", "decoders": [facts["decoder"], ANSWERS]}
    path.write_text(json.dumps(facts), encoding="utf-8")
    with monkeypatch.context() as context:
        context.setattr(TokenizerChecker, "require", lambda *_: None)
        context.setattr(TokenBytes, "matches", lambda *_: True)
        words = ["--task", "letters", "--limit", "4", "--output", str(tmp_path / "runs")]
        assert main(["eval", "--model", str(model), *words]) == 0
    run = only_run(tmp_path / "runs").folder
    edit(run / "run.json", public_facts)
    make_consistent(run)
    assert read_run(run).facts["model"]["tokenizer"]["from"] == "tokenizer.json"
    record = make_record(run, tmp_path / "records")
    with pytest.raises(UserError, match=r"may only (split text|join tokens)") as no:
        replay(read_record(record), None, "n", "a maintainer", str(model))
    assert "\n" not in str(no.value)
