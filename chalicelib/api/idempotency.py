"""The Idempotency-Key header of POST: a repeated request gets the first one's answer (docs/decisions/0061).

The header is the IETF draft's (draft-ietf-httpapi-idempotency-key-header). A key belongs to one project, user and path.
Token and policy are checked before the key is looked up, for each repetition.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from chalice.app import Response

from chalicelib import errors
from chalicelib.api import faults, front_door
from chalicelib.api.reply import reply
from chalicelib.api.request import Request
from chalicelib.api.resource import Route
from chalicelib.models import claims
from chalicelib.models.claims import Claim, Decision
from chalicelib.operations import idempotency as operations
from chalicelib.operations.idempotency import Answer, Asked

#: Header of an answer that repeats the first one.
REPLAYED = 'Idempotent-Replayed'

#: Characters of a key.
LONGEST = 255


class Rule(NamedTuple):
    """How a route's work is recognised when its request is repeated."""

    decision: Decision = Decision()
    #: The handler, called again, returns what it made before; else the answer is the route's status without a body.
    resumes: bool = False
    #: The answer holds a secret.
    is_secret: bool = False


def _makes(name: str, **facts: bool) -> Rule:
    return Rule(Decision(makes=name), resumes=True, **facts)


def _sets(*names: str, **facts: bool) -> Rule:
    return Rule(Decision(sets=frozenset(names)), **facts)


#: (path, action) -> rule. Any other POST is an action whose change of a status decides, and whose answer has no body;
#: or one that may be served again, since its repetition changes nothing more.
RULES: Mapping[tuple[str, str | None], Rule] = {
    ('/volumes', None): _makes('Volume'),
    ('/os-volume-manage', None): _makes('Volume'),
    ('/manageable_volumes', None): _makes('Volume'),
    ('/snapshots', None): _makes('Snapshot'),
    ('/os-snapshot-manage', None): _makes('Snapshot'),
    ('/manageable_snapshots', None): _makes('Snapshot'),
    ('/backups', None): _makes('Backup'),
    ('/backups/import_record', None): _makes('Backup'),
    ('/backups/{id}/action', 'cinderless:copy'): _makes('Backup'),
    ('/backups/{id}/restore', None): Rule(resumes=True),
    ('/backup-schedules', None): _makes('BackupSchedule'),
    ('/attachments', None): _makes('Attachment', is_secret=True),
    ('/volumes/{id}/action', 'os-attach'): Rule(Decision(makes='Attachment')),
    ('/volumes/{id}/action', 'os-initialize_connection'): Rule(resumes=True, is_secret=True),
    ('/volumes/{id}/action', 'os-migrate_volume_completion'): Rule(resumes=True),
    ('/volumes/{id}/action', 'os-volume_upload_image'): Rule(resumes=True),
    ('/volume-transfers', None): _makes('Transfer', is_secret=True),
    ('/os-volume-transfer', None): _makes('Transfer', is_secret=True),
    ('/volume-transfers/{id}/accept', None): Rule(resumes=True),
    ('/os-volume-transfer/{id}/accept', None): Rule(resumes=True),
    ('/groups', None): _makes('Group'),
    ('/groups/action', 'create-from-src'): _makes('Group'),
    ('/consistencygroups', None): _makes('Group'),
    ('/consistencygroups/create_from_src', None): _makes('Group'),
    ('/group_snapshots', None): _makes('GroupSnapshot'),
    ('/cgsnapshots', None): _makes('GroupSnapshot'),
    ('/groups/{id}/action', 'enable_replication'): _sets('replication_status'),
    ('/groups/{id}/action', 'disable_replication'): _sets('replication_status'),
    ('/groups/{id}/action', 'failover_replication'): _sets('replication_status'),
    ('/types', None): _makes('VolumeType'),
    ('/types/{id}/action', 'addProjectAccess'): _sets('projects'),
    ('/types/{id}/action', 'removeProjectAccess'): _sets('projects'),
    ('/types/{id}/encryption', None): _sets('encryption', resumes=True),
    ('/group_types', None): _makes('GroupType'),
    ('/qos-specs', None): _makes('QosSpecs'),
}


def once(route: Route, request: Request, ids: Mapping[str, str], body: Any, serve: Callable[[], Response]) -> Response:
    """Answer a request that bears a key: by ``serve``, or as the first request with the key was answered.

    Raises Invalid for a malformed key, IdempotencyKeyReused, IdempotencyKeyInUse.
    """
    rule = RULES.get((route.path, route.action), Rule())
    record = operations.take(request.context, _asked(route, request, ids, body))
    if record.code is not None:
        return _replayed(operations.answer_of(record))
    claim = Claim(record, rule.decision, record.begun)
    is_repeated = claim.begun is not None
    is_known = is_repeated and not rule.resumes
    response = reply(route.status) if is_known else _served(claim, rule, request, serve)
    operations.store(claim, _answer(response, rule))
    return _marked(response) if is_repeated else response


def _served(claim: Claim, rule: Rule, request: Request, serve: Callable[[], Response]) -> Response:
    """Serve under the claim. An error that is final and whose work was accepted is an answer too."""
    try:
        with claims.in_force(claim):
            return serve()
    except errors.CinderlessError as error:
        if error.code >= 500 or isinstance(error, errors.IdempotencyKeyInUse):
            operations.release(claim)
        elif claim.begun is None:
            operations.forget(claim)
        else:
            operations.store(claim, _answer(faults.refusal(error, whole=request.context.is_admin), rule))
        raise


def _asked(route: Route, request: Request, ids: Mapping[str, str], body: Any) -> Asked:
    key = request.headers[front_door.IDEMPOTENCY_KEY]
    if not 0 < len(key) <= LONGEST or not all(' ' <= character <= '~' for character in key):
        raise errors.Invalid(f'The Idempotency-Key must have 1 to {LONGEST} printable ASCII characters.')
    facts = json.dumps([body, dict(request.query), request.version], sort_keys=True)
    path = route.path.format(**{name: json.dumps(id) for name, id in ids.items()})
    return Asked(key, path, hashlib.sha256(facts.encode()).hexdigest())


def _answer(response: Response, rule: Rule) -> Answer:
    headers = {name: str(value) for name, value in response.headers.items()}
    return Answer(response.status_code, headers, str(response.body), rule.is_secret)


def _replayed(answer: Answer) -> Response:
    return _marked(Response(answer.body, dict(answer.headers), answer.code))


def _marked(response: Response) -> Response:
    response.headers[REPLAYED] = 'true'
    return response
