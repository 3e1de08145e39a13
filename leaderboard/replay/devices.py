"""Compares kinds of devices: in a coarse dtype another kind of device may give other outputs.

In 16 bits the outputs of a model on a CPU and on a GPU are mostly within the tolerance, but not always: a router
selects another expert, or a state is rounded the other way, and everything after it differs (by up to 1.74 nats in the
tests of tiny models). Such differences are independent of the targets. A replay on another kind of device is no dispute
unless its differences favour the record.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from leaderboard.replay.bias_test import Tally, merge, sign_test
from leaderboard.replay.row_sampling import FINE

# Probability of a false alarm for changed answers on another kind of device.
LEVEL = 0.01
# Parts of a device name that do not affect arithmetic: memory size and form factor.
_FORM = re.compile(r"[0-9]+GB|HBM[0-9A-Z]*|SXM[0-9]*|PCIE|NVL[0-9]*|MIG|[0-9]+G\.[0-9]+GB")


def rounds_differently(model: Mapping[str, Any], recorded: str | None, here: str | None) -> bool:
    """Returns whether a model of run.json was recorded on another kind of device, in a dtype where that matters."""
    coarse = bool(model.get("quantization")) or model.get("dtype") not in FINE
    return coarse and bool(recorded) and bool(here) and device_kind(str(recorded)) != device_kind(str(here))


def device_kind(device: str) -> tuple[str, ...]:
    """Returns the parts of a device name that identify its arithmetic, such as ("NVIDIA", "H100")."""
    return tuple(word for word in re.split(r"[\s_/-]+", device.upper()) if word and not _FORM.fullmatch(word))


def favours_record(tallies: Mapping[str, Tally]) -> bool:
    """Returns whether more sequences or dialogues changed in the record's favour than against it, beyond chance."""
    for measure in merge(tallies).measures:
        signs = np.sign([*measure.clusters.values()])
        if sign_test(int((signs > 0).sum()), int((signs < 0).sum())) < LEVEL:
            return True
    return False
