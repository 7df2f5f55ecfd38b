"""The lock that lets only one process at a time drive a run: an operating system's file lock beside the journal.

The kernel lets go of it when the process ends, however it ends, so that no lock is ever left over.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from pathlib import Path
from urllib.parse import quote

from mdap.core.errors import JournalError, RunBusy

if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int) -> None:
        # A byte far behind the text: Windows also keeps others from reading what is locked.
        os.lseek(handle, 1 << 30, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


# A question lasts microseconds; a driver that finds the lock taken looks again before it says so.
_LOOKS = 5
_ONE_LOOK = 0.002


class RunLock:
    """A held lock on one run of the journal at `journal`; raises RunBusy naming the process that holds it.

    The file is `JOURNAL-RUN.lock`; it tells the holder's process id and host, for the message alone.
    """

    def __init__(self, journal: Path, run: str) -> None:
        self._path = _file(journal, run)
        self._handle = self._acquire(run)

    def release(self) -> None:
        """Let the run go."""
        # Unlinked while still locked, so that nobody can lock a file that is about to lose its name.
        with contextlib.suppress(OSError):
            self._path.unlink()
        os.close(self._handle)

    def _acquire(self, run: str) -> int:
        while True:
            try:
                handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            except OSError as error:
                raise JournalError(
                    f"run {run} cannot be locked: {self._path}: {error.strerror}",
                    remedy="make the folder writable, or choose another with --journal",
                ) from error
            if not self._locked(handle):
                # For the message alone: what stands there may be of a holder who has just gone.
                holder = _read(handle)
                os.close(handle)
                raise busy(run, *holder.decode(errors="replace").split()) from None
            if self._is_current(handle):
                # A killed holder's name may stand there, and be longer than ours.
                os.ftruncate(handle, 0)
                os.lseek(handle, 0, os.SEEK_SET)
                os.write(handle, f"{os.getpid()} {socket.gethostname()}\n".encode())
                return handle
            os.close(handle)

    def _locked(self, handle: int) -> bool:
        """Take the lock, and say whether it was to be had."""
        for _ in range(_LOOKS):
            with contextlib.suppress(OSError):
                _lock(handle)
                return True
            # Whoever asks whether the run is held has the lock for a moment, and is no driver.
            time.sleep(_ONE_LOOK)
        return False

    def _is_current(self, handle: int) -> bool:
        """Whether the locked file still has its name: the former holder may have unlinked it in between."""
        try:
            return os.path.samestat(os.fstat(handle), os.stat(self._path))
        except FileNotFoundError:
            return False


def is_held(journal: Path, run: str) -> bool:
    """Say whether a process holds the lock on this run; also where that cannot be found out."""
    try:
        # Without O_CREAT: to ask must leave no file behind.
        handle = os.open(_file(journal, run), os.O_RDWR)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        # The file alone tells nothing: a killed process leaves it behind. The lock does not outlive its process.
        _lock(handle)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def _file(journal: Path, run: str) -> Path:
    # An id of somebody's own may hold what no file name may, a slash, say.
    return journal.with_name(f"{journal.name}-{quote(run, safe='')}.lock")


def busy(run: str, pid: str = "", host: str = "") -> RunBusy:
    """Return the error for a run that process `pid` on `host` drives."""
    if pid == str(os.getpid()):
        return RunBusy(f"run {run} is already driven by this process ({pid})", remedy="wait until it has ended")
    who = f"process {pid} on {host}" if pid else "another process"
    return RunBusy(
        f"run {run} is driven by {who}", remedy=f"wait until it has ended or stop it, then type: mdap resume {run}"
    )


def _read(handle: int) -> bytes:
    os.lseek(handle, 0, os.SEEK_SET)
    # A process id and the name of a host, which has 255 characters at most.
    return os.read(handle, 300)
