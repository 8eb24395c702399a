"""The changes of a deployed stack of the last release by this version: ``make changes`` prints them.

``infra/released/<version>.json`` keeps the parts of each release that must outlive it: tables, bucket, key, secrets,
queues, the names of parameters and outputs, and the state machines, whose executions go on after an update. ``make
release`` (infra/release.py) writes it. The properties that CloudFormation can only
change by replacing the resource are read from AWS's own resource schemas, which cfn-lint contains.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from infra.render import REGION, templates

RELEASED = Path(__file__).parent / 'released'

#: Types with data that cannot be created again.
KEPT = (
    'AWS::DynamoDB::Table',
    'AWS::KMS::Key',
    'AWS::S3::Bucket',
    'AWS::SQS::Queue',
    'AWS::SecretsManager::Secret',
)

#: Properties that replace the resource when they change, although the schemas do not call them create-only.
#: https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-dynamodb-table.html
ALSO_REPLACING = {'AWS::DynamoDB::Table': ('KeySchema', 'LocalSecondaryIndexes')}

Template = Mapping[str, Any]


class Change(NamedTuple):
    """One resource that differs. ``kind``: Add, Remove, Replace, Modify, or Indexes (a table changes several)."""

    kind: str
    name: str
    type: str
    #: The differing properties; () for Add and Remove.
    properties: tuple[str, ...] = ()

    @property
    def is_loss(self) -> bool:
        """Whether data would be lost, or the deployment would fail half-way."""
        return self.type in KEPT and self.kind in ('Remove', 'Replace', 'Indexes')


def changes(old: Template, new: Template) -> Iterator[Change]:
    """Return the differences of ``new`` from ``old`` in the parts that a release keeps."""
    before, after = old['Resources'], kept(new)['Resources']
    for name in sorted({*before, *after}):
        if name not in after:
            yield Change('Remove', name, before[name]['Type'])
        elif name not in before:
            yield Change('Add', name, after[name]['Type'])
        elif before[name] != after[name]:
            yield _difference(name, before[name], after[name])


def _difference(name: str, before: Template, after: Template) -> Change:
    kind = after['Type']
    if before['Type'] != kind:
        return Change('Replace', name, before['Type'], ('Type',))
    old, new = before.get('Properties', {}), after.get('Properties', {})
    differing = tuple(sorted(key for key in {*old, *new} if old.get(key) != new.get(key)))
    if set(differing) & replacing(kind):
        return Change('Replace', name, kind, differing)
    several = len(_indexes(old) ^ _indexes(new)) > 1
    return Change('Indexes' if several else 'Modify', name, kind, differing)


def _indexes(properties: Template) -> set[str]:
    """DynamoDB creates or deletes one global index per table update, and CloudFormation fails at the second."""
    return {index['IndexName'] for index in properties.get('GlobalSecondaryIndexes', ())}


def replacing(kind: str) -> set[str]:
    """Return the properties of a type that cannot change in place."""
    from cfnlint.schema import PROVIDER_SCHEMA_MANAGER

    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema(REGION, kind).schema
    paths = schema.get('createOnlyProperties', [])
    return {path.split('/')[2] for path in paths} | set(ALSO_REPLACING.get(kind, ()))


def kept(template: Template) -> dict[str, Any]:
    """Return the parts of a template that a release keeps."""
    resources = {name: body for name, body in template['Resources'].items() if body['Type'] in KEPT}
    names = {key: sorted(template.get(key, ())) for key in ('Parameters', 'Outputs')}
    return {**names, 'Resources': resources, 'Machines': machines(template)}


def machines(template: Template) -> dict[str, str]:
    """Return {name: definition} of the state machines, with placeholders for functions and parameters."""
    found = {}
    for body in template['Resources'].values():
        if body['Type'] == 'AWS::StepFunctions::StateMachine':
            definition = body['Properties']['DefinitionString']
            name = body['Properties']['StateMachineName']['Fn::Sub'].partition('}-')[2]
            found[name] = definition['Fn::Sub'][0] if isinstance(definition, dict) else definition
    return found


def last_release() -> tuple[str, Template]:
    """Return (version, its kept parts). Raises FileNotFoundError before the first release."""
    found = sorted(RELEASED.glob('*.json'), key=lambda path: _numbers(path.stem))
    if not found:
        raise FileNotFoundError(f'{RELEASED} holds no release; make release writes one')
    loaded: Template = json.loads(found[-1].read_text(encoding='utf-8'))
    return found[-1].stem, loaded


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split('.'))


def current() -> Template:
    loaded: Template = json.loads((templates() / 'plain.json').read_text(encoding='utf-8'))
    return loaded


def lines_of(found: Iterable[Change]) -> Iterator[str]:
    for change in found:
        properties = f' ({", ".join(change.properties)})' if change.properties else ''
        yield f'{change.kind:8}{change.name}, {change.type}{properties}{"  <-- LOSS" if change.is_loss else ""}'


def main() -> int:
    """Print the changes; the exit code is 1 when one of them loses data or cannot be deployed."""
    version, old = last_release()
    found = list(changes(old, current()))
    print('\n'.join([f'since {version}:', *(list(lines_of(found)) or ['nothing that is kept'])]))
    return 1 if any(change.is_loss for change in found) else 0


if __name__ == '__main__':
    sys.exit(main())
