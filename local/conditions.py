"""What IAM decides by beside action and resource: tags of the objects that a call names or makes, KMS's purpose.

EC2 checks a permission for each object that a call names or creates. A question is (action, kind of object, context);
the context is None where the object is unknown here, because a test invented it or it was deleted before.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from local.ebs.double import attached_volumes, known_tags

#: Condition keys and their values.
Context = Mapping[str, str]

#: The tags that policies name.
TAGS = ('cinder:deployment', 'cinder:project')

#: What an id of EC2 begins with, and what it is an id of.
KINDS = {'vol': 'volume', 'snap': 'snapshot', 'i': 'instance'}

#: Operation -> its parameters that name existing objects.
NAMED: Mapping[str, tuple[str, ...]] = {
    'AttachVolume': ('VolumeId', 'InstanceId'),
    'CompleteSnapshot': ('SnapshotId',),
    'CopyVolumes': ('SourceVolumeId',),
    'CreateSnapshot': ('VolumeId',),
    'CreateVolume': ('SnapshotId',),
    'DeleteSnapshot': ('SnapshotId',),
    'DeleteVolume': ('VolumeId',),
    'DetachVolume': ('VolumeId', 'InstanceId'),
    'GetSnapshotBlock': ('SnapshotId',),
    'ListChangedBlocks': ('FirstSnapshotId', 'SecondSnapshotId'),
    'ListSnapshotBlocks': ('SnapshotId',),
    'ModifyVolume': ('VolumeId',),
    'PutSnapshotBlock': ('SnapshotId',),
}

#: Operation -> the kind of object that it makes.
MADE = {
    'CopyVolumes': 'volume',
    'CreateSnapshot': 'snapshot',
    'CreateSnapshots': 'snapshot',
    'CreateVolume': 'volume',
    'StartSnapshot': 'snapshot',
}

#: Ids in purposes and names; each is replaced by a sample.
_UUID = re.compile(r'[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}')
_HEX = re.compile(r'[0-9a-f]{16,}')
SAMPLE = '00000000-0000-4000-8000-000000000000'

Question = tuple[str, str, Context | None]


def block_storage(service: str, operation: str, params: Mapping[str, Any]) -> Iterator[Question]:
    """Yield the questions to IAM of EC2 and the EBS direct APIs; of the kind '' for a call about no object."""
    action = f'{service}:{operation}'
    if operation in {'CreateTags', 'DeleteTags'}:
        yield from ((action, _kind(id), _tags_of(id)) for id in params['Resources'])
        return
    objects = list(_objects(operation, params))
    yield from ((action, kind, context) for kind, context in objects)
    if not objects:
        yield action, '', {}
    for kind, tags in _tagged(operation, params):
        yield 'ec2:CreateTags', kind, {'ec2:CreateAction': operation, **_context('Request', tags)}


def _objects(operation: str, params: Mapping[str, Any]) -> Iterator[tuple[str, Context | None]]:
    for parameter in NAMED.get(operation, ()):
        if parameter in params:
            yield _kind(params[parameter]), _tags_of(params[parameter])
    if operation == 'CreateSnapshots':
        yield from _frozen(params['InstanceSpecification'])
    if operation in MADE:
        tags = dict(_tagged(operation, params)).get(MADE[operation], {})
        yield MADE[operation], _context('Request', tags)
    if operation == 'DetachVolume' and 'InstanceId' not in params:
        yield 'instance', {}


def _frozen(specification: Mapping[str, Any]) -> Iterator[tuple[str, Context | None]]:
    """The instance whose volumes are frozen together, and the volumes."""
    instance = specification['InstanceId']
    yield 'instance', _tags_of(instance)
    left_out = specification.get('ExcludeDataVolumeIds', ())
    yield from (('volume', _tags_of(id)) for id in attached_volumes(instance) if id not in left_out)


def _tagged(operation: str, params: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, str]]]:
    """(kind, tags) of the objects that a call creates with tags."""
    if operation == 'StartSnapshot' and params.get('Tags'):
        yield 'snapshot', _as_dict(params['Tags'])
    for each in params.get('TagSpecifications', ()):
        yield str(each['ResourceType']), _as_dict(each.get('Tags', ()))


def _as_dict(tags: Sequence[Mapping[str, str]]) -> dict[str, str]:
    return {tag['Key']: tag.get('Value', '') for tag in tags}


def _tags_of(id: str) -> Context | None:
    tags = known_tags(id)
    return None if tags is None else _context('Resource', tags)


def _context(whose: str, tags: Mapping[str, str]) -> Context:
    return {f'aws:{whose}Tag/{name}': _plain(name, tags[name]) for name in TAGS if name in tags}


def _plain(name: str, value: str) -> str:
    """Return one value for all projects: policies only test whether there is one."""
    return 'any' if name == 'cinder:project' else value


def _kind(id: str) -> str:
    return KINDS[str(id).partition('-')[0]]


def encryption(params: Mapping[str, Any]) -> Context:
    """Return the encryption context of a call of KMS: of ``key/<project>/<id>`` only the kind, of ids a sample."""
    given: Iterable[tuple[str, str]] = params.get('EncryptionContext', {}).items()
    return {f'kms:EncryptionContext:{name}': _purpose(value) for name, value in given}


def _purpose(value: str) -> str:
    kind, slash, _ = value.partition('/')
    return f'{kind}/{SAMPLE}' if slash else sampled(value)


def sampled(value: str) -> str:
    """Replace ids, so that calls that differ only by them are one."""
    return _UUID.sub(SAMPLE, value) if _UUID.search(value) else _HEX.sub('0' * 16, value)
