"""Store of all state: installed before moto starts, saved after each request and before its answer."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path

from local import fidelity
from local.calls import Answer, Call, json_error, xml_error
from local.ebs.cloud import Refused
from local.ebs.wire import rest_refusal, xml_refusal
from local.kept.documents import Documents
from local.kept.ebs import Volumes
from local.kept.objects import Objects
from local.kept.secrets import Keys, Secrets, SecureStrings

log = logging.getLogger('local.kept')

#: Operations of KMS and Secrets Manager that change nothing, by the first word of their names.
_READS = ('BatchGet', 'Decrypt', 'Describe', 'Encrypt', 'Generate', 'Get', 'List', 'ReEncrypt', 'Verify')


class WriteThrough:
    """Objects, keys and secrets of moto, and the EBS emulator's volumes, in ``folder``."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self._documents = Documents(folder / 'documents.db')
        self._objects = Objects(self._documents, folder / 'objects')
        self._keys = Keys(self._documents)
        self._secrets = Secrets(self._documents)
        self._secure_strings = SecureStrings(self._documents)
        self._volumes = Volumes(self._documents, folder / 'ebs-blocks')
        self._by_service: dict[str, Callable[[Call], None]] = {
            's3': lambda call: self._objects.save(call.host, call.path),
            'kms': lambda call: self._keys.save(),
            'secretsmanager': lambda call: self._secrets.save(),
            'ssm': lambda call: self._secure_strings.save(),
            'ec2': lambda call: self._volumes.save(),
            'ebs': lambda call: self._volumes.save(),
        }

    def install(self) -> None:
        """Patch moto; before it starts."""
        self._objects.install()
        self._keys.install()

    def before_deploy(self) -> None:
        """Restore the state that the stack uses, once moto has started."""
        self._secrets.restore()
        self._secure_strings.restore()
        self._volumes.restore(fidelity.ebs())

    def after_deploy(self) -> None:
        """Restore the state outside the stack, and store the resources that the stack created."""
        self._objects.restore()
        self._keys.restore()
        self._keys.save()
        self._secrets.save()
        self._secure_strings.save()

    def refusal(self, call: Call) -> Answer | None:
        """Return the error response for a call that would store much, None for all others. For a full disk.

        A deletion of a backup stores a small object, too.
        """
        is_large = call.method == 'PUT' and len(call.body) > SMALL
        return _FAILED[call.service] if is_large and call.service in ('s3', 'ebs') else None

    def save(self, call: Call) -> Answer | None:
        """Store a request's changes; return an error response when that fails. Call under the lock of the service."""
        save = self._by_service.get(call.service)
        if save is None or _reads(call):
            return None
        try:
            save(call)
        except (OSError, sqlite3.Error) as error:
            log.error('%s %s could not be stored: %s', call.service, call.operation or call.method, error)
            return _FAILED[call.service]
        return None

    def close(self) -> None:
        self._documents.close()


def _reads(call: Call) -> bool:
    """Whether a call changes nothing. EC2 has its operation in the body."""
    return call.method in ('GET', 'HEAD') or call.operation.startswith(_READS) or b'Action=Describe' in call.body[:999]


#: Bytes of an object that is stored on a full disk, too.
SMALL = 64 * 1024

_MESSAGE = 'The local cloud could not store this. Is its disk full?'

#: AWS's answer to an internal failure; clients retry the request.
_FAILED = {
    's3': xml_error(500, 'InternalError', _MESSAGE),
    'kms': json_error(500, 'KMSInternalException', _MESSAGE),
    'secretsmanager': json_error(500, 'InternalServiceError', _MESSAGE),
    'ssm': json_error(500, 'InternalServerError', _MESSAGE),
    'ec2': xml_refusal(Refused('InternalError', _MESSAGE, 500)),
    'ebs': rest_refusal(Refused('InternalServerException', _MESSAGE, 500)),
}
