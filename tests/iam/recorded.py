"""The calls of a run of the tests, each decided by the evaluator; and the same calls about foreign resources.

A recorded call is allowed in one of the ``DEPLOYMENTS``, to the function that made it. The same call about another
stack's resource, another account or region, another key or purpose of a key, an object with another deployment's tag or
without one, is denied in all of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from infra.quotas import Deployment
from local import callers
from local.settings import STACK
from tests import iam
from tests.iam import ACCOUNT, KEY, REGION, Question
from tests.permissions import ROLES, WORKERS, Call

#: Resources that deployers name in parameters.
TARGET, TARGET_KEY = (
    'arn:aws:s3:::elsewhere',
    f'arn:aws:kms:{REGION}:{ACCOUNT}:key/22222222-89ab-cdef-0123-456789abcdef',
)

_KEYSTONE = {'KeystoneUrl': 'https://keystone/v3'}
_CLOUD = {'GlanceUrl': 'https://glance', 'NovaUrl': 'https://nova/v2.1'}
_COPIES = {
    'BackupLockDays': '1',
    'BackupTargetResources': f'{TARGET},{TARGET}/*',
    'BackupTargetKeys': TARGET_KEY,
    'BackupTargets': '{"elsewhere": {}}',
}

_SECRETS = {'SecretStore': 'SecretsManager'}

#: Deployments that have all permissions among them; they differ only in what is about secrets.
DEPLOYMENTS: tuple[Mapping[str, str], ...] = tuple(
    {**tokens, **clients, **store, **_COPIES}
    for tokens in ({}, _KEYSTONE)
    for clients in ({}, _CLOUD)
    for store in ({}, _SECRETS)
)

#: What the recorder writes for tests' own keys -> keys that the call may have been about.
KEYS = {f'arn:aws:kms:{REGION}:{ACCOUNT}:key/Key': (KEY, TARGET_KEY)}

#: Permissions on any object, with the reason. The recorded call has no condition to take away.
FOR_ANY = {
    ('ec2:DetachVolume', 'instance'): 'an attachment ends even if the instance has lost its tag',
    ('ec2:CreateSnapshots', 'instance'): 'the volumes that it freezes must have the tag',
}

#: Another stack of the account whose name begins with this one's, another stack, another account, another region.
_OTHERS = {
    'stack': [
        (f'{STACK}-', f'{STACK}-2-'),
        (f'{STACK}/', f'{STACK}-2/'),
        (f'{STACK}-', 'other-'),
        (f'{STACK}/', 'other/'),
    ],
    'account': [(f':{ACCOUNT}:', ':210987654321:')],
    'region': [(f':{REGION}:', ':eu-west-1:')],
    'bucket': [('arn:aws:s3:::backups', 'arn:aws:s3:::backups-2'), ('arn:aws:s3:::backups', 'arn:aws:s3:::other')],
    'key': [(KEY, KEY.replace('01234567', '11111111')), (TARGET_KEY, TARGET_KEY.replace('22222222', '33333333'))],
}

#: Foreign values of a condition; None takes the key away.
_CHANGED: Mapping[str, tuple[str | None, ...]] = {
    'aws:ResourceTag/cinder:deployment': (f'{STACK}-2', 'other', None),
    'aws:RequestTag/cinder:deployment': (f'{STACK}-2', 'other', None),
    'ec2:CreateAction': ('RunInstances', None),
}

_PURPOSE, _LINEAGE = 'kms:EncryptionContext:purpose', 'kms:EncryptionContext:lineage'


class Result(NamedTuple):
    """``allowed`` and ``denied`` count the right decisions, ``unknown`` calls about objects that no emulator knows."""

    allowed: int
    denied: int
    unknown: int
    wrong: list[str]


def check(template: Mapping[str, Any], calls: Iterable[Call], *, whole: bool = True) -> Result:
    """Have every call decided, and those that are made of it about foreign resources."""
    known = sorted(call for call in set(calls) if call.context != 'null')
    planned = [iam.deployment(template, STACK, BucketName='backups', **parameters) for parameters in DEPLOYMENTS]
    own = [(call, list(_questions(call))) for call in known]
    decided = _decided(planned, [question for _, questions in own for question in questions])
    refused = [call for call, questions in own if not any(decided[_key(one)] for one in questions)]
    allowed = [one for _, questions in own for one in questions if decided[_key(one)]]
    foreign = list({_key(one): one for one in _foreign(allowed, whole)}.values())
    answers = _decided(planned, foreign)
    kept = [one for one in foreign if answers[_key(one)]]
    wrong = [f'{call.function} calls {call.action} on {call.resource} ({call.context}): denied' for call in refused]
    wrong += [f'{one.role} may {one.action} {one.resource} ({json.dumps(dict(one.context))})' for one in kept]
    return Result(len(own) - len(refused), len(foreign) - len(kept), len(set(calls)) - len(known), wrong)


def _key(question: Question) -> str:
    return json.dumps([*question[:3], dict(question.context), question.account], sort_keys=True)


def _decided(planned: list[Deployment], questions: list[Question]) -> dict[str, bool]:
    """Whether each question is allowed in one of the deployments."""
    found: dict[str, bool] = {}
    for number, each in enumerate(planned):
        further = [one for one in questions if number == 0 or (_is_about_secrets(one) and not found[_key(one)])]
        for question, answer in zip(further, iam.decide(each, further), strict=True):
            found[_key(question)] = answer == 'Allowed'
    return found


def _is_about_secrets(question: Question) -> bool:
    return question.action.startswith(('secretsmanager:', 'ssm:', 'kms:'))


def _questions(call: Call) -> Iterator[Question]:
    """The call, of each role and about each key that it may have been about; one must be allowed."""
    functions = WORKERS if call.function == callers.SOME_WORKER else (call.function,)
    for function in functions:
        for resource in KEYS.get(call.resource, (call.resource,)):
            yield Question(ROLES[function], call.action, resource, json.loads(call.context))


def _foreign(allowed: list[Question], whole: bool) -> Iterator[Question]:
    """The same calls about other resources, and with other conditions.

    A part of the tests may encrypt for a purpose and not decrypt: there a purpose is a role's own whatever the action.
    """
    purposes = {one.context[_PURPOSE] for one in allowed if _PURPOSE in one.context}
    used = {(one.role, one.action * whole, one.context[_PURPOSE]) for one in allowed if _PURPOSE in one.context}
    for one in allowed:
        for place in _elsewhere(one.resource):
            yield one._replace(resource=place, account='210987654321' if '210987654321' in place else ACCOUNT)
        for key, value in _changes(one):
            context = {name: text for name, text in one.context.items() if name != key}
            yield one._replace(context=context if value is None else {**context, key: value})
        if _PURPOSE in one.context:
            others = {text for text in purposes if (one.role, one.action * whole, text) not in used} | {'another', ''}
            yield from (one._replace(context={_PURPOSE: purpose}) for purpose in others)
            yield one._replace(context={})
        if _LINEAGE in one.context and one.resource == KEY:
            yield one._replace(context={})


def _elsewhere(resource: str) -> Iterator[str]:
    for ours, theirs in (pair for pairs in _OTHERS.values() for pair in pairs):
        if ours in resource:
            yield resource.replace(ours, theirs)


def _changes(one: Question) -> Iterator[tuple[str, str | None]]:
    """Other values of the conditions. Tags of an object that is being made are decided where it is made."""
    for key, values in _CHANGED.items():
        if key in one.context and not (one.action == 'ec2:CreateTags' and key.startswith('aws:RequestTag/')):
            yield from ((key, value) for value in values)
    kind = one.resource.rpartition(':')[2].partition('/')[0]
    if kind == 'instance' and (one.action, kind) not in FOR_ANY:
        yield 'aws:ResourceTag/cinder:project', None
