"""Secrets of a stage in the SSM parameter store: ``/<stack>/identity`` and ``/<stack>/keystone``, as SecureStrings.

CloudFormation cannot create a SecureString, so ``make deploy`` writes them: before the stack changes if the stack
exists, otherwise once its key exists. A stack of release 0.1.0, or one that changes ``SecretStore``, has its secrets
moved, with what an operator edited in them: the text is copied before the update, and the old secret is deleted by the
update itself, so a failed update leaves both. Every step may be repeated.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from infra.preflight import Runs
from infra.stage import Refused

PARAMETER_STORE, SECRETS_MANAGER = 'ParameterStore', 'SecretsManager'

#: Bytes of a SecureString: of the free standard tier, and of the advanced tier ($0.05 a month).
MAX_STANDARD, MAX_ADVANCED = 4096, 8192

#: Tag of a SecureString: SHA-256 of the stage's text that was written last.
TAG = 'cinder:deployed'

#: Secret -> the parameter of the template with its first text.
SOURCES = {'identity': 'IdentityDocument', 'keystone': 'KeystonePassword'}

#: Values that are passed to CloudFormation instead of secrets in the parameter store.
WITHHELD = {'IdentityDocument': '{}', 'KeystonePassword': ''}


class Plan(NamedTuple):
    """Where the secrets of a stack are and will be. ``given`` are the stage's parameters, ``before`` the stack's."""

    stack: str
    given: Mapping[str, str]
    after: Mapping[str, str]
    before: Mapping[str, str] | None

    @property
    def store(self) -> str:
        return self.after['SecretStore']

    @property
    def previous_store(self) -> str:
        """The deployed stack's store; '' without a stack. Release 0.1.0 knows Secrets Manager only."""
        return '' if self.before is None else self.before.get('SecretStore', SECRETS_MANAGER)

    @property
    def name(self) -> str:
        """The one secret that this deployment uses."""
        return 'keystone' if self.after['KeystoneUrl'] else 'identity'

    @property
    def parameter(self) -> str:
        return f'/{self.stack}/{self.name}'

    @property
    def moves(self) -> bool:
        return self.previous_store not in ('', self.store)


def passed(plan: Plan) -> dict[str, str]:
    """Return the parameters for CloudFormation: without the secrets that are in the parameter store."""
    return {**plan.given, **(WITHHELD if plan.store == PARAMETER_STORE else {})}


def complaints(plan: Plan, aws: Runs) -> Iterator[str]:
    """Return what keeps a secret from its store; nothing is changed."""
    if plan.store != PARAMETER_STORE:
        return
    text = _moved(plan, aws) or _first(plan, secrets.token_hex(32))
    if len(text.encode()) > MAX_ADVANCED:
        yield (
            f'the secret {plan.name} has {len(text.encode())} bytes, and the parameter store takes {MAX_ADVANCED}: '
            'set SecretStore: SecretsManager'
        )


def before_update(plan: Plan, aws: Runs) -> None:
    """Write the secret that the new functions read, while the old functions still read theirs."""
    if plan.store == PARAMETER_STORE and plan.before is not None:
        write(plan, aws)


def after_update(plan: Plan, aws: Runs) -> None:
    """Write the secret of a new stack, or move one that returns to Secrets Manager."""
    if plan.store == PARAMETER_STORE and plan.before is None:
        write(plan, aws)
    if plan.store == SECRETS_MANAGER and plan.moves and (text := stored(plan.parameter, aws)):
        with _file({'SecretId': f'{plan.stack}/{plan.name}', 'SecretString': text}) as path:
            aws.run('secretsmanager', 'put-secret-value', '--cli-input-json', path)
        aws.run('ssm', 'delete-parameter', '--name', plan.parameter)


def write(plan: Plan, aws: Runs) -> None:
    """Bring the SecureString up to date: moved, else the stage's new text, else unchanged."""
    current, digest = stored(plan.parameter, aws), _digest(plan)
    text = _moved(plan, aws) or _changed(plan, current, digest, aws)
    if text and text != current:
        _put(plan, text, digest, aws)


def _moved(plan: Plan, aws: Runs) -> str:
    """Return the text of the old secret of a stack whose secrets move to the parameter store, else ''."""
    if not plan.moves or plan.store != PARAMETER_STORE:
        return ''
    name = f'{plan.stack}/{plan.name}'
    words = ('--secret-id', name, '--query', 'SecretString', '--output', 'text')
    if not aws.succeeds('secretsmanager', 'describe-secret', '--secret-id', name):
        return ''  # moved by an update that was interrupted after it, or a Keystone that is new with this one
    return aws.run('secretsmanager', 'get-secret-value', *words)


def _changed(plan: Plan, current: str, digest: str, aws: Runs) -> str:
    """Return the text to write: '' if the stage gives the text that was deployed last, or none."""
    if current and (SOURCES[plan.name] not in plan.given or _deployed_digest(plan, aws) == digest):
        return ''
    if not current:
        return _first(plan, secrets.token_hex(32))
    key = json.loads(current).get('signing_key', '') if plan.name == 'identity' else ''
    return _first(plan, key)


def _first(plan: Plan, signing_key: str) -> str:
    """Return the stage's text; an identity document with the key that signs tokens."""
    text = plan.given.get(SOURCES[plan.name], '')
    if plan.name == 'keystone':
        return text or 'unset'
    return with_key(text or '{}', signing_key)


def with_key(document: str, signing_key: str) -> str:
    """Return an identity document with its signing key, as Secrets Manager's GenerateSecretString makes it."""
    return json.dumps({**json.loads(document), 'signing_key': signing_key})


def stored(name: str, aws: Runs) -> str:
    """Return the text of a SecureString; '' if it does not exist."""
    words = ('--name', name, '--with-decryption', '--query', 'Parameter.Value', '--output', 'text')
    try:
        return aws.run('ssm', 'get-parameter', *words)
    except Refused as refused:
        if 'ParameterNotFound' in str(refused):
            return ''
        raise


def _deployed_digest(plan: Plan, aws: Runs) -> str:
    """Return the digest of the stage's text that was written last; tags survive an operator's edit of the text."""
    query = f"TagList[?Key=='{TAG}'].Value | [0]"
    return aws.run('ssm', 'list-tags-for-resource', *_tagged(plan), '--query', query, '--output', 'text')


def _tagged(plan: Plan) -> tuple[str, ...]:
    return '--resource-type', 'Parameter', '--resource-id', plan.parameter


def _digest(plan: Plan) -> str:
    """Return what a text is recognized by that was deployed before, although an operator edited it since."""
    return hashlib.sha256(plan.given.get(SOURCES[plan.name], '').encode()).hexdigest()


def _put(plan: Plan, text: str, digest: str, aws: Runs) -> None:
    request = {
        'Name': plan.parameter,
        'Description': 'Written by make deploy.',
        'Type': 'SecureString',
        'KeyId': _key(plan, aws),
        'Value': text,
        'Tier': 'Intelligent-Tiering',
        'Overwrite': True,
    }
    with _file(request) as path:
        aws.run('ssm', 'put-parameter', '--cli-input-json', path)
    aws.run('ssm', 'add-tags-to-resource', *_tagged(plan), '--tags', f'Key={TAG},Value={digest}')


def _key(plan: Plan, aws: Runs) -> str:
    """Return the stack's key, or the operator's."""
    if plan.after['KmsKeyArn']:
        return plan.after['KmsKeyArn']
    words = ('--stack-name', plan.stack, '--logical-resource-id', 'Key')
    query = ('--query', 'StackResourceDetail.PhysicalResourceId', '--output', 'text')
    return aws.run('cloudformation', 'describe-stack-resource', *words, *query)


@contextmanager
def _file(request: Mapping[str, object]) -> Iterator[str]:
    """A file that only this user can read: a command line is visible to every user of the machine."""
    with tempfile.NamedTemporaryFile('w', suffix='.json', encoding='utf-8') as file:  # mode 0600
        json.dump(request, file)
        file.flush()
        yield f'file://{file.name}'


def delete(stack: str, aws: Runs) -> None:
    """Delete the secrets of a removed stack; those that do not exist are ignored."""
    aws.run('ssm', 'delete-parameters', '--names', *(f'/{stack}/{name}' for name in SOURCES))
