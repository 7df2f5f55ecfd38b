"""How `micro` writes its replies: token by token, each drawn by a uniform number of its own. Knows no messages.

Each token is a function of the text before it and of that number alone. So rows whose text is the same so far are
computed once, and a run of likely tokens can be computed in one pass and kept as far as the draws agree with it;
neither changes a reply. Where a draw is too close to call in float32, float64 decides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import msgspec
import numpy as np

from mdap.models.micro.network import CONTEXT, VOCABULARY, Floats, Network, Past, Tokens, no_past

Guess: TypeAlias = Callable[[list[int], list[int]], list[int]]  # (prompt, written) -> what may well come next

END: Final = VOCABULARY.index("\n")
# Backends differ by some 1e-6 in a probability; a draw within this of a boundary is decided in float64.
CLOSE: Final = 1e-4


class Job(msgspec.Struct):
    """A reply to be written.

    `prompt` and `written` are tokens; at most `most` are written. `chances` are numbers in [0, 1), one for each token
    that the context has room for behind the prompt: they draw the tokens.
    """

    prompt: list[int]
    chances: Sequence[float]
    most: int
    temperature: float = 1.0
    written: list[int] = msgspec.field(default_factory=list)

    @property
    def is_finished(self) -> bool:
        """Whether the reply has ended by itself."""
        return bool(self.written) and self.written[-1] == END

    @property
    def is_open(self) -> bool:
        """Whether another token may be written: none after the end, and at most `most`."""
        return not self.is_finished and len(self.written) < self.most


def no_guess(_prompt: list[int], _written: list[int]) -> list[int]:
    """Return no guess: every token is computed for itself."""
    return []


def write(network: Network, exact: Network, jobs: Sequence[Job], guess: Guess = no_guess) -> None:
    """Write every job to its end; their prompts must be of one length. `exact` computes in float64."""
    place: dict[tuple[int, ...], int] = {}
    rows = np.array([place.setdefault(tuple(job.prompt), len(place)) for job in jobs])
    prompts = np.array(list(place))
    # Of a prompt only what follows its last token is wanted.
    logits, past = network.extend(prompts, no_past(len(prompts)), prompts.shape[1] - 1)
    fronts = [_Front(list(jobs), rows, logits[:, 0], past)]
    while fronts:
        fronts += _advanced(network, exact, fronts.pop(), guess)


class _Front(msgspec.Struct):
    """Jobs that have written equally many tokens: the row of each, and by row what may come next and the past."""

    jobs: list[Job]
    rows: Floats
    logits: Floats
    past: Past


def _advanced(network: Network, exact: Network, front: _Front, guess: Guess) -> list[_Front]:
    """Draw a token for each job of a front, and more where a guess of what follows turns out as drawn."""
    drawn = _drawn(exact, front.jobs, front.logits[front.rows][:, None], [[] for _ in front.jobs])[:, 0]
    for job, token in zip(front.jobs, drawn.tolist(), strict=True):
        job.written.append(token)
    open_ = [i for i, job in enumerate(front.jobs) if job.is_open]
    if not open_:
        return []
    jobs = [front.jobs[i] for i in open_]
    # Jobs with the same text go on in one row.
    texts: dict[tuple[int, int], int] = {}
    keys = [(int(front.rows[i]), int(drawn[i])) for i in open_]
    rows = np.array([texts.setdefault(key, len(texts)) for key in keys])
    writers = dict(zip(rows.tolist(), jobs, strict=True))
    ahead = _guesses([writers[row] for row in range(len(texts))], guess)
    block = np.concatenate([np.array([[token] for _, token in texts]), ahead], axis=1)
    before = front.past[0].shape[2]
    if (block[:, -1] == END).all():
        block = block[:, :-1]  # nothing follows the end
    logits, past = network.extend(block, _taken(front.past, [row for row, _ in texts]))
    kept = _kept(exact, jobs, logits[rows, : ahead.shape[1]], ahead[rows])
    return [
        _Front([jobs[i] for i in group], rows[group], logits[:, count], [a[:, :, : before + 1 + count] for a in past])
        for count in np.unique(kept).tolist()
        if (group := [i for i in np.flatnonzero(kept == count).tolist() if jobs[i].is_open])
    ]


def _guesses(jobs: list[Job], guess: Guess) -> Tokens:
    """The guesses (jobs, length) of what follows, cut to the shortest and to what the context holds."""
    guesses = [guess(job.prompt, job.written) for job in jobs]
    room = CONTEXT - len(jobs[0].prompt) - len(jobs[0].written)
    length = min(room, *map(len, guesses)) if guesses else 0
    return np.array([tokens[:length] for tokens in guesses], np.int64).reshape(len(jobs), length)


def _kept(exact: Network, jobs: list[Job], logits: Floats, ahead: Tokens) -> Tokens:
    """Write as much of the guess as is drawn, and return how many tokens that is, by job."""
    if not ahead.shape[1]:
        return np.zeros(len(jobs), np.int64)
    agree = _drawn(exact, jobs, logits, ahead.tolist()) == ahead
    # argmin of truths is the first that is False.
    kept: Tokens = np.where(agree.all(axis=1), ahead.shape[1], agree.argmin(axis=1))
    for job, tokens, count in zip(jobs, ahead.tolist(), kept.tolist(), strict=True):
        until = tokens[:count].index(END) + 1 if END in tokens[:count] else count
        job.written += tokens[: min(until, job.most - len(job.written))]
    return kept


def _taken(past: Past, rows: list[int]) -> Past:
    # Picking rows copies the whole past, and mostly all of them stay where they are.
    if rows == list(range(len(past[0]))):
        return past
    return [array[rows] for array in past]


def _drawn(exact: Network, jobs: list[Job], logits: Floats, ahead: list[list[int]]) -> Tokens:
    """Return the token that each job draws at each position (jobs, length), given that `ahead` was written until it.

    `logits` is (jobs, length, vocabulary). A draw after one that disagrees with `ahead` means nothing.
    """
    length = logits.shape[1]
    chance = np.array([job.chances[len(job.written) : len(job.written) + length] for job in jobs])
    heat = np.array([[job.temperature] for job in jobs])
    tokens, margin = _choose(logits, chance, heat)
    # A temperature below 1 makes as much more of a difference between two backends.
    close = margin < CLOSE / np.clip(heat, 0.01, 1.0)
    if close.any():
        for j, i in np.argwhere(close).tolist():
            # Past a disagreement nothing is kept, and so nothing needs deciding.
            if tokens[j, :i].tolist() == ahead[j][:i]:
                tokens[j, i] = _exactly(exact, jobs[j], ahead[j][:i], chance[j, i])
    return tokens


def _exactly(exact: Network, job: Job, ahead: list[int], chance: float) -> int:
    text = np.array([job.prompt + job.written + ahead], np.int64)
    logits, _ = exact.extend(text, no_past(1, np.float64), text.shape[1] - 1)
    tokens, _ = _choose(logits, np.array([[chance]]), np.array([[job.temperature]]))
    return int(tokens[0, 0])


def _choose(logits: Floats, chance: Floats, heat: Floats) -> tuple[Tokens, Floats]:
    """Return the tokens drawn at a temperature, and how far each draw was from another one, in probability.

    Inverse of the cumulative distribution; at temperature 0 the favourite, whose lead is in probability at 1.
    """
    warm = heat > 0
    # In float64 from here on, so that a sum adds nothing to what the backends differ by.
    logits = logits - logits.max(axis=-1, keepdims=True).astype(np.float64)
    mass = np.exp(logits / np.where(warm, heat, 1.0)[..., None]).cumsum(axis=-1)
    total = mass[..., -1]
    # The last boundary is 1, which no draw reaches.
    apart = (chance * total)[..., None] - mass[..., :-1]
    tokens, margin = (apart >= 0).sum(axis=-1), np.abs(apart).min(axis=-1) / total
    if not warm.all():
        lead = -np.expm1(np.partition(logits, -2, axis=-1)[..., -2]) / total
        tokens, margin = np.where(warm, tokens, logits.argmax(axis=-1)), np.where(warm, margin, lead)
    return tokens, margin
