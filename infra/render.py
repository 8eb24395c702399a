"""The deployable templates: ``python -m infra.render`` writes ``.build/``.

* ``template.json``: Chalice's own SAM template of ``app.py``, merged with ``infra/*.yaml``, a table per model and a
state
  machine per ``stepfunctions/*.asl.yaml``. It is the input of ``aws cloudformation package`` and ``deploy``.
* ``plain.json``: the same after the SAM transform, done offline; the local cloud boots from it.

Both contain a digest of their sources, so nothing is rendered twice.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

ROOT = Path(__file__).parent.parent
BUILD = ROOT / '.build'

#: Files that determine the templates.
INPUTS = (
    'app.py',
    '.chalice/config.json',
    'chalicelib/**/*.py',
    'infra/*',
    'infra/permissions/*',
    'stepfunctions/*.asl.yaml',
)

#: How often the inputs are read while files vanish.
_READINGS = 5

#: Region of the offline transform; the result does not depend on it.
REGION = 'us-east-1'

#: The path of the functions' archive in the SAM template (beside it), and a placeholder that the transform accepts.
ARTEFACT, IN_S3 = './functions.zip', 's3://artefacts/'

STAGE = 'prod'


def templates() -> Path:
    """Return the folder of templates for the source, rendered first if they are outdated.

    Rendering imports ``app.py`` with placeholder settings, hence in a separate process. Raises RuntimeError when they
    are outdated, and this user may not write to the source tree.
    """
    if is_current():
        return BUILD
    try:
        BUILD.mkdir(exist_ok=True)
        lock = locked(BUILD / 'lock')
    except PermissionError as error:
        raise RuntimeError(
            f'{BUILD} is outdated ({error.strerror}): the owner of the source runs make package'
        ) from None
    with lock:
        if not is_current():
            # Without a terminal: a package that Chalice imports sends it queries, whose answers look like typing.
            nowhere = subprocess.DEVNULL
            subprocess.run([sys.executable, '-m', 'infra.render'], cwd=ROOT, check=True, stdin=nowhere, stdout=nowhere)
    return BUILD


def locked(path: Path) -> TextIO:
    """Return the open lock file; closing it releases the lock."""
    file = path.open('w')
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


def is_current() -> bool:
    """Whether the templates in ``.build`` were rendered from the current source."""
    try:
        known = (BUILD / 'inputs.sha256').read_text()
    except FileNotFoundError:
        return False
    return known == digest()


def digest() -> str:
    """SHA-256 over the names and contents of all inputs, in hex.

    An editor or a checkout may remove a file while this reads: then it reads all again. Raises FileNotFoundError for a
    tree in which files keep vanishing.
    """
    for _ in range(_READINGS - 1):
        with suppress(FileNotFoundError):
            return _digest()
    return _digest()


def _digest() -> str:
    total = hashlib.sha256()
    for path in sorted({path for pattern in INPUTS for path in ROOT.glob(pattern) if path.is_file()}):
        total.update(f'{path.relative_to(ROOT)}\0'.encode() + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def main() -> None:
    """Render both templates; the digest is written last, so an interrupted rendering does not count."""
    BUILD.mkdir(exist_ok=True)
    made_from = digest()
    template = sam_template()
    write(BUILD / 'template.json', template)
    write(BUILD / 'plain.json', plain_template(template))
    (BUILD / 'inputs.sha256').write_text(made_from)


def write(path: Path, document: dict[str, Any]) -> None:
    """Replace a document atomically: a reader sees the old or the new one."""
    unfinished = path.with_suffix('.new')
    unfinished.write_text(json.dumps(document, indent=1, sort_keys=True))
    unfinished.replace(path)


def sam_template() -> dict[str, Any]:
    """Return Chalice's template merged with the project's."""
    template = chalice_template()
    for ours in overlays():
        template = merged(ours, template)
    return template


def merged(ours: Any, theirs: Any) -> Any:
    """Merge key by key, the project's keys first; an intrinsic (``Ref``, ``Fn::...``) replaces the whole value."""
    if not (isinstance(ours, dict) and isinstance(theirs, dict)) or _is_intrinsic(ours) or _is_intrinsic(theirs):
        return ours
    return {**theirs, **{key: merged(value, theirs.get(key)) for key, value in ours.items()}}


def _is_intrinsic(value: dict[str, Any]) -> bool:
    return any(key == 'Ref' or key.startswith('Fn::') for key in value)


def chalice_template() -> dict[str, Any]:
    """Return ``chalice package``'s template of ``app.py``, without the artefact: no dependency is installed for it."""
    from chalice.cli.factory import CLIFactory
    from chalice.deploy.appgraph import ApplicationGraphBuilder, DependencyBuilder
    from chalice.deploy.deployer import BuildStage, DeploymentPackager, InjectDefaults, SwaggerBuilder
    from chalice.deploy.swagger import CFNSwaggerGenerator
    from chalice.package import ResourceBuilder, SAMTemplateGenerator

    _pretend_deployed()
    factory = CLIFactory(str(ROOT))
    config = factory.create_config_obj(chalice_stage_name=STAGE)
    packager: Any = _Artefact()
    steps = [InjectDefaults(), DeploymentPackager(packager), SwaggerBuilder(CFNSwaggerGenerator())]
    builder = ResourceBuilder(ApplicationGraphBuilder(), DependencyBuilder(), BuildStage(steps))
    resources = builder.construct_resources(config, STAGE)
    template: dict[str, Any] = SAMTemplateGenerator(config, factory.create_package_options()).generate(resources)
    for function in _serverless(template, 'Function'):
        del function['Properties']['Runtime']  # that of this interpreter; infra/functions.yaml has the deployed one
    invoked: dict[str, Any] = _of_alias(template)
    return invoked


#: What API Gateway invokes: with SnapStart the alias of a published version.
API_ARN = {'Fn::If': ['HasSnapStart', {'Ref': 'ApiAlias'}, {'Fn::GetAtt': ['APIHandler', 'Arn']}]}


def _of_alias(node: Any) -> Any:
    """Return a template in which each integration of the API invokes API_ARN."""
    if isinstance(node, list):
        return [_of_alias(item) for item in node]
    if not isinstance(node, dict):
        return node
    text = node.get('Fn::Sub')
    if isinstance(text, str) and '${APIHandler.Arn}' in text:
        return {'Fn::Sub': [text.replace('${APIHandler.Arn}', '${Api}'), {'Api': API_ARN}]}
    return {key: _of_alias(value) for key, value in node.items()}


class _Artefact:
    """Chalice's packager, which here only returns the artefact's path."""

    def create_deployment_package(self, project_dir: str, python_version: str) -> str:
        return ARTEFACT


def _pretend_deployed() -> None:
    """Return settings with which names are placeholders for CloudFormation."""
    from infra import tables

    os.environ.update(TABLE_PREFIX=tables.PREFIX, AWS_DEFAULT_REGION=REGION)


def overlays() -> Iterator[dict[str, Any]]:
    """Return the project's templates, in the order of merging."""
    for path in sorted((ROOT / 'infra').glob('*.yaml')):
        yield _load(path)
    yield {'Resources': _tables()}
    yield {'Resources': _machines()}


def _load(path: Path) -> dict[str, Any]:
    from chalice.package import YAMLTemplateSerializer

    template: dict[str, Any] = YAMLTemplateSerializer().load_template(path.read_text(encoding='utf-8'), str(path))
    return template


def _tables() -> dict[str, Any]:
    _pretend_deployed()
    from chalicelib import models
    from infra import access, tables

    described = tables.resources(models.TABLES)
    short = {tables.short_name(model): tables.logical_id(model) for model in models.TABLES}
    return {**described, **access.policies(access.load(), short)}


#: Placeholders of a definition: the functions that its tasks invoke, and numbers (asl.NUMBERS).
SUBSTITUTIONS = {
    'VolumeWorkerArn': {'Fn::GetAtt': ['VolumeWorker', 'Arn']},
    'BackupWorkerArn': {'Fn::GetAtt': ['BackupWorker', 'Arn']},
    'BackupConcurrency': {'Ref': 'BackupConcurrency'},
}


#: Logging of executions, without their input and output.
LOGGING = {
    'Fn::If': [
        'HasMachineLogs',
        {
            'Level': {'Ref': 'MachineLogLevel'},
            'IncludeExecutionData': False,
            'Destinations': [{'CloudWatchLogsLogGroup': {'LogGroupArn': {'Fn::GetAtt': ['MachinesLog', 'Arn']}}}],
        },
        {'Ref': 'AWS::NoValue'},
    ]
}


def _machines() -> dict[str, Any]:
    from infra import access, asl

    known = asl.machines(ROOT / 'stepfunctions')
    machines = {machine_id(name): _machine(name, text) for name, text in known.items()}
    return {**machines, **access.machine_policies(known)}


def machine_id(name: str) -> str:
    """Return CreateVolumeMachine for ``create_volume``."""
    return ''.join(word.capitalize() for word in name.split('_')) + 'Machine'


def _machine(name: str, definition: str) -> dict[str, Any]:
    used = {word: value for word, value in SUBSTITUTIONS.items() if f'${{{word}}}' in definition}
    properties = {
        'StateMachineName': {'Fn::Sub': f'${{AWS::StackName}}-{name}'},
        'RoleArn': {'Fn::GetAtt': ['MachinesRole', 'Arn']},
        'TracingConfiguration': {'Enabled': {'Fn::If': ['Traced', True, False]}},
        'LoggingConfiguration': LOGGING,
        'DefinitionString': {'Fn::Sub': [definition, used]} if used else definition,
    }
    return {'Type': 'AWS::StepFunctions::StateMachine', 'Properties': properties}


def plain_template(template: dict[str, Any]) -> dict[str, Any]:
    """Apply the SAM transform offline, as CloudFormation does."""
    from samtranslator.translator.transform import transform

    os.environ['AWS_DEFAULT_REGION'] = REGION
    copy = json.loads(json.dumps(template))
    for kind, key in (('Function', 'CodeUri'), ('LayerVersion', 'ContentUri')):
        for resource in _serverless(copy, kind):
            resource['Properties'][key] = resource['Properties'][key].replace('./', IN_S3)
    plain: dict[str, Any] = transform(copy, {'AWS::Region': REGION}, _NoManagedPolicies())
    return plain


class _NoManagedPolicies:
    """The transform looks up AWS-managed policies by name; the template uses none."""

    def load(self) -> dict[str, str]:
        return {}


def _serverless(template: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    resources: dict[str, Any] = template['Resources']
    return [resource for resource in resources.values() if resource['Type'] == f'AWS::Serverless::{kind}']


if __name__ == '__main__':
    main()
