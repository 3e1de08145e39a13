"""Every causal class of the installed transformers is exact, is refused with a reason, or does not build.

every_class.json has the outcomes for one version of transformers; classes of other versions may have any of the three.
docs/evaluation.md gives the counts.
"""

import json
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from harness.engine.engine import Engine
from harness.errors import UserError
from harness.planning.plans import CompletionPlan
from tests.harness.engine import every_class
from tests.harness.engine.test_families import TOKENIZER, VOCABULARY, passed, read, read_plan

pytestmark = pytest.mark.usefixtures("one_thread")

KNOWN = json.loads(Path(__file__).with_name("every_class.json").read_text(encoding="utf-8"))
LENGTHS = (12, 33, 9, 60, 59)
NEW_TOKENS = 4
MARGIN = 1e-4
# Some of these are wide for the sake of their positions, and rounding grows with that.
FAR = 5e-5
EXACT, REFUSED, DOES_NOT_BUILD = "exact", "refused", "does not build"
# Why a model is refused for what may be its sizes: others are tried.
NO_TEXT = "does not predict tokens from text alone"


@cache
def others() -> list[str]:
    """The classes that test_families.py does not test."""
    return sorted({*every_class.kinds()} - every_class.kinds_among_families(VOCABULARY))


def outcome(kind: str) -> str:
    """The outcome of a class; fails if its scores are wrong."""
    refusal = ""
    try:
        for model in every_class.models_of(kind, VOCABULARY):
            refusal = tried(model)
            if not refusal:
                return EXACT
            if NO_TEXT not in refusal:
                break
    except every_class.DoesNotBuildError as reason:
        return f"{DOES_NOT_BUILD}: {reason}"
    except UserError as reason:  # by its config
        refusal = str(reason)
    assert "\n" not in refusal
    return f"{REFUSED}: {refusal}"


def tried(model: Any) -> str:
    """Why a model is refused, empty if it is exact."""
    plan, engine = read_plan(LENGTHS), Engine(model, TOKENIZER)
    try:
        ours = read(engine, plan)
    except UserError as reason:
        return str(reason)
    theirs = passed(model, plan)
    assert np.abs(ours[0] - theirs[0]).max() < FAR
    assert np.array_equal(ours[1], theirs[1])
    prompts = [np.resize(one, length) for one, length in zip(plan.sequences, (20, 27, 7), strict=False)]
    for part in Engine(model, TOKENIZER).completions(CompletionPlan(prompts), NEW_TOKENS, lambda text: False):
        for row, ids in zip(part.rows.tolist(), part.ids, strict=True):
            assert not unlike(model, prompts[row], ids)
    return ""


@torch.inference_mode()
def unlike(model: Any, prompt: Any, written: Any) -> bool:
    """Whether an output differs from greedy decoding by a plain pass, beyond ties."""
    ids = np.concatenate([prompt, written])
    if ids.max() >= VOCABULARY:  # of logits beyond the tokens that a model embeds
        return False
    logits = model(torch.from_numpy(ids[:-1])[None], use_cache=False).logits[0, len(prompt) - 1 :]
    behind = logits.max(dim=-1).values - logits[torch.arange(len(written)), torch.from_numpy(written)]
    return bool((behind > MARGIN).any())


@pytest.mark.slow("harness/engine", "harness/models")
@pytest.mark.parametrize("kind", others())
def test_class_is_exact_or_refused_or_does_not_build(kind: str) -> None:
    found = outcome(kind)
    if transformers.__version__ == KNOWN["transformers"]:
        assert found.partition(":")[0] == KNOWN["outcomes"][kind].partition(":")[0], found


def test_known_classes_are_complete() -> None:
    if transformers.__version__ == KNOWN["transformers"]:
        assert sorted(KNOWN["outcomes"]) == others()
    counts = Counter(one.partition(":")[0] for one in KNOWN["outcomes"].values())
    counts[EXACT] += len(every_class.kinds_among_families(VOCABULARY))
    text = " ".join((Path(__file__).parents[3] / "docs" / "evaluation.md").read_text(encoding="utf-8").split())
    match = re.search(
        r"has (\d+) model types .* each: (\d+) are exact, (\d+) are rejected with a reason, and (\d+) cannot be built",
        text,
    )
    assert match is not None
    expected = [sum(counts.values()), counts[EXACT], counts[REFUSED], counts[DOES_NOT_BUILD]]
    assert [*map(int, match.groups())] == expected
