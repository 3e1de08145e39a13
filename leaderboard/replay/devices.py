"""Another kind of device than a record's: in coarse numbers it may say something else, and nobody has cheated.

In 16 bits the same model on a CPU and on a GPU is mostly within what a replay allows, but not always: a router sends a
token to another expert, a state is rounded the other way, and all that follows differs (by up to 1.74 nats in the tests
of tiny models). Such differences know no right answers. A replay elsewhere accuses nobody unless they lean to the
record's side.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from leaderboard.replay.bias_test import Tally, chance, together
from leaderboard.replay.row_sampling import FINE

# How often noise may be taken for a lean where numbers alone accuse nobody.
LEVEL = 0.01
# What of a device's name does not say how it computes: memory and how it is plugged in.
_FORM = re.compile(r"[0-9]+GB|HBM[0-9A-Z]*|SXM[0-9]*|PCIE|NVL[0-9]*|MIG|[0-9]+G\.[0-9]+GB")


def rounds_otherwise(model: Mapping[str, Any], recorded: str | None, here: str | None) -> bool:
    """Whether a model of run.json was recorded on another kind of device than this, in numbers where that matters."""
    coarse = bool(model.get("quantization")) or model.get("dtype") not in FINE
    return coarse and bool(recorded) and bool(here) and kind_of(str(recorded)) != kind_of(str(here))


def kind_of(device: str) -> tuple[str, ...]:
    """What of a device's name says how it computes, such as ("NVIDIA", "H100")."""
    return tuple(word for word in re.split(r"[\s_/-]+", device.upper()) if word and not _FORM.fullmatch(word))


def accuses(tallies: Mapping[str, Tally]) -> bool:
    """Whether more answers turned in the record's favour than against it, beyond chance, by sequences or dialogues."""
    for measure in together(tallies).measures:
        turned = np.sign([*measure.clusters.values()])
        if chance(int((turned > 0).sum()), int((turned < 0).sum())) < LEVEL:
            return True
    return False
