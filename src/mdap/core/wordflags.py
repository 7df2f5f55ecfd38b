"""Red flags that read the words of a reply: weighted phrases, too little text, empty lines. Nothing is measured here.

The paper's flags are about length and format alone (arXiv:2511.09030, section 3.3). These come from later frameworks:
whether they help is for a dry run over recorded samples to say.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from mdap.core.errors import UsageError
from mdap.core.flag import Flag
from mdap.core.records import Request, Response

# Weights that add up; a reply is flagged at 1. A phrase counts once, however often it stands there.
PHRASES: Mapping[str, float] = MappingProxyType(
    {
        "wait, maybe": 1.0,
        "let me reconsider": 1.0,
        "let me correct": 1.0,
        "on second thought": 1.0,
        "i made a mistake": 1.0,
        "sorry, i meant": 1.0,
        "that's not right": 1.0,
        "not as we think": 1.0,
        "actually": 0.5,
        "i think i": 0.5,
        "wait": 0.3,
        "hmm": 0.3,
    }
)
# Half of what flags a reply: sentences come again in honest lists, too, and one more sign of doubt has to join them.
_REPETITION, _VARIED, _SENTENCES = 0.5, 0.7, 3


def phrases(weights: Mapping[str, float] = PHRASES, *, at: float = 1.0, repetition: float = _REPETITION) -> Flag:
    """Return the flag for replies whose phrases weigh `at` or more in sum: a thread that was lost, and found or not.

    A phrase is whole words, in any case, and counts once; what stands in quotes or in code is somebody's text, not the
    model's doubt. More than three sentences of which fewer than 70% differ add `repetition`. Raises UsageError for a
    weight or limit that is not above 0, and for an empty phrase.
    """
    known = [(phrase, weight, _whole(phrase)) for phrase, weight in weights.items()]
    if not known or at <= 0 or any(weight <= 0 for weight in weights.values()):
        raise UsageError(f"phrases with {dict(weights)!r} at {at} never speak", remedy="give weights above 0")

    def _check(response: Response, _request: Request) -> str | None:
        said = _own_words(response.text)
        found = [(phrase, weight) for phrase, weight, pattern in known if pattern.search(said)]
        if repetition and _is_unvaried(said):
            found.append(("sentences that come again", repetition))
        total = sum(weight for _, weight in found)
        # Sums of such weights are exact to a hair: .3 + .3 + .5 stays above 1, .7 + .3 may fall below it.
        if total < at - 1e-9:
            return None
        return f"{', '.join(repr(phrase) for phrase, _ in found)} weigh {total:.3g}, {at:.3g} is too much"

    is_usual = weights is PHRASES and at == 1 and repetition == _REPETITION
    return Flag("phrases", _check, "phrases" if is_usual else _spec(weights, at, repetition))


def too_short(characters: int, exempt: Iterable[str] = ()) -> Flag:
    """Return the flag for replies of fewer than `characters` characters, outer white space not counted.

    Replies that are one of `exempt` are long enough. Raises UsageError for a number below 1.
    """
    if characters < 1:
        raise UsageError(f"no reply is shorter than {characters} characters", remedy="give 1 or more")
    allowed = tuple(exempt)

    def _check(response: Response, _request: Request) -> str | None:
        text = response.text.strip()
        return (
            None if len(text) >= characters or text in allowed else f"{len(text)} characters, fewer than {characters}"
        )

    return Flag("too_short", _check, "/".join([f"too_short:{characters}", *allowed]))


def empty_lines(share: float) -> Flag:
    """Return the flag for replies of which more than `share` of the lines are empty; UsageError outside of 0 to 1."""
    if not 0 <= share < 1:
        raise UsageError(f"a share of empty lines cannot be {share}", remedy="give 0 or more, and less than 1")

    def _check(response: Response, _request: Request) -> str | None:
        # Empty lines before and after are how a reply is sent, not how it is written.
        lines = response.text.strip().splitlines()
        bare = sum(1 for line in lines if not line.strip())
        return f"{bare} of {len(lines)} lines are empty" if lines and bare / len(lines) > share else None

    return Flag("empty_lines", _check, f"empty_lines:{share:g}")


# Fences first: a back-tick inside one ends nothing. Quotes close on their line, apostrophes are none.
_QUOTED = re.compile(r"```.*?```|`[^`\n]*`|\"[^\"\n]*\"|“[^”\n]*”|«[^»\n]*»", re.DOTALL)
_SENTENCE = re.compile(r"[.!?]+(?:\s|$)")


def _own_words(text: str) -> str:
    # A reply may have the typographic apostrophe; the phrases are written with the plain one.
    return _QUOTED.sub(" ", text.replace("\u2019", "'")).casefold()


def _whole(phrase: str) -> re.Pattern[str]:
    words = phrase.casefold().split()
    if not words:
        raise UsageError("a phrase is empty", remedy="leave it out")
    # Not \b, which asks for a letter on one side: a phrase may end with a comma. A line may break within it.
    return re.compile(r"(?<!\w)" + r"\s+".join(map(re.escape, words)) + r"(?!\w)")


def _is_unvaried(said: str) -> bool:
    sentences = [" ".join(part.split()) for part in _SENTENCE.split(said) if part.strip()]
    return len(sentences) > _SENTENCES and len(set(sentences)) < _VARIED * len(sentences)


def _spec(weights: Mapping[str, float], at: float, repetition: float) -> str:
    # Sorted: the order of phrases changes nothing, and equal flags are to have equal fingerprints.
    listed = "/".join(f"{phrase}={weight:g}" for phrase, weight in sorted(weights.items()))
    return f"phrases:{listed}/at={at:g}/repetition={repetition:g}"


__all__ = ["PHRASES", "empty_lines", "phrases", "too_short"]
