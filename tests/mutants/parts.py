"""What ``make mutants`` changes, and which tests must notice: each part is some files with the tests about them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import yaml

ROOT = Path(__file__).resolve().parents[2]


class Part(NamedTuple):
    """``paths``: patterns of files; ``tests``: files and folders of tests. Both are relative to the root."""

    paths: tuple[str, ...]
    tests: tuple[str, ...]

    def files(self) -> list[str]:
        """Return the files that are mutated."""
        return sorted(str(path.relative_to(ROOT)) for pattern in self.paths for path in ROOT.glob(pattern))


def _unit(*names: str) -> tuple[str, ...]:
    return tuple(f'tests/unit/{name}' for name in names)


PARTS: Mapping[str, Part] = {
    'rules': Part(
        ('chalicelib/rules/*.py',),
        _unit('rules', 'test_policies.py', 'operations/test_quotas.py', 'operations/test_messages.py'),
    ),
    'models': Part(
        ('chalicelib/models/*.py',),
        (
            *_unit('test_records.py', 'test_reads.py', 'test_reading.py', 'test_writes.py', 'test_claims.py'),
            *_unit('test_bounded.py'),
            *_unit('test_leases.py', 'test_revocations.py', 'test_stale_index.py', 'test_recorded_answers.py'),
            *_unit('test_lagging_reads.py', 'operations/test_common.py', 'operations/test_quotas.py'),
            *_unit('rules/test_bounds.py'),
            'tests/api/test_idempotency.py',
            'tests/api/test_operations.py',
            'tests/workflows/test_operations.py',
        ),
    ),
    'quotas': Part(
        ('chalicelib/operations/quotas.py', 'chalicelib/rules/quotas.py', 'chalicelib/operations/reservations.py'),
        (
            *_unit('operations/test_quotas.py', 'operations/test_transfers.py', 'operations/test_volumes.py'),
            'tests/api/test_types_quotas.py',
            'tests/workflows/test_create_volume.py',
            'tests/workflows/test_extend_volume.py',
            'tests/workflows/test_moves.py',
        ),
    ),
    'scheduler': Part(('chalicelib/scheduler/*.py', 'chalicelib/scheduler/filters/*.py'), _unit('scheduler')),
    'backup': Part(('chalicelib/backup/*.py',), _unit('backup')),
    'iscsi': Part(('chalicelib/iscsi/*.py',), _unit('iscsi')),
}

#: Lines whose mutants are not made: no test reads the wording of a log; and the tables of rules/workflows.py and of
#: scheduler/extra_specs.py are built when the module is imported, once for all mutants.
UNREAD = (
    *(r'\blogger\.', r'return StateMachine\(', r'resource, action, frozenset'),
    r'return lambda operand: lambda value',
)


class Equivalent(NamedTuple):
    """A change that no test can notice. ``was`` and ``becomes``: the line before and after it, without indentation."""

    file: str
    was: str
    becomes: str
    reason: str


def equivalents() -> list[Equivalent]:
    """Return the changes that ``equivalent.yaml`` lists."""
    listed = yaml.safe_load((ROOT / 'tests/mutants/equivalent.yaml').read_text())
    return [
        Equivalent(file, str(one['was']), str(one['becomes']), str(one['reason']))
        for file, found in (listed or {}).items()
        for one in found
    ]
