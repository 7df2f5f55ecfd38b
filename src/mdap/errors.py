"""All errors of mdap; the tree is in the docstring of `MdapError`."""

from mdap.core.errors import (
    BudgetReached,
    FingerprintChanged,
    JournalError,
    MdapError,
    ModelError,
    ModelRejected,
    RedFlag,
    Rejected,
    RunBusy,
    Stop,
    TaskError,
    Undecided,
    UsageError,
    VotingCannotHelp,
)

__all__ = [
    "BudgetReached",
    "FingerprintChanged",
    "JournalError",
    "MdapError",
    "ModelError",
    "ModelRejected",
    "RedFlag",
    "Rejected",
    "RunBusy",
    "Stop",
    "TaskError",
    "Undecided",
    "UsageError",
    "VotingCannotHelp",
]
