"""The wheel, built and installed alone into an empty environment without a network, runs the README's first example."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.docs_runner import Block, blocks, matches

ROOT = Path(__file__).parents[1]
WHEELHOUSE = ROOT / ".wheelhouse"

pytestmark = pytest.mark.slow


def call(*command: str | Path, cwd: Path = ROOT) -> str:
    """What a command prints, run without the settings of whoever runs the tests."""
    own = ("PIP_", "PYTHON", "MDAP_", "VIRTUAL_ENV", "UV_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    env |= {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    call(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder)
    (built,) = folder.glob("mdap-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of an environment that holds the wheel, what it requires, and nothing else."""
    if not WHEELHOUSE.is_dir():
        pytest.fail("there is no .wheelhouse to install from: `make setup` fills it")
    env = tmp_path_factory.mktemp("env")
    call(sys.executable, "-m", "venv", "--without-pip", env)
    bin_ = env / "bin"
    pip = (sys.executable, "-m", "pip", "--python", bin_ / "python")
    call(*pip, "install", "--quiet", "--no-index", "--find-links", WHEELHOUSE, wheel)
    return bin_


def test_the_wheel_holds_the_package_its_types_its_licence_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "mdap/py.typed" in names
    prompts = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src").rglob("prompts/*.txt")}
    assert prompts
    assert prompts <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {name.split("/")[0].split("-")[0] for name in names} == {"mdap"}
    sources = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src").rglob("*.py")}
    assert sources == {name for name in names if name.endswith(".py")}


def test_the_first_example_of_the_readme_runs_where_only_the_wheel_is_installed(
    installed: Path, tmp_path: Path
) -> None:
    first, after = first_example((ROOT / "README.md").read_text(encoding="utf-8"))
    (tmp_path / "first.py").write_text(first.text, encoding="utf-8")
    printed = call(installed / "python", "-W", "error", "first.py", cwd=tmp_path)
    assert printed.strip()
    if after is not None and after.language == "output":
        assert matches(after.text, printed), printed


def test_the_installed_command_answers_and_the_package_is_the_installed_one(installed: Path, tmp_path: Path) -> None:
    assert "run" in call(installed / "mdap", "--help", cwd=tmp_path)
    where = call(installed / "python", "-c", "import mdap; print(mdap.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(installed.parent)


def first_example(readme: str) -> tuple[Block, Block | None]:
    """The first Python block of a page, and the block after it."""
    found = blocks(readme)
    at = next(number for number, block in enumerate(found) if block.language == "python")
    return found[at], found[at + 1] if at + 1 < len(found) else None
