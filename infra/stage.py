"""A stage, ``deploy/<stage>.yaml``: the settings of one deployment. Read and checked here, without reaching AWS."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from chalicelib.errors import BackendMisconfigured
from infra import policy_file, values
from infra.backends import check as check_backends
from infra.render import ROOT, templates

FOLDER = ROOT / 'deploy'

#: Functions have the longest names with the stack's name: 64 characters, including ``-backup_schedules``.
STACK = re.compile(r'(?!(?i:aws|ssm))[A-Za-z][A-Za-z0-9-]{0,46}')

#: CloudFormation's limit for the value of a parameter, in bytes.
MAX_PARAMETER = 4096

#: Advice for documents that are too long.
TOO_LONG = {
    'Backends': 'leave it out, deploy, then aws ssm put-parameter --overwrite --name /STACK/backends --value file://...',
    'IdentityDocument': 'deploy with one administrator, then edit the secret STACK/identity (docs/how-to/deploy.md)',
}

#: Parameters whose value is a JSON object.
DOCUMENTS = ('Backends', 'IdentityDocument', 'BackupTargets', 'SchedulerOptions', 'DefaultQuotas')

#: The parameter whose value is a policy file.
POLICY = 'PolicyOverrides'

#: Parameters that belong together: one without the other fails half-way through a deployment.
TOGETHER = (('WorkerSubnetIds', 'WorkerSecurityGroupIds'), ('ApiSubnetIds', 'ApiSecurityGroupIds'))

#: Parameters whose value is an ARN, and the ARN's service. The region must be the stage's.
ARNS = {'KmsKeyArn': 'kms', 'AlarmTopicArn': 'sns', 'WebAclArn': 'wafv2'}


class Refused(Exception):
    """The deployment is impossible. The text has one line for each finding, with what to do."""


class Stage(NamedTuple):
    """One deployment."""

    name: str
    region: str
    stack: str
    parameters: Mapping[str, str]
    #: Its account; '' for any.
    account: str = ''
    #: Tags of the stack and of all its resources.
    tags: Mapping[str, str] = {}  # read only


#: Prefix of a region's name -> its partition; any other region is in aws.
_PARTITIONS = {'cn-': 'aws-cn', 'us-gov-': 'aws-us-gov'}


def partition(region: str) -> str:
    """Return the partition of a region."""
    return next((found for prefix, found in _PARTITIONS.items() if region.startswith(prefix)), 'aws')


def load(name: str, folder: Path = FOLDER, *, checked: bool = True) -> Stage:
    """Read a stage, and unless ``checked`` is false check its parameters.

    Raises Refused with a line for each problem.
    """
    if not re.fullmatch(r'[\w.-]+', name, re.ASCII):
        raise Refused(f'the stage is {name!r}: give the name of a file deploy/NAME.yaml, without its folder')
    path = folder / f'{name}.yaml'
    if not path.exists():
        raise Refused(f'{path} does not exist: copy deploy/example.yaml and fill it in')
    given = _yaml(path)
    _check_keys(path.name, given)
    parameters = {key: _value(key, _text(key, value), folder) for key, value in given['parameters'].items()}
    tags = {str(key): _text(f'tag {key}', value) for key, value in (given.get('tags') or {}).items()}
    stage = Stage(name, str(given['region']), str(given['stack']), parameters, _account(given), tags)
    if not checked:
        return stage
    declared = json.loads((templates() / 'template.json').read_text())['Parameters']
    if found := list(complaints(stage, declared)):
        raise Refused('\n  '.join([f'{path.name}: {found[0]}', *found[1:]]))
    return stage


def _text(name: str, value: Any) -> str:
    """Return a value as text: YAML reads ``true`` and ``1`` as such. Raises Refused for one that is empty in YAML."""
    if value is None:
        raise Refused(f"{name} has no value: give one, '' for an empty text, or leave the line out")
    return json.dumps(value) if isinstance(value, bool | dict | list) else str(value)


def _account(given: Mapping[str, Any]) -> str:
    """Return the account, '' for any. YAML reads digits after a leading 0 as an octal number, hence the quotes."""
    account = given.get('account') or ''
    if account and not (isinstance(account, str) and re.fullmatch('[0-9]{12}', account)):
        raise Refused(f"account is {account!r}: give 12 digits in quotes, '123456789012'")
    return str(account)


def _check_keys(name: str, given: Mapping[str, Any]) -> None:
    missing = [key for key in ('region', 'stack', 'parameters') if not given.get(key)]
    if missing:
        raise Refused(f'{name} lacks {", ".join(missing)}')
    unknown = sorted(set(given) - {'region', 'stack', 'parameters', 'account', 'tags'})
    if unknown:
        raise Refused(f'{name}: {", ".join(unknown)}: allowed are region, stack, parameters, account, tags')
    for key in ('parameters', 'tags'):
        if not isinstance(given.get(key) or {}, dict):
            raise Refused(f'{name}: {key} are names and their values')


class _UniqueKeys(yaml.SafeLoader):
    """YAML's safe loader takes the last of two equal keys; this one refuses them."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = sorted({str(key) for key in keys if keys.count(key) > 1})
        if twice:
            raise yaml.YAMLError(f'{", ".join(twice)} is there twice: keep one')
        return super().construct_mapping(node, deep)


def _read(path: Path) -> str:
    """Return a file's text. Raises Refused."""
    try:
        return path.read_text(encoding='utf-8')
    except UnicodeDecodeError:
        raise Refused(f'{path} is not UTF-8: convert it, or give the right file') from None
    except (IsADirectoryError, PermissionError) as error:
        raise Refused(f'{path} cannot be read ({error.strerror}): give a readable file') from None


def _yaml(path: Path) -> dict[str, Any]:
    """Return a mapping from a file. Raises Refused."""
    try:
        found = yaml.load(_read(path), _UniqueKeys) or {}  # noqa: S506 - a safe loader
    except yaml.YAMLError as error:
        raise Refused(f'{path} is not YAML: {error}') from None
    if not isinstance(found, dict):
        raise Refused(f'{path} holds no names and values')
    return found


def _value(key: str, text: str, folder: Path) -> str:
    """Replace ``@file`` by the file's text; a YAML file becomes JSON, like the parameters."""
    found = _from_file(key, text, folder)
    if key != POLICY or not found:
        return found
    try:
        return policy_file.document(found)
    except policy_file.Refused as refused:
        raise Refused(f'{key}: {text if text.startswith("@") else ""} {refused}'.replace('  ', ' ')) from None


def _from_file(key: str, text: str, folder: Path) -> str:
    if not text.startswith('@'):
        return text
    path = folder / text[1:]
    if not path.exists():
        raise Refused(f'{key}: {path} does not exist')
    if path.suffix in ('.yaml', '.yml') and key != POLICY:
        return json.dumps(_yaml(path))
    return _read(path).strip()


def complaints(stage: Stage, declared: Mapping[str, Any]) -> Iterator[str]:
    """Return the problems of a stage's parameters, each alone and in combination."""
    given = stage.parameters
    if not STACK.fullmatch(stage.stack):
        yield f'stack {stage.stack!r}: 1 to 47 letters, digits and hyphens, a letter first, but not aws or ssm'
    for key in sorted(set(given) - set(declared)):
        yield f'the template has no parameter {key}'
    for key in sorted(set(given) & set(declared)):
        yield from _out_of_bounds(key, given[key], declared[key])
    yield from _too_long(stage)
    for key in DOCUMENTS:
        if given.get(key) and not _is_object(given[key]):
            yield f'{key} is not a JSON object'
    yield from _wrong_backends(given.get('Backends', ''), stage.stack)
    if not given.get('KeystoneUrl') and not _has_users(given.get('IdentityDocument', '')):
        yield 'no user could log in: set KeystoneUrl, or an IdentityDocument with users (docs/how-to/deploy.md)'
    if given.get('KeystoneUrl') and not given['KeystoneUrl'].rstrip('/').endswith('/v3'):
        yield 'KeystoneUrl must end in /v3'
    for one, other in TOGETHER:
        if bool(given.get(one)) != bool(given.get(other)):
            yield f'{one} and {other} go together'
    yield from values.complaints(given, stage.tags)
    yield from _wrong_arns(stage)
    yield from _unreachable_targets(given, partition(stage.region))


def _out_of_bounds(key: str, text: str, declared: Mapping[str, Any]) -> Iterator[str]:
    """Return values that the template's own declaration forbids: CloudFormation checks them only after the upload."""
    allowed = [str(value) for value in declared.get('AllowedValues', ())]
    if allowed and text not in allowed:
        yield f'{key} is {text!r}: allowed are {", ".join(allowed)}'
    if (pattern := declared.get('AllowedPattern')) and not re.fullmatch(pattern, text):
        yield f'{key} is {text!r}: it must match {pattern}'
    if declared['Type'] != 'Number':
        return
    low, high = int(declared.get('MinValue', 0)), int(declared.get('MaxValue', 2**31))
    if not re.fullmatch('[0-9]+', text) or not low <= int(text) <= high:
        yield f'{key} is {text!r}: give a whole number from {low} to {high}'


def _too_long(stage: Stage) -> Iterator[str]:
    withheld = () if stage.parameters.get('SecretStore') == 'SecretsManager' else ('IdentityDocument',)
    sizes = {key: len(value.encode()) for key, value in stage.parameters.items() if key not in withheld}
    for key in (key for key, size in sizes.items() if size > MAX_PARAMETER):
        advice = TOO_LONG.get(key, 'shorten it').replace('STACK', stage.stack)
        yield f'{key} has {sizes[key]} bytes, and CloudFormation takes {MAX_PARAMETER}: {advice}'


def _wrong_backends(text: str, stack: str) -> Iterator[str]:
    """Return the problems of a backends document, as the workers would find them."""
    if not _is_object(text):
        return
    try:
        check_backends(text.encode())
    except BackendMisconfigured as error:
        yield f'Backends: {error.message}'
        return
    for backend in json.loads(text)['backends']:
        for place in backend.get('secrets', {}).values():
            name = place['secret'].rpartition(':secret:')[2]
            if not name.startswith(f'{stack}/') or name in (f'{stack}/identity', f'{stack}/keystone'):
                allowed = f'{stack}/... but for {stack}/identity and {stack}/keystone'
                yield f'Backends: {backend["name"]} names the secret {name!r}: the workers may read {allowed}'


def _wrong_arns(stage: Stage) -> Iterator[str]:
    for key, service in ARNS.items():
        text, wanted = stage.parameters.get(key, ''), f'arn:{partition(stage.region)}:{service}:{stage.region}'
        if text and not re.fullmatch(rf'{re.escape(wanted)}:\d{{12}}:\S+', text):
            yield f'{key} is {text!r}: give the ARN of one in {stage.region}, {wanted}:...'


def _unreachable_targets(given: Mapping[str, str], place: str) -> Iterator[str]:
    """Return targets for copies to which the workers' role would not have access."""
    if not _is_object(given.get('BackupTargets', '')):
        return
    buckets, keys = _listed(given, 'BackupTargetResources'), _listed(given, 'BackupTargetKeys')
    for name, target in json.loads(given['BackupTargets']).items():
        if not isinstance(target, dict):
            yield f'BackupTargets: {name} is not a JSON object'
            continue
        bucket, key = str(target.get('bucket', '')), str(target.get('kms_key', ''))
        for resource in (bucket, f'{bucket}/{target.get("prefix", "")}*'):
            if not any(fnmatch.fnmatchcase(resource, arn.rpartition(':')[2]) for arn in buckets):
                wanted = f'arn:{place}:s3:::{resource}'
                yield f'BackupTargets: {name} needs {resource}: BackupTargetResources must list {wanted}'
        if key and key not in keys:
            yield f'BackupTargets: {name} has the key {key}: BackupTargetKeys must list it'


def _listed(given: Mapping[str, str], key: str) -> list[str]:
    return [item.strip() for item in given.get(key, '').split(',')]


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _has_users(text: str) -> bool:
    return _is_object(text) and bool(json.loads(text).get('users'))
