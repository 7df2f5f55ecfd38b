"""Stopping rules by name: those that ship, and a user's own by `package.module:Class`. No rule is written here."""

from __future__ import annotations

from typing import Any

from mdap.core.ballot import Ballot, Rule
from mdap.core.errors import UsageError
from mdap.core.foreign import Foreign
from mdap.core.rules import RULES
from mdap.core.rules import rule as shipped
from mdap.core.spec import Spec, parse_spec, unknown
from mdap.tasks.own import is_own, own


class OwnRule:
    """A user's rule under the spec that names it, so that a stored run finds it again. All else is the rule's own."""

    def __init__(self, rule: Any, spec: str) -> None:
        self.spec = spec
        self._rule = rule
        self._is_sound = Foreign(f"the rule {spec}")

    def __getattr__(self, name: str) -> Any:
        # Optional parts of a rule are found by presence, so what it lacks has to be lacking here.
        return getattr(self._rule, name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OwnRule) and self.spec == other.spec

    def __hash__(self) -> int:
        return hash(self.spec)

    @property
    def k(self) -> int:
        """What an empty ballot needs."""
        return int(self._rule.k)

    def needed(self, ballot: Ballot) -> int:
        """Return how many further votes are needed at least."""
        with self._is_sound:
            # Converted within: what is no number is the rule's fault as much as what it raises.
            return int(self._rule.needed(ballot))

    def decided(self, ballot: Ballot) -> bool:
        """Say whether the candidate that leads has won."""
        with self._is_sound:
            return bool(self._rule.decided(ballot))


def rule(given: str) -> Rule:
    """Return the rule that a spec names: `ahead_by_k:3`, or `package.module:Class[,key=value...]` for one's own.

    Raises UsageError for a name, option, module or class that is not there, and for what is no rule.
    """
    spec = parse_spec(given)
    # Shipped names first: no module of that name can change what a stored run was judged by.
    if spec.name in RULES:
        return shipped(given)
    if not is_own(spec):
        raise _unknown(spec)
    made = own("rule", spec, given, _unknown)
    # Here, and not at the first ballot, whose calls would have been paid for by then.
    for method in ("needed", "decided"):
        if isinstance(made, type) or not callable(getattr(made, method, None)):
            raise UsageError(f"{given!r} is no rule: it has no method {method}", remedy="a rule has needed and decided")
    if not isinstance(getattr(made, "k", None), int):
        raise UsageError(f"{given!r} is no rule: it has no k", remedy="give it k, what an empty ballot needs")
    return OwnRule(made, given)


def _unknown(spec: Spec) -> UsageError:
    error = unknown("rule", spec.name, RULES)
    error.remedy += "; one of your own is written package.module:Class"
    return error
