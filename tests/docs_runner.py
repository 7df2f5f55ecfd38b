"""Runs the code blocks of a Markdown page, top to bottom, in a folder of its own. Knows nothing of mdap.

What a block is told by its fence:

    ```python             runs in the page's one namespace; `await` works at the top level
    ```console  or  ```sh runs as shell commands; lines that follow a `$ ` line are what it must print
    ```output             what the block before it must have printed
    ```python steps.py    any language and a file name: the block is written to that file instead of being run
    ```sh no-run          is shown only
    ```console background starts its command and leaves it running until the page ends; so does a line that ends in ` &`
    ```console exit=3     its last command must end with that code

In expected output `...` stands for anything, and a line of only `...` for any number of lines.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import types
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

SHELLS = ("console", "sh", "bash", "shell")
FENCE = re.compile(r"^(?P<indent> *)```(?P<info>\S[^`\n]*)\n(?P<body>.*?)^(?P=indent)``` *$", re.DOTALL | re.MULTILINE)
TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, the words after it, its text and the line on which the text begins."""

    language: str
    words: tuple[str, ...]
    text: str
    line: int

    @property
    def file(self) -> str | None:
        """The file that the block is to be written to, if its fence names one."""
        return next((word for word in self.words if re.fullmatch(r"[\w/-]+\.\w+", word)), None)

    @property
    def exit_code(self) -> int:
        """What the block's last command is to end with."""
        return next((int(word[5:]) for word in self.words if word.startswith("exit=")), 0)


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page that name a language, in order."""
    found = []
    for match in FENCE.finditer(page):
        language, *words = match["info"].split()
        text = re.sub(f"^{match['indent']}", "", match["body"], flags=re.MULTILINE)
        found.append(Block(language, tuple(words), text, page.count("\n", 0, match.start("body")) + 1))
    return found


def commands(block: Block) -> list[tuple[str, str | None]]:
    """The commands of a shell block, each with what it must print (None: nothing is said about it)."""
    text = block.text.replace("\\\n", " ")
    if not re.search(r"^\$ ", text, re.MULTILINE):
        lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
        return [(line, None) for line in lines]
    parts = re.split(r"^\$ (.*)\n?", text, flags=re.MULTILINE)[1:]
    return [(command, out.strip("\n") or None) for command, out in zip(parts[::2], parts[1::2], strict=True)]


def matches(expected: str, got: str) -> bool:
    """Whether `got` is what `expected` says, trailing blanks aside, with `...` as the wildcard."""

    def lines(text: str) -> str:
        return "\n".join(line.rstrip() for line in text.strip("\n").splitlines()) + "\n"

    pattern = re.escape(lines(expected))
    pattern = re.sub(r"(?m)^\\\.\\\.\\\.\\\n", r"(?:.*\\n)?", pattern).replace(r"\.\.\.", ".*")
    return re.fullmatch(pattern, lines(got), re.DOTALL) is not None


class Page:
    """A page that is being run; leaving it ends what it started in the background."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.path, self.folder = path, folder
        self.module = types.ModuleType(f"page_{path.stem}")
        self.printed = ""
        self.background: list[subprocess.Popen[bytes]] = []
        tools = Path(sys.executable).parent
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MDAP_")}
        self.env = kept | {"PATH": f"{tools}{os.pathsep}{kept.get('PATH', '')}", "PYTHONUNBUFFERED": "1"}

    def __enter__(self) -> Page:
        # Where a class of the page looks up its annotations, and where the page finds the files that it wrote.
        sys.modules[self.module.__name__] = self.module
        sys.path.insert(0, str(self.folder))
        return self

    def __exit__(self, *_: object) -> None:
        sys.path.remove(str(self.folder))
        del sys.modules[self.module.__name__]
        # The next page may have a file of the same name, which is another module.
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None) or "").startswith(str(self.folder)):
                del sys.modules[name]
        for process in self.background:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=10)

    def run(self, block: Block) -> None:
        """Run one block; AssertionError says which, and what it printed instead."""
        if "no-run" in block.words:
            return
        if block.file:
            target = self.folder / block.file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            self.python(block)
        elif block.language in SHELLS:
            self.shell(block)
        elif block.language == "output":
            self.expect(block, block.text, self.printed)

    def python(self, block: Block) -> None:
        """Run a block in the page's namespace; its traceback shows the lines of the page."""
        source = "\n" * (block.line - 1) + block.text
        code = compile(source, str(self.path), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            waits = types.FunctionType(code, self.module.__dict__)()
            if inspect.iscoroutine(waits):
                asyncio.run(waits)
        self.printed = out.getvalue()

    def shell(self, block: Block) -> None:
        """Run the commands of a block one by one."""
        listed = commands(block)
        for number, (command, expected) in enumerate(listed, 1):
            last = number == len(listed)
            if command.rstrip().endswith(" &") or (last and "background" in block.words):
                self.start(block, command.rstrip().removesuffix("&"), expected)
                continue
            done = subprocess.run(  # the page's own text: bash, as a reader would have it
                ["bash", "-c", command],
                cwd=self.folder,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=TIMEOUT_S,
                check=False,
            )
            self.printed = done.stdout
            wanted = block.exit_code if last else 0
            assert done.returncode == wanted, (
                f"{self.where(block)}: `{command}` ended with {done.returncode}, not {wanted}:\n{done.stdout}"
            )
            if expected is not None:
                self.expect(block, expected, done.stdout)

    def start(self, block: Block, command: str, expected: str | None) -> None:
        """Start a command and wait until it has said its first line: by then it is ready."""
        # A file, not a pipe: nobody reads on, and a full pipe would stop the command.
        with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
            process = subprocess.Popen(
                ["bash", "-c", command],
                cwd=self.folder,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self.background.append(process)
            deadline = time.monotonic() + TIMEOUT_S
            while "\n" not in (first := read_from_start(said)):
                assert process.poll() is None, f"{self.where(block)}: `{command}` ended before it was ready:\n{first}"
                assert time.monotonic() < deadline, f"{self.where(block)}: `{command}` said nothing:\n{first}"
                time.sleep(0.02)
        if expected is not None:
            self.expect(block, expected.splitlines()[0], first.splitlines()[0])

    def expect(self, block: Block, expected: str, got: str) -> None:
        """Compare what was printed with what the page shows."""
        assert matches(expected, got), f"{self.where(block)}: expected\n{expected}\ngot\n{got}"

    def where(self, block: Block) -> str:
        """The page and line of a block, as an editor opens it."""
        return f"{self.path}:{block.line}"


def read_from_start(file: IO[str]) -> str:
    """What the file holds by now."""
    # pread leaves the position alone, which the command that writes the file shares.
    return os.pread(file.fileno(), 1 << 16, 0).decode("utf-8", errors="replace")


def run_page(path: Path, folder: Path) -> dict[str, Any]:
    """Run every block of a page in `folder`, which is the working folder by then; returns the page's namespace."""
    with Page(path, folder) as page:
        for block in blocks(path.read_text(encoding="utf-8")):
            page.run(block)
        return dict(page.module.__dict__)
