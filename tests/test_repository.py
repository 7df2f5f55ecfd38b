"""The bars of the house, measured on the repository itself: sizes, docstrings, what is never called or named."""

from __future__ import annotations

import ast
import io
import re
import statistics
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TypeAlias

import pytest

import mdap
from mdap.core import errors

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src"
Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
Documented: TypeAlias = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef

# Hosts that a page or a program may name. An index of packages is never among them.
HOSTS = {"127.0.0.1", "localhost", "example.com", "example.org", "arxiv.org", "api.openai.com"}
# Where models are asked.
HOSTS |= {"api.anthropic.com", "generativelanguage.googleapis.com", "openrouter.ai"}
# Where the form of server.json is written down.
HOSTS |= {"static.modelcontextprotocol.io"}


def texts() -> Iterator[tuple[str, str]]:
    """Every text file that belongs to the repository: its path from the root, and what it says."""
    folders = ("src", "tests", "docs", "examples", "benchmarks", "scripts", "requirements", ".ci")
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*")) if path.is_file()]
    found += [path for path in sorted(ROOT.iterdir()) if path.is_file()]
    for path in found:
        if "__pycache__" in path.parts or path.name == ".coverage":
            continue
        try:
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


@cache
def trees() -> dict[str, tuple[str, ast.Module]]:
    """The package's sources and what they parse to, by path."""
    found = {}
    for path in sorted(SRC.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        found[path.relative_to(SRC).as_posix()] = (text, ast.parse(text))
    return found


def functions(tree: ast.AST) -> list[Function]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def docstring_lines(node: Documented) -> int:
    first = node.body[0] if node.body else None
    if ast.get_docstring(node, clean=False) is None or first is None:
        return 0
    return (first.end_lineno or first.lineno) - first.lineno + 1


def length(function: Function) -> int:
    """Lines of a function, its docstring and those of what it holds left out."""
    inner = [node for node in ast.walk(function) if isinstance(node, Documented)]
    return (function.end_lineno or function.lineno) - function.lineno + 1 - sum(map(docstring_lines, inner))


def called(tree: ast.Module) -> set[str]:
    """Dotted names of what a module calls or imports."""
    names = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def imports_when_loaded(name: str, is_package: bool, tree: ast.Module, known: set[str]) -> set[str]:
    """Modules of the package that a module imports at its top, and so when it is itself imported."""
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = name.split(".") if is_package else name.split(".")[:-1]
            stem = ".".join([*base[: len(base) - node.level + 1], node.module or ""]) if node.level else node.module
            found |= {f"{stem}".strip("."), *(f"{stem}.{alias.name}" for alias in node.names)}
    return (found & known) - {name}


def ring(graph: dict[str, set[str]]) -> list[str]:
    """What is left of a graph when every node that leads nowhere is taken away again and again: empty without rings."""
    left = dict(graph)
    while ends := [name for name, to in left.items() if not to & left.keys()]:
        for name in ends:
            del left[name]
    return sorted(left)


def test_no_file_is_longer_than_400_lines_without_docstrings() -> None:
    sizes = {
        path: text.count("\n") - sum(docstring_lines(node) for node in ast.walk(tree) if isinstance(node, Documented))
        for path, (text, tree) in trees().items()
    }
    assert {path: size for path, size in sizes.items() if size > 400} == {}


def test_no_function_is_longer_than_50_lines_and_most_are_short() -> None:
    sizes = {f"{path}:{f.lineno} {f.name}": length(f) for path, (_, tree) in trees().items() for f in functions(tree)}
    assert {name: size for name, size in sizes.items() if size > 50} == {}
    ordered = sorted(sizes.values())
    assert statistics.median(ordered) <= 9
    assert ordered[int(0.9 * (len(ordered) - 1))] <= 25


def test_every_module_and_every_public_name_says_what_it_gives() -> None:
    silent = [path for path, (text, tree) in trees().items() if text.strip() and not ast.get_docstring(tree)]
    for path, (_, tree) in trees().items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if not node.name.startswith("_") and not ast.get_docstring(node):
                silent.append(f"{path}:{node.lineno} {node.name}")
    assert silent == []


def test_nothing_is_evaluated_and_nothing_is_unpickled() -> None:
    never = {"eval", "exec", "compile", "pickle", "marshal", "shelve", "dill", "yaml.load", "os.system"}
    guilty = {path: called(tree) & never for path, (_, tree) in trees().items()}
    assert {path: names for path, names in guilty.items() if names} == {}


def test_the_core_asks_no_type_for_the_time_or_for_chance() -> None:
    asks = re.compile(r"(^|\.)(now|utcnow|today|fromtimestamp|uuid1|uuid4)$")
    core = {path: tree for path, (_, tree) in trees().items() if path.startswith("mdap/core/")}
    assert [f"{path}: {name}" for path, tree in core.items() for name in called(tree) if asks.search(name)] == []


def test_at_most_two_excepts_are_broad_and_each_gives_its_reason() -> None:
    broad = []
    for path, (text, tree) in trees().items():
        lines = text.splitlines()
        for node in ast.walk(tree):
            if isinstance(node, ast.ExceptHandler):
                caught = ast.unparse(node.type) if node.type else "everything"
                if node.type is None or re.search(r"\b(Base)?Exception\b", caught):
                    around = "\n".join(lines[node.lineno - 2 : node.lineno + 1])
                    broad.append((f"{path}:{node.lineno}", "#" in around))
    assert len(broad) <= 2, broad
    assert all(reason for _, reason in broad), broad


def test_no_modules_import_one_another_in_a_ring() -> None:
    parsed = {
        path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): (path.endswith("__init__.py"), tree)
        for path, (_, tree) in trees().items()
    }
    known = set(parsed)
    graph = {name: imports_when_loaded(name, package, tree, known) for name, (package, tree) in parsed.items()}
    assert ring(graph) == []


def test_the_ring_finder_finds_a_ring() -> None:
    assert ring({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == ["a", "b", "c", "d"]
    assert ring({"a": {"b"}, "b": set(), "d": {"a", "b"}}) == []


def test_comments_are_few_and_none_is_a_promise() -> None:
    marks = re.compile("|".join(("TO" + "DO", "FIX" + "ME", "X" * 3)))
    promises = [f"{path}: {found[0]}" for path, text in texts() if (found := marks.search(text))]
    assert promises == []
    lines = sum(text.count("\n") for text, _ in trees().values())
    comments = sum(
        token.type == tokenize.COMMENT
        for text, _ in trees().values()
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
    )
    assert comments <= 0.10 * lines


def test_the_public_names_are_at_most_24_and_each_is_there() -> None:
    names: list[str] = vars(mdap)["__all__"]
    assert 1 <= len(names) <= 24
    assert len(set(names)) == len(names)
    assert [name for name in names if not hasattr(mdap, name)] == []


def test_the_errors_are_one_tree_of_at_most_14_drawn_in_the_docstring_of_its_root() -> None:
    found = {
        (path, node.name)
        for path, (_, tree) in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        if any(ast.unparse(base).endswith(("Error", "Exception")) for base in node.bases)
    }
    found |= {("mdap/core/errors.py", name) for name, error in vars(errors).items() if isinstance(error, type)}
    assert len(found) <= 14, "this counts what a module raises and catches within itself, too"
    strays = [where for where in found if where[0] != "mdap/core/errors.py" and not where[1].startswith("_")]
    assert strays == []
    raised = [error for error in vars(errors).values() if isinstance(error, type)]
    assert [error.__name__ for error in raised if not issubclass(error, errors.MdapError)] == []
    assert [error.__name__ for error in raised if error.__name__ not in str(errors.MdapError.__doc__)] == []


def test_no_file_names_a_place_of_somebodys_own_machine() -> None:
    places = re.compile(r"/(?:home|root|work|opt|Users)/\w")
    assert [f"{path}: {found[0]}" for path, text in texts() if (found := places.search(text))] == []


def test_every_address_is_of_a_known_host_and_none_is_an_index() -> None:
    hosts = re.compile(r"https?://([\w.-]+)")
    strange = {f"{path}: {host}" for path, text in texts() for host in hosts.findall(text) if host not in HOSTS}
    assert strange == set()


@pytest.mark.parametrize("lock", ["runtime.txt", "dev.txt"])
def test_the_lock_pins_every_version_by_hash_and_names_no_index(lock: str) -> None:
    text = (ROOT / "requirements" / lock).read_text(encoding="utf-8").replace("\\\n", "")
    entries = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert entries
    for entry in entries:
        assert re.match(r"[a-z0-9-]+==[\w.]+( ; [^-]+)?( +--hash=sha256:[0-9a-f]{64})+$", entry), entry
    assert "://" not in text


def test_both_locks_hold_the_same_versions_of_what_mdap_needs() -> None:
    pins = [
        dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "requirements" / lock).read_text(encoding="utf-8"), re.M))
        for lock in ("runtime.txt", "dev.txt")
    ]
    assert pins[0].items() <= pins[1].items()
    assert {"aiohttp", "msgspec", "cyclopts", "rich"} <= pins[0].keys()


def test_the_readme_shows_code_within_15_lines() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    first = next(number for number, line in enumerate(lines, 1) if line.startswith("```"))
    assert first < 15
