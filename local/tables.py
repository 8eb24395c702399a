"""The stack's tables in DynamoDB Local: created, or brought to what this version's template has."""

from __future__ import annotations

import concurrent.futures
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from appliance.files import put_in_place

#: Properties of AWS::DynamoDB::Table that the engine knows. It keeps no backups, and encrypts nothing.
PROPERTIES = (
    *('TableName', 'KeySchema', 'AttributeDefinitions', 'BillingMode'),
    *('LocalSecondaryIndexes', 'GlobalSecondaryIndexes', 'TimeToLiveSpecification'),
)

#: In the engine's folder: each table's properties as they were applied last. Without it every table is compared.
APPLIED = 'tables.json'

#: Tables that are created at a time: the engine executes one, and receives the next meanwhile.
AT_A_TIME = 4

#: Seconds for one index of a stored table; the engine fills thousands of records a second.
INDEX_PATIENCE = 300


def deploy(tables: Iterable[Mapping[str, Any]], engine: Any, data: Path | None = None) -> None:
    """Create or update the engine's tables: keys, indexes and expiry. ``tables`` are resolved template properties.

    A stored table keeps its items. Its global indexes are created and deleted as in the template. ``data`` is the
    engine's folder, which remembers what was applied: comparing a table takes as long as counting its items. Raises
    RuntimeError for a table with other keys or local indexes, which CloudFormation would replace.
    """
    wanted = {str(table['TableName']): {key: table[key] for key in PROPERTIES if key in table} for table in tables}
    stored, applied = set(_tables(engine)), _applied(data)
    due = [name for name in wanted if name not in stored or wanted[name] != applied.get(name)]
    with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
        for done in [pool.submit(_deploy, engine, wanted[name], name in stored) for name in due]:
            done.result()
    if data is not None and due:
        unfinished = data / f'{APPLIED}.new'
        unfinished.write_text(json.dumps(wanted))
        put_in_place(unfinished, data / APPLIED)


def _applied(data: Path | None) -> dict[str, Any]:
    if data is None:
        return {}
    try:
        found = json.loads((data / APPLIED).read_text())
    except (
        FileNotFoundError,
        ValueError,
        RecursionError,
    ):  # of an earlier version, or damaged: every table is compared
        return {}
    return found if isinstance(found, dict) else {}


def _tables(engine: Any) -> list[str]:
    pages = engine.get_paginator('list_tables').paginate()
    return [name for page in pages for name in page['TableNames']]


def _deploy(engine: Any, wanted: Mapping[str, Any], is_stored: bool) -> None:
    name, expiry = wanted['TableName'], wanted.get('TimeToLiveSpecification')
    definition = {key: value for key, value in wanted.items() if key != 'TimeToLiveSpecification'}
    if is_stored:
        _update(engine, definition)
    else:
        engine.create_table(**definition)
    if expiry and not (is_stored and expiry['AttributeName'] == _expiry(engine, name)):
        engine.update_time_to_live(TableName=name, TimeToLiveSpecification=expiry)


def _expiry(engine: Any, name: str) -> str | None:
    found: str | None = engine.describe_time_to_live(TableName=name)['TimeToLiveDescription'].get('AttributeName')
    return found


def _update(engine: Any, wanted: Mapping[str, Any]) -> None:
    name = wanted['TableName']
    found = engine.describe_table(TableName=name)['Table']
    if _in_order(found['KeySchema']) != _in_order(wanted['KeySchema']) or _local(found) != _local(wanted):
        raise RuntimeError(
            f'the stored table {name} has other keys or local indexes than this version: '
            'run the version that wrote it, set STATE_DIR, or start empty with FRESH=1'
        )
    before, after = (_indexes(table, 'GlobalSecondaryIndexes') for table in (found, wanted))
    for index in [index for index in before if before[index] != after.get(index)]:
        engine.update_table(TableName=name, GlobalSecondaryIndexUpdates=[{'Delete': {'IndexName': index}}])
        _wait_settled(engine, name)
    for index in [index for index in after if before.get(index) != after[index]]:
        created = {'Create': after[index]}
        attributes = wanted['AttributeDefinitions']
        engine.update_table(TableName=name, AttributeDefinitions=attributes, GlobalSecondaryIndexUpdates=[created])
        _wait_settled(engine, name)


def _wait_settled(engine: Any, name: str) -> None:
    """Return when no index is being filled or removed: as on AWS, only one may be at a time. Raises RuntimeError."""
    deadline = time.monotonic() + INDEX_PATIENCE
    while time.monotonic() < deadline:
        indexes = engine.describe_table(TableName=name)['Table'].get('GlobalSecondaryIndexes', ())
        if all(index['IndexStatus'] == 'ACTIVE' for index in indexes):
            return
        time.sleep(0.1)
    raise RuntimeError(f'an index of the stored table {name} was not complete in {INDEX_PATIENCE} s: start again')


def _local(table: Mapping[str, Any]) -> list[str]:
    return _in_order(list(_indexes(table, 'LocalSecondaryIndexes').values()))


def _in_order(parts: Sequence[Any]) -> list[str]:
    return sorted(json.dumps(part, sort_keys=True) for part in parts)


def _indexes(table: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """{name: index} as the template has it, without what the engine adds when it describes one."""
    kept = ('IndexName', 'KeySchema', 'Projection')
    return {index['IndexName']: {key: index[key] for key in kept} for index in table.get(kind) or ()}
