"""moto's KMS keys and secrets, written through. A restart keeps encrypted data readable.

Symmetric keys are stored, with their aliases: the service creates no others.
"""

from __future__ import annotations

from typing import Any

from moto.kms import models
from moto.secretsmanager.models import FakeSecret, secretsmanager_backends
from moto.ssm.models import ssm_backends

from local.kept.documents import Changed, Documents, described, restored
from local.settings import ACCOUNT, REGION

#: moto's KMS, of which names are replaced and abstract classes are made.
kms: Any = models

#: Attributes that are not stored: those that a symmetric key lacks, and references to other objects.
_OF_KEYS = ('private_key', 'grants', 'aliases', 'rotations')
_OF_SECRETS = ('replicas',)

#: Facts that are the same for every SecureString.
_SECURE_STRING: dict[str, Any] = {
    'description': '',
    'parameter_type': 'SecureString',
    'allowed_pattern': None,
    'overwrite': True,
    'tags': [],
    'data_type': 'text',
    'policies': None,
}


class Keys:
    """KMS. ``install`` it before moto starts; ``save`` after each request, under KMS's lock."""

    def __init__(self, documents: Documents) -> None:
        self._changed = Changed(documents, 'key')
        self._of_stack = Changed(documents, 'stack key')

    def install(self) -> None:
        """Give a key of the stack the identity and material that it had; moto makes no RSA key that nothing uses."""
        generate = kms.generate_private_key
        kms.generate_private_key = lambda spec: None if spec == 'SYMMETRIC_DEFAULT' else generate(spec)
        create = kms.Key.create_from_cloudformation_json.__func__

        def created(cls: Any, resource_name: str, *rest: Any, **named: Any) -> Any:
            return self._adopted(create(cls, resource_name, *rest, **named), resource_name.rpartition('-')[0])

        kms.Key.create_from_cloudformation_json = classmethod(created)

    def _adopted(self, key: Any, name: str) -> Any:
        known = self._of_stack.stored.get(name)
        document = self._changed.stored.get(known['id']) if known else None
        if document:
            keys = _kms().keys
            del keys[key.id]
            keys[document['id']] = _restored_key(key, document)
        self._of_stack.save({**self._of_stack.stored, name: {'id': key.id}})
        return key

    def restore(self) -> None:
        """Create the keys that are not part of the stack, and every alias."""
        keys = _kms().keys
        for id, document in self._changed.stored.items():
            if id not in keys:
                fresh = kms.Key(None, document['key_usage'], document['key_spec'], '', ACCOUNT, REGION)
                keys[id] = _restored_key(fresh, document)
            for alias in document['aliases']:
                if alias not in keys[id].aliases:
                    keys[id].aliases[alias] = kms.Alias(ACCOUNT, REGION, alias, keys[id])

    def save(self) -> None:
        """Store what changed. Raises sqlite3.Error."""
        self._changed.save(
            {
                id: {**described(key, *_OF_KEYS), 'aliases': list(key.aliases)}
                for id, key in _kms().keys.items()
                if key.key_spec == 'SYMMETRIC_DEFAULT' and key.key_manager == 'CUSTOMER'
            }
        )


class Secrets:
    """Secrets Manager. ``restore`` it before the stack is deployed; ``save`` after each request, under its lock."""

    def __init__(self, documents: Documents) -> None:
        self._changed = Changed(documents, 'secret')

    def restore(self) -> None:
        for name, document in self._changed.stored.items():
            fresh = FakeSecret(ACCOUNT, REGION, name, {}, '')
            _secrets()[name] = restored(fresh, document)

    def save(self) -> None:
        """Store what changed. Raises sqlite3.Error."""
        self._changed.save({secret.name: described(secret, *_OF_SECRETS) for secret in _secrets().values()})


class SecureStrings:
    """SSM's encrypted parameters. ``restore`` them before the stack is deployed; the stack writes all others."""

    def __init__(self, documents: Documents) -> None:
        self._changed = Changed(documents, 'secure string')

    def restore(self) -> None:
        for name, document in self._changed.stored.items():
            _ssm().put_parameter(name=name, **_SECURE_STRING, **document)

    def save(self) -> None:
        """Store what changed. Raises sqlite3.Error."""
        found = {name: versions[-1] for name, versions in _ssm()._parameters.items() if versions}
        self._changed.save(
            {
                name: {'value': each.decrypt(each.value), 'keyid': each.keyid, 'tier': each.tier}
                for name, each in found.items()
                if each.parameter_type == 'SecureString'
            }
        )


def _restored_key(key: Any, document: dict[str, Any]) -> Any:
    return restored(key, {name: value for name, value in document.items() if name != 'aliases'})


def _kms() -> Any:
    return kms.kms_backends[ACCOUNT][REGION]


def _ssm() -> Any:
    return ssm_backends[ACCOUNT][REGION]


def _secrets() -> Any:
    return secretsmanager_backends[ACCOUNT][REGION].secrets
