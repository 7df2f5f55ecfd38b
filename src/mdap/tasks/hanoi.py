"""Towers of Hanoi, one move a step, as in arXiv:2511.09030: rules, prompt, both parsers and the exact answer.

A state is `[pegs, previous]`: three lists of disks from bottom to top, and the move before, None at the start. An
action is `[disk, from, to]`. Which reply counts, and what a model is, are not known here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any, Final, Literal, TypeAlias

import msgspec

from mdap.core.errors import RedFlag, UsageError
from mdap.core.records import Message, Move
from mdap.core.spec import write_spec
from mdap.tasks.compact import compact_prompt, compact_reply, parse_compact, read_compact, repair_compact

Pegs: TypeAlias = list[list[int]]
Action: TypeAlias = list[int]
State: TypeAlias = list[Any]  # [Pegs, Action | None]
Parser: TypeAlias = Literal["strict", "repair"]
Form: TypeAlias = Literal["words", "compact"]

MOST_DISKS = 60  # 2**60 - 1 steps: more would not fit the 64-bit counters of journals and progress


def hanoi(
    disks: int = 10, oracle: bool = False, start: int = 0, parser: Parser = "strict", form: Form = "words"
) -> Hanoi:
    """Return the task of moving `disks` disks from peg 0 to peg 2 in 2**disks - 1 moves, or those from `start` on.

    Without `oracle`, as in the paper, votes are on the move together with the state that the model wrote. With it
    votes are on the move, illegal moves are red flags, and code computes the next state. `start` is a step of the
    standard path. `parser` "repair" closes a missing bracket and does not count the disks: it is there so that its
    harm can be measured. The form "compact" writes prompts and replies in a few digits each (`mdap.tasks.compact`).
    Raises UsageError for disks outside 1 to 60 and a `start` past the path.
    """
    return (HanoiWithOracle if oracle else Hanoi)(disks, start, parser, form)


class Hanoi:
    """The task without an oracle: nothing but votes stands between a wrong move and the next state."""

    version: Final = 1
    vote_on: Literal["action", "pair"] = "pair"

    def __init__(self, disks: int = 10, start: int = 0, parser: Parser = "strict", form: Form = "words") -> None:
        if not 1 <= disks <= MOST_DISKS:
            raise UsageError(f"hanoi: disks={disks} is out of range", remedy=f"give 1 to {MOST_DISKS} disks")
        if not 0 <= start < 2**disks:
            raise UsageError(f"hanoi: start={start} is no step of {disks} disks", remedy=f"give 0 to {2**disks - 1}")
        if parser not in ("strict", "repair"):
            raise UsageError(f"hanoi: parser={parser!r} is unknown", remedy="give strict or repair")
        if form not in ("words", "compact"):
            raise UsageError(f"hanoi: form={form!r} is unknown", remedy="give words or compact")
        self.disks, self.parser, self.form = disks, parser, form
        self.steps = 2**disks - 1 - start
        self._first = start
        # An even stack ends on peg 2 when disk 1 goes 0, 1, 2; an odd one would end on peg 1, so it goes 0, 2, 1.
        self._turn = 1 if disks % 2 == 0 else -1
        self._all = list(range(1, disks + 1))
        self._goal = self._all[::-1]
        # One object for all prompts of a run: its rules and its example are those of the task, not of a step.
        self._system = Message("system", _system_text(disks))
        # Made once: `prompt` puts a state between these texts, and `read` finds it between the same ones.
        self._before, self._between, self._after = _user_texts(self._turn)

    @property
    def spec(self) -> str:
        """The task as it is written on a command line."""
        oracle = True if self.vote_on == "action" else None
        parser = None if self.parser == "strict" else self.parser
        form = None if self.form == "words" else self.form
        options = {"disks": self.disks, "oracle": oracle, "start": self._first or None, "parser": parser, "form": form}
        return write_spec("hanoi", options)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hanoi) and self.spec == other.spec

    def __hash__(self) -> int:
        return hash(self.spec)

    def __repr__(self) -> str:
        return f"<{self.spec}>"

    def in_form(self, form: Form) -> Hanoi:
        """Return the same task with prompts and replies in another form; raises UsageError for one it lacks."""
        return type(self)(self.disks, self._first, self.parser, form)

    def start(self) -> State:
        """Return the state at step `start` of the standard path, in time that grows with the disks alone."""
        return path_state(self.disks, self._first)

    def is_done(self, state: State) -> bool:
        """Say whether all disks are on peg 2, the largest at the bottom."""
        return bool(state[0][2] == self._goal)

    def kind(self, state: State) -> str:
        """Return whose turn it is: the two halves of the strategy are not equally hard."""
        return "disk 1" if _is_turn_of_disk_1(state[1]) else "other"

    def prompt(self, state: State) -> tuple[Message, ...]:
        """Return rules and format as the system's message, strategy and state as the user's; any state renders.

        The compact form is one message, which cannot say that a disk lies on a smaller one: that is a ValueError.
        """
        pegs, previous = state
        if self.form == "compact":
            return (Message("user", compact_prompt(pegs, previous)),)
        before = _text(previous) if previous else "none"
        return (
            self._system,
            Message("user", f"{self._before}{before}{self._between}{_text(pegs)}{self._after}"),
        )

    def parse(self, text: str, state: State) -> Move:
        """Read the last `move = [...]` and the last whole `next_state = [[...], [...], [...]]`, wherever they stand.

        Strict: three integers, and lists that hold every disk once. Legality, order on the pegs and agreement of the
        two are not looked at. Raises RedFlag.
        """
        if self.form == "compact":
            action, pegs = parse_compact(text, self.disks) if self.parser == "strict" else repair_compact(text)
            return Move(action, [pegs, action])
        # ASCII letters alone: str.lower makes others longer (İ), and so moves what follows.
        lowered = text.lower() if text.isascii() else text.translate(_LOWER)
        action = _parse_move(lowered)
        if self.parser == "repair":
            return Move(action, [_parse_pegs_repaired(lowered), action])
        pegs = _parse_pegs(lowered)
        if sorted(pegs[0] + pegs[1] + pegs[2]) != self._all:
            raise RedFlag(f"next_state does not hold each of the disks 1 to {self.disks} once")
        return Move(action, [pegs, action])

    def write(self, move: Move) -> str:
        """Return the reply that says `move`."""
        if self.form == "compact":
            return compact_reply(move.action, move.next_state[0])
        return f"move = {_text(move.action)}\nnext_state = {_text(move.next_state[0])}"

    def apply(self, state: State, action: Action) -> State:
        """Return the state after `action`; an illegal one moves nothing, but is the previous move from then on."""
        pegs = state[0]
        return [pegs if _illegal(pegs, action) else _moved(pegs, action), action]

    def answer(self, state: State) -> Move | None:
        """Return the strategy's move, also off the path; None where it has none.

        It has none where disk 1 is buried, or where it just moved and no other disk can: only wrong decisions lead
        there.
        """
        action = self._next(state)
        return None if action is None else Move(action, [_moved(state[0], action), action])

    def draft(self, state: State) -> Move | None:
        """Return the strategy's move as a guess for lookahead; votes alone decide."""
        return self.answer(state)

    def read(self, messages: Sequence[Message]) -> State:
        """Return the state that `prompt` rendered; raises ValueError for a prompt of another task."""
        texts = [m.content for m in messages if m.role == "user"]
        text = texts[-1] if texts else ""
        if self.form == "compact":
            return read_compact(text, self.disks)
        head, sign, pegs = text.removesuffix(self._after).partition(self._between)
        previous = head.removeprefix(self._before)
        if not (sign and text.startswith(self._before) and text.endswith(self._after)):
            raise ValueError(f"not a prompt of {self.spec}: {text[:80]!r}")
        # The user's message is the same for any number of disks that turn this way round; the system's names it.
        if self._system not in messages:
            raise ValueError(f"the system message is not that of {self.spec}")
        try:
            return [_pegs(pegs), None if previous == "none" else _ints(previous)]
        except msgspec.DecodeError as error:
            raise ValueError(f"not a state of {self.spec}: {pegs[:80]!r}: {error}") from None

    def mistakes(self, state: State) -> list[Move]:
        """Return wrong moves, at least three, that the strict parser takes, the likeliest first.

        After a turn of disk 1: the larger of the two tops onto the smaller, laid at the end or at the bottom (both
        were seen in the paper's real run, Fig. 11). At its turn: the wrong way round. Then slips of copying.
        """
        right = self.answer(state)
        found: list[Move] = []
        for move in _slips(state[0], self._next(state)):
            # A few digits cannot say that a disk lies on a smaller one, so no model of that form makes this mistake.
            if move != right and move not in found and (self.form == "words" or _is_sorted(move.next_state[0])):
                found.append(move)
        return found

    def sample(self, rng: Random) -> State:
        """Return the state at a step of the standard path drawn evenly, the end excluded."""
        return path_state(self.disks, rng.randrange(2**self.disks - 1))

    def _next(self, state: State) -> Action | None:
        pegs, previous = state
        home = _home_of_disk_1(pegs)
        if home is None:
            return None
        if _is_turn_of_disk_1(previous):
            return [1, home, (home + self._turn) % 3]
        source, target = _OTHERS[home]
        # The smaller top moves, and an empty peg can only be moved to.
        if pegs[target] and (not pegs[source] or pegs[target][-1] < pegs[source][-1]):
            source, target = target, source
        return [pegs[source][-1], source, target] if pegs[source] else None


class HanoiWithOracle(Hanoi):
    """The task with a legality oracle: votes are on the move, and code computes the next state."""

    vote_on: Literal["action", "pair"] = "action"

    def check(self, state: State, move: Move) -> str | None:
        """Return why the move breaks the rules, or None; a legal move need not be the strategy's."""
        return _illegal(state[0], move.action)

    def mistakes(self, state: State) -> list[Move]:
        """Return the same wrong moves, those first that get past the oracle: the others are flags, never votes."""

        def _is_flagged(move: Move) -> bool:
            return self.check(state, move) is not None or self.apply(state, move.action) != move.next_state

        # `sorted` is stable: among those that get past the oracle the likeliest stay first.
        return sorted(super().mistakes(state), key=_is_flagged)


def path_state(disks: int, step: int) -> State:
    """Return the state after `step` moves of the standard path, from the binary digits of `step` alone.

    Disk d moves at every 2**d-th move, first at move 2**(d-1), and always the same way round: the largest 0 to 2,
    the next the other way, and so on.
    """
    pegs: Pegs = [[], [], []]
    # The largest first: a list begins at the bottom of its peg.
    for disk in range(disks, 0, -1):
        pegs[_peg_of(disk, disks, step)].append(disk)
    if step == 0:
        return [pegs, None]
    # The lowest bit that is set in the number of a move is that of its disk.
    moved = (step & -step).bit_length()
    return [pegs, [moved, _peg_of(moved, disks, step - 1), _peg_of(moved, disks, step)]]


def _peg_of(disk: int, disks: int, step: int) -> int:
    way = -1 if (disks - disk) % 2 == 0 else 1
    return way * ((step + (1 << (disk - 1))) >> disk) % 3


_OTHERS = ((1, 2), (0, 2), (0, 1))


def _is_turn_of_disk_1(previous: Action | None) -> bool:
    return previous is None or previous[0] != 1


def _home_of_disk_1(pegs: Pegs) -> int | None:
    for index, peg in enumerate(pegs):
        if peg and peg[-1] == 1:
            return index
    return None


def _is_sorted(pegs: Pegs) -> bool:
    return all(peg == sorted(peg, reverse=True) for peg in pegs)


def _illegal(pegs: Pegs, action: Action) -> str | None:
    disk, source, target = action
    # First, since a model may name a peg that there is not, and -1 would be the last one.
    if not (0 <= source <= 2 and 0 <= target <= 2) or source == target:
        return f"a disk cannot go from peg {source} to peg {target}"
    if not pegs[source] or pegs[source][-1] != disk:
        return f"disk {disk} is not on top of peg {source}"
    if pegs[target] and pegs[target][-1] < disk:
        return f"disk {disk} would lie on disk {pegs[target][-1]}"
    return None


def _moved(pegs: Pegs, action: Action, *, bottom: bool = False) -> Pegs:
    disk, source, target = action
    # A new list of new pegs where they change: states are shared, and are never altered.
    after = list(pegs)
    after[source] = pegs[source][:-1]
    after[target] = [disk, *pegs[target]] if bottom else [*pegs[target], disk]
    return after


def _slips(pegs: Pegs, right: Action | None) -> Iterator[Move]:
    """Ways in which the right move goes wrong, the likeliest first; the same one may come twice."""
    tops = [(peg[-1], source) for source, peg in enumerate(pegs) if peg]
    every = [[disk, source, target] for disk, source in tops for target in _OTHERS[source]]
    if right is not None:
        _, source, target = right
        # With disk 1: the other way round. With another disk: the reverse, and only then disk 1 once more.
        wrong = [[right[0], source, 3 - source - target]] if right[0] == 1 else []
        wrong += [[pegs[target][-1], target, source]] if right[0] != 1 and pegs[target] else []
        wrong += [action for action in every if _illegal(pegs, action) is None]
        yield from _laid(pegs, wrong)
        yield Move(right, [pegs, right])
        yield Move(right, [_moved(pegs, right, bottom=True), right])
    yield from _laid(pegs, every)
    for action in every:
        yield Move(action, [pegs, action])


def _laid(pegs: Pegs, actions: list[Action]) -> Iterator[Move]:
    for action in actions:
        yield Move(action, [_moved(pegs, action), action])
        if _illegal(pegs, action) is not None:
            yield Move(action, [_moved(pegs, action, bottom=True), action])


_encode = msgspec.json.Encoder().encode
# Typed, so that 2.0 and true, which are no disks or pegs, are refused.
_ints = msgspec.json.Decoder(list[int]).decode
_pegs = msgspec.json.Decoder(list[list[int]]).decode
_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")
# \b, so that neither next_move nor remove is taken for it. The list holds no other list.
_MOVE = re.compile(r"\bmove\s*=\s*(\[[^\[\]]*\])")
# Three lists and both brackets around them, or no match: only the other parser (`_STATE_BEGUN`) closes anything.
_STATE = re.compile(r"\bnext_state\s*=\s*(\[\s*\[[^\[\]]*\]\s*,\s*\[[^\[\]]*\]\s*,\s*\[[^\[\]]*\]\s*\])")
_STATE_BEGUN = re.compile(r"\bnext_state\s*=\s*(\[\s*\[)")


def _text(value: Any) -> str:
    # As Python would print it; the encoder takes a fifth of the time that repr takes.
    return str(_encode(value), "ascii").replace(",", ", ")


def _last(pattern: re.Pattern[str], word: str, text: str) -> re.Match[str] | None:
    """The last place where `pattern` matches; each match begins with `word`.

    Searching from the end keeps long replies cheap: the answer stands last.
    """
    at = text.rfind(word)
    while at >= 0:
        if found := pattern.match(text, at):
            return found
        at = text.rfind(word, 0, at)
    return None


def _parse_move(text: str) -> Action:
    found = _last(_MOVE, "move", text)
    if found is None:
        raise RedFlag("no line `move = [disk, from, to]`")
    try:
        action = _ints(found[1])
    except msgspec.DecodeError:
        # Such as 2.0 or true: refused below, by the same flag as a number too few.
        action = []
    if len(action) != 3:
        raise RedFlag(f"move is not three integers: {found[1][:60]}")
    return action


def _parse_pegs(text: str) -> Pegs:
    found = _last(_STATE, "next_state", text)
    if found is None:
        raise RedFlag("no line `next_state = [[...], [...], [...]]`")
    try:
        return _pegs(found[1])
    except msgspec.DecodeError:
        raise RedFlag(f"next_state is not three lists of integers: {found[1][:60]}") from None


def _parse_pegs_repaired(text: str) -> Pegs:
    found = _last(_STATE_BEGUN, "next_state", text)
    if found is None:
        raise RedFlag("no beginning of `next_state = [[`")
    body = text[found.start(1) :]
    depth = 0
    for at, sign in enumerate(body):
        depth += (sign == "[") - (sign == "]")
        if depth == 0:
            body = body[: at + 1]
            break
    else:
        # Never closed: the missing bracket goes behind the last one that there is.
        body = body[: body.rfind("]") + 1] + "]"
    try:
        pegs = _pegs(body)
    except msgspec.DecodeError:
        pegs = []
    if len(pegs) != 3:
        raise RedFlag(f"next_state is beyond repair: {body[:60]}")
    return pegs


_SYSTEM = """\
You carry out single moves of a Towers of Hanoi puzzle, each exactly by a given procedure.

There are three pegs, numbered 0, 1 and 2, and {disks} disks, numbered by size: 1 is the smallest, {disks} the largest.
- A move takes one disk from the top of a peg and lays it on top of another peg.
- A disk never lies on a smaller disk.
- At the end all disks stand on peg 2.
A state is three lists, one for each peg in order. Each list goes from the bottom disk to the top disk, so its last
number is the only disk of that peg that can move. A move is three integers: [disk, from peg, to peg].

A whole solution with 3 disks, which begins at [[3, 2, 1], [], []]:
{example}
(With an even number of disks, disk 1 travels 0 to 1 to 2 to 0; with an odd number, as here, 0 to 2 to 1 to 0.)

You may think briefly. Then end your reply with these two lines, in exactly this form and with nothing after them:
move = [disk, from, to]
next_state = [[peg 0], [peg 1], [peg 2]]"""

_USER = """\
Find the next move by this procedure. Moves of disk 1 and moves of other disks take turns.
1. Look at the previous move. If it moved a disk other than 1, or there is none yet, it is the turn of disk 1: move \
disk 1 by one peg, {ways}.
2. If the previous move was of disk 1, leave disk 1 alone. Of the two pegs that do not have disk 1 on top, take the \
smaller of the two top disks and move it onto the other one of these pegs; if one of them is empty, the disk goes there.
Every other disk stays where it is, in its order.

Previous move: """

_WAYS = {1: "from 0 to 1, from 1 to 2, or from 2 to 0", -1: "from 0 to 2, from 2 to 1, or from 1 to 0"}


def _system_text(disks: int) -> str:
    lines = []
    for step in range(1, 8):
        # Worked out and not written down, so that the example obeys the rules.
        pegs, action = path_state(3, step)
        lines.append(f"{step}. {_text(action)} gives {_text(pegs)}")
    return _SYSTEM.format(disks=disks, example="\n".join(lines))


def _user_texts(turn: int) -> tuple[str, str, str]:
    asked = "\n\nWhich move comes next, and what is the state after it?"
    return _USER.format(ways=_WAYS[turn]), "\nCurrent state: ", asked
