"""Keys of encrypted volumes, from the Barbican of Cinder's cloud into the built-in key manager, under the same ids.

Barbican gives a secret to a token of the project that owns it, and to no other: the operator's user needs a role there
(``creator``, or ``admin`` of the project). A key is read with that token, sealed by KMS at once, and never logged or
stored otherwise. Its record and its mark are one transaction.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

from chalicelib import errors
from chalicelib.clients.barbican import Secrets
from chalicelib.config import settings
from chalicelib.models import Secret
from chalicelib.operations import keys
from cinderless.errors import REFUSED, Failure
from cinderless.migration import items, ledger
from cinderless.migration.items import Item
from cinderless.migration.ledger import Mark
from cinderless.migration.report import Outcome, Report
from cinderless.migration.transactions import Writes
from cinderless.migration.writer import PIECE, batches, records_of

#: Kinds of records that name a key.
KINDS = ('Volume', 'Snapshot', 'Backup')

#: The secrets that a project's token may read. Raises ServiceUnavailable, or Failure without a role on the project.
SecretsOf = Callable[[str], Secrets]


def bring(report: Report, secrets_of: SecretsOf) -> None:
    """Store the key of each record that a migration brought, unless it is here; report those that cannot be read."""
    done = set[str]()
    for kind in KINDS:
        for marks in batches(ledger.every(kind), PIECE):
            for record in records_of(kind, marks).values():
                id = record.encryption_key_id
                if id and id not in done:
                    done.add(id)
                    _bring(report, secrets_of, record)


def _bring(report: Report, secrets_of: SecretsOf, record: Any) -> None:
    key = Item('Secret', record.project_id, record.encryption_key_id, {})
    if ledger.marks_of([key]):
        report.count('Secret', Outcome.SAME)
        return
    try:
        _store(key, record.user_id, secrets_of)
    except (errors.SecretNotFound, errors.ServiceUnavailable, errors.StateChanged, Failure) as error:
        report.count('Secret', Outcome.KEPT)
        report.findings.append(items.left_out('secrets', key.id, *_problem(record, error)))
        return
    report.count('Secret', Outcome.NEW)


def _store(key: Item, user_id: str, secrets_of: SecretsOf) -> None:
    secret = keys.imported(key.project_id, key.id, user_id, secrets_of(key.project_id).get(key.id))
    writes = Writes()
    writes.put(secret)
    writes.mark(Mark(*key.key, key.digest, int(secret.revision)), None)
    writes.commit()


def _problem(record: Any, error: Exception) -> tuple[str, str]:
    """Return what is wrong with the key of a record, and what to do."""
    of = f'the key of {record.resource} {record.id}'
    if isinstance(error, errors.SecretNotFound):
        advice = f'give the user the role creator on project {record.project_id}, or see whether the secret exists'
        return f'{of} is not given to the user, or is gone', f'{advice}; then run again'
    if isinstance(error, errors.StateChanged):
        return f'{of} has an id that is taken here', 'delete that secret, and run again'
    return f'{of} cannot be read: {error}', 'run again'


def missing(item: Item) -> Iterator[items.Finding]:
    """Yield a finding for an item whose key is neither in the deployment's Barbican nor here."""
    id = item.values.get('encryption_key_id')
    if id and not settings().barbican_url and Secret.find_or_none(item.project_id, id) is None:
        advice = 'run with --keys CLOUD, or set the parameter BarbicanUrl to keep the keys where they are'
        yield items.decision(item.kind, item.id, f'its key {id} is in Barbican, and not here', advice)


def of_cloud(name: str) -> SecretsOf:
    """Return the secrets of a cloud of clouds.yaml, read with its user under a token of each project.

    Raises Failure if the deployment has a Barbican of its own.
    """
    if settings().barbican_url:
        raise Failure('this deployment uses Barbican (BarbicanUrl): the keys stay there, without --keys', REFUSED)
    return functools.lru_cache(maxsize=16)(functools.partial(_secrets, name))


def _secrets(cloud: str, project_id: str) -> Secrets:
    import openstack
    from keystoneauth1 import exceptions

    auth = {'project_id': project_id, 'project_name': None}
    session = openstack.config.OpenStackConfig().get_one(cloud=cloud, auth=auth).get_session()
    try:
        url = session.get_endpoint(service_type='key-manager')
        token = str(session.get_token())
    except exceptions.ClientException as error:
        raise Failure(f'the user of {cloud} gets no token of project {project_id}: {type(error).__name__}') from None
    if not url:
        raise Failure(f'the catalog of {cloud} has no key-manager', REFUSED)
    return Secrets(url.rstrip('/').removesuffix('/v1'), _Token(token))


class _Token:
    """The token of a project, as the source that a port takes."""

    def __init__(self, token: str) -> None:
        self._token = token

    def service_token(self, refused: str | None = None) -> str:
        """Return the token. Raises ServiceUnavailable when it was refused: it has expired."""
        if refused == self._token:
            raise errors.ServiceUnavailable(reason='the token was refused')
        return self._token
