"""Every ``except`` and ``suppress`` names the error that it means.

A handler that is wider takes a failure for a fact: "nothing but a hole follows" was once any OSError, and old data
stayed on restored devices. A broad class may be handled where the handler raises (the error is translated, or its
errno or code is checked first). Where it does not, the table has the reason.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROGRAM = ('app.py', 'chalicelib', 'cinderless', 'appliance', 'local', 'infra', 'stepfunctions')

#: Classes that mean many different failures: roots of a tree, and "refused" without its code.
BROAD = frozenset(
    {
        *('Exception', 'BaseException', 'OSError', 'IOError', 'EnvironmentError'),
        *('CinderlessError', 'Invalid', 'NotFound', 'Conflict', 'OverQuota'),
        *('DriverError', 'DeviceError', 'BackupError', 'RepositoryError', 'ApplianceError'),
        *('TgtError', 'Refused', 'ScsiError', 'HTTPError', 'ClientError', 'BotoCoreError', 'PynamoDBException'),
    }
)

_FIRST_ERROR = 'it is raised or reported already: a failure to clean up must not replace it'
_TOP = 'the outermost level of a process, request or loop: the error is logged or shown, and ends nothing else'
_EMULATOR = 'an emulated service answers a refusal, as AWS does'

#: (file, function) -> why it handles a broad class and continues.
REASONS = {
    ('appliance/__main__.py', 'main'): _TOP,
    ('appliance/daemon.py', 'stop'): 'tgtd is killed if it does not end after its signal',
    ('appliance/exports.py', '_abandon'): _FIRST_ERROR,
    ('appliance/exports.py', '_object'): 'Invalid is a name that the agent would not make: the target is not its own',
    ('appliance/exports.py', 'refusing_logins'): _FIRST_ERROR,
    ('appliance/exports.py', 'restore'): 'one export that cannot be served keeps no other away',
    ('appliance/exports.py', 'settle'): 'the first error is raised after all targets were served',
    ('appliance/keeper.py', 'check'): _TOP,
    ('appliance/kept.py', '_drop_all'): 'the error is logged; the next pass, or the service, deletes what is left',
    ('appliance/kept.py', '_measure'): 'the error is logged; the next pass measures it',
    ('appliance/lvm.py', 'copy'): _FIRST_ERROR,
    ('appliance/portal_guard.py', '_run'): _TOP,
    (
        'appliance/portal_guard.py',
        'start',
    ): 'a kernel that does not allow the guard: the agent logs it and serves without',
    ('appliance/portal_guard.py', 'stop'): 'the filter ends with the tgtd that has it',
    ('appliance/server.py', '_outcome'): _TOP,
    ('appliance/server.py', 'hang_up'): 'the connection is closed already, whatever error the socket has',
    ('appliance/service.py', '_settle'): 'False: the keeper tries again, and one object keeps no other away',
    ('appliance/targets.py', '_build'): _FIRST_ERROR,
    ('appliance/tgt.py', '_is_done'): 'the tgtd that had the request is gone, whatever error the socket has',
    ('chalicelib/api/front_door.py', '_outcome'): _TOP,
    ('chalicelib/backup/limits.py', 'submit'): 'the future raises it where its result is read',
    ('chalicelib/backup/s3.py', '_get'): 'a repeated read: the last attempt raises',
    ('chalicelib/clients/digest.py', 'is_pausable'): 'dlopen reports each failure as OSError without an errno',
    ('chalicelib/drivers/appliance_device.py', '_knows_full'): 'the first error is raised as it is then',
    ('chalicelib/drivers/ebs.py', '_was_completed'): 'the caller raises the first refusal then',
    ('chalicelib/drivers/ontap_groups.py', 'release'): 'what is left is removed with the next group snapshot',
    ('chalicelib/drivers/ontap_groups.py', '_look'): 'what is left is removed with the next group snapshot',
    ('chalicelib/drivers/ontap_groups.py', '_order'): 'raised below unless everything exists',
    ('chalicelib/drivers/ontap_pools.py', '_disks'): 'an account of the SVM may not list aggregates: no disk facts',
    (
        'chalicelib/identity/authentication.py',
        'claimed_user',
    ): 'authenticate refuses the same request for the same reason',
    ('chalicelib/identity/handler.py', 'handle'): _TOP,
    ('chalicelib/iscsi/reconnect.py', '_drive'): 'any error of a socket ends its session: connecting again shows more',
    ('chalicelib/iscsi/reconnect.py', 'close'): 'the session is over whether or not the target takes the logout',
    ('chalicelib/iscsi/transfers.py', 'pipeline'): _FIRST_ERROR,
    ('chalicelib/operations/attachments.py', '_withdraw'): _FIRST_ERROR,
    ('chalicelib/operations/attachments.py', 'update'): _FIRST_ERROR,
    ('chalicelib/operations/backup_schedules.py', '_run_action'): 'every refusal of a request is the result of the run',
    ('chalicelib/operations/common.py', 'enqueue'): 'the request is recorded: the reconciler sends what was not sent',
    (
        'chalicelib/operations/exports.py',
        'withdraw',
    ): 'the entry keeps its mark: a later request, or the reconciler, ends it',
    ('chalicelib/tasks/backend_reconciliation.py', '_check_no_record'): 'no record is what is looked for',
    ('chalicelib/tasks/backend_reconciliation.py', '_remove'): 'it stays reported, and the next comparison tries again',
    ('chalicelib/tasks/backend_reconciliation.py', '_settle_entries'): 'the next comparison tries again',
    ('chalicelib/tasks/backend_reconciliation.py', '_compare'): 'one backend keeps no other from being compared',
    ('chalicelib/tasks/backups.py', '_try_clean'): 'a user message reports what is left, and deletion tries again',
    ('chalicelib/tasks/kept_snapshots.py', '_delete'): 'the error is logged; the next comparison tries again',
    ('chalicelib/tasks/backup_sources.py', 'drop_kept'): "the volume's next backup removes what is left",
    ('chalicelib/tasks/connections.py', '_undone_on_error'): _FIRST_ERROR,
    ('chalicelib/tasks/create_volume.py', '_removed'): 'False: recorded as a leftover that every report tries again',
    ('chalicelib/tasks/extend_volume.py', '_size_of'): 'an unknown size is the failure that is recorded',
    ('chalicelib/tasks/extend_volume.py', 'fail_extend'): 'what was not seen to have grown is recorded as failed',
    ('chalicelib/tasks/group_snapshots.py', '_undo'): _FIRST_ERROR,
    ('chalicelib/tasks/images.py', '_try'): _FIRST_ERROR,
    ('chalicelib/tasks/managing.py', '_try'): _FIRST_ERROR,
    ('chalicelib/tasks/move_volume.py', '_try_close'): _FIRST_ERROR,
    ('chalicelib/tasks/notifications.py', '_publish'): 'the work that is announced must go on',
    ('chalicelib/tasks/reconcile.py', '_overdue'): 'the other kinds have indexes of their own',
    ('chalicelib/tasks/reconcile.py', '_put_off_unread'): _TOP,
    ('chalicelib/tasks/reconcile.py', '_look'): _TOP,
    ('chalicelib/tasks/report_pools.py', 'report_backend'): 'whatever its driver reports, the backend is down',
    ('chalicelib/tasks/report_pools.py', '_request_report'): 'whatever its driver reports, the backend is down',
    ('chalicelib/tasks/report_pools.py', '_each'): 'one backend keeps no other from being read',
    ('chalicelib/tasks/report_pools.py', '_remove_leftovers'): 'it stays recorded, and the next report tries again',
    ('chalicelib/tasks/restores.py', '_try_cancel'): _FIRST_ERROR,
    ('chalicelib/tasks/revert_to_snapshot.py', 'fail_revert'): _FIRST_ERROR,
    ('chalicelib/tasks/schedules.py', '_run'): _TOP,
    ('chalicelib/tasks/start.py', '_is_started'): _TOP,
    ('cinderless/pause.py', '_resume'): 'a file system that is not frozen, or is gone: the writers must continue',
    ('cinderless/program.py', 'main'): _TOP,
    ('infra/deployer.py', 'main'): _TOP,
    ('infra/live.py', '_problem'): 'no answer, of whatever kind, is one line of the report',
    ('infra/publish.py', 'main'): _TOP,
    ('infra/preflight.py', '_asked'): 'credentials without the right to read: the check is reported as not made',
    ('cinderless/checks.py', '_asked'): 'credentials without the right to read: the check is reported as not made',
    ('cinderless/checks.py', '_start'): 'the refusal is the result of the check',
    ('cinderless/checks.py', 'check_api'): 'no answer is the result of the check',
    ('cinderless/checks.py', 'deployment'): 'the refusal is the result of the check',
    ('cinderless/commands/dr.py', 'plan'): 'the refusal of a restore is part of the plan',
    ('infra/recover.py', 'main'): _TOP,
    ('infra/webhook.py', '_send'): 'the notification stays in the queue, whatever kept it from the receiver',
    ('local/__main__.py', '_served'): _TOP,
    ('local/__main__.py', 'main'): 'a refused start is reported in one line',
    ('local/checks.py', 'check_keystone'): 'any answer shows that a Keystone is there',
    ('local/demo.py', 'main'): _TOP,
    ('local/ebs/double.py', '_direct'): _EMULATOR,
    ('local/ebs/double.py', '_ec2'): _EMULATOR,
    ('local/http.py', '_answered'): _TOP,
    ('local/functions.py', '_outcome'): 'Lambda answers with the error of a handler, whatever it is',
    ('local/kept/write_through.py', 'save'): 'a failure to store is answered as a failure of the service, and logged',
    ('local/queues.py', '_receive'): _TOP,
}


def broad_handlers(source: str) -> Iterator[tuple[str, int]]:
    """Yield (function, line) of every handler of a broad class that continues without raising."""
    yield from _in(ast.parse(source), '')


def _in(node: ast.AST, function: str) -> Iterator[tuple[str, int]]:
    for child in ast.iter_child_nodes(node):
        if _is_broad_handler(child) or _is_broad_suppress(child):
            yield function, getattr(child, 'lineno', 0)
        inside = child.name if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else function
        yield from _in(child, inside)


def _is_broad_handler(node: ast.AST) -> bool:
    if not isinstance(node, ast.ExceptHandler) or any(isinstance(one, ast.Raise) for one in ast.walk(node)):
        return False
    return node.type is None or not BROAD.isdisjoint(_names(node.type))


def _is_broad_suppress(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call) or _last(node.func) != 'suppress':
        return False
    return not BROAD.isdisjoint(name for argument in node.args for name in _names(argument))


def _names(expression: ast.expr) -> list[str]:
    parts = expression.elts if isinstance(expression, ast.Tuple) else [expression]
    return [_last(part) for part in parts]


def _last(expression: ast.expr) -> str:
    return ast.unparse(expression).rpartition('.')[2]


def found() -> dict[tuple[str, str], list[int]]:
    places: dict[tuple[str, str], list[int]] = {}
    for top in PROGRAM:
        path = ROOT / top
        for file in [path] if path.is_file() else sorted(path.rglob('*.py')):
            for function, line in broad_handlers(file.read_text()):
                places.setdefault((str(file.relative_to(ROOT)), function), []).append(line)
    return places


def test_a_handler_names_the_error_that_it_means_or_says_why_not() -> None:
    wide = {place: lines for place, lines in found().items() if place not in REASONS}
    assert not wide, f'name the narrowest class or errno, raise the rest, or give the reason in REASONS: {wide}'


def test_no_reason_is_left_over() -> None:
    assert not REASONS.keys() - found().keys()


#: Documents that only an operator writes, or that were authenticated before they are parsed.
TRUSTED = frozenset({'chalicelib/drivers/registry.py', 'appliance/lvm.py', 'appliance/journal.py', 'local/settings.py'})


def test_json_that_is_nested_too_deep_is_handled_like_other_nonsense() -> None:
    """json.loads raises RecursionError for it, which is not a ValueError."""
    forgotten = [
        f'{file.relative_to(ROOT)}:{node.lineno}'
        for top in ('chalicelib', 'appliance', 'cinderless', 'local')
        for file in sorted((ROOT / top).rglob('*.py'))
        if str(file.relative_to(ROOT)) not in TRUSTED
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Try) and _parses_json(node) and _forgets_depth(node)
    ]
    assert forgotten == []


def _parses_json(node: ast.Try) -> bool:
    return any(isinstance(one, ast.Call) and ast.unparse(one.func) == 'json.loads' for one in ast.walk(node))


def _forgets_depth(node: ast.Try) -> bool:
    caught = {name for handler in node.handlers if handler.type for name in _names(handler.type)}
    return 'ValueError' in caught and 'RecursionError' not in caught


def test_every_shape_of_a_handler_is_seen() -> None:
    shapes = """
def one():
    try: pass
    except OSError: return None
def two():
    try: pass
    except: pass
def three():
    try: pass
    except (ValueError, errors.CinderlessError) as error: print(error)
def four():
    with contextlib.suppress(KeyError, errors.NotFound): pass
def five():
    with open(''), suppress(Exception): pass
def fine():
    try: pass
    except OSError as error:
        if error.errno != 6: raise
    except FileNotFoundError: pass
    with contextlib.suppress(KeyError): pass
"""
    assert [function for function, _ in broad_handlers(shapes)] == ['one', 'two', 'three', 'four', 'five']
