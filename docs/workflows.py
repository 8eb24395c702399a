"""docs/reference/workflows.md: a diagram of every state machine, read from its file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from chalicelib.rules.workflows import MACHINES, WORKFLOWS, Workflow
from infra import asl

FOLDER = Path(__file__).parent.parent / 'stepfunctions'

PAGE = """# The workflows

[Add a workflow](../how-to/add-a-workflow.md) is the guide. Statuses: `<previous>` is the status before the action, and
`<removed>` means that the record is deleted. The reconciler examines work whose deadline has passed.

## Actions

Every action with a status of its own, from `chalicelib/rules/workflows.py`.

{actions}

## State machines

Every state machine, drawn from its file in `stepfunctions/`. A solid arrow is the next state, a dotted arrow a caught
error. The files have time limits, retry policies and the purpose of each state; `infra/retries.py` defines the
policies, and `infra/asl.py` adds retriers, ends and the catch of every other error.
[Architecture](../explanation/architecture.md) shows the components. Generated: `make docs`.

{machines}
"""

MACHINE = """### {name}

{header}

**Runs in**: `{worker}`, tasks of `chalicelib/tasks/{module}.py`; `{failure}` records a failure.

```mermaid
flowchart TD
{lines}
```
"""


def page() -> str:
    """docs/reference/workflows.md."""
    return PAGE.format(
        actions='\n'.join(_actions()),
        machines='\n'.join(_machine(path) for path in sorted(FOLDER.glob(f'*{asl.SUFFIX}'))),
    )


def _actions() -> Iterator[str]:
    yield '| resource | action | from | while it runs | done | failed | deadline | state machine | waits for |'
    yield '|---|---|---|---|---|---|---|---|---|'
    for rows in WORKFLOWS.values():
        for row in rows.values():
            machine = f'[{row.machine.name}](#{row.machine.name})' if row.machine else ''
            statuses = f'{_allowed(row)} | {row.running} | `{row.done}` | `{row.failed}`'
            deadline = f'{row.deadline} s' if row.deadline else ''
            yield f'| {row.resource} | {row.action} | {statuses} | {deadline} | {machine} | {row.waits_for.value} |'


def _allowed(row: Workflow) -> str:
    """The statuses that an action starts from, in few words."""
    if not row.allowed:
        return 'new record'
    return 'any' if len(row.allowed) > 5 else ', '.join(sorted(row.allowed))


def _machine(path: Path) -> str:
    definition = asl.load(path)
    name = path.name.removesuffix(asl.SUFFIX)
    machine = MACHINES[name]
    lines = ['  start((start)) --> ' + definition['StartAt'], *_lines(definition)]
    return MACHINE.format(
        name=name,
        header=_header(path),
        worker=machine.worker,
        module=machine.module,
        failure=machine.failure,
        lines='\n'.join(lines),
    )


def _header(path: Path) -> str:
    """Return the comment at the beginning of the file: purpose, input, guarantee, time budget."""
    lines = path.read_text(encoding='utf-8').splitlines()
    end = next(number for number, line in enumerate(lines) if not line.startswith('#'))
    text = [line.lstrip('# ').strip() for line in lines[:end]]
    header = '\n'.join(re.sub(r'^(Input|Guarantee|Time budget|Transitions[^:]*):', r'\n**\1**:', line) for line in text)
    return re.sub(r'\n{3,}', '\n\n', header)


def _lines(machine: Mapping[str, Any]) -> Iterator[str]:
    for name, state in machine['States'].items():
        yield f'  {name}{_shape(state, name)}'
        yield from _edges(name, state)
        if 'ItemProcessor' in state:
            inner = state['ItemProcessor']
            yield from (f'  subgraph {name}Items [each item of {name}]', *_lines(inner), '  end')
            yield f'  {name} --- {inner["StartAt"]}'


def _shape(state: Mapping[str, Any], name: str) -> str:
    match state['Type']:
        case 'Choice':
            return f'{{{name}}}'
        case 'Succeed' | 'Fail' | 'Pass':
            return f'([{name}])'
    return f'[{name}]'


def _edges(name: str, state: Mapping[str, Any]) -> Iterator[str]:
    if 'Next' in state:
        yield f'  {name} --> {state["Next"]}'
    for choice in state.get('Choices', ()):
        yield f'  {name} -->|yes| {choice["Next"]}'
    if 'Default' in state:
        yield f'  {name} -->|else| {state["Default"]}'
    for caught in state.get('Catch', ()):
        yield f'  {name} -.->|{_errors(caught["ErrorEquals"])}| {caught["Next"]}'


def _errors(names: list[str]) -> str:
    """Return the first name, followed by an ellipsis if there are more."""
    first = 'any error' if names[0] == 'States.ALL' else names[0]
    return first if len(names) == 1 else f'{first}, ...'
