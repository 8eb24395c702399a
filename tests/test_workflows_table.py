"""The table of workflows is complete and used, and no status is spelled outside of it and the vocabularies."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from chalicelib.rules import states, workflows
from chalicelib.rules.workflows import MACHINES, TASKS, WORKFLOWS, Workflow
from infra import asl

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / 'stepfunctions'
ROOMS = ('operations', 'tasks')
FILES = sorted(path for room in ROOMS for path in (ROOT / 'chalicelib' / room).rglob('*.py'))

VOCABULARIES = {
    'volume': states.VOLUME_STATUSES,
    'snapshot': states.SNAPSHOT_STATUSES,
    'backup': states.BACKUP_STATUSES,
    'group': states.GROUP_STATUSES,
    'group_snapshot': states.GROUP_SNAPSHOT_STATUSES,
}

#: Every status of any record.
WORDS = {word for words in VOCABULARIES.values() for word in words} | {
    *states.ATTACHMENT_STATUSES, *states.MIGRATION_STATUSES,
}  # fmt: skip

#: The same words in another meaning: attributes of an API's answer or of a state machine's input.
ALIKE = {('quotas.py', 'reserved'), ('services.py', 'disabled'), ('services.py', 'enabled')}

ROWS = [row for rows in WORKFLOWS.values() for row in rows.values()]
named = pytest.mark.parametrize('row', ROWS, ids=lambda row: f'{row.resource}-{row.action}')


def literals(path: Path) -> Iterator[ast.Constant]:
    """Texts of a file that are values: neither docstrings, nor keys of maps, nor names that are looked up in one."""
    tree = ast.parse(path.read_text(encoding='utf-8'))
    keys: set[int] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Expr():
                keys.add(id(node.value))
            case ast.Dict():
                keys |= {id(key) for key in node.keys}
            case ast.Subscript():
                keys.add(id(node.slice))
            case ast.Call(func=ast.Attribute(attr='get'), args=[key, *_]):
                keys.add(id(key))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in keys:
            yield node


@pytest.mark.parametrize('path', FILES, ids=lambda path: f'{path.parent.name}/{path.name}')
def test_no_status_is_spelled_out(path: Path) -> None:
    found = [node for node in literals(path) if node.value in WORDS and (path.name, node.value) not in ALIKE]
    assert [f'line {node.lineno}: {node.value}' for node in found] == [], 'name it: rules/states.py, rules/workflows.py'


def names(node: ast.AST) -> Iterator[str]:
    """Names and attributes that a syntax tree reads."""
    for one in ast.walk(node):
        if isinstance(one, ast.Name):
            yield one.id
        elif isinstance(one, ast.Attribute):
            yield one.attr
        elif isinstance(one, ast.alias):
            yield one.name


def sources(*, without: str = '') -> Iterator[ast.Module]:
    for path in (ROOT / 'chalicelib').rglob('*.py'):
        if path.relative_to(ROOT / 'chalicelib').as_posix() != without:
            yield ast.parse(path.read_text(encoding='utf-8'))


def test_every_set_of_statuses_is_used() -> None:
    used = {name for tree in sources(without='rules/states.py') for name in names(tree)}
    tree = ast.parse(Path(states.__file__).read_text(encoding='utf-8'))
    defined = [
        one.targets[0].id for one in tree.body if isinstance(one, ast.Assign) and isinstance(one.targets[0], ast.Name)
    ]
    words = {name for name in defined if isinstance(getattr(states, name), str)}
    assert sorted({*defined} - words - used - {name for name in defined if name.endswith('_STATUSES')}) == []
    read = [name for statement in tree.body for name in names(statement)]
    assert [name for name in sorted(words) if read.count(name) < 2 and name not in used] == [], 'in no vocabulary'


def test_every_row_is_used() -> None:
    """As a subscript of its table; or as a text, where the action is chosen among several."""
    tables = {
        'VOLUME': 'volume',
        'SNAPSHOT': 'snapshot',
        'BACKUP': 'backup',
        'GROUP': 'group',
        'GROUP_SNAPSHOT': 'group_snapshot',
    }
    used: set[tuple[str, str]] = set()
    texts: set[str] = set()
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.Subscript):
                table = tables.get(node.value.attr if isinstance(node.value, ast.Attribute) else '')
                actions = [one.value for one in ast.walk(node.slice) if isinstance(one, ast.Constant)]
                used |= {(table, str(action)) for action in actions if table}
            elif isinstance(node, ast.IfExp):
                texts |= {str(one.value) for one in (node.body, node.orelse) if isinstance(one, ast.Constant)}
            elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
                texts.add(str(node.value.value))
            elif isinstance(node, ast.Call):
                texts |= {str(one.value) for one in node.args if isinstance(one, ast.Constant)}
    assert [
        f'{row.resource} {row.action}'
        for row in ROWS
        if (row.resource, row.action) not in used and row.action not in texts
    ] == []


@named
def test_a_row_names_statuses_that_are_documented(row: Workflow) -> None:
    known = {*VOCABULARIES[row.resource], states.PREVIOUS, states.REMOVED}
    assert {row.running, row.done, row.failed, *row.allowed} <= known


@named
def test_a_row_that_waits_for_an_execution_has_one_and_a_deadline(row: Workflow) -> None:
    if row.waits_for is workflows.WaitsFor.EXECUTION:
        assert row.machine is not None
    if row.waits_for is not workflows.WaitsFor.CLIENT and row.waits_for is not workflows.WaitsFor.GROUP_SNAPSHOT:
        assert row.deadline >= 60


def test_the_reconciler_follows_everything_that_is_waited_for() -> None:
    from chalicelib.tasks import reconcile

    assert set(reconcile._FOLLOW) == set(workflows.WaitsFor)
    assert {row.waits_for for row in ROWS} == set(workflows.WaitsFor)


def test_every_state_machine_has_a_file_and_a_row() -> None:
    assert set(MACHINES) == {path.name.removesuffix(asl.SUFFIX) for path in FOLDER.glob(f'*{asl.SUFFIX}')}
    assert set(MACHINES) == {row.machine.name for row in ROWS if row.machine}


@pytest.mark.parametrize('name', MACHINES)
def test_the_tasks_of_a_state_machine_are_the_states_of_its_file(name: str) -> None:
    machine, states_ = MACHINES[name], asl.load(FOLDER / f'{name}{asl.SUFFIX}')['States']
    inner = [one for state in states_.values() for one in state.get('ItemProcessor', {}).get('States', {}).values()]
    tasks = {one['Parameters']['task']: one['Resource'] for one in [*states_.values(), *inner] if one['Type'] == 'Task'}
    others = {task for found in workflows.OTHER_TASKS.values() for task in found}
    assert {*tasks} - others == {*machine.tasks}
    assert machine.failure in machine.tasks
    module = importlib.import_module(f'chalicelib.tasks.{machine.module}')
    assert [task for task in machine.tasks if not callable(getattr(module, task, None))] == []


def test_every_task_is_a_function_and_has_one_module() -> None:
    for task, module in TASKS.items():
        assert callable(getattr(importlib.import_module(f'chalicelib.tasks.{module}'), task))
    found = [task for machine in MACHINES.values() for task in machine.tasks]
    found += [task for tasks in workflows.OTHER_TASKS.values() for task in tasks]
    assert len(found) == len(set(found)) == len(TASKS)
