"""Keys of encrypted volumes: one per volume, made with it, cloned with its data, gone with it.

The service never uses a key: Nova fetches it, turns its bytes into hexadecimal digits, and opens LUKS with those. With
``BARBICAN_URL`` keys lie there, under the caller's own token, as Cinder keeps them. Else the built-in key manager keeps
them in a table, wrapped by KMS, and ``/key-manager`` gives them to the project. A clone is a secret of its own with the
same bytes, so that deleting one volume does not lock the other.
"""

from __future__ import annotations

import contextlib
import hmac
import logging
import secrets
import uuid
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from chalicelib import aws, errors
from chalicelib.context import Context, caller_token
from chalicelib.models import Secret, base
from chalicelib.operations import cloud, common

if TYPE_CHECKING:
    from chalicelib.clients.barbican import Key

logger = logging.getLogger(__name__)

#: Cinder's defaults of a type's encryption.
CIPHER, KEY_SIZE = 'aes-xts-plain64', 256

#: What Cinder names its keys in Barbican.
MODE = 'cbc'


class NewKey(NamedTuple):
    """A key that a record is about to refer to. ``record`` is to be written with it; None: Barbican stores it."""

    id: str
    record: Secret | None = None

    def add_to(self, transaction: base.Transaction) -> None:
        """Write the key in the transaction of the record that refers to it."""
        if self.record is not None:
            transaction.put(self.record, Secret.id.does_not_exist(), lambda: errors.ServiceUnavailable(reason=self.id))

    def discard(self) -> None:
        """Delete the key from Barbican when no record refers to it; a key that ``add_to`` writes needs no undoing."""
        if self.record is None:
            _forget_in_barbican(self.id)


@contextlib.contextmanager
def discarding(key: NewKey | None) -> Iterator[None]:
    """What is written inside refers to the key; when it cannot be written, the key is forgotten."""
    try:
        yield
    except BaseException:
        if key:
            key.discard()
        raise


def restored(project_id: str, id: str, user_id: str, payload: bytes, algorithm: str, bits: int) -> NewKey:
    """Return a key of the built-in key manager under the id that it had in another deployment."""
    return NewKey(id, _sealed(project_id, id, user_id, payload, algorithm, bits))


def create(context: Context, encryption: Mapping[str, Any]) -> NewKey:
    """Make a key with the cipher and size of a volume type's encryption. Raises ServiceUnavailable."""
    algorithm = str(encryption.get('cipher') or CIPHER).partition('-')[0]
    bits = int(encryption.get('key_size') or KEY_SIZE)
    return _stored(context, context.project_id, secrets.token_bytes(-(-bits // 8)), algorithm, bits)


def check_unattended(id: str | None) -> None:
    """Raise InvalidVolume for a key that can only be read while its user is there: one in Barbican."""
    if id is not None and cloud.barbican() is not None:
        raise errors.InvalidVolume(
            reason=f'Its key {id} is in Barbican, which gives it to a token of its project only, and a schedule has '
            'none: back the volume up by a request of your own.'
        )


def clone(context: Context, project_id: str, id: str, *, to: str | None = None) -> NewKey:
    """Store a project's key again under a new id, for ``to`` (another project) if it is given.

    Raises SecretNotFound for a key that is gone: the data that it locks cannot be read any more; InvalidVolume for one
    that is in Barbican when no request of a user is being served.
    """
    if not caller_token.get():
        check_unattended(id)
    if cloud.barbican() is not None:
        kept = cloud.secrets_of_caller().get(id)
        return _stored(context, project_id, kept.payload, kept.algorithm, kept.bit_length)
    secret = Secret.find(project_id, id)
    return _stored(context, to or project_id, payload(secret), secret.algorithm, int(secret.bit_length))


def _stored(context: Context, project_id: str, key: bytes, algorithm: str, bits: int) -> NewKey:
    if cloud.barbican() is not None:
        return NewKey(cloud.secrets_of_caller().create(key, algorithm=algorithm, bit_length=bits, mode=MODE))
    id = str(uuid.uuid4())
    return NewKey(id, _sealed(project_id, id, context.user_id, key, algorithm, bits))


def imported(project_id: str, id: str, user_id: str, key: Key) -> Secret:
    """Return the record of a Barbican's key, for the built-in key manager; a migration writes it."""
    bits = key.bit_length or 8 * len(key.payload)
    return _sealed(project_id, id, user_id, key.payload, key.algorithm, bits)


def _sealed(project_id: str, id: str, user_id: str, key: bytes, algorithm: str, bits: int) -> Secret:
    return Secret(
        project_id,
        id,
        created_at=base.now(),
        user_id=user_id,
        algorithm=algorithm,
        bit_length=bits,
        sealed=aws.seal(key.hex(), purpose(project_id, id)),
    )


def purpose(project_id: str, id: str) -> str:
    """What the key is sealed for: a record copied to another project does not open."""
    return f'key/{project_id}/{id}'


def get(context: Context, id: str) -> Secret:
    """Return what is known of a key of the caller's project, which an administrator of the cloud must be in, too.

    Barbican's rules (``role:admin and project_id:...``) deny the keys of another project to every caller. Raises
    SecretNotFound.
    """
    if not 0 < len(id) <= common.LONGEST_ID:
        raise errors.SecretNotFound(id=id)
    return Secret.find(context.project_id, id)


def payload(secret: Secret) -> bytes:
    """The key itself."""
    return bytes.fromhex(aws.unseal(secret.sealed, purpose(secret.project_id, secret.id)))


def add_removal_to(transaction: base.Transaction, project_id: str, id: str | None) -> None:
    """Forget a key together with what it locked, or with the record that has another one now.

    With Barbican nothing happens: there ``release`` deletes it, since only the caller's token may.
    """
    if id is not None and cloud.barbican() is None:
        gone_or_not = Secret.id.exists() | Secret.id.does_not_exist()
        transaction.delete(Secret(project_id, id), gone_or_not, lambda: errors.SecretNotFound(id=id))


def add_transfer_to(transaction: base.Transaction, context: Context, project_id: str, id: str | None) -> None:
    """Hand a project's key over to the caller's, together with what it locks (a transfer); its id stays.

    Raises InvalidVolume with Barbican, which cannot transfer a secret: the giver's key would keep opening the volume,
    and this service may not read it for the taker.
    """
    if id is None or project_id == context.project_id:
        return
    if cloud.barbican() is not None:
        raise errors.InvalidVolume(reason='An encrypted volume whose key is in Barbican cannot change its project.')
    given = Secret.find(project_id, id)
    bits = int(given.bit_length)
    taken = _sealed(context.project_id, id, context.user_id, payload(given), given.algorithm, bits)
    gone = errors.SecretNotFound(id=id)
    transaction.delete(given, Secret.id.exists(), lambda: gone)
    transaction.put(taken, Secret.id.does_not_exist(), lambda: gone)


def is_same(project_id: str, id: str, other_project_id: str, other_id: str) -> bool:
    """Whether two keys have the same bytes. Raises SecretNotFound."""
    if id == other_id:
        return True
    if cloud.barbican() is not None:
        port = cloud.secrets_of_caller()
        return hmac.compare_digest(port.get(id).payload, port.get(other_id).payload)
    one, other = Secret.find(project_id, id), Secret.find(other_project_id, other_id)
    return hmac.compare_digest(payload(one), payload(other))


def release(id: str | None) -> None:
    """The caller's removal of what the key locks was accepted: with Barbican, delete the key now, as Cinder does."""
    if id is not None and cloud.barbican() is not None:
        _forget_in_barbican(id)


def _forget_in_barbican(id: str) -> None:
    try:
        cloud.secrets_of_caller().delete(id)
    except errors.ServiceUnavailable as error:
        logger.warning('key %s is left in Barbican: %s', id, error.message)
