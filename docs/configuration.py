"""docs/reference/configuration.md: every parameter, environment variable and option, read from the code.

Descriptions are those of the code: ``Description`` in the template, the comments above a field of a settings class.
Variables that code reads by name have their row in ``READ``; a test fails for one without a row.
"""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from chalicelib import config
from chalicelib.drivers import registry
from chalicelib.scheduler.config import SchedulerConfig
from local import settings as local_settings

ROOT = Path(__file__).resolve().parent.parent

PAGE = """# Configuration

Every parameter, environment variable and option. Generated from the code: `make docs`.

- [Parameters of the template](#parameters-of-the-template): a deployment, in `deploy/<stage>.yaml`
- [Environment of the functions](#environment-of-the-functions): set by the template
- [Scheduler options](#scheduler-options)
- [Keys of a backend](#keys-of-a-backend)
- [Environment of the local cloud](#environment-of-the-local-cloud): `make run`
- [Environment of commands and tests](#environment-of-commands-and-tests)

The options of each driver are on the page [drivers](drivers.md#what-each-driver-supports), those of the storage agent
in [the appliance](../../appliance/README.md).

## Parameters of the template

A stage file also has `region`, `stack` and optionally `account` (the only account that may be deployed to) and `tags`.
A value `@file` is read from a file beside the stage file.

| parameter | default | allowed | description |
|---|---|---|---|
{parameters}

## Environment of the functions

The template sets these variables from the parameters and resources of the stack.

| variable | default | description |
|---|---|---|
{functions}

## Scheduler options

The parameter `SchedulerOptions` is a JSON object of options with their names in cinder.conf, for example
`{{"scheduler_default_weighers": ["CapacityWeigher", "VolumeNumberWeigher"]}}`.

| option | default | description |
|---|---|---|
{scheduler}

## Keys of a backend

Each entry of `backends` in the [backends document](../how-to/configure-backends.md).

| key | type | description |
|---|---|---|
{backends}

## Environment of the local cloud

| variable | default | description |
|---|---|---|
{local}

To run a second instance, set `PORT`, `AWS_PORT`, `ISCSI_PORT`, `APPLIANCE_PORT` and `STATE_DIR`.

## Environment of commands and tests

| variable | used by | description |
|---|---|---|
{read}
"""

#: Variable that code reads by its name -> (who uses it, what it does). AWS's own variables keep AWS's meaning.
READ: Mapping[str, tuple[str, str]] = {
    'API_FACTS': ('`make conformance`', 'folder with surface.json and states.json; default: `tests/vectors/api`'),
    'AWS_ENDPOINT_URL_DYNAMODB': ('local cloud', 'address of DynamoDB Local; the local cloud sets it'),
    'AWS_ENDPOINT_URL_DYNAMODB_STREAMS': ('local cloud', 'the same; the local cloud sets it'),
    'AWS_LAMBDA_FUNCTION_NAME': ('functions', 'set by Lambda; selects what a function imports'),
    'AWS_LAMBDA_INITIALIZATION_TYPE': ('functions', 'set by Lambda; snap-start registers the hooks of SnapStart'),
    'CLOCK_OFFSET': ('tests', 'seconds that a test process adds to its clock'),
    'CRASH_RUNS': ('`make crash RUNS=`', 'rounds of kills under load (2)'),
    'CRASH_SEED': ('`make crash SEED=`', 'seed of the times; printed when a round fails'),
    'DEBUG': ('`cinderless`', '`1` shows the traceback of an error, as `--debug`'),
    'SOURCE_CHAP_SECRET': (
        '`cinderless migrate copy`',
        'CHAP secret of an origin that is a LUN; not an option, which others see',
    ),
    'BENCH_MOVING': ('bench', 'volumes of the generated database of Cinder that the bench migrates (10000)'),
    'BENCH_CHANGED_GIB': ('bench', 'GiB of the volume of the bench of changed blocks (10)'),
    'CHANGES_MODEL_EXAMPLES': ('tests', 'histories of the model of changed blocks on XFS (30)'),
    'DRIVER_MODEL_EXAMPLES': ('tests', 'sequences of the model test of each driver (5)'),
    'EDGE_VECTORS': ('`make conformance`', 'file or folder of edge_vectors.json; default: the folder of API_FACTS'),
    'EMULATOR': ('`make emulator`', '`all` runs the slow tests on the second AWS, too'),
    'INTERRUPTIONS': ('tests', '`all` interrupts the agent at every request instead of a selection'),
    'LOG_LEVEL': ('functions', 'level of the root logger (INFO)'),
    'MIGRATION_VOLUMES': (
        '`make migration VOLUMES=`',
        'volumes that the tests create in Cinder, beside those of each kind (200)',
    ),
    'MODEL_RUNS': ('`make model RUNS=`', 'sequences of the reference model (100)'),
    'MODEL_SEED': ('`make model SEED=`', 'seed of the first sequence (1)'),
    'NOTIFY_SOCKET': ('local cloud', 'set by systemd; the socket on which the server reports that it is ready'),
    'ONLY': ('`make conformance`', 'regular expression: names of the checks to run'),
    'RECORD_CALLS': ('tests', 'folder for the AWS calls that processes record; a test run sets it'),
    'SCHEDULER_VECTORS': ('`make vectors`', 'folder of recorded decisions; default: `tests/vectors/decisions`'),
    'SOAK_LOG': ('`make soak`', 'file that receives the faults of the functions'),
    'SOAK_MINUTES': ('`make soak MINUTES=`', 'minutes of load (0.3)'),
    'SOAK_RATE': ('`make soak`', "share of the functions' calls that meet a fault"),
    'SOAK_SYSTEMS': ('`make soak`', 'JSON: the backends, secrets and URLs that the cloud gets beside its own'),
    'SOAK_SEED': ('`make soak SEED=`', 'seed of the choices of a soak (random)'),
    'TGT_IPC_SOCKET': ('appliance', "prefix of tgtd's control socket (tgt's own variable)"),
    'WRITE_CALLS': ('`make docs`', 'any text: tests write the counted calls to docs/'),
    '_X_AMZN_TRACE_ID': ('functions', 'set by Lambda; the trace of X-Ray'),
}

#: Variables that are read under a computed name.
COMPUTED: Mapping[str, tuple[str, str]] = {
    'PYTHON313': ('`make package`', 'an interpreter of the deployed runtime, for byte code'),
    'PYTHON': ('`make setup`', 'the interpreter of `.venv` (python3)'),
}

#: Fields without a comment of their own, or whose comment is for readers of the code.
WORDS: Mapping[str, str] = {
    'volume_worker': 'Function that reaches the backends; other functions invoke it.',
    'backup_worker': 'Function that reads and writes backup data.',
    'backup_bucket': 'Bucket of the backups.',
    'keystone_username': 'Service user that validates tokens, in the domain Default.',
    'keystone_project': 'Project of the service user.',
    'glance_url': "Glance's root; empty for none.",
    'public_endpoint': 'URL in links; empty: taken from the request.',
    'cors_allowed_origins': 'Origins that a browser may call the API from, separated by commas; empty for none.',
    'state_machine_prefix': "`arn:...:stateMachine:<stack>-`; a state machine's ARN is this and its name.",
    'execution_prefix': "`arn:...:execution:<stack>-`; an execution's ARN is this, the workflow, ':' and its name.",
    'scheduler_options': 'JSON object of scheduler options, or the SSM parameter that has it; empty for the defaults.',
    'policy_overrides': 'JSON object of policy rules, or the SSM parameter that has it; empty for the defaults.',
    'backup_targets': 'JSON object of targets for copies of backups, or the SSM parameter that has it; empty for none.',
    'stack_id': 'ARN of the stack; empty without a stack.',
    'nova_url': 'Nova, ends in /v2.1; empty for none.',
    'barbican_url': "Barbican's root; empty for the built-in key manager.",
    'region': 'Region of the deployment; default: AWS_REGION, then AWS_DEFAULT_REGION.',
    'default_availability_zone': 'Availability zone of volumes that are created without one.',
    'default_volume_type': 'Volume type of volumes that are created without one.',
    'osapi_max_limit': 'Most records of one page.',
    'default_quotas': "JSON object of limits of projects without their own; empty for Cinder's defaults.",
    'table_prefix': "Prefix of every table's name: the stack's name.",
}

#: Key of a backend -> description.
BACKEND: Mapping[str, str] = {
    'name': 'required; the host is `<host>@<name>`',
    'driver': 'required; ' + ', '.join(f'`{name}`' for name in registry.DRIVERS),
    'availability_zone': 'zone of its volumes',
    'volume_backend_name': 'capability that volume types select by; default: the name',
    'options': "the driver's options",
    'secrets': 'option -> `{"secret": name in Secrets Manager, "key": key in its JSON object}`; `key` is optional',
    'capabilities': "capabilities added to every pool's report (Cinder's extra_capabilities)",
    'filter_function': "every pool's filter function (DriverFilter)",
    'goodness_function': "every pool's goodness function (GoodnessWeigher)",
    'reserved_percentage': 'percent of the total capacity that stays free',
    'max_over_subscription_ratio': 'provisioned capacity of thin pools relative to the total',
}

#: Option of the scheduler -> description, where the code has no comment of its own for it.
SCHEDULER: Mapping[str, str] = {
    'scheduler_default_filters': 'Filters in the order in which they run.',
    'scheduler_default_weighers': 'Weighers.',
    'scheduler_max_attempts': 'Attempts to schedule one request; 1 switches rescheduling off.',
    'scheduler_weight_handler': '`OrderedHostWeightHandler` or `StochasticHostWeightHandler`.',
    'capacity_weight_multiplier': 'Positive spreads volumes over pools, negative stacks them.',
    'allocated_capacity_weight_multiplier': 'Negative spreads volumes, positive stacks them.',
    'volume_number_multiplier': 'Negative spreads volumes, positive stacks them.',
    'backup_use_same_host': 'No effect: backups are made by functions, which run on no host.',
    'report_max_age': 'Seconds after which a report is stale.',
}


def page() -> str:
    """docs/reference/configuration.md."""
    return PAGE.format(
        parameters='\n'.join(_parameters()),
        functions='\n'.join(_functions()),
        scheduler='\n'.join(_scheduler()),
        backends='\n'.join(_backends()),
        local='\n'.join(_local()),
        read='\n'.join(
            _row(f'`{name}`', *cells) for name, cells in sorted({**READ, **COMPUTED}.items(), key=lambda row: row[0])
        ),
    )


def _row(*cells: str) -> str:
    return f'| {" | ".join(cell.replace("|", chr(92) + "|") for cell in cells)} |'


def _code(value: Any) -> str:
    return f'`{value}`' if str(value) else ''


class _Loader(yaml.SafeLoader):
    """Reads CloudFormation's short functions (``!Ref``) as their bare values."""


_Loader.add_multi_constructor('!', lambda loader, suffix, node: getattr(node, 'value', None))


def parameters() -> dict[str, dict[str, Any]]:
    """Return the template's parameters, as infra/resources.yaml declares them."""
    document = yaml.load((ROOT / 'infra' / 'resources.yaml').read_text(encoding='utf-8'), Loader=_Loader)  # noqa: S506
    found: dict[str, dict[str, Any]] = document['Parameters']
    return found


def _parameters() -> Iterator[str]:
    for name, facts in parameters().items():
        default = '' if facts.get('NoEcho') and facts.get('Default') == '' else _code(facts.get('Default', ''))
        yield _row(f'`{name}`', default, _allowed(facts), facts.get('Description', ''))


def _allowed(facts: Mapping[str, Any]) -> str:
    if 'AllowedValues' in facts:
        return ', '.join(f'`{value}`' for value in facts['AllowedValues'])
    if 'MinValue' in facts:
        return f'{facts["MinValue"]} to {facts["MaxValue"]}' if 'MaxValue' in facts else f'at least {facts["MinValue"]}'
    kinds = {'CommaDelimitedList': 'list', 'Number': 'number'}
    return 'secret' if facts.get('NoEcho') else kinds.get(facts['Type'], '')


def comments(path: Path, name: str) -> dict[str, str]:
    """Return {field: the comment ``#: ...`` above it} of a class, for the fields that have one."""
    text = path.read_text(encoding='utf-8')
    lines = text.splitlines()
    [body] = [node for node in ast.parse(text).body if isinstance(node, ast.ClassDef) and node.name == name]
    found = {}
    for node in body.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            above: list[str] = []
            place = node.lineno - 2
            while lines[place].strip().startswith('#:'):
                above.insert(0, lines[place].strip().removeprefix('#:').strip())
                place -= 1
            if above:
                found[node.target.id] = ' '.join(above).replace('``', '`')
    return found


def _functions() -> Iterator[str]:
    described = comments(ROOT / 'chalicelib' / 'config.py', 'Settings')
    for field in config.Settings._fields:
        default = '' if field == 'region' else _code(config.DEFAULTS.get(field, ''))
        yield _row(f'`{field.upper()}`', default, WORDS.get(field) or described[field])


def _scheduler() -> Iterator[str]:
    described = comments(ROOT / 'chalicelib' / 'scheduler' / 'config.py', 'SchedulerConfig')
    for field in dataclasses.fields(SchedulerConfig):
        default = ', '.join(field.default) if isinstance(field.default, tuple) else field.default
        yield _row(f'`{field.name}`', _code(default), SCHEDULER.get(field.name) or described[field.name])


def _backends() -> Iterator[str]:
    names = {str: 'text', dict: 'object', int: 'number', float: 'number'}
    for key, kinds in registry._KEYS.items():
        yield _row(f'`{key}`', names[kinds[0]], BACKEND[key])


def _local() -> Iterator[str]:
    defaults = {**local_settings.PORTS, 'STATE_DIR': '.local', **local_settings.TEXTS}
    return (_row(f'`{name}`', _code(default), local_settings.MEANINGS[name]) for name, default in defaults.items())


#: Folders whose code is searched for variables.
SEARCHED = ('app.py', 'appliance', 'bench', 'chalicelib', 'cinderless', 'infra', 'local', 'tests')


def variables_read() -> set[str]:
    """Return the names that code reads from ``os.environ`` as literal text."""
    files = [path for name in SEARCHED for path in _files(ROOT / name)]
    return {name for path in files for name in _names(path.read_text(encoding='utf-8'))}


def _files(path: Path) -> Sequence[Path]:
    return sorted(path.rglob('*.py')) if path.is_dir() else [path]


def _names(text: str) -> list[str]:
    return re.findall(r"os\.environ(?:\.get\(|\.setdefault\(|\[)'(\w+)'", text)
