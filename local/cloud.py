"""One local cloud: everything that is started, in order, and stopped in the reverse one."""

from __future__ import annotations

import contextlib
import functools
import gc
import json
import logging
import logging.handlers
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from chalicelib import telemetry
from infra import render
from local import (
    backends,
    certificates,
    checks,
    dynamodb,
    events,
    functions,
    ready,
    resume,
    stack,
    stepfunctions,
    sweeps,
    tables,
)
from local.endpoint import Endpoint
from local.functions import Function, Outcome
from local.gateway import Gateway
from local.http import Server
from local.kept.write_through import WriteThrough
from local.queues import Poller
from local.reserve import Reserve
from local.settings import BUCKET, REGION, STACK, Settings
from local.stack import Stack
from local.state import StateFolder
from local.steps import Steps
from local.storage import SECRET_NAME, Storage

log = logging.getLogger('local')

#: The logs of the functions and of the server in the folder of logs, and their size in bytes before rotation.
LOG, SERVER_LOG, LOG_SIZE = 'functions.jsonl', 'server.log', 32 * 1024 * 1024


#: How often garbage is collected: Python's default; and while booting, where the default costs a second.
_DEFAULT, _RARELY = gc.get_threshold(), (30_000, 5, 5)

#: Seconds after which a thread that computes lets another one continue. A request waits for the interpreter after each
#: of its ten calls of DynamoDB, so Python's 5 ms add up. On Lambda a process serves one request at a time.
_SWITCH = 0.001

#: Report of the start in memory mode, by the setting that is the reason.
_IN_MEMORY = {
    'memory': 'STATE=memory: nothing is stored beyond this run.',
    'moto': 'DYNAMODB=moto: the tables are in memory, so nothing is stored beyond this run.',
}

_NO_ENGINE = (
    'Java or DynamoDB Local is missing, so moto keeps the tables in memory and nothing is stored beyond this run: '
    'make setup installs them.'
)


@contextlib.contextmanager
def running(settings: Settings) -> Iterator[Callable[[], None]]:
    """Start everything, and stop it in every case. Yield a function that restarts ended programs."""
    with contextlib.ExitStack() as undo:
        with _boot_errors_end_quietly(undo):
            supervised = _boot(settings, undo)
        yield functools.partial(_restart_ended, supervised)


class Supervised(Protocol):
    """A program that is started again, on the same port, when it ended: DynamoDB Local, the storage host."""

    def ended(self) -> bool: ...

    def start(self) -> None: ...

    def wait(self) -> None: ...


def _restart_ended(supervised: Iterable[Supervised]) -> None:
    """Raises RuntimeError for one that does not start."""
    for each in supervised:
        if each.ended():
            log.error('%s has ended and is started again', type(each).__name__)
            each.start()
            each.wait()


@contextlib.contextmanager
def _boot_errors_end_quietly(undo: contextlib.ExitStack) -> Iterator[None]:
    try:
        yield
    except BaseException:
        undo.close()
        raise


def _claim_state(settings: Settings, undo: contextlib.ExitStack) -> StateFolder:
    """Return the state folder, checked and locked; nothing is changed before all checks passed."""
    memory = settings.state == 'memory' or not dynamodb.available(render.ROOT, settings.dynamodb)
    state = StateFolder(settings.state_dir, fresh=settings.fresh == '1', memory=memory)
    state.check()
    checks.check(settings)
    if memory:
        print(_IN_MEMORY.get(settings.state or settings.dynamodb, _NO_ENGINE), file=sys.stderr)
    undo.enter_context(state.claimed(settings.ports))
    _keep_log(state.logs, undo)
    return state


def _boot(settings: Settings, undo: contextlib.ExitStack) -> list[Supervised]:
    gc.set_threshold(*_RARELY)  # until the start is complete: it creates little garbage
    state = _claim_state(settings, undo)
    reserve = Reserve(state.path)
    step = Steps(sys.stdout, state.logs / 'start.json')
    step('start the storage host and DynamoDB Local')
    engine = _start_engine(settings, state, undo)
    storage = Storage(settings, state.logs)
    undo.callback(storage.stop)
    storage.start()
    step('render the template')
    folder = render.templates()
    step('start moto')
    kept = _keep(state, undo)
    backends.start(folder / 'valid-definitions')
    if kept is not None:
        kept.before_deploy()
    step('wait for the storage host')
    storage.wait()
    if restriction := storage.restriction():
        print(restriction, file=sys.stderr)
    step('deploy the stack')
    template = json.loads((folder / 'plain.json').read_text())
    deployed = stack.deploy(template, settings.parameters(storage.backends(), _identity()), client)
    stack.put_secret(client('secretsmanager'), SECRET_NAME, storage.secret)
    if kept is not None:
        kept.after_deploy()
        backends.keep(kept.save)
        backends.refuse(lambda call: kept.refusal(call) if reserve.is_low() else None)
    step('create the tables')
    if engine is not None:
        _use(engine, deployed, reserve)
    step('load the functions')
    roles = stack.functions(deployed, client('lambda'))
    functions.set_environment(roles.values())
    _serve(settings, deployed, roles, engine, reserve, undo)
    _connect(deployed, roles, undo)
    _start_webhooks(settings, deployed, undo)
    step('report the pools')
    state.complete(storage.place.name)
    _finish(settings, deployed, roles)
    step.done()
    resume.start(functools.partial(functions.run, roles['Reconcile']))
    work = functools.partial(functions.run, roles['BackupWorker'])
    sweeps.start(BUCKET, client('s3'), work, float(functions.ENVIRONMENT['BACKUP_GRACE']))
    return [storage] if engine is None else [engine, storage]


def _keep(state: StateFolder, undo: contextlib.ExitStack) -> WriteThrough | None:
    """Return the store of moto's objects, keys and secrets; None in memory mode."""
    if state.memory:
        return None
    kept = WriteThrough(state.path / 'aws')
    undo.callback(kept.close)
    kept.install()
    return kept


def _keep_log(folder: Path, undo: contextlib.ExitStack) -> None:
    """Write the functions' log as on AWS, as JSON lines in one file; beside it, as text, what the server reports."""
    text = logging.Formatter('%(asctime)s %(name)s %(levelname)s %(message)s')
    for name, file, formatter in (('chalicelib', LOG, telemetry.JsonFormatter()), ('', SERVER_LOG, text)):
        handler = logging.handlers.RotatingFileHandler(
            folder / file, maxBytes=LOG_SIZE, backupCount=3, encoding='utf-8'
        )
        handler.setFormatter(formatter)
        handler.setLevel(logging.INFO if name else logging.WARNING)
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        undo.callback(handler.close)
        undo.callback(logger.removeHandler, handler)
    logging.getLogger('chalicelib').setLevel(logging.INFO)


@functools.cache
def client(service: str) -> Any:
    """One client per service, answered by moto."""
    import boto3

    return boto3.client(service, region_name=REGION)


def _start_engine(settings: Settings, state: StateFolder, undo: contextlib.ExitStack) -> dynamodb.Engine | None:
    data = None if state.memory else state.path / 'dynamodb'
    log = state.logs / 'dynamodb.log'
    engine = dynamodb.engine(render.ROOT, settings.dynamodb, log, data, settings.ports.values())
    if engine is not None:
        undo.callback(engine.stop)
        engine.start()
    return engine


def _identity() -> dict[str, Any]:
    """Return the local users, without a signing key: Secrets Manager generates one, as on AWS."""
    from chalicelib.identity.local import local_document

    return {key: value for key, value in local_document().items() if key != 'signing_key'}


def _unchanged_users() -> list[str]:
    from chalicelib.identity.local import unchanged_users

    found = client('ssm').get_parameter(Name=f'/{STACK}/identity', WithDecryption=True)
    return unchanged_users(json.loads(found['Parameter']['Value']))


def _use(engine: dynamodb.Engine, deployed: Stack, reserve: Reserve) -> None:
    """Create the tables in the engine, and send every later client there."""
    engine.wait()
    backends.pass_by(engine.url)
    dynamodb.intercept(engine.url, reserve if engine.data else None)
    wanted = [properties for _, properties in deployed.of_type('AWS::DynamoDB::Table')]
    tables.deploy(wanted, dynamodb.client(engine.url), engine.data)
    dynamodb.redirect(engine.url)


def _serve(
    settings: Settings,
    deployed: Stack,
    roles: Mapping[str, Function],
    engine: dynamodb.Engine | None,
    reserve: Reserve,
    undo: contextlib.ExitStack,
) -> None:
    """Open the two front doors."""
    _, api = next(deployed.of_type('AWS::ApiGateway::RestApi'))
    _, stage = next(deployed.of_type('AWS::ApiGateway::Stage'))
    invoke = functools.partial(functions.run, roles[ready.API])
    functions.load(roles[ready.API].handler)
    gateway = Gateway(
        api['Body'],
        stage['StageName'],
        invoke,
        is_secure=settings.has_tls,
        is_low=reserve.is_low,
        minimum_compression=api.get('MinimumCompressionSize'),
    )
    doors = [
        Server(settings.port, gateway, settings.listen, certificates.context(settings)),
        Server(settings.aws_port, Endpoint(engine.url if engine else None)),  # any credentials do: never elsewhere
    ]
    for server in doors:
        undo.callback(server.stop)
        server.start()


def _connect(deployed: Stack, roles: Mapping[str, Function], undo: contextlib.ExitStack) -> None:
    """Start the event sources of functions: queues, schedules, and the rule on executions that end."""
    by_name = {function.name: function for function in roles.values()}
    by_arn = {function.arn: function for function in roles.values()}
    for name, mapping in deployed.mappings():
        poller = Poller(mapping, client('sqs'), functools.partial(functions.run, by_name[name]))
        undo.callback(poller.stop)
        backends.on_call(poller.observe)
        poller.start()
    rules = list(_rules(deployed, by_arn))
    clock = events.Clock([rule for rule in rules if rule.schedule])
    undo.callback(clock.stop)
    clock.start()
    bus = events.Bus([rule for rule in rules if rule.pattern])
    stepfunctions.on_end(lambda detail: bus.put(events.execution_ended(detail)))


def _start_webhooks(settings: Settings, deployed: Stack, undo: contextlib.ExitStack) -> None:
    if not settings.webhooks:
        return
    from local import webhooks  # most instances have none

    [bus] = [properties['Name'] for _, properties in deployed.of_type('AWS::Events::EventBus')]
    for poller in webhooks.start(webhooks.read(settings.webhooks), bus, client):
        undo.callback(poller.stop)
        poller.start()


def _rules(deployed: Stack, by_arn: Mapping[str, Function]) -> Iterator[events.Rule]:
    for name, properties in deployed.of_type('AWS::Events::Rule'):
        targets = [functools.partial(functions.run_detached, by_arn[each['Arn']]) for each in properties['Targets']]
        yield events.Rule(
            arn=deployed.scope.arns[name],
            schedule=properties.get('ScheduleExpression', ''),
            pattern=properties.get('EventPattern', {}),
            targets=targets,
        )


def _finish(settings: Settings, deployed: Stack, roles: Mapping[str, Function]) -> None:
    """Run the first report of the pools, which on AWS the schedule runs within minutes; then write ready.json."""
    outcome = functions.run(roles['ReportPools'], events.event('aws.events', 'Scheduled Event', {}, []))
    if outcome.error:
        _explain(outcome)
    facts = ready.document(settings, deployed, roles)
    ready.write_clouds(settings, [] if settings.keystone_url else _unchanged_users())
    gc.collect()
    gc.freeze()  # objects of the start stay: the collector need not scan them again
    gc.set_threshold(*_DEFAULT)
    sys.setswitchinterval(_SWITCH)
    ready.write_ready(settings, facts)


def _explain(outcome: Outcome) -> None:
    print(f'No pool reported yet: {outcome.result.get("errorMessage")}', file=sys.stderr)
