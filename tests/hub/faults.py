"""Fault injection: error statuses or cut connections for the next matching requests."""

import re
import threading
from dataclasses import dataclass, field


class ConnectionCut(ConnectionError):
    """Ends the connection."""


@dataclass
class Fault:
    """Returns `status` without handling the request; if it is 0, the connection ends after `after_bytes`."""

    method: str
    path: re.Pattern[str]
    times: int
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    message: str = ""
    after_bytes: int = 0
    reply: bool = False


class Faults:
    """Planned faults. Each applies `times` times, in the order of planning."""

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
