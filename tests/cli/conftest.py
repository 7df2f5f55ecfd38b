"""The command line as tests use it: within the process where that will do, as a process of its own where it matters."""

from __future__ import annotations

import importlib
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mdap.cli.app import command_line


@dataclass(frozen=True)
class Said:
    """What a command printed, and the code that it ended with."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON value on standard output."""
        (line,) = self.out.splitlines()
        return json.loads(line)

    @property
    def next(self) -> list[list[str]]:
        """The words of every command that is printed to be typed next, `mdap` left out."""
        quoted = re.findall(r"^next:  mdap (.*)$|`mdap (resume [^`]+)`", self.err, re.MULTILINE)
        return [shlex.split(alone or within) for alone, within in quoted]


class Terminal:
    """Somebody in a folder of their own who types commands; the process is that of the test."""

    def __init__(self, folder: Path, captured: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._captured = captured

    def __call__(self, *words: str) -> Said:
        """Run one command."""
        self._captured.readouterr()
        code = command_line(words)
        out, err = self._captured.readouterr()
        return Said(code, out, err)

    def last(self) -> str:
        """Return the id of the newest run."""
        return str(self("runs", "--json").json[-1]["run"])

    def write(self, name: str, text: str) -> None:
        """Write a module of the user's own, and let go of the one that was imported from there."""
        (self.folder / f"{name}.py").write_text(text, encoding="utf-8")
        sys.modules.pop(name, None)
        importlib.invalidate_caches()

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command as a process of its own, its output in pipes."""
        return subprocess.Popen(
            [sys.executable, "-m", "mdap", *words],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def mdap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Terminal]:
    """A terminal in an empty folder; its journal is `.mdap/runs.db` there, as for anybody who has set nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MDAP_JOURNAL")
    monkeypatch.setattr(sys, "path", [*sys.path])
    # A module that is written twice within a second must not be taken from its first bytecode.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    known = set(sys.modules)
    yield Terminal(tmp_path, capfd)
    for name in set(sys.modules) - known:
        if os.fspath(getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]
