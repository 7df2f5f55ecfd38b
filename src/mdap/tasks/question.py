"""One question to be decided by votes: a task of a single step, whatever is asked. Nothing here calls a model."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from mdap.core import formats
from mdap.core.errors import UsageError
from mdap.core.formats import Format
from mdap.core.keys import Key, by_schema, key_named
from mdap.core.records import ABSENT, Message, Move


def question(prompt: str = "", judged: bool = False) -> Question:
    """Return the task that asks for a free text; `mdap.ask` asks for every other format.

    `judged` is how a run says in its task that a model grouped the candidates: it cannot be asked for here.
    """
    made = Question([Message("user", prompt)] if prompt else [])
    made.judged = judged
    return made


class Question:
    """A question with the format of its answers and their vote key.

    The start state holds the messages, the format and the key's name, so that a stored run can be shown and resumed;
    the end state is `{"answer": ...}`. `key_spec` names the key in the run's fingerprint. `judge`, if given, groups
    the candidates outside of every guarantee.
    """

    steps = 1
    vote_on = "action"

    def __init__(
        self,
        messages: Sequence[Message],
        form: Format | None = None,
        key: Key | None = None,
        key_spec: str = "",
        judge: Any = None,
    ) -> None:
        self.form = formats.text() if form is None else form
        # Plain values: they are part of the start state, which the journal keeps and gives back.
        self._messages = [msgspec.to_builtins(message) for message in messages]
        self._key_spec = key_spec
        self.reply_schema = self.form.schema
        self.judged = judge is not None
        self.judge = judge
        # What the schema calls equal is equal: 1 and 1.0 where it says number, the order of what it calls a set.
        if key is None and self.form.schema is not None:
            key = by_schema(self.form.schema)
        self._key = key
        if self.form.rank is not None:
            # On the object and not in the class: optional methods are found by presence, and only this format has one.
            self.rank = self._rank

    def _rank(self, text: str, state: Mapping[str, Any]) -> list[Move]:
        assert self.form.rank is not None
        return [Move(value, ABSENT) for value in self.form.rank(text)]

    @property
    def spec(self) -> str:
        """How a run names this task."""
        return "question:judged=on" if self.judged else "question"

    @property
    def version(self) -> str:
        """The format and the key: a run with others is another run."""
        # Sorted, since fingerprints are compared as texts.
        return json.dumps({"format": self.form.spec, "key": self._key_spec}, ensure_ascii=False, sort_keys=True)

    def start(self) -> dict[str, Any]:
        """Return all that makes this question, as JSON values; raises UsageError where nothing is asked."""
        if not self._messages:
            raise UsageError("question asks nothing", remedy='write question:PROMPT, or `mdap ask "PROMPT"`')
        return {"messages": self._messages, "format": self.form.spec, "key": self._key_spec}

    def is_done(self, state: Mapping[str, Any]) -> bool:
        """Say whether the question was answered."""
        # By presence: null may be the answer.
        return "answer" in state

    def prompt(self, state: Mapping[str, Any]) -> list[Message]:
        """Return the messages, the instruction on the format at the end of the last of them."""
        # From the state and not from this object: what is shown or resumed is what was asked.
        return [Message(**message) for message in state["messages"]]

    def parse(self, text: str, state: Mapping[str, Any]) -> Move:
        """Read a reply in the format; raises RedFlag if it is not of it."""
        return Move(self.form.read(text), ABSENT)

    def apply(self, state: Mapping[str, Any], action: Any) -> dict[str, Any]:
        """Return the end state."""
        return {"answer": action}

    def key(self, move: Move) -> Any:
        """Return what answers that count as the same share."""
        # A key of one's own is given what was asked for, a record say, and not the JSON that is stored.
        return move.action if self._key is None else self._key(self.form.load(move.action))

    def restored(self, state: Mapping[str, Any]) -> Question:
        """Return the question of a stored run from its start state.

        Raises UsageError for a key that was a function or a model's judgement: neither is in the journal.
        """
        name = state["key"]
        # To go on by another key would compare new votes in another way than those that were cast.
        if name.startswith(("own:", "judged:")):
            raise UsageError(
                f"the votes of this run were compared by {name.partition(':')[2]}, which the journal does not hold",
                remedy="ask anew with `mdap ask`, or with mdap.ask and a journal",
            )
        key = key_named(name) if name else None
        return Question([Message(**message) for message in state["messages"]], format_of(state["format"]), key, name)


def imported(path: str) -> Any:
    """Return what `package.module:Name` names; raises UsageError where there is no such thing."""
    module, _, name = path.partition(":")
    try:
        found = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    # A name without a module is a ValueError of `import_module`.
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(
            f"there is no {path!r}: {error}", remedy="write package.module:Class, from the folder that holds it"
        ) from None
    return found


def format_of(spec: Mapping[str, Any]) -> Format:
    """Return the format that its `spec` names; raises UsageError for a function of one's own."""
    match spec:
        case {"format": "exact", "text": expected}:
            return formats.exact(expected)
        case {"format": "pattern", "regex": regex}:
            # Runs that are older than this choice do not name it.
            return formats.pattern(regex, anchored=spec.get("anchored", True))
        case {"format": "markers", "marks": marks}:
            return formats.markers(marks)
        case {"format": "one_of", "options": options}:
            return formats.one_of(options)
        case {"format": "ranking", "options": options}:
            return formats.ranking(options)
        case {"format": "python"}:
            return formats.python_code()
        case {"format": "json"}:
            return formats.json_value()
        case {"format": "json_fields", "fields": fields}:
            return formats.json_fields(fields)
        case {"format": "custom", "name": name}:
            raise UsageError(
                f"the answers of this run have the format {name!r}, a function, which the journal does not hold",
                remedy="ask anew with mdap.ask and a journal",
            )
        case {"format": "json_schema", "schema": schema}:
            return formats.json_schema(schema)
        case {"format": "json_repairing", "schema": schema}:
            return formats.json_repairing(schema)
        case {"format": "record", "type": kind}:
            return formats.record(imported(kind))
        case _:
            return formats.text()
