"""Write the project's own tables of Cinder's answers: ``python -m tests.vectors.condense DECISIONS FACTS``.

DECISIONS is a folder of scheduler vectors, FACTS a folder with surface.json, states.json and edge_vectors.json, both
recorded from Cinder. The tables keep names, numbers, statuses and the messages that clients read. They keep no
description, and of the ``create`` decisions only those that add a filter, a weigher, an outcome or a configuration.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.conformance.vectors import SITUATIONS

FOLDER = Path(__file__).resolve().parent

#: Keys of a case that describe it to a reader.
PROSE = ('what', 'note', 'intent', 'columns')

#: Rows that are kept of a table of one small function.
ROWS = 60

#: One of this many random decisions is kept.
RANDOM = 8

#: What the conformance run reads of an entry; fields are condensed to one line each.
ENTRY = ('id', 'group', 'method', 'path', 'action', 'min_version', 'success_codes', 'tier', 'observed_status_by_role')

#: Names of edge vectors by which the run builds a situation; any other vector is named after its request.
NAMED = [pattern for pattern, _ in SITUATIONS] + ['.*unknown (volume|backup).*', 'duplicate .*']


def features(case: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Yield what a decision shows: its operation, what each filter left, weighers, the outcome, the configuration."""
    op, expect = case.get('op', 'create'), case['expect']
    yield op, expect.get('error'), 'chosen' in expect and expect['chosen'] is None
    for trace in [expect['trace']] if 'trace' in expect else expect.get('traces', ()):
        before = len(trace['considered'])
        for name, left in trace['after']:
            yield op, name, (len(left) > 0) + (len(left) == before)
            before = len(left)
        yield from ((row['weigher'], row['multiplier']) for row in trace.get('raw_weights', ()))
    yield from ((key, json.dumps(value)) for key, value in case.get('config', {}).items())
    yield from (('hint', key) for key in case.get('filter_properties') or {})


def chosen(cases: Iterable[Mapping[str, Any]], seen: set[tuple[Any, ...]]) -> Iterator[Mapping[str, Any]]:
    """Yield the cases of rare operations, and those creates that show something no case before them does."""
    for case in cases:
        shown = set(features(case))
        if shown - seen or case.get('op', 'create') != 'create':
            seen |= shown
            yield {key: value for key, value in case.items() if key not in PROSE}


def decisions(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (file name, document) of the condensed scheduler vectors."""
    seen: set[tuple[Any, ...]] = set()
    for path in sorted(folder.glob('*.json')):
        document = json.loads(path.read_text())
        if path.stem == 'random':
            document['cases'] = document['cases'][::RANDOM]
        tables = {key: value for key, value in document.items() if key not in ('cases', 'format', 'generated_with')}
        kept = {name: _sample(table) for name, table in tables.items()}
        if cases := list(chosen(document.get('cases', ()), seen)):
            kept['cases'] = cases
        if kept:
            yield path.name, kept


def _sample(table: Any) -> Any:
    """Return a table with at most ROWS rows, taken at even distances."""
    if isinstance(table, dict):
        return {key: _sample(value) if key == 'cases' else value for key, value in table.items() if key not in PROSE}
    return table[:: -(-len(table) // ROWS)]


def entry(full: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry of the surface with what the run reads of it."""
    small = {key: full[key] for key in ENTRY if key in full}
    small['policies'] = [policy['name'] for policy in full['policies']]
    small['response'] = [_response_field(field) for field in full['response_fields']]
    small['request'] = [_request_field(field) for field in full['request_fields']]
    return small


def _response_field(field: Mapping[str, Any]) -> str:
    flags = ('admin' if field.get('admin_only') else '', 'when' if field.get('when') else '')
    return '  '.join(filter(None, (field['name'], field['type'], field.get('min_version') or '3.0', *flags)))


def _request_field(field: Mapping[str, Any]) -> dict[str, Any]:
    keys = ('name', 'type', 'min_version', 'required', 'any_of_required')
    small = {key: field[key] for key in keys if field.get(key) not in (None, False, [])}
    rules = [
        {'from_version': rule['from_version'], 'any_of_required': rule['any_of_required']}
        for rule in field.get('changes', ())
        if rule.get('any_of_required')
    ]
    return {**small, 'changes': rules} if rules else small


def vector(full: Mapping[str, Any]) -> dict[str, Any]:
    """Return an edge vector under a name of the project's own, unless the name selects the situation to build."""
    named = any(re.fullmatch(pattern, full['name']) for pattern in NAMED)
    return {**full, 'name': full['name'] if named else f'{full["method"]} {full["path"] or "/"} {full["status"]}'}


def facts(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (file name, document) of the condensed facts of the API."""
    surface = json.loads((folder / 'surface.json').read_text())
    yield 'surface.json', {'entries': [entry(each) for each in surface['entries']]}
    states = json.loads((folder / 'states.json').read_text())
    kinds = {kind: facts['operations'] for kind, facts in states.items() if 'operations' in facts}
    yield 'states.json', {kind: {'operations': operations} for kind, operations in kinds.items()}
    edges = json.loads((folder / 'edge_vectors.json').read_text())
    yield 'edge_vectors.json', {'vectors': [vector(each) for each in edges['vectors']]}


def text(document: Mapping[str, Any]) -> str:
    """Return a document as JSON with one row a line, so that a change of one row is a change of one line."""
    parts = []
    for key, value in document.items():
        body = json.dumps(value)
        if isinstance(value, list):
            body = '[\n' + ',\n'.join(json.dumps(row) for row in value) + '\n]'
        elif isinstance(value, dict):
            body = '{\n' + ',\n'.join(f'{json.dumps(name)}: {json.dumps(row)}' for name, row in value.items()) + '\n}'
        parts.append(f'{json.dumps(key)}: {body}')
    return '{\n' + ',\n'.join(parts) + '\n}\n'


def main(arguments: list[str]) -> int:
    source, api = map(Path, arguments)
    for folder, documents in (('decisions', decisions(source)), ('api', facts(api))):
        (FOLDER / folder).mkdir(exist_ok=True)
        for name, document in documents:
            (FOLDER / folder / name).write_text(text(document))
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
