"""Every error that mdap raises, as one tree. What a caller would do differs from class to class; nothing else does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

Blame = Literal["user", "model", "provider", "tool"]


class MdapError(Exception):
    """The base of all errors of mdap; each message names the value and the remedy.

    MdapError
    ├── UsageError (a ValueError)   an argument, option or name is wrong: change it
    ├── VotingCannotHelp            p is 0.5 or less: change the prompt or the model, not k
    ├── RedFlag                     a reply is to be discarded: raised by a task's `parse`
    ├── Undecided                   a cap ran out before the rule decided: raise it, or look at the step
    │   └── Rejected                judges refused every proposal: read their reasons, change the prompt or the plan
    ├── BudgetReached               the next call does not fit: resume with a larger budget
    ├── Stop                        a hook or an observer asked the run to end
    ├── ModelError                  a call failed; `retryable` says whether asking again can help
    │   └── ModelRejected           the provider will never take this call: key, name or request is wrong
    ├── TaskError                   a method of the task broke its contract
    └── JournalError                the journal cannot be read or written
        ├── RunBusy                 another process drives this run
        └── FingerprintChanged      the run was started with something else: see the diff

    Attributes: `code` (stable name), `retryable`, `blame` (user, model, provider or tool),
    `step` (index of the step, or None), `run` (id of the run that it ended, where that is known), `remedy` (the
    command or change to make next).
    """

    code: str = "error"
    retryable: bool = False
    # Where no class says otherwise: most errors are of arguments, files and hooks.
    blame: Blame = "user"
    # On the class, since what raises an error seldom knows the run: it is named on the way out, by what drives the run.
    run: str = ""

    def __init__(self, message: str, *, remedy: str = "", step: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.step = step

    def __str__(self) -> str:
        # Put together late: a remedy may still be completed with the run and the journal that it is about.
        return f"{self.message}. {self.remedy}" if self.remedy else self.message


# A ValueError as well, so that code which knows nothing of mdap catches a wrong argument as it always does.
class UsageError(MdapError, ValueError):
    """An argument, an option or a name is wrong."""

    code = "usage"


class VotingCannotHelp(MdapError, ValueError):
    """The success rate is 0.5 or less against a single alternative: more votes make the result worse."""

    code = "voting-cannot-help"
    blame: Blame = "model"


class RedFlag(MdapError):
    """A reply is to be discarded, never repaired; `name` is what it is counted under."""

    code = "red-flag"
    blame: Blame = "model"

    # No remedy: a red flag is answered by a redraw, and seen by nobody unless redraws run out.
    def __init__(self, reason: str, *, name: str = "malformed") -> None:
        super().__init__(reason)
        self.name = name


class Undecided(MdapError):
    """A cap ran out before the rule decided; never a plurality."""

    code = "undecided"
    blame: Blame = "model"


# An Undecided, since it ends a run in the same way: nothing was decided, and the run can be gone on with.
class Rejected(Undecided):
    """Judges refused what was proposed as often as it may be.

    `reasons` are the last that they gave, `partial` what was there before, `run` is the run that can be gone on with.
    """

    code = "rejected-by-judges"

    def __init__(
        self, message: str, *, reasons: Sequence[str] = (), partial: Any = None, run: str = "", remedy: str = ""
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.reasons = tuple(reasons)
        self.partial = partial
        self.run = run


class BudgetReached(MdapError):
    """The next call would not fit into the run's budget."""

    code = "budget"


# Raised, since hooks and observers are only told: nobody looks at what they return.
class Stop(MdapError):
    """Raised by a hook or an observer to end a run as `stopped`; the run can be resumed."""

    code = "stopped"


class ModelError(MdapError):
    """A call failed. `status` is the HTTP status, if there was one; `retry_after` the seconds to wait, if told."""

    code = "model"
    blame: Blame = "provider"
    # What can never succeed has a class of its own below; all else may have been the moment.
    retryable = True

    def __init__(
        self,
        message: str,
        *,
        kind: str = "failed",
        status: int | None = None,
        retry_after: float | None = None,
        remedy: str = "",
        step: int | None = None,
    ) -> None:
        super().__init__(message, remedy=remedy, step=step)
        self.kind = kind
        self.status = status
        self.retry_after = retry_after


class ModelRejected(ModelError):
    """The provider will never take this call: the key, the model's name or the request is wrong."""

    code = "rejected"
    blame: Blame = "user"
    retryable = False


class TaskError(MdapError):
    """A method of the task broke its contract."""

    code = "task"


class JournalError(MdapError):
    """The journal cannot be read or written; what was decided before is kept."""

    code = "journal"


class RunBusy(JournalError):
    """Another process drives this run."""

    code = "busy"


class FingerprintChanged(JournalError):
    """The run was started with another task, prompt, model, rule, parser or set of flags."""

    code = "fingerprint"
