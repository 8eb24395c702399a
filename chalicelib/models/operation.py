"""Operations: what became of each request whose work a workflow carries out."""

from __future__ import annotations

from pynamodb.attributes import JSONAttribute, NumberAttribute, UnicodeAttribute

from chalicelib import errors
from chalicelib.models import base


class Operation(base.Record):
    """``id`` is the id of the request, in the partition of the project that owns the resource.

    Written by the transactions that begin and end the work (models/operation_log.py), and removed by the table's TTL.
    No attribute is named ``status``: claims.py would take its write for the one that accepts a request.
    """

    Meta = base.meta('operations', ttl_attribute='expires')
    resource = 'operation'
    not_found = errors.OperationNotFound

    by_created_at = base.ByCreatedAt()
    by_id = base.ById()

    #: The caller, or for work that no request began, the user of the resource.
    user_id = UnicodeAttribute(null=True)
    action = UnicodeAttribute(null=True)
    resource_type = UnicodeAttribute(null=True)
    resource_id = UnicodeAttribute(null=True)
    resource_name = UnicodeAttribute(null=True)
    #: {'resource', 'project_id', 'id', 'action'} of each workflow that works for the request: the first, and the last
    #: that it went on to (a new volume's data is restored by a second state machine).
    first = JSONAttribute(null=True)
    last = JSONAttribute(null=True)
    #: {'at', 'status', 'failed', 'error', 'cause', 'host', 'tried', 'why'} of the end; only the first end counts.
    end = JSONAttribute(null=True)
    #: The end of a group, which waits for its volumes.
    end_of_group = JSONAttribute(null=True)
    #: X-Ray's header of the request, where it was traced.
    trace = UnicodeAttribute(null=True)
    #: Seconds since the epoch.
    expires = NumberAttribute(null=True)

    def outcome(self) -> dict[str, object] | None:
        """Return the facts of the end; None while the work is under way."""
        found = self.end_of_group if self.resource_type == 'group' else self.end
        return None if found is None else dict(found)
