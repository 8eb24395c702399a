"""What ``cinderless doctor`` checks: a machine, or a deployment. Each check is a row: name, result, what to do."""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import json
import os
import shutil
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cinderless.errors import Failure
from cinderless.instance import Instance, find
from cinderless.output import size

OK, WARNING, FAILED = 'ok', 'warning', 'failed'

#: Program -> (Debian package, what needs it, the result without it).
PROGRAMS = {
    'tgtd': ('tgt', 'iSCSI exports', FAILED),
    'openssl': ('openssl', "the storage host's certificate", FAILED),
    'mkfs.xfs': ('xfsprogs', "the storage host's image", WARNING),
    'losetup': ('mount', "the storage host's image", WARNING),
    'setpriv': ('util-linux', 'programs that end with the server', FAILED),
    'java': ('default-jre-headless', 'DynamoDB Local; without it nothing is stored beyond a run', WARNING),
    'qemu-img': ('qemu-utils', 'cinderless demo and the tests', WARNING),
    'npm': ('npm', 'make setup, which fetches DynamoDB Local', WARNING),
}

#: Tested versions of Python, the newest without the next.
PYTHON, PYTHON_TESTED = (3, 11), (3, 13)

#: Bytes of free disk below which a new state is refused, and below which it soon will be.
DISK_NEEDED, DISK_ADVISED = 512 * 1024**2, 4 * 1024**3

#: Seconds for the API's answer.
TIMEOUT = 15


class Result(NamedTuple):
    """``found`` is the fact; ``advice`` is what to do about it, '' for nothing."""

    check: str
    result: str
    found: str
    advice: str = ''


def machine(state_dir: Path, environment: dict[str, str]) -> Iterator[Result]:
    """Yield the checks of this machine, its packages, and the local cloud of a state folder."""
    yield from (_python(), _system(), *_programs(), _engine(), _packages(), _rights(), _disk(state_dir))
    try:
        found = find(state_dir)
    except Failure:
        found = None
    if found is not None and found.pid is not None:
        yield from _running(found)
    else:
        yield _start(environment)


def _python() -> Result:
    version = sys.version_info[:2]
    text = '.'.join(map(str, sys.version_info[:3]))
    if version < PYTHON:
        return Result('Python', FAILED, text, 'install Python 3.11, 3.12 or 3.13, and name it: PYTHON=... make setup')
    if version > PYTHON_TESTED:
        return Result('Python', WARNING, text, 'not tested: 3.11, 3.12 and 3.13 are')
    return Result('Python', OK, text)


def _system() -> Result:
    try:
        lines = Path('/etc/os-release').read_text().splitlines()
    except FileNotFoundError:
        lines = []
    facts = {key: value.strip('"') for key, _, value in (line.partition('=') for line in lines)}
    name = facts.get('PRETTY_NAME', sys.platform)
    if facts.get('ID') == 'debian':
        return Result('system', OK, name)
    if 'debian' in facts.get('ID_LIKE', ''):
        return Result('system', WARNING, name, 'not tested: Debian is')
    packages = ', '.join(sorted({package for package, _, _ in PROGRAMS.values()}))
    return Result('system', WARNING, name, f"make setup installs Debian's packages only: install yourself {packages}")


def _programs() -> Iterator[Result]:
    from local.place import PATH

    for name, (package, purpose, without) in PROGRAMS.items():
        path = shutil.which(name, path=PATH)
        if path:
            yield Result(name, OK, path)
        else:
            yield Result(name, without, f'missing: {purpose}', f'make setup, or apt-get install {package}')


def _engine() -> Result:
    from infra.render import ROOT
    from local.dynamodb import ENGINE

    jar = ROOT / ENGINE / 'DynamoDBLocal.jar'
    if jar.exists():
        return Result('DynamoDB Local', OK, str(jar))
    return Result('DynamoDB Local', WARNING, 'missing: nothing is stored beyond a run', 'make setup fetches it')


def _packages() -> Result:
    from infra.lock import tested_versions

    wrong = [f'{name} {found}' for name, version in tested_versions() if (found := _version(name)) not in ('', version)]
    if not wrong:
        return Result('Python packages', OK, 'as locked')
    return Result('Python packages', WARNING, f'{len(wrong)} differ from the lock, such as {wrong[0]}', 'make setup')


def _version(name: str) -> str:
    """The installed version; '' for none: some packages are for other versions of Python."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ''


def _rights() -> Result:
    from local.place import find_obstacle

    found = find_obstacle()
    if not found:
        return Result('volumes', OK, 'in an XFS image with reflinks')
    advice = 'docs/reference/local-cloud.md, "Without root"'
    return Result('volumes', WARNING, f'in a folder, for no image can be mounted: {found}', advice)


def _disk(folder: Path) -> Result:
    place = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
    found = os.statvfs(place)
    free = found.f_bavail * found.f_frsize
    result = FAILED if free < DISK_NEEDED else WARNING if free < DISK_ADVISED else OK
    return Result('disk', result, f'{size(free)} free in {place}', 'free some space' if result != OK else '')


def _start(environment: dict[str, str]) -> Result:
    """Whether a local cloud would start with these settings. Nothing is started or written."""
    from local import checks
    from local.settings import Refused, Settings
    from local.state import StateFolder

    try:
        settings = Settings.from_environment(environment)
        StateFolder(settings.state_dir, fresh=settings.fresh == '1').check()
        checks.check(settings)
    except Refused as refused:
        return Result('start', FAILED, str(refused), 'the line names what to do')
    return Result('start', OK, f'cinderless serve can start in {settings.state_dir}')


def _running(found: Instance) -> Iterator[Result]:
    if not found.ready:
        yield Result('local cloud', WARNING, f'pid {found.pid} is starting', 'repeat this when it is ready')
        return
    yield Result('local cloud', OK, f'pid {found.pid} runs in {found.folder}')
    yield check_api(str(found.ready['volume']).removesuffix('v3'))


def check_api(url: str) -> Result:
    """Any answer below 500 to the request for the versions, which needs no token."""
    anyone = ssl.create_default_context()
    anyone.check_hostname, anyone.verify_mode = False, ssl.CERT_NONE  # no secret is sent, and a local one signs itself
    try:
        urllib.request.urlopen(url, timeout=TIMEOUT, context=anyone).close()  # noqa: S310 - a URL of the stack
    except urllib.error.HTTPError as answer:
        if answer.code >= 500:
            return Result('API', FAILED, f'{url} answers {answer.code}', 'cinderless logs shows why')
    except OSError as error:
        return Result('API', FAILED, f'{url} does not answer ({error})', 'cinderless logs shows why')
    return Result('API', OK, f'{url} answers')


def deployment(name: str, profile: str | None) -> Iterator[Result]:
    """Yield the checks of a deployment. Later ones need the earlier ones, so the first failure ends them."""
    from infra import deploy
    from infra.stage import Refused, load

    try:
        stage = load(name)
        yield Result('stage', OK, f'deploy/{name}.yaml: stack {stage.stack} in {stage.region}')
        aws: Any = Quiet(deploy.Aws(deploy.program(), stage.region, profile or None))
        yield Result('credentials', OK, f'account {deploy.caller(stage, aws).account}')
        stack = deploy.deployed(stage, aws)
    except Refused as refused:
        yield Result('deployment', FAILED, ' '.join(str(refused).split()), 'the line names what to do')
        return
    yield _stack(stage.stack, name, stack.status)
    if stack.status:
        yield _front_door(stage, stack.outputs)
        for check in (_alarms, _dead_letters, _pools):
            yield _asked(check, stage.stack, aws)


def _front_door(stage: Any, outputs: Mapping[str, str]) -> Result:
    """Requests without a token, as infra/live.py lists them."""
    from infra import live

    url, checks = live.address(stage, outputs), live.checks_of(stage)
    if not url:
        return Result('API', FAILED, 'the stack has no output EndpointURL', f'cinderless deploy {stage.name}')
    wrong = list(live.problems(url, checks))
    if wrong:
        return Result('API', FAILED, '; '.join(wrong), f'cinderless logs --stack {stage.stack} shows why')
    return Result('API', OK, f'{url} answers ({len(checks)} requests)')


class Quiet:
    """The AWS CLI without the lines that name its commands."""

    def __init__(self, aws: Any) -> None:
        self._aws = aws

    def run(self, *words: str) -> str:
        with contextlib.redirect_stdout(io.StringIO()):
            answer: str = self._aws.run(*words)
        return answer

    def json(self, *words: str) -> Any:
        return json.loads(self.run(*words, '--output', 'json') or 'null')


def _stack(stack: str, stage: str, status: str) -> Result:
    if not status:
        return Result('stack', FAILED, f'{stack} does not exist', f'cinderless deploy {stage}')
    if status.endswith('_COMPLETE') and 'ROLLBACK' not in status:
        return Result('stack', OK, f'{stack} is {status}')
    return Result('stack', WARNING, f'{stack} is {status}', 'docs/how-to/deploy.md, "A deploy that failed"')


def _asked(check: Callable[[str, Quiet], Result], stack: str, aws: Quiet) -> Result:
    from infra.stage import Refused

    try:
        return check(stack, aws)
    except Refused as refused:
        name = check.__name__.strip('_').replace('_', ' ')
        return Result(name, WARNING, ' '.join(str(refused).split()), 'give the credentials this permission')


def _alarms(stack: str, aws: Quiet) -> Result:
    query = ('--query', 'MetricAlarms[].AlarmName')
    words = ('--alarm-name-prefix', f'{stack}-', '--state-value', 'ALARM')
    found = aws.json('cloudwatch', 'describe-alarms', *words, *query)
    if not found:
        return Result('alarms', OK, 'none is in alarm')
    return Result('alarms', FAILED, ', '.join(found), 'docs/how-to/monitor.md, "Alarms"')


def _dead_letters(stack: str, aws: Quiet) -> Result:
    url = aws.json('sqs', 'get-queue-url', '--queue-name', f'{stack}-work-dead')['QueueUrl']
    name = 'ApproximateNumberOfMessages'
    words = ('--queue-url', url, '--attribute-names', name)
    count = int(aws.json('sqs', 'get-queue-attributes', *words)['Attributes'][name])
    if not count:
        return Result('dead letters', OK, 'none')
    return Result('dead letters', WARNING, str(count), 'docs/how-to/troubleshoot.md, "Dead letters"')


def _pools(stack: str, aws: Quiet) -> Result:
    words = ('--table-name', f'{stack}-pools', '--projection-expression', 'id,warning')
    items = aws.json('dynamodb', 'scan', *words)['Items']
    wrong = [f'{item["id"]["S"]}: {item["warning"]["S"]}' for item in items if 'S' in item.get('warning', {})]
    if wrong:
        return Result('pools', FAILED, '; '.join(wrong), 'docs/how-to/configure-backends.md')
    if not items:
        return Result('pools', FAILED, 'no backend has reported a pool', 'docs/how-to/configure-backends.md')
    return Result('pools', OK, f'{len(items)} reported')
