"""State machines as files: ``stepfunctions/<name>.asl.yaml``, completed to the Amazon States Language.

A file contains only what is specific to its workflow. ``load`` adds the common parts:

* ``Retry`` names policies (``infra/retries.py``).
* ``Catch`` of the machine, ``{error: state}``, applies to each of its states; a state's own ``Catch`` comes before it.
  An error that a state of the failure path raises leads to ``Unrecorded``.
* Names of errors include their subclasses, and an error is stored under ``$.error``.
* A task runs the function of the state's name, on the state's input, in the workflow's worker
  (``chalicelib/rules/workflows.py``) unless the state names another ``Resource``.
* The ends ``Superseded`` and ``Unrecorded`` are added where a transition leads to them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from chalicelib.rules.workflows import MACHINES
from infra import retries

SUFFIX = '.asl.yaml'

#: Parameters of the template that are numbers: a definition names them without quotes.
NUMBERS = ('BackupConcurrency',)

#: Limit of AWS for one definition, in bytes.
MAX_DEFINITION = 1024 * 1024

#: Every error.
ALL = 'States.ALL'

#: Ends that the files omit.
ENDS: Mapping[str, Mapping[str, str]] = {
    'Superseded': {
        'Comment': 'The record is gone or belongs to another request by now; there is nothing left to do',
        'Type': 'Succeed',
    },
    'Unrecorded': {
        'Comment': 'Not even the failure could be recorded; the reconciler takes over',
        'Type': 'Fail',
    },
}

State = dict[str, Any]


def load(path: Path) -> dict[str, Any]:
    """Return a state machine's complete definition as data.

    Raises ValueError when the file is not a mapping with States, or names an error or policy that does not exist.
    """
    source = yaml.safe_load(path.read_text(encoding='utf-8'))
    if not (isinstance(source, dict) and isinstance(source.get('States'), dict)):
        raise ValueError(f'{path.name}: a state machine is a mapping with StartAt and States')
    try:
        return _completed(source, path.name.partition('_')[0].capitalize(), path.name.removesuffix(SUFFIX))
    except (KeyError, ValueError) as error:
        raise ValueError(f'{path.name}: {error}') from error


def _worker(machine: str) -> str:
    """Return the template's name of the function that runs a state machine's tasks."""
    if machine not in MACHINES:
        raise ValueError(f'{machine} is not in MACHINES of chalicelib/rules/workflows.py')
    return ''.join(('${', *map(str.capitalize, MACHINES[machine].worker.split('_')), 'Arn}'))


def _completed(source: Mapping[str, Any], verb: str, machine: str) -> dict[str, Any]:
    common: dict[str, str] = source.get('Catch', {})
    states = {name: _state(name, state, machine) for name, state in source['States'].items()}
    on_failure = {*common.values(), *(rule['Next'] for state in states.values() for rule in state.get('Catch', ()))}
    for name, state in list(states.items()):
        if state['Type'] in ('Task', 'Map'):
            own = state.get('Catch', [])
            catch = _caught([*_named(common, name, own), *own, *_rest(common, name, own, on_failure)])
            states[name] = {**state, 'Catch': catch} if catch else state
    targets = {rule['Next'] for state in states.values() for rule in state.get('Catch', ())}
    ends = {name: dict(end) for name, end in ENDS.items() if name in targets and name not in states}
    if 'Unrecorded' in ends:
        ends['Unrecorded']['Error'] = f'{verb}Failed'
    return {**{key: value for key, value in source.items() if key != 'Catch'}, 'States': {**states, **ends}}


def _state(name: str, state: State, machine: str) -> State:
    """Return a state with its function, parameters and retriers; the states of a Map, too."""
    full = dict(state)
    if state['Type'] == 'Task':
        full['Resource'] = state.get('Resource') or _worker(machine)
        full.setdefault('Parameters', {'task': _snake(name), 'input.$': '$'})
    if 'Retry' in state:
        full['Retry'] = retries.rendered(state['Retry'])
    if 'ItemProcessor' in state:
        inner = state['ItemProcessor']
        full['ItemProcessor'] = {
            **inner,
            'States': {key: _inner(key, one, machine) for key, one in inner['States'].items()},
        }
    return full


def _inner(name: str, state: State, machine: str) -> State:
    full = _state(name, state, machine)
    return {**full, 'Catch': _caught(full['Catch'])} if 'Catch' in full else full


def _snake(name: str) -> str:
    return re.sub(r'(?<!^)(?=[A-Z])', '_', name).lower()


def _named(common: Mapping[str, str], name: str, own: list[State]) -> Iterator[State]:
    """Return the state machine's catches by name: without the state's own, and without those that lead back to it."""
    for error, target in common.items():
        if error != ALL and target != name and not any(error in rule['ErrorEquals'] for rule in own):
            yield {'ErrorEquals': [error], 'Next': target}


def _rest(common: Mapping[str, str], name: str, own: list[State], on_failure: set[str]) -> Iterator[State]:
    """Return the catcher of all other errors."""
    if ALL in common and not any(ALL in rule['ErrorEquals'] for rule in own):
        yield {'ErrorEquals': [ALL], 'Next': 'Unrecorded' if name in on_failure else common[ALL]}


def _caught(rules: list[State]) -> list[State]:
    """Return catchers with all subclasses, each error in the first that names it; they must not replace the input."""
    known: set[str] = set()
    result = []
    for rule in rules:
        names = [name for name in retries.expanded(rule['ErrorEquals']) if name not in known]
        known.update(names)
        result.append({'ErrorEquals': names, 'ResultPath': rule.get('ResultPath', '$.error'), 'Next': rule['Next']})
    return result


def render(path: Path) -> str:
    """Return a state machine's definition as compact JSON; placeholders such as ``${VolumeWorkerArn}`` stay."""
    text = json.dumps(load(path), separators=(',', ':'))
    for name in NUMBERS:
        text = text.replace(f'"${{{name}}}"', f'${{{name}}}')
    if len(text.encode()) > MAX_DEFINITION:
        raise ValueError(f'{path.name}: {len(text.encode())} bytes, and Step Functions takes {MAX_DEFINITION}')
    return text


def machines(folder: Path) -> dict[str, str]:
    """Return {machine's name: definition} for every ``*.asl.yaml`` of a folder, sorted by name."""
    return {path.name.removesuffix(SUFFIX): render(path) for path in sorted(folder.glob(f'*{SUFFIX}'))}
