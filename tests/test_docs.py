"""Every code block of every page runs and prints what the page says it prints."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from tests.docs_runner import blocks, commands, matches, run_page

ROOT = Path(__file__).parents[1]
PAGES = [path for name in ("README.md", "VISION.md", "docs/**/*.md") for path in sorted(ROOT.glob(name))]


# The first pages that a reader meets are checked by every quick run, the others by every whole one.
QUICK = {"README.md", "VISION.md", "when-to-use.md", "how-it-works.md", "writing-a-task.md", "choosing-k.md"}


def page_mark(path: Path) -> list[pytest.MarkDecorator]:
    """All pages but a few are left out of the quick part."""
    return [] if path.name in QUICK else [pytest.mark.slow]


@pytest.mark.parametrize(
    "path", [pytest.param(path, id=str(path.relative_to(ROOT)), marks=page_mark(path)) for path in PAGES]
)
def test_every_block_of_a_page_runs_and_prints_what_the_page_shows(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MDAP_JOURNAL")  # a reader has the default one, in the folder that they are in
    run_page(path, tmp_path)


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "page.md"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def test_blocks_of_a_page_share_one_namespace_and_may_await(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
        ```python
        import asyncio
        async def double(x: int) -> int:
            return 2 * x
        ```
        ```python
        y = await double(21)
        ```
        """,
    )
    assert run_page(path, tmp_path)["y"] == 42


def test_a_block_with_a_file_name_is_written_and_can_then_be_imported_and_run(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
        ```python docs_runner_example.py
        print("hello")
        ```
        ```console
        $ python docs_runner_example.py
        hello
        ```
        ```python
        import docs_runner_example
        ```
        ```output
        hello
        ```
        """,
    )
    run_page(path, tmp_path)


def test_a_file_of_one_page_is_not_the_file_of_the_same_name_of_another(tmp_path: Path) -> None:
    for value in (1, 2):
        folder = tmp_path / str(value)
        folder.mkdir()
        file = f"```python twice_named.py\nvalue = {value}\n```\n"
        text = f"{file}```python\nimport twice_named\nprint(twice_named.value)\n```\n```output\n{value}\n```\n"
        run_page(write(folder, text), folder)


@pytest.mark.parametrize(
    "text",
    [
        "```python\nprint(1)\n```\n```output\n2\n```\n",
        "```python\nraise AssertionError\n```\n",
        "```console\n$ echo one\ntwo\n```\n",
        "```sh\nexit 3\n```\n",
        "```console exit=3\n$ exit 4\n```\n",
        "```console\n$ true &\n```\n",
    ],
)
def test_a_page_that_is_wrong_fails(tmp_path: Path, text: str) -> None:
    with pytest.raises(AssertionError):
        run_page(write(tmp_path, text), tmp_path)


def test_what_a_page_starts_in_the_background_is_there_for_its_later_blocks_and_gone_afterwards(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
        ```console background
        $ sh -c 'echo ready; echo $$ > pid; exec sleep 60'
        ready
        ```
        ```sh
        sleep 0.1; kill -0 $(cat pid)
        ```
        ```sh no-run
        exit 1
        ```
        """,
    )
    run_page(path, tmp_path)
    path.write_text("```console exit=1\n$ kill -0 $(cat pid) 2>/dev/null\n```\n", encoding="utf-8")
    run_page(path, tmp_path)


def test_a_command_may_run_over_several_lines_and_comments_are_no_commands() -> None:
    (block,) = blocks("```sh\n# first\necho one \\\n  two\n```\n")
    assert commands(block) == [("echo one    two", None)]


@pytest.mark.parametrize(
    ("expected", "got", "same"),
    [
        ("a ... c", "a b c\n", True),
        ("a\n...\nc", "a\nb\nb\nc\n", True),
        ("a\n...\nc", "a\nc\n", True),
        ("a\n...", "a\n", True),
        ("a.b", "axb", False),
        ("a ... c", "a b d", False),
        ("a", "a\nb", False),
    ],
)
def test_three_dots_stand_for_anything_and_nothing_else_does(expected: str, got: str, same: bool) -> None:
    assert matches(expected, got) is same
