"""Allowed imports between packages. A layer imports lower layers only."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / 'chalicelib'

#: Modules directly in chalicelib: the base that every package may use.
BASE = {'errors'} | {path.stem for path in PACKAGE.glob('*.py') if path.stem != '__init__'}

#: Package -> packages that it may import, beside itself and the base.
MAY_IMPORT = {
    'api': {'operations', 'models', 'rules', 'identity', 'clients'},
    'operations': {'models', 'rules', 'scheduler', 'clients', 'identity'},
    'rules': set(),
    'models': {'rules'},
    'scheduler': set(),
    'tasks': {'operations', 'models', 'rules', 'scheduler', 'drivers', 'backup', 'clients'},
    'drivers': {'iscsi'},
    'iscsi': set(),
    'backup': set(),
    'identity': set(),
    'clients': set(),
}

#: Packages that reach the network or AWS, and their allowed importers.
OUTSIDE = {
    'boto3': {'backup/s3.py'},
    'botocore': {'aws.py', 'aws_errors.py', 'models', 'drivers/ebs_client.py', 'backup/s3.py'},
    'chalice': {'api'},
}

#: PynamoDB speaks for the models; operations and tasks build conditions with it.
PYNAMODB = {'models', 'operations', 'tasks'}

#: Packages without I/O.
PURE = {'rules', 'scheduler'}
FORBIDDEN_IN_PURE = {'boto3', 'botocore', 'pynamodb', 'urllib3', 'socket', 'http', 'requests', 'subprocess'}

FILES = sorted(path for path in PACKAGE.rglob('*.py') if '__pycache__' not in path.parts)


def imports(path: Path) -> set[str]:
    """Dotted names that a file imports, those inside functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f'{node.module}.{alias.name}' for alias in node.names}
    return found


def room_of(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 and relative.parts[0] not in BASE else ''


def rooms_imported(path: Path) -> set[str]:
    parts = [name.split('.') for name in imports(path) if name.startswith('chalicelib.')]
    return {part[1] for part in parts if len(part) > 1} - BASE


def is_allowed(path: Path, allowed: set[str]) -> bool:
    relative = path.relative_to(PACKAGE).as_posix()
    return any(relative == one or relative.startswith(f'{one}/') for one in allowed)


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_layers(path: Path) -> None:
    room = room_of(path)
    if not room:
        assert not rooms_imported(path), 'the base imports no package'
        return
    beyond = rooms_imported(path) - MAY_IMPORT[room] - {room}
    assert not beyond, f'{room} must not import {sorted(beyond)}'


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_who_touches_aws(path: Path) -> None:
    packages = {name.split('.')[0] for name in imports(path)}
    for package, allowed in OUTSIDE.items():
        assert package not in packages or is_allowed(path, allowed), f'only {sorted(allowed)} import {package}'
    assert 'pynamodb' not in packages or room_of(path) in PYNAMODB


@pytest.mark.parametrize(
    'path', [path for path in FILES if room_of(path) in PURE], ids=lambda path: path.relative_to(PACKAGE).as_posix()
)
def test_rules_and_scheduler_do_no_io(path: Path) -> None:
    assert not {name.split('.')[0] for name in imports(path)} & FORBIDDEN_IN_PURE
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))) if isinstance(node, ast.Call)]
    assert not [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == 'open']


def test_app_only_hands_on() -> None:
    text = (ROOT / 'app.py').read_text(encoding='utf-8')
    assert len(text.splitlines()) <= 80


def test_every_room_is_known() -> None:
    assert {room_of(path) for path in FILES} - {''} == set(MAY_IMPORT)


#: PynamoDB writes without the token and the bounds of models/writes.py.
RAW_WRITES = re.compile(r'\.save\(|\.update\(actions|\.delete\(\)|\bTransactWrite\(|\bBatchWrite\(|batch_write')


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_records_are_written_in_one_place(path: Path) -> None:
    """A write beside it would be done twice, or reported as lost, when its answer is."""
    if path.relative_to(PACKAGE).as_posix() != 'models/writes.py':
        assert not RAW_WRITES.search(path.read_text(encoding='utf-8'))


def writers(path: Path) -> Iterator[ast.FunctionDef]:
    """Functions that take a transaction."""
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.FunctionDef):
            kinds = [ast.unparse(one.annotation) for one in node.args.args if one.annotation is not None]
            if any(kind.endswith('Transaction') for kind in kinds):
                yield node


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_writes_that_join_a_transaction_have_one_spelling(path: Path) -> None:
    """``add_..._to(transaction)``; a function that also commits is named for that."""
    names = [node.name.lstrip('_') for node in writers(path)]
    assert [name for name in names if not re.fullmatch(r'add_(\w+_)?to|commit_\w+', name)] == []


OPERATIONS = {path.stem: ast.parse(path.read_text(encoding='utf-8')) for path in (PACKAGE / 'operations').glob('*.py')}

#: Functions that call their argument until it takes effect.
REPEATING = {'again', 'change', '_change', 'change_map', 'commit'}

Function = tuple[str, str]


def named(node: ast.AST, module: str) -> Iterator[Function]:
    """Functions of operations that a syntax tree names."""
    for one in ast.walk(node):
        if isinstance(one, ast.Name):
            yield module, one.id
        elif isinstance(one, ast.Attribute) and isinstance(one.value, ast.Name) and one.value.id in OPERATIONS:
            yield one.value.id, one.attr


def functions() -> Iterator[tuple[Function, ast.FunctionDef]]:
    for module, tree in OPERATIONS.items():
        yield from (((module, node.name), node) for node in tree.body if isinstance(node, ast.FunctionDef))


def repeated(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """Yield the repeated code of a function: bodies of loops, and arguments of functions that repeat them."""
    for node in ast.walk(function):
        if isinstance(node, ast.For | ast.While):
            yield from node.body
        elif isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, 'id', '')
            if name in REPEATING:
                yield from (one for one in node.args if not isinstance(one, ast.Name) or one.id != 'volume')


def test_no_worker_is_invoked_in_a_repetition() -> None:
    """The intent is recorded, a worker is invoked once, the result is recorded: each invocation may take 27 s."""
    invoking = {('workers', 'call')}
    while found := {key for key, node in functions() if key not in invoking and invoking & {*named(node, key[0])}}:
        invoking |= found
    assert ('exports', 'end_all') in invoking
    guilty = [key for key, node in functions() if any(invoking & {*named(one, key[0])} for one in repeated(node))]
    assert guilty == []
