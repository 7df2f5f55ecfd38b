"""Stopping rules by name; one file each."""

from __future__ import annotations

from mdap.core.ballot import Rule
from mdap.core.rules.ahead_by_k import AheadByK
from mdap.core.rules.first_to_k import FirstToK
from mdap.core.spec import build, parse_spec, unknown

RULES = {"ahead_by_k": AheadByK, "first_to_k": FirstToK}


def rule(spec: str) -> Rule:
    """Return the rule that `spec` names, such as `ahead_by_k:3`; raises UsageError listing what there is."""
    parsed = parse_spec(spec)
    if parsed.name not in RULES:
        raise unknown("rule", parsed.name, RULES)
    made: Rule = build(parsed, RULES[parsed.name], bare="k")
    return made


__all__ = ["RULES", "AheadByK", "FirstToK", "rule"]
