"""What tests of signatures share: calls that are sent, received or refused, and classes to annotate with."""

from __future__ import annotations

import dataclasses
import enum
import typing

import pydantic
import pytest

from taskq.errors import BadArguments
from taskq.model.serializer import Serializers
from taskq.model.signature import Signature, plain_signature

CODEC = Serializers().codec("")
JSON = Serializers().codec("json")


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass
class Point:
    x: int
    y: float = 0


class User(pydantic.BaseModel):
    name: str
    age: int = pydantic.Field(default=0, ge=0)
    home: Point | None = None


def sent(signature: Signature, *args: typing.Any, **kwargs: typing.Any) -> typing.Any:
    """What the function of a bound and checked call gets."""
    return signature.decode_arguments(CODEC, signature.encode_arguments(CODEC, *signature.bind(args, kwargs)))


def received(signature: Signature, *args: typing.Any, **kwargs: typing.Any) -> typing.Any:
    """What the function gets of a call that was made without knowing the task."""
    unknown = plain_signature("t")
    return signature.decode_arguments(CODEC, unknown.encode_arguments(CODEC, *unknown.bind(args, kwargs)))


def misfit(signature: Signature, *args: typing.Any, **kwargs: typing.Any) -> str:
    """The message of a call that is refused, the same where it is made and where it is read."""
    with pytest.raises(BadArguments) as caught:
        signature.bind(args, kwargs)
    message = str(caught.value)
    assert "\n" not in message
    with pytest.raises(BadArguments) as again:
        received(signature, *args, **kwargs)
    assert str(again.value) == message
    return message
