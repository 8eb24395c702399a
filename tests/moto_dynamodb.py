"""moto's DynamoDB, one call at a time as DynamoDB's own, and with two short cuts. Its answers are the same.

moto looks for each of the ten kinds of an attribute value under up to six spellings of its name, in whatever object
holds it. What DynamoDB's part of moto answers with is already named as it goes over the wire, so only the names that
are there need to be written: that is half of the time. And it asks each node of an update expression anew which nodes
its reader reads.
"""

from __future__ import annotations

import functools
import threading
from typing import Any

from moto.core import DEFAULT_ACCOUNT_ID
from moto.core.serialize import JSONSerializer
from moto.dynamodb.models import dynamodb_backends
from moto.dynamodb.parsing.ast_nodes import DepthFirstTraverser
from moto.dynamodb.responses import DynamoHandler

_everything = JSONSerializer._serialize_type_structure
_call = DynamoHandler.call_action
_one_at_a_time = threading.RLock()


def _what_is_there(self: JSONSerializer, serialized: Any, value: Any, shape: Any, key: str) -> None:
    known = type(value) is dict and self.operation_model.service_model.service_name == 'dynamodb'
    if not known or not value.keys() <= shape.members.keys():
        _everything(self, serialized, value, shape, key)
        return
    wrapper = {} if key else serialized
    for name, member in value.items():
        if member is not None:
            self._serialize(wrapper, member, shape.members[name], name)
    if key:
        self._default_serialize(serialized, wrapper, shape, key)


@functools.cache
def _read_by(reader: type[DepthFirstTraverser]) -> tuple[type, ...]:
    return tuple(reader._processing_map(reader))  # type: ignore[arg-type]


def _atomic(self: DynamoHandler) -> Any:
    with _one_at_a_time:
        return _call(self)


def install() -> None:
    """Make it so from now on; a second call changes nothing."""
    DynamoHandler.call_action = _atomic
    JSONSerializer._serialize_type_structure = _what_is_there
    DepthFirstTraverser.nodes_to_be_processed = lambda self: _read_by(type(self))


def items_of(table: Any) -> Any:
    """What moto holds of a table: {hash key: {range key: item}}."""
    return dynamodb_backends[DEFAULT_ACCOUNT_ID]['us-east-1'].get_table(table.Meta.table_name).items


def clear() -> None:
    """Empty every table."""
    from chalicelib.models import TABLES

    for table in TABLES:
        items_of(table).clear()
