"""Workflows run on tables in a dict: their matrices make hundreds of thousands of calls."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from moto import mock_aws

from chalicelib.models import TABLES
from tests import small_dynamodb
from tests.world import forget


@pytest.fixture
def tables() -> Iterator[None]:
    """Empty tables; what else is asked of AWS is moto's to answer."""
    with mock_aws(), small_dynamodb.serving(small_dynamodb.empty(TABLES)):
        forget()
        yield
        forget()
