"""What each output format takes as an answer, what it refuses and with which words, and what it tells the model."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from datetime import date
from decimal import Decimal
from typing import Any, TypedDict

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mdap.core import formats
from mdap.core.errors import RedFlag, UsageError
from mdap.core.formats import Format
from mdap.core.records import Message
from mdap.core.repairing import repair_json
from mdap.tasks.question import Question

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "born": {"type": "string", "format": "date"},
        "children": {"type": "integer", "minimum": 0},
    },
    "required": ["name", "children"],
    "additionalProperties": False,
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


class Person(msgspec.Struct):
    name: str
    height: Decimal
    born: date | None = None
    tags: set[str] = set()


class Node(msgspec.Struct, forbid_unknown_fields=True):
    value: int
    next: Node | None = None


@dataclasses.dataclass
class Point:
    x: int
    y: int


class Pair(TypedDict):
    left: int
    right: str


class Model:
    """What a pydantic model looks like from outside, with one field."""

    def __init__(self, age: int) -> None:
        self.age = age

    @classmethod
    def model_json_schema(cls) -> dict[str, Any]:
        return {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}

    @classmethod
    def model_validate(cls, given: Any) -> Model:
        if not isinstance(given.get("age"), int):
            raise ValueError("age: Input should be a valid integer")
        return cls(given["age"])

    @classmethod
    def model_validate_json(cls, text: str) -> Model:
        return cls.model_validate(json.loads(text))

    def model_dump(self, mode: str = "python") -> dict[str, Any]:
        return {"age": self.age}


def refused(form: Format, reply: str) -> str:
    """The reason why a reply is malformed."""
    with pytest.raises(RedFlag) as caught:
        form.read(reply)
    assert caught.value.name == "malformed"
    return caught.value.message


FENCEABLE = [
    (formats.one_of(["yes", "no"]), "yes", "yes"),
    (formats.pattern(r"[A-Z]{2}-\d+"), "AB-12", "AB-12"),
    (formats.python_code(), "def f(x):\n    return x", "def f(x):\n    return x"),
    (formats.json_schema(PERSON), '{"name": "A", "children": 2}', {"name": "A", "children": 2}),
    (formats.record(Point), '{"x": 1, "y": 2}', {"x": 1, "y": 2}),
]
STRUCTURED = [
    *FENCEABLE,
    (formats.exact("42 km"), "42 km", "42 km"),
    (formats.json_value(), "[1, null]", [1, None]),
    (formats.json_fields(["a"]), '{"a": null, "b": 2}', {"a": None, "b": 2}),
]
names = [form.name for form, _, _ in STRUCTURED]


@pytest.mark.parametrize(("form", "bare", "value"), STRUCTURED, ids=names)
@pytest.mark.parametrize("frame", ["{}", "  {}\n\n", "```\n{}\n```", "\n```python\n{}\n```\n", "```text\r\n{}\r\n```"])
def test_a_structured_format_takes_the_bare_value_or_one_fence_around_it(
    form: Format, bare: str, value: Any, frame: str
) -> None:
    assert form.read(frame.format(bare)) == value


@pytest.mark.parametrize(("form", "bare", "_value"), STRUCTURED, ids=names)
@pytest.mark.parametrize(
    "frame",
    [
        "The answer is: {}",
        "{}\nI hope that this helps!",
        "Sure:\n```\n{}\n```",
        "```\n{}\n```\nDone, as you see.",
        "```\n{}\n```\nor\n```\n{}\n```",
        "```\n{}",
        "",
    ],
)
def test_a_structured_format_takes_nothing_before_or_after_the_value(
    form: Format, bare: str, _value: Any, frame: str
) -> None:
    assert refused(form, frame.replace("{}", bare))


@given(st.text())
@example("  padded\n")
@example("```\nfenced\n```")
def test_free_text_is_never_cut(text: str) -> None:
    assert formats.text().read(text) == text
    assert formats.text().instruction == ""


@pytest.mark.parametrize("reply", ["Yes", "yes.", "yes no", '"yes"', "ye", "maybe"])
def test_one_of_takes_its_options_letter_for_letter(reply: str) -> None:
    assert "none of yes, no" in refused(formats.one_of(["yes", "no"]), reply)


@pytest.mark.parametrize("options", [[], ["yes"], ["yes", "yes"], ["yes", ""], ["yes", " no"], "yes"])
def test_one_of_needs_a_choice(options: Any) -> None:
    with pytest.raises(UsageError, match="leaves no choice"):
        formats.one_of(options)


def test_a_pattern_is_matched_from_the_first_character_to_the_last() -> None:
    form = formats.pattern(r"\d+|x")
    assert form.read("123") == "123"
    assert [refused(form, reply) for reply in ("123a", "a123", "12 3", "x1")]
    assert refused(formats.pattern(r"^\d+$"), "12\n34")


def test_a_pattern_that_is_none_is_the_users_mistake() -> None:
    with pytest.raises(UsageError, match=r"'\[a' is no regular expression"):
        formats.pattern("[a")


def test_code_that_does_not_parse_is_flagged_and_code_is_never_run() -> None:
    form = formats.python_code()
    assert "line 2" in refused(form, "x = 1\nfor x in:\n")
    assert form.read("raise SystemExit(3)") == "raise SystemExit(3)"
    assert form.read("```python\n\nif x:\n    y = '```'\n```") == "if x:\n    y = '```'"
    assert refused(form, "```\n    indented = 1\nout = 2\n```")


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ('{"name": "A"}', '"children" is a required property at $'),
        ('{"name": "A", "children": -1}', "at $['children']"),
        ('{"name": "A", "children": "2"}', "is not of type"),
        ('{"name": "A", "children": 2, "x": 1}', "Additional properties"),
        ('{"name": "A", "children": 2, "born": "1999-02-30"}', "is not a \"date\" at $['born']"),
        ('{"name": "A", "children": 2, "children": 2}', "stands twice"),
        ('{"name": "A", "children": NaN}', "NaN is no JSON number"),
        ('{"name": "A", "children": 2,}', "not JSON"),
        ('{"name": "A", "children": 2', "not JSON"),
        ("[]", "is not of type"),
    ],
)
def test_json_that_is_not_valid_against_its_schema_is_flagged_with_the_place(reply: str, why: str) -> None:
    assert why in refused(formats.json_schema(PERSON), reply)


def test_a_long_reason_is_cut_so_that_no_journal_row_grows_with_it() -> None:
    assert len(refused(formats.json_schema({"type": "integer"}), json.dumps("x" * 10_000))) < 200


@given(JSON)
def test_what_a_schema_allows_is_read_as_plain_json_reads_it(value: Any) -> None:
    assert formats.json_schema({}).read(json.dumps(value)) == value


def test_integers_beyond_a_floats_reach_are_exact() -> None:
    only = formats.json_schema({"const": 9007199254740993})
    assert only.read("9007199254740993") == 9007199254740993
    assert refused(only, "9007199254740992")


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nonsense"},
        {"pattern": "("},
        {"$ref": "#/$defs/absent"},
        {"$schema": "http://example.com/no-such-draft"},
        ["type"],
    ],
)
def test_what_is_no_json_schema_is_the_users_mistake(schema: Any) -> None:
    with pytest.raises(UsageError, match="no JSON Schema"):
        formats.json_schema(schema)


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/schema.json", "file:///etc/hostname"])
def test_a_reference_out_of_the_schema_is_not_fetched(address: str) -> None:
    with pytest.raises(UsageError, match="disabled"):
        formats.json_schema({"$ref": address})


def test_without_the_library_a_schema_names_the_extra_to_install() -> None:
    program = (
        "import sys; sys.modules['jsonschema_rs'] = None\n"
        "from mdap.core import formats\n"
        "formats.one_of(['a', 'b'])\n"
        "try:\n    formats.json_schema({})\n"
        "except formats.UsageError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "pip install 'mdap[schemas]'" in done.stdout


def test_a_record_is_read_into_its_type_and_stored_as_json() -> None:
    form = formats.record(Person)
    stored = form.read('{"name": "A", "height": "1.80", "born": "2000-01-31", "tags": ["b", "a", "b"]}')
    assert stored == {"name": "A", "height": "1.80", "born": "2000-01-31", "tags": ["a", "b"]}
    assert form.load(stored) == Person("A", Decimal("1.80"), date(2000, 1, 31), {"a", "b"})
    assert "at `$.born`" in refused(form, '{"name": "A", "height": 1, "born": "yesterday"}')
    assert "stands twice" in refused(form, '{"name": "A", "name": "B", "height": 1}')


def test_a_records_decimals_keep_the_digits_that_were_written() -> None:
    form = formats.record(Person)
    tall = form.load(form.read('{"name": "A", "height": 1.10000000000000000000000000001}'))
    assert tall.height == Decimal("1.10000000000000000000000000001")


@pytest.mark.parametrize(
    ("kind", "reply", "value"),
    [
        (Point, '{"x": 1, "y": 2}', Point(1, 2)),
        (Pair, '{"left": 1, "right": "r"}', {"left": 1, "right": "r"}),
        (Node, '{"value": 1, "next": {"value": 2}}', Node(1, Node(2))),
    ],
)
def test_dataclasses_typed_dicts_and_recursive_records_are_records(kind: Any, reply: str, value: Any) -> None:
    form = formats.record(kind)
    assert form.load(form.read(reply)) == value
    assert refused(form, '{"x": "1"}')


def test_a_model_in_the_manner_of_pydantic_is_a_record() -> None:
    form = formats.record(Model)
    assert form.read('{"age": 3}') == {"age": 3}
    assert form.load({"age": 3}).age == 3
    assert "valid integer" in refused(form, '{"age": "3"}')
    assert "stands twice" in refused(form, '{"age": 3, "age": 4}')


@pytest.mark.parametrize("kind", [Person, Node, Point, Pair])
def test_a_records_schema_has_an_object_at_its_root_and_is_valid_for_its_own_values(kind: Any) -> None:
    schema = formats.record(kind).schema
    assert schema is not None
    assert schema["type"] == "object"
    values: dict[Any, str] = {
        Person: '{"name": "A", "height": "1"}',
        Node: '{"value": 1, "next": {"value": 2, "next": null}}',
        Point: '{"x": 1, "y": 2}',
        Pair: '{"left": 1, "right": ""}',
    }
    assert formats.json_schema(schema).read(values[kind])


@pytest.mark.parametrize("kind", [object, lambda: None, "Person"])
def test_a_type_without_a_schema_is_no_record(kind: Any) -> None:
    with pytest.raises(UsageError, match="is no record type"):
        formats.record(kind)


def test_the_instruction_says_all_that_the_check_will_ask_for() -> None:
    assert json.dumps(PERSON) in formats.json_schema(PERSON).instruction
    assert "\nyes\nno\n" in formats.one_of(["yes", "no"]).instruction
    assert r"[A-Z]{2}-\d+" in formats.pattern(r"[A-Z]{2}-\d+").instruction
    for form, _, _ in FENCEABLE:
        assert "nothing before or after" in form.instruction


def test_only_json_formats_have_a_schema_for_the_provider() -> None:
    assert [form.schema is not None for form, _, _ in FENCEABLE] == [False, False, False, True, True]
    assert formats.json_schema(PERSON).schema == PERSON


MENDED = [
    ('Sure! Here it is: {"a": 1} Anything else?', {"a": 1}),
    ('```json\n{"a": [1, 2]}\n```\nDone.', {"a": [1, 2]}),
    ('{"a": [1, 2', {"a": [1, 2]}),
    ('{"a": {"b": "cut in the mid', {"a": {"b": "cut in the mid"}}),
    ('{"a": "ends in \\', {"a": "ends in "}),
    ('{"a": "says \\"}, ', {"a": 'says "}, '}),
    ('{"a": [1, 2,], }', {"a": [1, 2]}),
    ('{"a": ", ]", "b": 2,}', {"a": ", ]", "b": 2}),
    ('{"a": 1, "a": 2}', {"a": 2}),
    ("the list [3, [4", [3, [4]]),
]


@pytest.mark.parametrize(("reply", "value"), MENDED)
def test_the_repairing_parser_makes_a_vote_of_what_strict_reading_flags(reply: str, value: Any) -> None:
    assert repair_json(reply) == value
    assert formats.json_repairing({}).read(reply) == value
    assert refused(formats.json_schema({}), reply)


def test_the_harm_of_mending_is_a_wrong_value_that_nobody_sees() -> None:
    whole = '{"total": 12345, "items": [1, 2]}'
    assert repair_json(whole) == {"total": 12345, "items": [1, 2]}
    assert repair_json(whole[:13]) == {"total": 123}
    assert repair_json(whole[:29]) == {"total": 12345, "items": [1]}


@pytest.mark.parametrize("reply", ["", "no JSON here", "{", '{"a', '{"a": tru', "{]", "[NaN", '["\\ud800', "[1e999"])
def test_what_cannot_be_mended_is_still_a_flag(reply: str) -> None:
    if reply == "{":
        assert repair_json(reply) == {}
        return
    with pytest.raises(RedFlag):
        repair_json(reply)


@given(JSON)
def test_mending_leaves_alone_what_strict_reading_takes(value: Any) -> None:
    assert repair_json(json.dumps(value)) == value


@given(st.text(alphabet='{}[]",:\\ a1\n`'))
def test_mending_ends_in_a_value_or_a_flag_whatever_the_reply(reply: str) -> None:
    try:
        value = repair_json(reply)
    except RedFlag:
        return
    json.dumps(value, allow_nan=False)


def test_mended_json_is_still_checked_against_the_schema() -> None:
    assert "required" in refused(formats.json_repairing(PERSON), 'Here: {"name": "A"')


def test_an_exact_answer_is_the_same_letter_for_letter() -> None:
    assert formats.exact(" End ").read("\nEnd\n") == "End"
    assert "is not exactly End" in refused(formats.exact("End"), "end")
    with pytest.raises(UsageError, match="cannot be empty"):
        formats.exact(" ")


def test_a_pattern_is_searched_for_only_where_that_is_asked() -> None:
    form = formats.pattern(r"\d+ km", anchored=False)
    assert form.read("It is 42 km away.") == "It is 42 km away."
    assert "does not match" in refused(form, "42 miles")
    assert "somewhere" in form.instruction
    assert form.spec != formats.pattern(r"\d+ km").spec


@pytest.mark.parametrize("reply", ["<b>1</b> <a>2</a>", "<a>1</a>", "<a><b>", "", "<a>1</a> <b>2"])
def test_markers_have_to_stand_there_in_order(reply: str) -> None:
    form = formats.markers(["<a>", "</a>", "<b>", "</b>"])
    assert form.read(" <a>1</a> and <b>2</b>\n") == " <a>1</a> and <b>2</b>\n"
    assert "there is no" in refused(form, reply)


def test_a_marker_given_twice_has_to_stand_there_twice() -> None:
    fence = formats.markers(["---", "---"])
    assert fence.read("---\na: 1\n---\n")
    assert refused(fence, "---\na: 1\n")
    with pytest.raises(UsageError, match="mark nothing"):
        formats.markers(["a", ""])


@pytest.mark.parametrize("reply", ["[]", '{"a": 1}', '{"a": 1, "b": 2, "b": 3}', "a, b", '"ab"'])
def test_an_object_has_to_have_its_fields(reply: str) -> None:
    form = formats.json_fields(["a", "b"])
    assert form.read('{"b": null, "a": [], "c": 0}') == {"b": None, "a": [], "c": 0}
    assert refused(form, reply)


@pytest.mark.parametrize("fields", [[], [""], ["a", "a"]])
def test_fields_that_say_nothing_are_refused(fields: list[str]) -> None:
    with pytest.raises(UsageError, match="say nothing"):
        formats.json_fields(fields)


def test_a_custom_format_reads_and_refuses_as_its_function_says() -> None:
    form = formats.custom(
        "even", lambda reply: {"half": int(reply) // 2} if int(reply) % 2 == 0 else int("odd"), "Even."
    )
    assert form.read("8") == {"half": 4}
    assert "odd" in refused(form, "7")
    assert (form.name, form.instruction) == ("custom", "Even.")
    with pytest.raises(UsageError, match="no name"):
        formats.custom("", int)


@pytest.mark.parametrize(
    "form",
    [
        formats.exact("a"),
        formats.pattern("a", anchored=False),
        formats.markers(["a", "b"]),
        formats.json_value(),
        formats.json_fields(["a"]),
    ],
    ids=lambda form: form.name,
)
def test_a_stored_question_finds_its_format_again(form: Format) -> None:
    asked = Question([Message("user", "What?")], form)
    assert asked.restored(asked.start()).form.spec == form.spec


def test_a_stored_question_with_a_function_for_its_format_says_so() -> None:
    asked = Question([Message("user", "What?")], formats.custom("even", int))
    with pytest.raises(UsageError, match="'even', a function"):
        asked.restored(asked.start())


@pytest.mark.parametrize("form", [form for form, _, _ in STRUCTURED], ids=names)
def test_each_format_tells_the_model_what_it_takes(form: Format) -> None:
    assert form.instruction.startswith("Answer with ")
