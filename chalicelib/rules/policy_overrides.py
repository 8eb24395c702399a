"""Policy overrides: rules of an operator's ``policy.yaml`` in place of Cinder's defaults (rules/policies.py).

With overrides all of Cinder's rules are evaluated as oslo.policy does it, since each may refer to one that is
overridden. Rules of this service's extensions keep their defaults, and an override can only restrict them. Only
deployments with overrides import this module.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import logging
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from chalicelib.context import Context, implied_roles
from chalicelib.rules import policy_language
from chalicelib.rules.policies import (
    ANY_AUTHENTICATED,
    EXTENSIONS,
    POLICIES,
    Predicate,
    admin,
    project_member,
    project_reader,
)
from chalicelib.rules.policy_language import Expression, Facts, Unusable

logger = logging.getLogger(__name__)

#: Cinder's rules that others refer to (cinder/policies/base.py).
HELPERS: Mapping[str, str] = {
    'admin_or_owner': 'is_admin:True or (role:admin and is_admin_project:True) or project_id:%(project_id)s',
    'system_or_domain_or_project_admin': (
        '(role:admin and system_scope:all) or (role:admin and domain_id:%(domain_id)s) or '
        '(role:admin and project_id:%(project_id)s)'
    ),
    'context_is_admin': 'role:admin',
    'admin_api': 'is_admin:True or (role:admin and is_admin_project:True)',
    'xena_system_admin_or_project_reader': '(role:admin) or (role:reader and project_id:%(project_id)s)',
    'xena_system_admin_or_project_member': '(role:admin) or (role:member and project_id:%(project_id)s)',
}

#: Predicate of the table -> the check string of the rules that have it.
CHECKS: Mapping[Predicate, str] = {
    admin: 'rule:admin_api',
    project_member: 'rule:xena_system_admin_or_project_member',
    project_reader: 'rule:xena_system_admin_or_project_reader',
}

#: A rule of Cinder that no route checks.
WITHOUT_ROUTE = {'group:update_group_snapshot': project_member}

_ADMIN, _OWNER = 'rule:admin_api', 'rule:admin_or_owner'

#: Former name of a rule -> (its default then, the names that replace it).
RENAMED: Mapping[str, tuple[str, tuple[str, ...]]] = {
    'group:group_types_manage': (_ADMIN, tuple(f'group:group_types:{verb}' for verb in ('create', 'update', 'delete'))),
    'group:group_types_specs': (
        _ADMIN,
        tuple(f'group:group_types_specs:{verb}' for verb in ('get', 'get_all', 'create', 'update', 'delete')),
    ),
    'volume_extension:quota_classes': (
        _ADMIN,
        tuple(f'volume_extension:quota_classes:{verb}' for verb in ('get', 'update')),
    ),
    'volume_extension:types_manage': (
        _ADMIN,
        tuple(f'volume_extension:type_{verb}' for verb in ('create', 'update', 'delete')),
    ),
    'volume_extension:volume_image_metadata': (
        _OWNER,
        tuple(f'volume_extension:volume_image_metadata:{verb}' for verb in ('show', 'set', 'remove')),
    ),
}

_FORMER = {new: (old, check) for old, (check, names) in RENAMED.items() for new in names}

#: Decides who passes the check ``is_admin:True``.
IS_ADMIN = 'context_is_admin'

#: Takes the place of rules that do not exist, if it is defined (oslo.policy's policy_default_rule).
DEFAULT = 'default'


def default_check(rule: str) -> str | None:
    """Return the check string of a rule without overrides; None for one that does not exist."""
    predicate = {**POLICIES, **WITHOUT_ROUTE}.get(rule)
    return HELPERS.get(rule) if predicate is None or rule == ANY_AUTHENTICATED else CHECKS[predicate]


def document(text: str) -> dict[str, Any]:
    """Return the rules of a document: a JSON object, or one that is compressed by gzip and then in base64.

    Raises ValueError for any other text.
    """
    if not text.lstrip().startswith('{'):
        try:
            text = zlib.decompress(base64.b64decode(text, validate=True), wbits=31).decode()
        except zlib.error as error:
            raise ValueError(error) from None
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError('not a JSON object')
    return found


def encoded(rules: Mapping[str, Any], limit: int) -> str:
    """Return the text of a document: plain, or compressed if it has more than ``limit`` bytes."""
    text = json.dumps(rules, separators=(',', ':'), sort_keys=True)
    if len(text) <= limit:
        return text
    return base64.b64encode(zlib.compress(text.encode(), 9, wbits=31)).decode()


class Overrides:
    """The rules of one document. Rules are parsed when they are first used."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.given = given
        self._parsed: dict[str, Expression | None] = {}

    def is_admin(self, context: Context) -> bool:
        """Return whether the caller is an administrator, by the rule ``context_is_admin``; the target is the caller."""
        caller = {**_facts(context), 'is_admin': None}
        return self._holds(IS_ADMIN, context, caller, caller)

    def allows(
        self, context: Context, rule: str, project_id: str | None, find: Callable[[], Any] | None = None
    ) -> bool:
        """Return whether the caller passes a rule of the table, as ``policies.allowed`` does.

        ``find`` returns the record that the operation is about. Raises KeyError for a rule that does not exist, and
        what ``find`` raises.
        """
        predicate = POLICIES[rule]
        if rule == ANY_AUTHENTICATED:
            return True
        if rule in EXTENSIONS:
            own = context.project_id if project_id is None else project_id
            if not predicate(self.bounded(context), own) or rule not in self.given:
                return predicate(self.bounded(context), own)
        return self._holds(rule, context, Target(context, project_id, find), _facts(context))

    def bounded(self, context: Context) -> Context:
        """Return the caller as extensions see it: an override of ``context_is_admin`` makes no administrators there."""
        return dataclasses.replace(context, admin=context.is_admin and 'admin' in context.roles)

    def _holds(self, rule: str, context: Context, target: Mapping[str, Any], caller: Mapping[str, Any]) -> bool:
        try:
            return policy_language.evaluate(('rule', rule), Facts(target, caller, self.expression))
        except (Unusable, RecursionError) as error:
            logger.error('the policy override of %s is not usable, so the request is denied: %s', rule, error)
            return False

    def expression(self, rule: str) -> Expression | None:
        """Return what a rule means; None for one that does not exist."""
        if rule not in self._parsed:
            found, _ = self.source(rule)
            self._parsed[rule] = None if found is None else policy_language.parse(found)
        return self._parsed[rule]

    def source(self, rule: str) -> tuple[Any, str]:
        """Return a rule as it is written, None if it does not exist, and the name in the document; '' for a default."""
        if rule in self.given:
            return self.given[rule], rule
        former, check = _FORMER.get(rule, ('', ''))
        if former in self.given and self._is_changed(self.given[former], check, rule):
            return self.given[former], former
        found = default_check(rule)
        if found is None and DEFAULT in self.given:
            return self.given[DEFAULT], DEFAULT
        return found, ''

    @staticmethod
    def _is_changed(given: Any, former_check: str, rule: str) -> bool:
        """Return whether a rule under its former name is more than its default, or a reference to the new name."""
        return policy_language.parse(given) not in (policy_language.parse(former_check), ('rule', rule))


def _facts(context: Context) -> dict[str, Any]:
    """Return the caller's attributes under oslo.context's names."""
    return {
        'user_id': context.user_id,
        'user_domain_id': context.user_domain_id,
        'system_scope': None,
        'domain_id': None,
        'project_id': context.project_id,
        'project_domain_id': context.project_domain_id,
        'roles': sorted(implied_roles(context.roles)),
        'is_admin_project': True,
        'service_roles': sorted(context.service_roles),
        'is_admin': context.is_admin,
    }


#: Attributes that most of Cinder's objects have.
_COMMON = ('id', 'project_id', 'user_id', 'status')

#: Kind of a record -> the attributes that rules may compare, under Cinder's names; ``=`` before this service's name.
#: An attachment and a message have no user in Cinder: ``%(user_id)s`` is the caller there.
ATTRIBUTES: Mapping[str, Mapping[str, str]] = {
    kind: {name.partition('=')[0]: name.rpartition('=')[2] for name in names}
    for kind, names in {
        'Volume': (
            *_COMMON, 'size', 'host', 'availability_zone', 'display_name=name', 'display_description=description',
            'volume_type_id', 'snapshot_id', 'source_volid', 'group_id', 'bootable', 'multiattach', 'attach_status',
            'migration_status', 'previous_status', 'replication_status', 'encryption_key_id', 'provider_id',
        ),
        'Snapshot': (
            *_COMMON, 'volume_id', 'volume_size', 'display_name=name', 'display_description=description',
            'volume_type_id', 'group_snapshot_id', 'encryption_key_id', 'provider_id',
        ),
        'Backup': (
            *_COMMON, 'volume_id', 'snapshot_id', 'size', 'container', 'availability_zone', 'display_name=name',
            'display_description=description', 'parent_id', 'restore_volume_id', 'encryption_key_id',
        ),
        'Group': (*_COMMON, 'name', 'description', 'host', 'availability_zone', 'group_type_id', 'replication_status'),
        'GroupSnapshot': (*_COMMON, 'name', 'description', 'group_id', 'group_type_id'),
        'Attachment': (
            'id', 'project_id', 'volume_id', 'instance_uuid=instance_id', 'attached_host', 'mountpoint', 'attach_mode',
            'attach_status',
        ),
        'Message': ('id', 'project_id', 'resource_type', 'resource_uuid', 'detail_id', 'action_id', 'request_id'),
    }.items()
}  # fmt: skip

#: The attributes of records that Cinder does not have.
_OWNER_ALONE = {'project_id': 'project_id', 'user_id': 'user_id'}


class Target(dict[str, Any]):
    """The attributes of an operation's object, which is looked up when a rule compares one of them.

    As in Cinder, an operation without an object has the caller's project and user, which are also those of an object
    that has none. A quota has the project alone.
    """

    def __init__(self, context: Context, project_id: str | None, find: Callable[[], Any] | None) -> None:
        own = {'project_id': context.project_id, 'user_id': context.user_id}
        super().__init__(own if project_id is None else {'project_id': project_id})
        self._own, self._find = own, find if project_id is None else None
        if self._find is not None:
            del self['user_id']
            if context.is_admin:  # other callers find records of their own project only
                del self['project_id']

    def __missing__(self, name: str) -> Any:
        if self._find is None:
            raise KeyError(name)
        record, self._find = self._find(), None
        names = ATTRIBUTES.get(type(record).__name__, _OWNER_ALONE)
        self.update(self._own, **{name: getattr(record, attribute) for name, attribute in names.items()})
        return self[name]
