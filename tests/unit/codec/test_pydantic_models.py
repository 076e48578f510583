from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar

import pytest
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    RootModel,
    ValidationError,
    field_validator,
)
from pydantic.dataclasses import dataclass

from kitaru import codec
from tests.unit.codec.exactness import assert_round_trip

T = TypeVar("T")


class Item(BaseModel):
    price: int
    note: str | None = None


class Page(BaseModel, Generic[T]):
    items: list[T]
    next: Page[T] | None = None


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"


class Owner(BaseModel):
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    a: int = 1


class Secretive(BaseModel):
    a: int
    _cache: dict[str, Any] = PrivateAttr(default_factory=dict)


class Validated(BaseModel):
    a: int

    @field_validator("a")
    @classmethod
    def double(cls, value: int) -> int:
        return value * 2


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)
    a: tuple[int, ...]


class Numbers(RootModel[list[int]]):
    pass


@dataclass
class Checked:
    a: int


@pytest.mark.parametrize(
    "value",
    [
        Item(price=1),
        Page[Item](items=[Item(price=1)], next=Page[Item](items=[])),
        Page[list[int]](items=[[1]]),
        Page[int | None](items=[None]),
        Page[Page[Item]](items=[Page[Item](items=[])]),
        Owner(pet=Dog()),
        Owner(pet=Cat(lives=1)),
        Open.model_validate({"a": 2, "b": {"c": [1]}}),
        Frozen(a=(1, 2)),
        Numbers([1, 2]),
        Checked(1),
        Page[Item],
    ],
    ids=repr,
)
def test_model_round_trips(value: Any) -> None:
    decoded = assert_round_trip(value)

    if isinstance(value, BaseModel):
        assert decoded.model_fields_set == value.model_fields_set
        assert decoded.model_dump() == value.model_dump()


def test_private_attributes_survive() -> None:
    value = Secretive(a=1)
    value._cache["k"] = [1]

    decoded = codec.decode(codec.encode(value))

    assert decoded._cache == {"k": [1]}
    assert decoded == value


def test_validators_do_not_run_when_decoding() -> None:
    decoded = codec.decode(codec.encode(Validated(a=2)))

    assert decoded.a == 4


def test_values_that_validation_would_refuse_survive() -> None:
    value = Item.model_construct(price="no number")

    assert codec.decode(codec.encode(value)).price == "no number"


def test_description_shows_fields_alone() -> None:
    data = codec.encode(Open.model_validate({"a": 2, "b": 3})).data

    assert codec.describe(data) == {"$type": f"{__name__}:Open", "a": 2, "b": 3}


def test_validation_error_survives() -> None:
    with pytest.raises(ValidationError) as caught:
        Item.model_validate({"price": "x"})

    decoded = codec.decode_exception(codec.encode_exception(caught.value))

    assert isinstance(decoded, ValidationError)
    assert decoded.errors() == caught.value.errors()
    assert codec.decode_exception(codec.encode_exception(caught.value, allow_pickle=False)) is None
