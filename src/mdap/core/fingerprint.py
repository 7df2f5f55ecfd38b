"""What makes two runs the same run, as text by part, and a readable difference between two of them."""

from __future__ import annotations

import difflib


def differences(old: dict[str, str], new: dict[str, str]) -> str:
    """Return the parts that differ, a line each as `part: old -> new`, long texts as a unified diff; "" if none do."""
    lines: list[str] = []
    for part in [*old, *(p for p in new if p not in old)]:
        # A part may be younger than the run, or gone since: that is a difference to be told, no KeyError.
        before, after = old.get(part, "(absent)"), new.get(part, "(absent)")
        if before == after:
            continue
        if "\n" in before or "\n" in after:
            lines.append(f"{part}:")
            # A prompt may be long, and this ends in an error message: one line around a change is enough to find it.
            diff = difflib.unified_diff(before.splitlines(), after.splitlines(), "before", "now", lineterm="", n=1)
            lines.extend(f"  {line}" for line in diff)
        else:
            lines.append(f"{part}: {before} -> {after}")
    return "\n".join(lines)
