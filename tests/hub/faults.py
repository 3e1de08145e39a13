"""What goes wrong on purpose: the next requests of a kind are answered with a status, or their connection is cut."""

import re
import threading
from dataclasses import dataclass, field


class Cut(ConnectionError):
    """The connection ends here."""


@dataclass
class Fault:
    """`status` is answered instead of doing what was asked; without it the connection ends after some bytes."""

    method: str
    path: re.Pattern[str]
    times: int
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    message: str = ""
    after_bytes: int = 0
    reply: bool = False


class Faults:
    """Faults to come; each strikes as often as it was asked for, the earliest planned first."""

    def __init__(self) -> None:
        self._planned: list[Fault] = []
        self._lock = threading.Lock()

    def plan(self, fault: Fault) -> None:
        with self._lock:
            self._planned.append(fault)

    def strike(self, method: str, target: str) -> Fault | None:
        with self._lock:
            for fault in self._planned:
                if fault.method == method and fault.path.search(target):
                    fault.times -= 1
                    if not fault.times:
                        self._planned.remove(fault)
                    return fault
        return None
