"""A group of tasks that ends as one of them ended. What the tasks do is not known here."""

from __future__ import annotations

import asyncio
import sys
from asyncio import TaskGroup
from types import TracebackType

# Where a group notes that it has cancelled its own task: no public name, and not asked for in later Pythons.
_ASKED = "_parent_cancel_requested"


class Group(TaskGroup):
    """A TaskGroup that raises the first error itself, in no group, and leaves its own task as it was."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait for all tasks; raise the first error of any of them."""
        had_to_cancel = getattr(self, _ASKED, False)
        try:
            await super().__aexit__(kind, error, traceback)
        except BaseExceptionGroup as errors:
            # Before Python 3.13 a group that is waiting for its last tasks cancels its own task to wake it, and does
            # not take that back: whoever looks later would take it for a cancellation by somebody else.
            if sys.version_info < (3, 13) and getattr(self, _ASKED, False) and not had_to_cancel:
                task = asyncio.current_task()
                assert task is not None
                task.uncancel()
            raise first(errors) from None


def first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the error that ended a group, which may stand in a group of its own."""
    error = errors.exceptions[0]
    return first(error) if isinstance(error, BaseExceptionGroup) else error
