"""The AWS calls that each function may make, from the types in the source: ``python -m tests.call_graph``.

mypy gives the type of every expression. A project function reaches each function that it names, calls, or gets as a
value. A PynamoDB verb on a model is a use of that model's table. Code for any record (``base``, ``common``) counts for
each caller, with the models among the arguments of the call. Other services are found by name: EC2's and EBS's
operations by the text that names one, those of the rest by the method of a client, which has no type. The result
includes branches that are never taken. It misses only uses through tables of models (``KINDS``), whose types are too
wide.
"""

from __future__ import annotations

import functools
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import botocore.session
from botocore import xform_name
from mypy import build, nodes, types
from mypy.main import process_options

from infra.render import ROOT
from local import recorder, workers

PACKAGE = 'chalicelib'
MODEL = 'pynamodb.models.Model'

#: PynamoDB's verbs on a model, on a record, and our own in a transaction, as permissions.
OF_MODELS = {
    'get': 'GetItem', 'query': 'Query', 'scan': 'Scan', 'batch_get': 'BatchGetItem', 'count': 'Query',
}  # fmt: skip
OF_RECORDS = {'refresh': 'GetItem', 'save': 'PutItem', 'update': 'UpdateItem', 'delete': 'DeleteItem'}
IN_TRANSACTION = {'put': 'PutItem', 'update': 'UpdateItem', 'delete': 'DeleteItem', 'check': 'ConditionCheckItem'}

#: Reads the records of a project or of all projects; the second argument decides.
EVERY = 'chalicelib.models.base.every'

#: Placeholder for the record that the caller passes.
ANY = 'any record'

#: Services whose operations the source names as text, and those whose clients' methods it calls.
BY_TEXT = ('ec2', 'ebs')
BY_METHOD = ('events', 'kms', 'lambda', 's3', 'secretsmanager', 'sqs', 'ssm', 'stepfunctions')

#: Settings with the function that ``lambda:InvokeFunction`` invokes.
INVOKED = {'chalicelib.config.Settings.volume_worker', 'chalicelib.config.Settings.backup_worker'}

#: Fields of mypy's nodes that lead out of a function, or nowhere.
_ELSEWHERE = frozenset(
    {'node', 'info', 'type', 'unanalyzed_type', 'analyzed', 'def_frame', 'original_def', 'original_first_arg'}
    | {'method_type', 'method_types', 'callee_type', 'expanded'}
)


class Use(NamedTuple):
    """One verb on a model's table, or on an index of it; without a model an action of IAM, or a name in ``INVOKED``."""

    verb: str
    model: str = ''
    index: str = ''


class Found:
    """What one function does itself, and what it reaches: (name of a function, models that the call is about)."""

    def __init__(self) -> None:
        self.uses: set[Use] = set()
        self.reaches: set[tuple[str, frozenset[str]]] = set()


@functools.cache
def actions_by_text() -> Mapping[str, tuple[str, ...]]:
    """Return {operation: actions that IAM checks for it}."""
    return {operation: actions for service in BY_TEXT for operation, actions in _operations(service)}


@functools.cache
def actions_by_method() -> Mapping[str, tuple[str, ...]]:
    """{method of a client: actions}; of a name that several services have, those of each."""
    found: dict[str, tuple[str, ...]] = {}
    for service in BY_METHOD:
        for operation, actions in _operations(service):
            method = xform_name(operation)
            found[method] = (*found.get(method, ()), *actions)
    return found


def _operations(service: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    model = botocore.session.get_session().get_service_model(service)
    id = str(model.service_id.hyphenize())
    for operation in model.operation_names:
        action = f'{recorder.PREFIXES.get(id, id)}:{operation}'
        yield str(operation), recorder.ACTIONS.get(action, (action,))


class Source:
    """The package, with its types."""

    def __init__(self) -> None:
        sources, options = process_options(['--config-file', str(ROOT / 'pyproject.toml'), str(ROOT / PACKAGE)])
        options.export_types, options.preserve_asts, options.incremental = True, True, False
        options.cache_dir = os.devnull  # other processes of a test run build at the same time
        built = build.build(sources, options)
        self._types = built.types
        self._files = {name: file for name, file in built.files.items() if name.split('.')[0] == PACKAGE}
        self._kinds = [
            each.info for file in self._files.values() for each in file.defs if isinstance(each, nodes.ClassDef)
        ]
        self.functions: dict[str, Found] = {}
        for name, file in self._files.items():
            self._read(file.defs, name)

    def _read(self, statements: list[Any], place: str) -> None:
        for statement in statements:
            kind = statement.func if isinstance(statement, nodes.Decorator) else statement
            if isinstance(kind, nodes.ClassDef):
                self._read(kind.defs.body, kind.fullname)
            elif isinstance(kind, nodes.FuncDef):
                self._note(kind.fullname, [kind.body, *getattr(statement, 'decorators', ())])
            elif isinstance(kind, nodes.AssignmentStmt):  # a table of functions is what it holds
                for target in kind.lvalues:
                    if isinstance(target, nodes.NameExpr):
                        self._note(f'{place}.{target.name}', [kind.rvalue])
            elif isinstance(kind, nodes.ExpressionStmt):  # a declaration of routes holds its operations
                self._note(f'{place}.line_{kind.line}', [kind.expr])

    def _note(self, name: str, parts: list[Any]) -> None:
        found = self.functions[name] = Found()
        for part in parts:
            self._walk(part, found, frozenset())

    def _walk(self, node: Any, found: Found, about: frozenset[str]) -> None:
        if isinstance(node, list | tuple):
            for each in node:
                self._walk(each, found, about)
        elif isinstance(node, nodes.Node) and not isinstance(node, nodes.ClassDef):
            if isinstance(node, nodes.CallExpr):
                if getattr(node.callee, 'fullname', '') == EVERY:
                    found.uses |= set(self._every(*node.args))
                    return
                about = self._call(node, found) or about
            else:
                self._leaf(node, found, about)
            if not isinstance(node, nodes.SymbolNode) or isinstance(node, nodes.FuncDef | nodes.Decorator):
                for field in _fields(type(node)):
                    self._walk(getattr(node, field, None), found, about)

    def _leaf(self, node: nodes.Node, found: Found, about: frozenset[str]) -> None:
        if isinstance(node, nodes.NameExpr | nodes.MemberExpr):
            self._name(node, found, about)
        elif isinstance(node, nodes.WithStmt):
            found.reaches |= set(self._ends(node))
        elif isinstance(node, nodes.StrExpr):
            found.uses |= set(map(Use, actions_by_text().get(node.value, ())))

    def _call(self, call: nodes.CallExpr, found: Found) -> frozenset[str]:
        """The models that a call is about; a call of a verb is noted."""
        about = set().union(*(self._models(argument) for argument in call.args))
        callee = call.callee
        if isinstance(callee, nodes.MemberExpr):
            about |= self._models(callee.expr)
            found.uses |= set(self._verbs(call, callee))
        return frozenset(about)

    def _ends(self, block: nodes.WithStmt) -> Iterator[tuple[str, frozenset[str]]]:
        """What the begin and the end of a ``with`` block call."""
        for each in block.expr:
            for info in _classes(self._types.get(each)):
                yield from ((f'{info.fullname}.{name}', frozenset()) for name in ('__enter__', '__exit__'))

    def _every(self, kind: Any, project: Any) -> Iterator[Use]:
        """All of a project are queried, all of all projects (None) scanned."""
        of = types.get_proper_type(self._types.get(project))
        items = of.items if isinstance(of, types.UnionType) else [of]
        for item in items:
            verb = 'Scan' if isinstance(types.get_proper_type(item), types.NoneType) else 'Query'
            yield from (Use(verb, model) for model in self._models(kind))

    def _verbs(self, call: nodes.CallExpr, callee: nodes.MemberExpr) -> Iterator[Use]:
        receiver = types.get_proper_type(self._types.get(callee.expr))
        if _is(receiver, 'chalicelib.models.writes.Transaction') and callee.name in IN_TRANSACTION:
            yield from (Use(IN_TRANSACTION[callee.name], model) for model in self._models(call.args[0]))
            return
        if isinstance(receiver, types.AnyType):
            yield from map(Use, actions_by_method().get(_method(call, callee), ()))
        verbs = OF_RECORDS if isinstance(receiver, types.Instance) else OF_MODELS
        if callee.name in verbs:
            named = zip(call.arg_names, call.args, strict=True)
            index = next((value.value for name, value in named if name == 'index_name'), '')
            yield from (Use(verbs[callee.name], model, index) for model in _models(receiver, depth=3))

    def _name(self, node: Any, found: Found, about: frozenset[str]) -> None:
        symbols = [node.node] if node.node is not None else self._members(node)
        for symbol in symbols:
            symbol = symbol.func if isinstance(symbol, nodes.Decorator) else symbol
            if isinstance(symbol, nodes.TypeInfo):
                found.reaches.add((f'{symbol.fullname}.__init__', about))
            elif isinstance(symbol, nodes.FuncDef | nodes.OverloadedFuncDef | nodes.Var):
                found.reaches.add((symbol.fullname, about))
                found.uses |= {Use(symbol.fullname)} & set(map(Use, INVOKED))

    def _members(self, node: Any) -> list[Any]:
        """What an attribute may be, in the class of its object or one below."""
        if not isinstance(node, nodes.MemberExpr):
            return []
        members = [
            kind.get(node.name) for info in _classes(self._types.get(node.expr)) for kind in (info, *self._below(info))
        ]
        return [member.node for member in members if member is not None and member.node is not None]

    def _below(self, info: Any) -> list[Any]:
        """The classes that are derived of one, or keep its protocol."""
        needed = set(info.protocol_members) if info.is_protocol else {''}
        return [
            one
            for one in self._kinds
            if one is not info and (info in one.mro or all(one.get(member) is not None for member in needed))
        ]

    def _models(self, expression: Any) -> set[str]:
        return _models(self._types.get(expression))

    def uses(self) -> dict[str, set[Use]]:
        """Return the uses of each function, directly or through others."""
        known = {name: set(found.uses) for name, found in self.functions.items()}
        callers: dict[str, set[tuple[str, frozenset[str]]]] = defaultdict(set)
        for name, found in self.functions.items():
            for callee, about in found.reaches:
                callers[callee].add((name, about))
        waiting = set(known)
        while waiting:
            callee = waiting.pop()
            for caller, about in callers[callee]:
                new = {each for use in known[callee] for each in _meant(use, about)} - known[caller]
                if new:
                    known[caller] |= new
                    waiting.add(caller)
        return known


def _meant(use: Use, about: frozenset[str]) -> list[Use]:
    return [use._replace(model=model) for model in about] if use.model == ANY and about else [use]


def _method(call: nodes.CallExpr, callee: nodes.MemberExpr) -> str:
    """The method of a client that is called, at once or by ``get_paginator('list_objects_v2')``."""
    if callee.name == 'get_paginator' and isinstance(call.args[0], nodes.StrExpr):
        return str(call.args[0].value)
    return str(callee.name)


_known_fields: dict[type, list[str]] = {}


def _fields(kind: type) -> list[str]:
    """Of a class that mypyc has compiled."""
    if kind not in _known_fields:
        own = {name: value for one in kind.__mro__ for name, value in vars(one).items()}
        _known_fields[kind] = [
            name
            for name, value in own.items()
            if type(value).__name__ == 'getset_descriptor' and name not in _ELSEWHERE and not name.startswith('_')
        ]
    return _known_fields[kind]


def _is(kind: Any, name: str) -> bool:
    return isinstance(kind, types.Instance) and kind.type.fullname == name


def _classes(kind: Any) -> list[Any]:
    kind = types.get_proper_type(kind)
    if isinstance(kind, types.Instance):
        return [kind.type]
    if isinstance(kind, types.TypeType):
        return _classes(kind.item)
    if isinstance(kind, types.TupleType):
        return [kind.partial_fallback.type]
    if isinstance(kind, types.CallableType) and kind.is_type_obj():
        return _classes(kind.ret_type)
    if isinstance(kind, types.TypeVarType):
        return _classes(kind.upper_bound)
    return [each for item in kind.items for each in _classes(item)] if isinstance(kind, types.UnionType) else []


def _models(kind: Any, depth: int = 0) -> set[str]:
    """Models that a type is of, or holds; a class of the project (such as ``Work[Volume]``) holds what its bases do."""
    kind = types.get_proper_type(kind)
    if isinstance(kind, types.CallableType) and kind.is_type_obj() and not _is_model(kind.ret_type):
        return set().union(*(_models(one, depth + 1) for one in _bases(kind.ret_type)))
    if isinstance(kind, types.Instance) and not any(base.fullname == MODEL for base in kind.type.mro):
        held = [*kind.args, *_bases(kind)]
        return set().union(*(_models(item, depth + 1) for item in held)) if depth < 3 else set()
    if isinstance(kind, types.UnionType | types.TupleType):
        return set().union(*(_models(item, depth) for item in kind.items))
    return {_model(info) for info in _classes(kind) if any(base.fullname == MODEL for base in info.mro)}


def _is_model(kind: Any) -> bool:
    return any(one.fullname == MODEL for info in _classes(kind) for one in info.mro)


def _bases(kind: Any) -> list[Any]:
    """The generic bases of a class of the project."""
    return [one for info in _classes(kind) if info.fullname.startswith(f'{PACKAGE}.') for one in info.bases if one.args]


def _model(info: Any) -> str:
    return str(info.name) if info.name not in {'Model', 'Record', 'StatefulRecord'} else ANY


def roots(names: Iterator[str]) -> dict[str, list[str]]:
    """Return the project functions that each deployed function starts with."""
    from chalicelib import tasks

    found = {
        'api': [name for name in names if name.startswith(('chalicelib.api.', 'chalicelib.identity.'))],
        'start_workflow': ['chalicelib.tasks.start.run'],
        'reconcile': ['chalicelib.tasks.reconcile.run'],
        'report_pools': ['chalicelib.tasks.report_pools.run'],
        'backup_schedules': ['chalicelib.tasks.schedules.run'],
    }
    for task, module in tasks.TASKS.items():
        for worker in workers.workers_of(task):
            found.setdefault(worker, ['chalicelib.tasks.run']).append(f'chalicelib.tasks.{module}.{task}')
    return found


def reachable() -> tuple[dict[str, set[tuple[str, str]]], dict[str, set[tuple[str, str]]]]:
    """{function: (table or table/index/name, verb)}, and {function: (action, kind of object, '' if there is one)}.

    Uses of unresolved records are left out.
    """
    from chalicelib.models import TABLES

    models = {model.__name__: model for model in TABLES}
    uses = Source().uses()
    reached = {function: {use for name in names for use in uses[name]} for function, names in roots(iter(uses)).items()}
    tables = {
        function: {
            (_table(models[use.model], use.index), use.verb)
            for use in found
            if use.model in models and (not use.index or hasattr(models[use.model], use.index))
        }
        for function, found in reached.items()
    }
    calls = {function: {use.verb for use in found if not use.model} for function, found in reached.items()}
    return tables, {function: set(_calls(verbs)) for function, verbs in calls.items()}


def _calls(found: set[str]) -> Iterator[tuple[str, str]]:
    """Yield (action, object kind): EC2 checks each object of a call, Lambda the invoked function."""
    for action in found - INVOKED:
        if action == 'lambda:InvokeFunction':
            yield from ((action, name.rpartition('.')[2]) for name in found & INVOKED)
        else:
            yield from ((action, kind) for kind in recorder.objects_of(action))


def _table(model: Any, index: str) -> str:
    name = str(model.Meta.table_name).partition('-')[2]
    return f'{name}/index/{index}' if index else name


if __name__ == '__main__':
    from infra import access

    known = access.load()
    for function, rows in sorted(reachable()[0].items()):
        allowed = {(table, verb) for table, verbs in known.get(function, {}).items() for verb in verbs}
        print(f'{function}: {len(rows)} reached, {len(allowed)} allowed')
        for table, verb in sorted(rows - allowed):
            print(f'  may be missing: {table} {verb}')
        for table, verb in sorted(allowed - rows):
            print(f'  may be unused:  {table} {verb}')
