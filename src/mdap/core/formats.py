"""What a reply is to consist of, and how it is read: whole and strictly. What does not fit is a red flag.

Free text is never cut; every other format takes the bare value, or one fence with the value and nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from mdap.core.canonical import Schema
from mdap.core.errors import RedFlag, UsageError
from mdap.core.keys import syntax_tree
from mdap.core.repairing import repair_json
from mdap.core.strictjson import read_json, unfenced


class Format(msgspec.Struct, frozen=True):
    """An output format.

    `read` turns a reply into the value that it is, as JSON values, or raises RedFlag (malformed). `instruction` is
    what a prompt says of the format; empty: nothing. `schema` is the JSON Schema of the value, for a provider that can
    hold a reply to one and for the vote key. `load` makes of the stored value what the user asked for, a record say.
    `spec` is a JSON value that names the format and holds all its options. `rank`, of a format that ranks, gives all
    values that a reply names, best first; `read` gives the first of them.
    """

    spec: dict[str, Any]
    read: Callable[[str], Any]
    instruction: str = ""
    schema: Schema | None = None
    load: Callable[[Any], Any] = lambda value: value
    rank: Callable[[str], list[Any]] | None = None

    @property
    def name(self) -> str:
        """The format's name, such as text, exact, pattern, one_of, markers, json, json_schema or record."""
        return str(self.spec["format"])


def text() -> Format:
    """Return the format of free text: the reply verbatim, white space and all."""
    return Format({"format": "text"}, str)


def exact(expected: str) -> Format:
    """Return the format of one fixed answer, letter for letter but for outer white space; UsageError for an empty one.

    A reply of it says no more than that the model agrees.
    """
    if not expected.strip():
        raise UsageError("an exact answer cannot be empty", remedy="give the text that the answer has to be")
    # As a reply is read: with blanks at its ends the answer could never be given.
    wanted = expected.strip()

    def _read(reply: str) -> str:
        value = _inner(reply)
        if value != wanted:
            raise RedFlag(f"{_shown(value)} is not exactly {_shown(wanted)}")
        return value

    return Format({"format": "exact", "text": wanted}, _read, f"Answer with exactly this text:\n{wanted}\n{_ALONE}")


def pattern(regex: str, *, anchored: bool = True) -> Format:
    """Return the format of text that `regex` (Python's) matches from its first character to its last.

    Without `anchored`, a match anywhere in the text is enough. Raises UsageError for what is no regular expression.
    Matching is not bounded in time: a pattern with nested repetitions can take long on a reply that almost fits.
    """
    try:
        compiled = re.compile(regex)
    except re.error as error:
        raise UsageError(f"pattern {regex!r} is no regular expression: {error}", remedy="mend it") from None
    matches = compiled.fullmatch if anchored else compiled.search

    def _read(reply: str) -> str:
        value = _inner(reply)
        if matches(value) is None:
            raise RedFlag(f"{_shown(value)} does not match {regex}")
        return value

    # Named where it is off alone: runs that are older than the choice keep their fingerprint.
    spec = {"format": "pattern", "regex": regex} | ({} if anchored else {"anchored": False})
    where = "from its first character to its last" if anchored else "somewhere"
    asked = f"Answer with text that matches this regular expression {where}:\n{regex}"
    # Text around a match is allowed then, so it is not asked to be left out.
    return Format(spec, _read, f"{asked}\n{_ALONE}" if anchored else asked)


def markers(marks: Sequence[str]) -> Format:
    """Return the format of text in which all of `marks` stand, in this order, none of them inside another.

    The same mark twice has to stand there twice. The answer is the reply verbatim. Raises UsageError for an empty mark.
    """
    # A text is a sequence, too, of its letters.
    given = [marks] if isinstance(marks, str) else list(marks)
    if not given or any(not mark.strip() for mark in given):
        raise UsageError(f"markers={given!r} mark nothing", remedy="give the texts that have to stand in the answer")

    def _read(reply: str) -> str:
        at = 0
        for mark in given:
            found = reply.find(mark, at)
            if found < 0:
                late = "after the ones before it " if at else ""
                raise RedFlag(f"there is no {_shown(mark)} {late}in the reply")
            at = found + len(mark)
        return reply

    asked = "Answer with text that holds the following marks, each once, in this order:\n" + "\n".join(given)
    return Format({"format": "markers", "marks": given}, _read, asked)


def one_of(options: Sequence[str]) -> Format:
    """Return the format of an answer that is one of `options`, letter for letter.

    Raises UsageError for fewer than two options, and for ones that are equal, empty or begin or end with white space.
    """
    given = [options] if isinstance(options, str) else list(options)
    # Replies are read without their outer white space, so an option that has some could never be met.
    if len(set(given)) < max(2, len(given)) or any(not option or option != option.strip() for option in given):
        raise UsageError(
            f"one_of={given!r} leaves no choice", remedy="give two or more different answers, such as yes,no"
        )
    known = frozenset(given)

    def _read(reply: str) -> str:
        value = _inner(reply)
        if value not in known:
            raise RedFlag(f"{_shown(value)} is none of {', '.join(given)}")
        return value

    asked = "Answer with exactly one of the following:\n" + "\n".join(given)
    return Format({"format": "one_of", "options": given}, _read, f"{asked}\n{_ALONE}")


def ranking(options: Sequence[str]) -> Format:
    """Return the format of a ranking: some or all of `options`, best first, one a line; the answer is the first.

    For rules that read rankings (borda, irv, mrr); all others count the first alone. Raises UsageError as `one_of`.
    """
    # By way of `one_of`, whose demands on options hold here as well.
    given = list(one_of(options).spec["options"])
    # Replies are read line by line, so an option of two lines could never be met.
    if any(len(option.splitlines()) > 1 for option in given):
        raise UsageError(f"ranking={given!r} has an option of several lines", remedy="write each in one line")
    known = frozenset(given)

    def _rank(reply: str) -> list[Any]:
        ranked = [line.strip() for line in _inner(reply).splitlines()]
        for line in ranked:
            if line not in known:
                raise RedFlag(f"{_shown(line)} is none of {', '.join(given)}")
        if not ranked:
            raise RedFlag("nothing is ranked")
        if len(set(ranked)) < len(ranked):
            raise RedFlag(f"{_shown(max(ranked, key=ranked.count))} is ranked twice")
        return ranked

    asked = "Rank the following, the best first, one a line; leave out what you rule out:\n" + "\n".join(given)
    spec = {"format": "ranking", "options": given}
    return Format(spec, lambda reply: _rank(reply)[0], f"{asked}\n{_ALONE}", rank=_rank)


def python_code() -> Format:
    """Return the format of Python code that parses, in this interpreter's grammar. It is parsed and never run."""

    def _read(reply: str) -> str:
        # Line ends alone: blanks at the front are indentation, which may be what is wrong.
        code = unfenced(reply).strip("\r\n")
        if not code.strip():
            raise RedFlag("there is no code")
        syntax_tree(code)
        return code

    return Format({"format": "python"}, _read, f"Answer with Python code.\n{_ALONE}")


def json_value() -> Format:
    """Return the format of any JSON value."""
    return Format({"format": "json"}, read_json, f"Answer with a JSON value.\n{_ALONE}")


def json_fields(fields: Sequence[str]) -> Format:
    """Return the format of a JSON object that has all of `fields`; others may stand beside them, null is a value.

    Raises UsageError for no field, an empty one, or one given twice.
    """
    given = [fields] if isinstance(fields, str) else list(fields)
    if not given or not all(given) or len(set(given)) < len(given):
        raise UsageError(f"fields={given!r} say nothing", remedy="give the different names that the object has to have")

    def _read(reply: str) -> dict[str, Any]:
        value = read_json(reply)
        if not isinstance(value, dict):
            raise RedFlag(f"{_shown(reply)} is no JSON object")
        missing = [name for name in given if name not in value]
        if missing:
            raise RedFlag(f"the object has no {', '.join(map(repr, missing))}")
        return value

    listed = ", ".join(json.dumps(name, ensure_ascii=False) for name in given)
    asked = f"Answer with a JSON object that has these fields: {listed}.\n{_ALONE}"
    return Format({"format": "json_fields", "fields": given}, _read, asked)


def custom(name: str, read: Callable[[str], Any], instruction: str = "", schema: Schema | None = None) -> Format:
    """Return a format of one's own: `read` turns a reply into a JSON value, or raises RedFlag or ValueError.

    `name` stands for it in a stored run, which can be shown but is not taken up again: the journal holds no functions.
    Raises UsageError for an empty name.
    """
    if not name:
        raise UsageError("a custom format has no name", remedy="name it")

    def _read(reply: str) -> Any:
        try:
            return read(reply)
        # A parser of one's own says no by a ValueError, as int and json.loads do; any other error is a fault in it.
        except ValueError as error:
            raise RedFlag(str(error)) from error

    return Format({"format": "custom", "name": name}, _read, instruction, schema)


def json_schema(schema: Schema) -> Format:
    """Return the format of JSON that is valid against `schema` (drafts 4 to 2020-12, formats such as date checked).

    Needs the package jsonschema-rs (extra `schemas`); UsageError says so where it is absent, and raises for what is
    no JSON Schema. References are followed within the schema alone; nothing is fetched.
    """
    return _json("json_schema", read_json, schema)


def json_repairing(schema: Schema) -> Format:
    """Return `json_schema` whose replies are mended before they are checked: opt-in, to measure what that does."""
    return _json("json_repairing", repair_json, schema)


def record(kind: Any) -> Format:
    """Return the format of JSON that decodes to `kind`: a msgspec Struct, dataclass, TypedDict or pydantic model.

    Keys that the type does not know are left out unless it forbids them. Raises UsageError for a type that has no
    JSON Schema.
    """
    spec = {"format": "record", "type": f"{getattr(kind, '__module__', '')}:{getattr(kind, '__qualname__', kind)}"}
    # By the method it has: pydantic need not be installed, and is never imported from here.
    if callable(getattr(kind, "model_validate_json", None)):
        schema = kind.model_json_schema()
        read: Callable[[str], Any] = partial(_read_model, kind)
        load: Callable[[Any], Any] = kind.model_validate
    else:
        schema = _schema_of(kind)
        read = partial(_read_typed, msgspec.json.Decoder(kind))
        load = partial(msgspec.convert, type=kind)
    return Format(spec, read, _asked_json(schema), schema, load)


_ALONE = "Write nothing before or after it."


def _json(name: str, parse: Callable[[str], Any], schema: Schema) -> Format:
    validator = _validator(schema)

    def _read(reply: str) -> Any:
        value = parse(reply)
        for error in validator.iter_errors(value):
            # The first error is enough: the reply is discarded whole.
            where = "".join(f"[{part!r}]" for part in error.instance_path)
            raise RedFlag(f"{_shown(error.message)} at ${where}")
        return value

    return Format({"format": name, "schema": dict(schema)}, _read, _asked_json(schema), dict(schema))


def _validator(schema: Schema) -> Any:
    try:
        import jsonschema_rs  # only those who give a schema need it
    except ImportError:
        raise UsageError(
            "a JSON Schema needs the package jsonschema-rs", remedy="pip install 'mdap[schemas]', or give a record type"
        ) from None
    if not isinstance(schema, Mapping):
        raise UsageError(
            f"{schema!r} is no JSON Schema that can be checked", remedy="give an object such as {'type': 'object'}"
        )
    try:
        # Offline: a reference in a schema must not make this program fetch an address or read a file.
        return jsonschema_rs.validator_for(dict(schema), offline=True, validate_formats=True)
    except ValueError as error:
        said = str(error).partition("\n")[0]
        raise UsageError(f"this is no JSON Schema that can be checked: {said}", remedy="mend the schema") from None


def _asked_json(schema: Schema) -> str:
    written = json.dumps(schema, ensure_ascii=False, separators=(", ", ": "))
    return f"Answer with JSON that is valid against this JSON Schema:\n{written}\n{_ALONE}"


def _schema_of(kind: Any) -> Schema:
    try:
        schema = msgspec.json.schema(kind)
    except (TypeError, RuntimeError) as error:
        raise UsageError(
            f"{kind!r} is no record type: {str(error).partition(chr(10))[0]}",
            remedy="give a msgspec Struct, a dataclass, a TypedDict or a pydantic model",
        ) from None
    root = schema.get("$ref")
    if root is None:
        return schema
    # Providers want an object at the root, not a reference to one.
    name, kept = root.rpartition("/")[2], schema["$defs"]
    inlined = {**kept[name], "$defs": kept}
    # A type that holds itself, in a list say, is still referred to.
    if f'"#/$defs/{name}"' not in json.dumps(list(kept.values())):
        inlined["$defs"] = {other: sub for other, sub in kept.items() if other != name}
    return inlined if inlined["$defs"] else kept[name]


def _read_typed(decoder: msgspec.json.Decoder[Any], reply: str) -> Any:
    read_json(reply)  # what a decoder would let pass: duplicate keys, numbers past the range of a float
    try:
        # In one order: a record may hold sets, and equal answers are to be stored alike.
        return msgspec.to_builtins(decoder.decode(unfenced(reply)), str_keys=True, order="deterministic")
    except (ValueError, RecursionError) as error:
        raise RedFlag(str(error)) from None


def _read_model(kind: Any, reply: str) -> Any:
    read_json(reply)
    try:
        # In mode json: what is voted on and stored are JSON values; `load` makes the record again.
        return kind.model_validate_json(unfenced(reply)).model_dump(mode="json")
    except ValueError as error:
        raise RedFlag(_shown(str(error))) from None


def _inner(reply: str) -> str:
    return unfenced(reply).strip()


def _shown(value: str) -> str:
    return value if len(value) <= 120 else value[:120] + "..."
