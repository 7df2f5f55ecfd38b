"""One measured figure with its bar, and the measuring of a whole process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """A measured value, how it reads, and the bar it is held against: `most` or `least`, or neither."""

    name: str
    value: float
    unit: str
    most: float | None = None
    least: float | None = None
    note: str = ""

    @property
    def shown(self) -> str:
        """The value with its unit and its note."""
        digits = 0 if abs(self.value) >= 1000 else 1 if abs(self.value) >= 10 else 3
        note = f" ({self.note})" if self.note else ""
        return f"{self.value:,.{digits}f} {self.unit}".strip() + note

    @property
    def bar(self) -> str:
        """The bar as text."""
        if self.most is not None:
            return f"at most {self.most:,g}"
        return f"at least {self.least:,g}" if self.least is not None else ""

    @property
    def verdict(self) -> str:
        """yes, no, or nothing where there is no bar."""
        if self.most is not None:
            return "yes" if self.value <= self.most else "**no**"
        return ("yes" if self.value >= self.least else "**no**") if self.least is not None else ""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields."""
        return asdict(self)


@dataclass(frozen=True)
class Process:
    """What a finished process took: seconds of wall and CPU time, MB at its peak, what it printed."""

    wall: float
    cpu: float
    peak_mb: float
    output: bytes


# Runs a command in a small process of its own and says what it took: the peak of one that is forked off a large process
# would count what that one holds.
_REPORT = """
import json, os, resource, subprocess, sys, time
began = time.perf_counter()
code = subprocess.run(sys.argv[2:]).returncode
wall = time.perf_counter() - began
used = resource.getrusage(resource.RUSAGE_CHILDREN)
os.write(int(sys.argv[1]), json.dumps([code, wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]).encode())
"""


def run_process(command: list[str], **options: Any) -> Process:
    """Run a command to its end and return what it took; raises if it fails."""
    told, write = os.pipe()
    try:
        runner = [sys.executable, "-S", "-c", _REPORT, str(write), *command]
        output = subprocess.run(runner, stdout=subprocess.PIPE, pass_fds=[write], check=True, **options).stdout
        code, wall, cpu, peak_mb = json.loads(os.read(told, 4096))
    finally:
        os.close(told)
        os.close(write)
    if code:
        raise RuntimeError(f"{' '.join(command)} ended with {code}")
    return Process(wall, cpu, peak_mb, output)
