"""Stopping rules by name; one file each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mdap.core.ballot import Rule
from mdap.core.rules.adaptive_consistency import AdaptiveConsistency
from mdap.core.rules.ahead_by_k import AheadByK
from mdap.core.rules.borda import Borda
from mdap.core.rules.cisc import Cisc
from mdap.core.rules.collect import Collect
from mdap.core.rules.esc import Esc
from mdap.core.rules.first_of import FirstOf
from mdap.core.rules.first_to_k import FirstToK
from mdap.core.rules.gate import Gate
from mdap.core.rules.irv import Irv
from mdap.core.rules.log_odds import LogOdds
from mdap.core.rules.majority import Majority
from mdap.core.rules.mrr import Mrr
from mdap.core.rules.posterior import Posterior
from mdap.core.rules.ppr import Ppr
from mdap.core.rules.rasc import Rasc, rasc
from mdap.core.spec import build, parse_spec, unknown

# Each with the option that a bare value stands for.
RULES: dict[str, tuple[Callable[..., Any], str]] = {
    "ahead_by_k": (AheadByK, "k"),
    "first_to_k": (FirstToK, "k"),
    "majority": (Majority, "n"),
    "posterior": (Posterior, "target"),
    "ppr": (Ppr, "target"),
    "log_odds": (LogOdds, "target"),
    "adaptive_consistency": (AdaptiveConsistency, "confidence"),
    "esc": (Esc, "w"),
    # The function and not the class: a score of one's own is code, and no spec holds that.
    "rasc": (rasc, "n"),
    "cisc": (Cisc, "n"),
    "borda": (Borda, "n"),
    "irv": (Irv, "n"),
    "mrr": (Mrr, "n"),
    "first_of": (FirstOf, "k"),
    "gate": (Gate, "k"),
    "collect": (Collect, "n"),
}


def rule(spec: str) -> Rule:
    """Return the rule that `spec` names, such as `ahead_by_k:3`; raises UsageError listing what there is."""
    parsed = parse_spec(spec)
    if parsed.name not in RULES:
        raise unknown("rule", parsed.name, RULES)
    factory, bare = RULES[parsed.name]
    made: Rule = build(parsed, factory, bare=bare)
    return made


def bound_of(rule: Rule) -> str:
    """Return what a rule promises of its errors, or that it promises nothing, as one phrase to print."""
    # A rule of one's own need not know of promises, and then makes none.
    return getattr(rule, "bound", None) or "no bound"


__all__ = [
    "RULES",
    "AdaptiveConsistency",
    "AheadByK",
    "Borda",
    "Cisc",
    "Collect",
    "Esc",
    "FirstOf",
    "FirstToK",
    "Gate",
    "Irv",
    "LogOdds",
    "Majority",
    "Mrr",
    "Posterior",
    "Ppr",
    "Rasc",
    "bound_of",
    "rule",
]
