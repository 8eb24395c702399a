"""The members of a response: a table of fields, each with its version and its required permission.

VOLUME = View(
    attribute('id'),
    Field('bootable', lambda volume, request: str(volume.bootable).lower()),
    attribute('provider_id', since='3.21', admin_only=True),
    Field('encryption_key_id', ..., since='3.64', when=lambda volume: volume.encryption_key_id is not None),
)
show = VOLUME.of(request)   # chooses the fields once per request
show(record)                # -> dict
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from chalicelib.api.request import Request
from chalicelib.rules import microversions
from chalicelib.rules.microversions import Version
from chalicelib.rules.policies import allowed

Value = Callable[[Any, Request], Any]
Shown = Callable[[Any], dict[str, Any]]


class Field(NamedTuple):
    """One member of a view."""

    name: str
    value: Value
    since: Version
    until: Version
    admin_only: bool
    #: Rule without which the member is left out.
    policy: str | None
    #: The member is present only for records that satisfy this.
    when: Callable[[Any], bool] | None
    #: The member, which is not Cinder's, is present only if the query contains this name: strict clients refuse it.
    requested_by: str | None = None
    #: The record's attribute that is the value.
    source: str | None = None
    #: The only attribute that the value is computed from.
    reads: str | None = None

    def shown(self, request: Request) -> bool:
        if not self.since <= request.version <= self.until:
            return False
        if self.admin_only and not request.context.is_admin:
            return False
        if self.requested_by is not None and self.requested_by not in request.query:
            return False
        return self.policy is None or allowed(request.context, self.policy)


def field(
    name: str,
    value: Value,
    *,
    since: str = '3.0',
    until: str = microversions.text(microversions.MAXIMUM),
    admin_only: bool = False,
    policy: str | None = None,
    when: Callable[[Any], bool] | None = None,
    requested_by: str | None = None,
    source: str | None = None,
    reads: str | None = None,
) -> Field:
    """Return a member whose value is computed from the record and the request."""
    versions = microversions.parse(since), microversions.parse(until)
    return Field(name, value, *versions, admin_only, policy, when, requested_by, source, reads)


def attribute(name: str, source: str | None = None, **facts: Any) -> Field:
    """Return a member with the record's attribute ``source``, by default of the same name."""
    key = source or name
    return field(name, lambda record, request: getattr(record, key), source=key, **facts)


def item(name: str, source: str | None = None, **facts: Any) -> Field:
    """Return a member of a row that is a mapping."""
    key = source or name
    return field(name, lambda row, request: row[key], **facts)


def nothing(name: str, **facts: Any) -> Field:
    """Return a member that this service does not support: always null."""
    return field(name, lambda record, request: None, **facts)


def links(collection: str) -> Field:
    """Return the member ``links``."""
    return field('links', lambda record, request: request.links(collection, record.id), reads='id')


class View:
    """Fields in Cinder's order."""

    def __init__(self, *fields: Field) -> None:
        self.fields = fields

    def and_(self, *fields: Field) -> View:
        """Return this view with more fields."""
        return View(*self.fields, *fields)

    def attributes(self, kind: type) -> frozenset[str] | None:
        """Return the attributes of a class of records that suffice for this view; None if it may need any."""
        known: Mapping[str, Any] = kind.get_attributes() if hasattr(kind, 'get_attributes') else _EMPTY
        needed = {each.reads or each.source for each in self.fields if each.when is None}
        suffice = needed <= known.keys() and all(each.when is None for each in self.fields)
        return frozenset(name for name in needed if name) if suffice else None

    def of(self, request: Request) -> Shown:
        """Return the function that shows a record to this request."""
        chosen = [each for each in self.fields if each.shown(request)]
        members: dict[type, _Members] = {}

        def show(record: Any) -> dict[str, Any]:
            kind = type(record)
            known = members.get(kind)
            if known is None:
                known = members[kind] = _members(chosen, kind)
            # Most members are stored attributes. They are read in one pass without a call of Python.
            stored = record.attribute_values.get if known.is_model else _EMPTY.get
            shown = dict(zip(known.names, map(stored, known.stored), strict=True))
            for name, value in known.computed:
                shown[name] = value(record, request)
            for name, value, when in known.conditional:
                if when(record):
                    shown[name] = value(record, request)
            return shown

        return show


class _Members(NamedTuple):
    """The members of one class of records: all names in order, each with its stored attribute, '' for none."""

    is_model: bool
    names: list[str]
    stored: list[str]
    computed: list[tuple[str, Value]]
    conditional: list[tuple[str, Value, Callable[[Any], bool]]]


_EMPTY: Mapping[str, Any] = {}


def _members(chosen: Sequence[Field], kind: type) -> _Members:
    """``kind``: a class of records, whose attributes are in ``attribute_values``, or any other with the fields' own."""
    attributes: Mapping[str, Any] = kind.get_attributes() if hasattr(kind, 'get_attributes') else _EMPTY
    always = [each for each in chosen if each.when is None]
    return _Members(
        is_model=bool(attributes),
        names=[each.name for each in always],
        stored=[each.source if each.source and each.source in attributes else '' for each in always],
        computed=[(each.name, each.value) for each in always if each.source not in attributes],
        conditional=[(each.name, each.value, each.when) for each in chosen if each.when is not None],
    )
