"""oslo.policy and Cinder beside this process: decisions that policy overrides are compared with."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from chalicelib.context import Context, implied_roles
from chalicelib.models import Attachment, Backup, Group, GroupSnapshot, Snapshot, Volume
from chalicelib.rules.policies import allowed
from chalicelib.rules.policy_overrides import Overrides
from tests.system import environments

OWN, OTHER = 'a' * 32, 'b' * 32
ID = '9f3b6c55-7a1e-4d2b-8c7e-0123456789ab'

#: Kind of a record -> Cinder's kind.
KINDS = {
    Volume: 'Volume', Snapshot: 'Snapshot', Backup: 'Backup', Group: 'Group', GroupSnapshot: 'GroupSnapshot',
    Attachment: 'VolumeAttachment',
}  # fmt: skip


class Oslo:
    """The process of tests/policies/oslo.py."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, **request: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + '\n')
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@contextlib.contextmanager
def oslo() -> Iterator[Oslo]:
    script = Path(__file__).with_name('oslo.py')
    command = [environments.ensure('cinder'), '-W', 'ignore', script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Oslo(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(30)


@dataclasses.dataclass(frozen=True)
class Target:
    """A record of this service, and Cinder's object with the same attributes; None for no object."""

    record: Any = None
    cinder: Any = None


def _target(kind: type[Any], **facts: Any) -> Target:
    """Return an object with the attributes that both have, under Cinder's names."""
    decided_here = {
        {'display_name': 'name', 'instance_uuid': 'instance_id'}.get(name, name): facts[name] for name in facts
    }
    if kind is Attachment:
        owner = {name: facts.pop(name) for name in ('project_id', 'user_id')}
        facts['volume'] = owner
    return Target(kind(**decided_here), [KINDS[kind], facts])


def targets() -> list[Target]:
    """No object, an object of the user, one of another user, and one of another project."""
    volume = {'id': ID, 'size': 5, 'status': 'available', 'display_name': 'secret', 'bootable': True}
    volume |= {'snapshot_id': None}
    return [
        Target(),
        _target(Volume, **volume, project_id=OWN, user_id='user'),
        _target(Volume, **volume, project_id=OWN, user_id='another'),
        _target(Volume, **volume, project_id=OTHER, user_id='another'),
    ]


def targets_of_all_kinds() -> list[Target]:
    """An object of each kind, of another user."""
    owner = {'id': ID, 'project_id': OWN, 'user_id': 'another', 'status': 'error'}
    snapshot = _target(Snapshot, **owner, volume_size=5, display_name='secret', volume_id=ID)
    return [
        snapshot,
        _target(Backup, **owner, size=5, display_name='secret', volume_id=ID),
        _target(Group, **owner, name='secret', group_type_id=ID),
        _target(GroupSnapshot, **owner, name='secret', group_id=ID),
    ]


def callers() -> list[Context]:
    """Callers of each role, in the project of most objects or outside of it."""
    places = {OWN: [(), ('admin',), ('member',), ('reader',), ('boss', 'service')],
              OTHER: [('admin',), ('manager', 'types'), ('cinder:reader-admin',), ('Creator', 'member')]}  # fmt: skip
    return [
        Context(user_id='user', project_id=project, roles=frozenset(map(str.lower, implied_roles(roles))))
        for project, held in places.items()
        for roles in held
    ]


def as_cinders(caller: Context) -> dict[str, Any]:
    return {'user_id': caller.user_id, 'project_id': caller.project_id, 'roles': sorted(caller.roles)}


def under(overrides: Overrides, caller: Context) -> Context:
    """Return the caller as operations/policy_overrides.py prepares it."""
    return dataclasses.replace(caller, overrides=overrides, admin=overrides.is_admin(caller))


def decisions(
    text: str, rules: Sequence[str], callers: Sequence[Context], targets: Sequence[Target]
) -> Mapping[str, list[bool | None]]:
    """Return this service's decisions under a policy file, in Cinder's order.

    None: the caller does not find the object, here as in Cinder's database, so no rule is checked.
    """
    overrides = Overrides(yaml.safe_load(text) or {})
    prepared = [under(overrides, caller) for caller in callers]
    found = {rule: [_decided(caller, rule, each) for caller in prepared for each in targets] for rule in rules}
    return {**found, 'context_is_admin': [caller.is_admin for caller in prepared]}


def _decided(caller: Context, rule: str, target: Target) -> bool | None:
    record = target.record
    if record is None:
        return allowed(caller, rule)
    if record.project_id != caller.project_id and not caller.is_admin:
        return None
    return allowed(caller, rule, find=lambda: record)


def differences(decided_here: Mapping[str, list[bool | None]], cinders: Mapping[str, list[bool | str]]) -> list[Any]:
    """Return (rule, decisions here, Cinder's) where they differ. An exception there denies, as Cinder's 500 does."""
    return [
        (rule, decided, cinders[rule])
        for rule, decided in decided_here.items()
        if any(a is not None and a != (b is True) for a, b in zip(decided, cinders[rule], strict=True))
    ]
