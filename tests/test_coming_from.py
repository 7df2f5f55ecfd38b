"""The pages for those who come from another framework: no name of theirs without a row, no row without code that runs.

The code itself is run with that of all other pages. The names stand in tests/coming_from, a list for each page.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.docs_runner import blocks

ROOT = Path(__file__).parents[1]
PAGES = sorted(path for path in (ROOT / "docs" / "coming-from").glob("*.md") if path.name != "README.md")
NAMES = Path(__file__).parent / "coming_from"
HEADER = "| theirs | ours | note |"
NONE = "none"
# Where code names the rows that it stands for: `# one · another`, on one line or several.
BETWEEN = " · "


@dataclass(frozen=True)
class Row:
    """One row of a table: the names of theirs, and what is said of them."""

    names: tuple[str, ...]
    ours: str
    note: str


def rows(page: str) -> list[Row]:
    """The rows of all tables of a page that map names, in order."""
    found = []
    inside = False
    for line in page.splitlines():
        inside = line == HEADER or (inside and line.startswith("|"))
        if not inside or line == HEADER or line.startswith("| ---"):
            continue
        cells = [cell.replace("\\|", "|").strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        assert len(cells) == 3, line
        found.append(Row(tuple(spans(cells[0])) or (cells[0],), cells[1], cells[2]))
    return found


def spans(text: str) -> list[str]:
    """What stands as code in a cell."""
    return re.findall(r"`([^`]+)`", text)


def snippets(page: str) -> dict[str, str]:
    """The code of a page by the name that it stands for; code for several names stands under each."""
    found: dict[str, str] = {}
    for block in blocks(page):
        if block.language == "output" or block.file or "no-run" in block.words:
            continue
        names: list[str] = []
        was_header = False
        for line in block.text.splitlines():
            is_header = line.startswith("# ")
            if is_header:
                names = (names if was_header else []) + line[2:].split(BETWEEN)
            else:
                for name in names:
                    found[name] = found.get(name, "") + line + "\n"
            was_header = is_header
    return found


def in_one_line(code: str) -> str:
    """Code without the white space and the last commas by which it is laid out."""
    return re.sub(r",(?=[)\]}])", "", re.sub(r"\s+", "", code))


def stands_in(ours: str, code: str) -> bool:
    """Whether code says what a cell says, in which `...` stands for anything."""
    parts = in_one_line(ours).split("...")
    return re.search(".*?".join(map(re.escape, parts)), in_one_line(code)) is not None


def unshown(page: str) -> list[str]:
    """What rows of a page call ours without code that says so, word for word."""
    code = snippets(page)
    return [
        f"{row.names[0]}: {ours}"
        for row in rows(page)
        for ours in spans(row.ours)
        if not stands_in(ours, code.get(row.names[0], ""))
    ]


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


page = pytest.mark.parametrize("path", PAGES, ids=[path.stem for path in PAGES])


@page
def test_every_name_of_theirs_has_one_row_and_no_row_is_of_another_name(path: Path) -> None:
    names = Counter(line for line in read(NAMES / f"{path.stem}.txt").splitlines() if line and line[0] != "#")
    found = Counter(name for row in rows(read(path)) for name in row.names)
    assert len(names) >= 20
    assert found == names


@page
def test_what_a_row_calls_ours_stands_in_the_code_for_it(path: Path) -> None:
    assert unshown(read(path)) == []


@page
def test_a_row_without_a_counterpart_gives_the_reason(path: Path) -> None:
    for row in rows(read(path)):
        assert row.ours == NONE or spans(row.ours), f"{row.names}: name ours, or write {NONE}"
        assert row.ours != NONE or len(row.note.split()) >= 5, row.names


@page
def test_code_for_a_row_does_something_and_is_for_a_row_of_the_page(path: Path) -> None:
    text = read(path)
    first = {row.names[0]: row.ours for row in rows(text)}
    for name, code in snippets(text).items():
        assert first.get(name, NONE) != NONE, f"code for {name!r}, which is no first name of a row with code"
        assert code.strip(), name
    for block in blocks(text):
        if block.language == "python":
            assert ast.parse(block.text).body


def test_each_list_of_names_has_its_page() -> None:
    assert [path.stem for path in sorted(NAMES.glob("*.txt"))] == [path.stem for path in PAGES]


ONE_ROW = "| theirs | ours | note |\n| --- | --- | --- |\n| `x` | `run(k=3)` | a |\n"


@pytest.mark.parametrize(
    "code",
    [
        "",
        "```python\n# y\nrun(k=3)\n```\n",
        "```python\n# x\nrun(k=4)\n```\n",
        "```python\nrun(k=3)\n# x\n```\n",
        "```python no-run\n# x\nrun(k=3)\n```\n",
        "```output\n# x\nrun(k=3)\n```\n",
    ],
)
def test_a_row_whose_code_is_missing_is_found(code: str) -> None:
    assert unshown(ONE_ROW + code) == ["x: run(k=3)"]
    assert unshown(ONE_ROW + "```python\n# y · x\nrun(\n    k=3,\n)\n```\n") == []


@pytest.mark.parametrize(
    ("ours", "code", "is_there"),
    [("run(...)", "run(3)", True), ("run(a, ...)", "run(a, b)", True), ("run(a, ...)", "run(b)", False)],
)
def test_three_dots_in_a_row_stand_for_anything(ours: str, code: str, is_there: bool) -> None:
    assert stands_in(ours, code) is is_there
