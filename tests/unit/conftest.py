"""Fixtures of the unit tests: codecs."""

from __future__ import annotations

import pytest

from taskq.model.serializer import Codec, Serializers


@pytest.fixture
def codec() -> Codec:
    """The default one."""
    return Serializers().codec("")


@pytest.fixture
def json_codec() -> Codec:
    """The one of plain JSON."""
    return Serializers().codec("json")
