"""Content of moto's DynamoDB, for tests that use it instead of the tables in a dict."""

from __future__ import annotations

from typing import Any

from moto.core import DEFAULT_ACCOUNT_ID
from moto.dynamodb.models import dynamodb_backends


def items_of(table: Any) -> Any:
    """Return the items of a table in moto: {hash key: {range key: item}}."""
    return dynamodb_backends[DEFAULT_ACCOUNT_ID]['us-east-1'].get_table(table.Meta.table_name).items


def clear() -> None:
    """Empty every table."""
    from chalicelib.models import TABLES

    for table in TABLES:
        items_of(table).clear()
