"""The layers' contracts hold, and each of them breaks when its layer is crossed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


PROGRAM = """
import sys
sys.path.insert(0, "src")
from importlinter.cli import lint_imports
lint_imports(no_cache=True, no_logo=True, limit_to_contracts=tuple(sys.argv[1:]))
"""


def lint(folder: Path, *contracts: str) -> str:
    """What import-linter says of the package in `folder`, by all contracts or by those named."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *contracts],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Contracts:" in done.stdout, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package and its contracts, to be broken."""
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_no_layer_is_crossed() -> None:
    said = lint(ROOT)
    assert " 0 broken" in said, said


@pytest.mark.parametrize(
    ("contract", "file", "line"),
    [
        ("pure-core", "core/ballot.py", "import asyncio"),
        ("pure-core", "core/ballot.py", "from random import random"),
        ("pure-core", "core/ballot.py", "def later() -> None:\n    from time import monotonic"),
        ("layers", "core/ballot.py", "import mdap.protocols"),
        ("layers", "engine/voting.py", "import mdap.journal"),
        ("layers", "tasks/__init__.py", "import mdap.models"),
        ("layers", "journal/__init__.py", "def later() -> None:\n    import mdap.api"),
        ("layers", "newcomer.py", ""),
        ("engine-adapters", "engine/voting.py", "import sqlite3"),
        ("engine-adapters", "engine/voting.py", "import time"),
        ("pure-tasks", "tasks/__init__.py", "import asyncio"),
        ("models-know-no-voting", "models/__init__.py", "import mdap.core.ballot"),
        ("no-rings", "core/records.py", "import mdap.core.history"),
    ],
)
def test_a_crossed_layer_breaks_its_contract(copy: Path, contract: str, file: str, line: str) -> None:
    with (copy / "src" / "mdap" / file).open("a", encoding="utf-8") as source:
        source.write(f"\n{line}\n")
    said = lint(copy, contract)
    assert "0 kept, 1 broken" in said, said
