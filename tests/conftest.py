"""What every test shares: hypothesis profiles, an environment of its own, and no thread left behind."""

from __future__ import annotations

import itertools
import os
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# The helpers that tests import: their asserts say what was compared, as a test's own do.
HERE = Path(__file__).parent
pytest.register_assert_rewrite(
    *(
        ".".join(("tests", *path.relative_to(HERE).with_suffix("").parts))
        for path in HERE.rglob("*.py")
        if not path.name.startswith(("test_", "conftest", "__"))
    )
)

# Derandomized: a change is judged by its own tests, not by the luck of the day. `search` is for a person who looks for
# new counter-examples: HYPOTHESIS_PROFILE=search.
settings.register_profile("quick", derandomize=True, database=None, deadline=None, max_examples=40)
settings.register_profile("full", derandomize=True, database=None, deadline=None, max_examples=200)
settings.register_profile("search", deadline=None, max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

_numbers = itertools.count()


@pytest.fixture(scope="session", autouse=True)
def _neutral_environment() -> Iterator[None]:
    """No key, no setting and no colour of the person who runs the tests reaches one."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("MDAP_") or name.endswith(("_API_KEY", "_BASE_URL")):
                patch.delenv(name)
        patch.setenv("NO_COLOR", "1")
        patch.setenv("COLUMNS", "120")
        yield


@pytest.fixture(scope="session")
def _journals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("journals")


@pytest.fixture(autouse=True)
def _own_journal(monkeypatch: pytest.MonkeyPatch, _journals: Path) -> None:
    """The default journal of a test is a file of its own, never one in the working folder."""
    monkeypatch.setenv("MDAP_JOURNAL", str(_journals / f"{next(_numbers)}.db"))


@pytest.fixture(autouse=True)
def _no_thread_is_left_behind() -> Iterator[None]:
    """A thread that a test started has ended when the test has, daemon or not."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 2.0
    while left := [thread for thread in threading.enumerate() if thread not in before]:
        if time.monotonic() > deadline:
            pytest.fail(f"threads left behind: {', '.join(thread.name for thread in left)}")
        time.sleep(0.005)


@pytest.fixture(scope="session")
def own_certificate(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """A TLS server context with a certificate that nobody else signed."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl command to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    make = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    out = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run([*make, *names, *out], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context
