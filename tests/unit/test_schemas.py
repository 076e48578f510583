"""Types of answers as JSON Schema; answers checked, typed and described."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, NotRequired
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from typing_extensions import TypedDict

from kitaru import schemas
from kitaru.errors import KitaruUsageError, KitaruWaitValidationError
from kitaru.schemas import FormKind, check_answer, describe, form_of, schema_of, to_json, typed


class Colour(Enum):
    RED = "red"
    GREEN = "green"


class Item(BaseModel):
    name: str
    price: float


class Review(BaseModel):
    approved: bool
    comment: str | None = None

    @field_validator("comment")
    @classmethod
    def _is_polite(cls, comment: str | None) -> str | None:
        if comment == "rude":
            message = "be polite"
            raise ValueError(message)
        return comment


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid")

    urgent: bool
    items: list[Item]
    colour: Colour = Colour.RED
    note: Annotated[str, Field(max_length=5)] | None = None


@dataclass
class Point:
    x: int
    y: int = 0


class Line(TypedDict):
    text: str
    number: NotRequired[int]


class Plain:
    pass


class Surprised:
    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> object:
        message = "my own hook is broken\nin several lines"
        raise OSError(message)


@dataclass
class WithCallback:
    after: Callable[[], None]


def refusal(declared: Any, answer: str) -> str:
    """Return why an answer is refused, without the words that every refusal has."""
    schema = schema_of(declared)
    with pytest.raises(KitaruWaitValidationError) as caught:
        check_answer(schema, answer, wait="go", exec_id="0197-a")
    before = "the answer to wait 'go' of execution '0197-a' does not fit: "
    after = f". The wait stays open; it asks for: {describe(schema)}."
    assert caught.value.message.startswith(before)
    assert caught.value.message.endswith(after)
    return caught.value.message.removeprefix(before).removesuffix(after)


def fits(declared: Any, answer: str) -> bool:
    try:
        check_answer(schema_of(declared), answer, wait="go", exec_id="0197-a")
    except KitaruWaitValidationError:
        return False
    return True


# --- declaring -------------------------------------------------------------------------------


def test_import_of_kitaru_loads_neither_pydantic_nor_jsonschema() -> None:
    script = (
        "import sys, kitaru, kitaru.schemas\n"
        "print([name for name in ('pydantic', 'pydantic_core', 'jsonschema') if name in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert done.stdout == "[]\n"


def test_schema_of_none_is_a_gate() -> None:
    assert schema_of(None) is None


@pytest.mark.parametrize(
    ("declared", "schema"),
    [
        (bool, '{"type":"boolean"}'),
        (list[str], '{"items":{"type":"string"},"type":"array"}'),
        (Literal["b", "a"], '{"enum":["b","a"],"type":"string"}'),
        (Annotated[int, Field(gt=0)], '{"exclusiveMinimum":0,"type":"integer"}'),
        (str | None, '{"anyOf":[{"type":"string"},{"type":"null"}]}'),
        (datetime, '{"format":"date-time","type":"string"}'),
        (
            Point,
            '{"properties":{"x":{"title":"X","type":"integer"},'
            '"y":{"default":0,"title":"Y","type":"integer"}},'
            '"required":["x"],"title":"Point","type":"object"}',
        ),
        ({"type": "string", "maxLength": 3}, '{"maxLength":3,"type":"string"}'),
    ],
)
def test_schema_of_is_compact_json_with_sorted_keywords(declared: Any, schema: str) -> None:
    assert schema_of(declared) == schema


def test_properties_keep_the_order_in_which_they_were_declared() -> None:
    declared = {
        "type": "object",
        "properties": {"z": {"type": "string"}, "a": {"title": "default"}},
    }

    assert list(json.loads(schema_of(Order) or "")["properties"]) == [
        "urgent",
        "items",
        "colour",
        "note",
    ]
    assert list(json.loads(schema_of(declared) or "")["properties"]) == ["z", "a"]


def test_default_that_is_no_json_is_left_out_silently() -> None:
    class Odd(BaseModel):
        model_config = ConfigDict(arbitrary_types_allowed=True)

        text: str = Plain()  # pyright: ignore[reportAssignmentType] - as sentinels are

    assert "default" not in (schema_of(Odd) or "default")


WAY_OUT = (
    "Give a type that JSON can express (bool, str, int, list[str], Literal, an enum, a dataclass, a pydantic"
    " model), a JSON Schema as a dict, or None to ask for no value."
)


@pytest.mark.parametrize(
    ("declared", "problem"),
    [
        (5, "is 5, which cannot be asked for: it is a value, not a type"),
        (True, "is True, which cannot be asked for: it is a value, not a type"),
        ([str], "is [<class 'str'>], which cannot be asked for: it is a value, not a type"),
        (
            "x",
            "is 'x', which cannot be asked for: it is a text. Give the type itself, and the text",
        ),
        (len, "is <built-in function len>, which cannot be asked for: it is a function"),
        (Plain, "is Plain, which cannot be asked for: pydantic says: Unable to generate"),
        (list[Plain], "list[test_schemas.Plain], which cannot be asked for: pydantic says: Unable"),
        (
            Callable[[], int],
            "which cannot be asked for: pydantic says: Cannot generate a JsonSchema",
        ),
        (WithCallback, "is WithCallback, which cannot be asked for: pydantic says: Cannot"),
        (Point(1), "is Point(x=1, y=0), which cannot be asked for: it is an instance of Point"),
        (
            Surprised,
            "is Surprised, which cannot be asked for: OSError: my own hook is broken. Give",
        ),
        ({"type": "strng"}, "it is no valid JSON Schema: schema.type: 'strng' is not valid under"),
        (
            {"properties": {"first name": {"minimum": "x"}}},
            "schema.properties[\"first name\"].minimum: 'x' is not of type",
        ),
        ({"pattern": "["}, "schema.pattern: '[' is not a 'regex'"),
        ({"enum": {1, 2}}, "it is no JSON (Object of type set is not JSON serializable)"),
        ({"default": float("nan")}, "it is no JSON (Out of range float values"),
        ({1: "x"}, "it is no JSON (its keys must be texts)"),
        (
            {"$ref": "https://example.com/x.json"},
            "it refers to 'https://example.com/x.json', which",
        ),
        ({"items": [], "anyOf": [{"$ref": "#/$defs/No"}]}, "is a dict, which cannot be asked for"),
    ],
)
def test_schema_of_what_json_cannot_express_is_refused(declared: Any, problem: str) -> None:
    with pytest.raises(KitaruUsageError) as caught:
        schema_of(declared)

    assert caught.value.message.startswith("`schema` of kitaru.wait is ")
    assert problem in caught.value.message.replace(f"{__name__}.", "test_schemas.")
    assert caught.value.message.endswith(WAY_OUT)
    assert "errors.pydantic.dev" not in caught.value.message


@pytest.mark.parametrize(
    "field", [Field(float("nan")), Field(0.0, description="\ud800")], ids=["nan", "text"]
)
def test_type_whose_schema_cannot_be_stored_is_refused(field: Any) -> None:
    class Odd(BaseModel):
        number: float = field

    with pytest.raises(
        KitaruUsageError, match=r"a default or a description in it cannot be stored as JSON"
    ):
        schema_of(Odd)


def test_schema_that_contains_itself_is_refused() -> None:
    schema: dict[str, Any] = {"type": "array"}
    schema["items"] = schema

    with pytest.raises(KitaruUsageError, match="it is no JSON"):
        schema_of(schema)


@pytest.mark.parametrize(
    "declared",
    [
        {"$ref": "#/$defs/A", "$defs": {"A": {"type": "integer"}}},
        {"enum": [{"$ref": "https://example.com/only-data"}]},
        {"properties": {"$ref": {"type": "integer"}}},
        {"$id": "https://example.com/a", "$defs": {"B": {"$id": "b", "type": "null"}}, "$ref": "b"},
        {"$ref": "https://json-schema.org/draft/2020-12/schema"},
    ],
)
def test_references_into_the_schema_itself_are_accepted(declared: dict[str, Any]) -> None:
    schema_of(declared)


# --- values given in Python ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        ("grün", '"grün"'),
        ({"a": [1, 2.5, None]}, '{"a":[1,2.5,null]}'),
        (Review(approved=True), '{"approved":true,"comment":null}'),
        (Point(1, 2), '{"x":1,"y":2}'),
        (Colour.RED, '"red"'),
        (date(2026, 1, 31), '"2026-01-31"'),
        (timedelta(hours=1), '"PT1H"'),
        (Decimal("1.10"), '"1.10"'),
        ((1, {2}), "[1,[2]]"),
    ],
)
def test_to_json_takes_what_has_a_json_form(value: object, text: str) -> None:
    assert to_json(value) == text


def _circle() -> list[object]:
    circle: list[object] = []
    circle.append(circle)
    return circle


class Unshowable:
    def __repr__(self) -> str:
        raise OSError


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (float("nan"), "value is infinite or not a number"),
        ({"a": [1, {"b c": float("-inf")}]}, 'value.a[1]["b c"] is infinite or not a number'),
        (Plain, "Plain (Unable to serialize unknown type: <class 'type'>)"),
        (Unshowable(), "an instance of Unshowable (Unable to serialize unknown type"),
        (_circle(), "Circular reference"),
        pytest.param("\ud800", "surrogates not allowed", id="surrogate"),
        (b"\xff", "can't decode byte 0xff"),
        pytest.param(10**5000, "an instance of int (Exceeds the limit", id="digits"),
    ],
)
def test_to_json_refuses_what_has_no_json_form(value: object, problem: str) -> None:
    with pytest.raises(KitaruUsageError) as caught:
        to_json(value)

    assert caught.value.message.startswith("expected a value that JSON can express")
    assert problem in caught.value.message


def test_answers_of_a_mebibyte_are_the_largest() -> None:
    text = "x" * (1024 * 1024 - 2)

    assert len(to_json(text)) == 1024 * 1024
    with pytest.raises(KitaruUsageError) as caught:
        to_json(f"{text}x")
    assert caught.value.message == (
        "the value takes 1.0 MiB as JSON, and 1 MiB is the most. Answer with a reference instead: a path,"
        " a URL, or the id of an artifact."
    )
    assert refusal(str, f'"{text}x"').startswith("it takes 1.0 MiB as JSON, and 1 MiB is the most")


# --- checking --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("declared", "answer"),
    [
        (None, "null"),
        (int, "3"),
        (int, "3.0"),
        (float, "3"),
        (bool, "false"),
        (str, '""'),
        (datetime, '"2026-01-31T09:30:00"'),
        (datetime, '"2026-01-31T09:30:00+02:00"'),
        (timedelta, '"P1DT2H"'),
        (Review, '{"approved":true,"comment":null,"more":1}'),
        (Order, '{"urgent":false,"items":[]}'),
        (Any, '{"anything":[1]}'),
        ({}, "null"),
    ],
)
def test_answer_that_fits_is_accepted(declared: Any, answer: str) -> None:
    check_answer(schema_of(declared), answer, wait="go", exec_id="0197-a")


@pytest.mark.parametrize(
    ("declared", "answer", "problem"),
    [
        (int, '"3"', 'answer: expected a whole number, got: "3"'),
        (int, "true", "answer: expected a whole number, got: true"),
        (int, "3.5", "answer: expected a whole number, got: 3.5"),
        (float, "true", "answer: expected a number, got: true"),
        (bool, "1", "answer: expected yes or no, got: 1"),
        (bool, "null", "answer: expected yes or no, got: null"),
        (Literal["a", "b"], '"c"', "answer: expected one of 'a', 'b', got: \"c\""),
        (Literal["a"], '"c"', "answer: expected 'a', got: \"c\""),
        (str | None, "3", "answer: expected text or null, got: 3"),
        (
            Annotated[int, Field(ge=1, le=5)],
            "9",
            "answer: expected a whole number from 1 to 5, got: 9",
        ),
        (Annotated[list[int], Field(max_length=1)], "[1, 2]", "answer: [1, 2] is too long"),
        (Line, "[]", "answer: expected an object, got: []"),
        (Line, "{}", "answer: lacks 'text'"),
        ({"required": ["a", "b c"], "type": "object"}, "{}", "answer: lacks 'a', 'b c'"),
        (datetime, '"tomorrow"', "answer: expected a date and time (2026-01-31T09:30:00Z), got"),
        (datetime, '"1769846400"', "answer: expected a date and time (2026-01-31T09:30:00Z), got"),
        (datetime, '"2026-13-31T09:30:00"', "answer: expected a date and time (2026-01-31T09:30"),
        ({"format": "uri", "type": "string"}, '"no url"', "answer: expected a URL, got"),
        (date, '"31.1.2026"', "answer: expected a date (2026-01-31), got"),
        (timedelta, '"an hour"', "answer: expected a duration (PT1H30M), got"),
        (UUID, '"x"', "answer: expected a UUID, got"),
        (
            str,
            "hello",
            "it is no JSON (expected value at line 1 column 1). A text stands in double",
        ),
        (int, "hello", "it is no JSON (expected value at line 1 column 1)"),
        (int, "", "it is no JSON (EOF while parsing a value at line 1 column 0)"),
        (int, "NaN", "it is no JSON (expected value at line 1 column 1)"),
        (float, "1e400", "it is no JSON (the number at answer is too large)"),
        (Any, '{"a":[1e400]}', "it is no JSON (the number at answer.a[0] is too large)"),
        pytest.param(
            Any, "[" * 999 + "]" * 999, "it is no JSON (recursion limit exceeded", id="deep"
        ),
        (str, '"\\ud800"', "it is no JSON (unexpected end of hex escape"),
        pytest.param(
            str, '"\ud800"', "it is no JSON (it has characters that cannot", id="surrogate"
        ),
        (
            None,
            "true",
            "it is a gate, which takes no value, got: true. Continue it with null, or abort",
        ),
    ],
)
def test_answer_that_does_not_fit_is_refused(declared: Any, answer: str, problem: str) -> None:
    assert refusal(declared, answer).startswith(problem)


def test_problems_name_their_places_and_three_are_enough() -> None:
    answer = json.dumps(
        {
            "urgent": "yes",
            "items": [{"name": "a", "price": 1}, {"name": "b"}, {"name": "c", "price": "x"}],
            "colour": "blue",
            "extra": 1,
        }
    )

    assert refusal(Order, answer) == (
        "answer: has 'extra', which nobody asked for; answer.colour: expected one of 'red', 'green', got:"
        " \"blue\"; answer.items[1]: lacks 'price'; and 2 more"
    )


def test_problem_inside_an_optional_value_is_told_as_if_it_were_required() -> None:
    answer = '{"urgent":true,"items":[],"note":"too long"}'

    assert refusal(Order, answer) == "answer.note: 'too long' is too long"


def test_long_values_are_cut_in_problems() -> None:
    problem = refusal(int, json.dumps("x" * 5000))

    assert problem == f'answer: expected a whole number, got: "{"x" * 78}…'


def test_schema_with_remote_references_is_never_fetched() -> None:
    schema = '{"$ref":"https://example.com/never-fetched.json"}'

    with pytest.raises(KitaruWaitValidationError) as caught:
        check_answer(schema, "1", wait="go", exec_id="0197-a")

    assert "refers to 'https://example.com/never-fetched.json', which is not in it" in str(
        caught.value
    )


def test_schema_that_refers_to_nothing_but_itself_is_told() -> None:
    assert refusal({"$ref": "#"}, "1") == "it or its schema is nested too deeply to be checked"


# --- typed -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("declared", "answer", "value"),
    [
        (None, "null", None),
        ({"type": "array"}, "[1]", [1]),
        (bool, "true", True),
        (int, "3.0", 3),
        (int | str, '"3"', "3"),
        (str | int, "3", 3),
        (Colour, '"green"', Colour.GREEN),
        (datetime, '"2026-01-31T09:30:00Z"', datetime(2026, 1, 31, 9, 30, tzinfo=UTC)),
        (timedelta, '"PT1H"', timedelta(hours=1)),
        (Decimal, '"1.10"', Decimal("1.10")),
        (tuple[int, str], '[1,"a"]', (1, "a")),
        (set[int], "[1,2]", {1, 2}),
        (dict[int, date], '{"1":"2026-01-31"}', {1: date(2026, 1, 31)}),
        (Point, '{"x":1}', Point(1)),
        (Line, '{"text":"a"}', {"text": "a"}),
        (Review, '{"approved":true}', Review(approved=True)),
    ],
)
def test_typed_answer_is_of_the_declared_type(declared: Any, answer: str, value: object) -> None:
    found = typed(declared, answer)

    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("declared", "answer", "problem"),
    [
        (Review, '{"approved":true,"comment":"rude"}', "answer.comment: be polite."),
        (Review, '{"approved":"yes"}', "answer.approved: Input should be a valid boolean."),
        (
            Point,
            '{"y":"a"}',
            "answer.x: Field required; answer.y: Input should be a valid integer.",
        ),
        (bool, '"yes"', "answer: Input should be a valid boolean."),
        (Decimal, '"x"', "answer: Input should be a valid decimal."),
    ],
)
def test_answer_that_the_type_refuses_is_told_in_plain_words(
    declared: Any, answer: str, problem: str
) -> None:
    with pytest.raises(KitaruWaitValidationError) as caught:
        typed(declared, answer)

    assert caught.value.message == f"the answer was not accepted: {problem}"


def test_problems_of_a_whole_model_and_of_a_union_have_places_in_the_answer() -> None:
    class Pair(BaseModel):
        low: int
        high: int | list[int]

        @model_validator(mode="after")
        def _ordered(self) -> Pair:
            if isinstance(self.high, int) and self.low > self.high:
                raise AssertionError("low is\nabove high")
            return self

    with pytest.raises(KitaruWaitValidationError) as whole:
        typed(Pair, '{"low":2,"high":1}')
    with pytest.raises(KitaruWaitValidationError) as union:
        typed(Pair, '{"low":2,"high":[1,"x"]}')

    assert whole.value.message == "the answer was not accepted: answer: low is above high."
    assert union.value.message == (
        "the answer was not accepted: answer.high: Input should be a valid integer;"
        " answer.high[1]: Input should be a valid integer."
    )


def test_typed_refuses_what_is_no_json() -> None:
    with pytest.raises(KitaruWaitValidationError, match=r"the answer is no JSON: expected value"):
        typed(int, "x")


@pytest.mark.parametrize(
    "value",
    [
        Review(approved=True),
        Point(1),
        Colour.RED,
        date(2026, 1, 31),
        Decimal("1.1"),
        [1, "a"],
        None,
    ],
)
def test_value_given_in_python_arrives_as_it_was(value: Any) -> None:
    declared: Any = {} if value is None or isinstance(value, list) else type(value)

    answer = to_json(value)

    check_answer(schema_of(declared), answer, wait="go", exec_id="0197-a")
    assert typed(declared, answer) == value


# --- in words --------------------------------------------------------------------------------


class Tree(BaseModel):
    value: int
    left: Tree | None = None
    children: list[Tree] = []


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        (None, "continue or abort"),
        (bool, "yes or no"),
        (str, "text"),
        (int, "a whole number"),
        (float, "a number"),
        (Literal["a", "b"], "one of 'a', 'b'"),
        (Literal["a", 1, True, None], "one of 'a', 1, true, null"),
        (Colour, "one of 'red', 'green'"),
        (Literal["a"], "'a'"),
        (str | None, "text or null"),
        (Review, "Review (approved: yes or no, comment: text, optional)"),
        (
            Order,
            "Order (urgent: yes or no, items: a list, each item Item, colour: one of 'red', 'green',"
            " optional, note: text of at most 5 characters, optional)",
        ),
        (
            Tree,
            "Tree (value: a whole number, left: Tree (value: a whole number, left: Tree, optional,"
            " children: a list, each item Tree, optional), optional, children: a list, each item Tree,"
            " optional)",
        ),
        (list[str], "a list of texts"),
        (list[bool], "a list, each item yes or no"),
        (list, "a list"),
        (tuple[int, str], "a list of 2: a whole number, text"),
        (dict[str, int], "an object, each value a whole number"),
        (dict, "an object"),
        (Any, "any JSON value"),
        (Decimal, "a number or text"),
        (Annotated[int, Field(ge=1)], "a whole number of at least 1"),
        (Annotated[float, Field(gt=0, lt=1)], "a number above 0 and below 1"),
        (Annotated[str, Field(min_length=1)], "text that is not empty"),
        (Annotated[str, Field(min_length=2)], "text of at least 2 characters"),
        (Annotated[str, Field(min_length=2, max_length=3)], "text of 2 to 3 characters"),
        ({"type": "string", "pattern": "^a$"}, "text matching ^a$"),
        ({"type": ["integer", "null"]}, "a whole number or null"),
        ({"type": ["integer"]}, "a whole number"),
        ({"enum": list(range(20))}, "one of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 8 more"),
        ({"allOf": [{"type": "string"}], "title": "T"}, "text"),
        ({"not": {"type": "string"}}, '{"not":{"type":"string"}}'),
        (
            {"anyOf": [{"type": "string"}, {"minimum": 3}]},
            '{"anyOf":[{"type":"string"},{"minimum":3}]}',
        ),
        ({"type": "array", "items": {"minimum": 3}}, '{"items":{"minimum":3},"type":"array"}'),
        ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "integer"}}}, "a whole number"),
        ({"$ref": "#"}, "any JSON value"),
    ],
)
def test_description_says_in_a_few_words_what_is_asked_for(declared: Any, words: str) -> None:
    assert describe(schema_of(declared)) == words


def test_description_of_last_resort_is_cut() -> None:
    words = describe(schema_of({"not": {"enum": ["x" * 500]}}))

    assert words == '{"not":{"enum":["' + "x" * 182 + "…"


# --- forms -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("declared", "kind", "nullable"),
    [
        (None, FormKind.GATE, True),
        (bool, FormKind.BOOLEAN, False),
        (bool | None, FormKind.BOOLEAN, True),
        (str, FormKind.TEXT, False),
        ({"type": ["string", "null"]}, FormKind.TEXT, True),
        (datetime, FormKind.TEXT, False),
        (int, FormKind.INTEGER, False),
        (float, FormKind.NUMBER, False),
        (Review, FormKind.OBJECT, False),
        (Review | None, FormKind.OBJECT, True),
        (Review | Point, FormKind.JSON, False),
        (int | str | None, FormKind.JSON, True),
        (dict[str, int], FormKind.JSON, False),
        (list[str], FormKind.JSON, False),
        (Any, FormKind.JSON, True),
    ],
)
def test_form_is_chosen_by_the_schema(declared: Any, kind: FormKind, nullable: bool) -> None:
    form = form_of(schema_of(declared))

    assert (form.kind, form.nullable) == (kind, nullable)


@pytest.mark.parametrize(
    ("declared", "choices", "nullable"),
    [
        (Colour, ('"red"', '"green"'), False),
        (Literal["a", None], ('"a"',), True),
        (Literal[1, True], ("1", "true"), False),
        (Colour | None, ('"red"', '"green"'), True),
        (
            {"oneOf": [{"const": "a", "title": "First"}, {"const": "b"}, {"enum": [3]}]},
            ('"a"', '"b"', "3"),
            False,
        ),
        ({"const": "only"}, ('"only"',), False),
    ],
)
def test_form_of_a_choice_has_its_values(
    declared: Any, choices: tuple[str, ...], nullable: bool
) -> None:
    form = form_of(schema_of(declared))

    assert (form.kind, form.choices, form.nullable) == (FormKind.CHOICE, choices, nullable)


def test_fields_are_what_an_object_is_asked_for() -> None:
    class Described(BaseModel):
        name: str = Field(description="Who.")
        size: int = 3
        items: list[Item]

    found = schemas.fields(schema_of(Described))

    assert found == (
        schemas.Field(
            name="name",
            schema='{"description":"Who.","title":"Name","type":"string"}',
            required=True,
            description="Who.",
        ),
        schemas.Field(
            name="size",
            schema='{"default":3,"title":"Size","type":"integer"}',
            required=False,
            default="3",
        ),
        schemas.Field(
            name="items",
            schema=found[2].schema,
            required=True,
        ),
    )
    assert describe(found[2].schema) == "a list, each item Item (name: text, price: a number)"
    check_answer(found[2].schema, '[{"name":"a","price":1}]', wait="go", exec_id="0197-a")


def test_field_that_refers_to_the_whole_is_left_to_the_check_of_the_whole() -> None:
    declared = {"type": "object", "properties": {"next": {"$ref": "#"}, "n": {"type": "integer"}}}

    [following, _] = schemas.fields(schema_of(declared))

    assert following.schema == "{}"
    assert fits(declared, '{"next":{"n":1}}')
    assert not fits(declared, '{"next":{"n":"x"}}')


def test_fields_of_other_schemas_are_none() -> None:
    assert schemas.fields(schema_of(bool)) == ()
    assert schemas.fields(None) == ()
