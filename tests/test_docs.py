"""The documents are correct: generated pages are up to date, links and anchors exist, and so do named commands."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chalicelib.config import Settings
from chalicelib.drivers.base import Capabilities
from chalicelib.drivers.registry import DRIVERS
from docs import configuration, decision_index, site
from docs.generate import FOLDER, PAGES, SUPPORT, drivers

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted(
    [*ROOT.glob('*.md'), ROOT / 'appliance' / 'README.md', *(ROOT / 'docs').rglob('*.md'), *ROOT.glob('.github/*.md')]
)
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]
LINK = re.compile(r'\[[^\]]*\]\(([^)#\s]*)(?:#([^)]*))?\)')
MAKE = re.compile(r'`?\bmake ([a-z]+)')
TARGET = re.compile(r'^([a-z]+):', re.MULTILINE)

#: Folders of the project.
PROJECT = ('appliance', 'bench', 'chalicelib', 'cinderless', 'deploy', 'docs', 'infra', 'local')
PROJECT += ('stepfunctions', 'tests')


@pytest.mark.parametrize('name', PAGES)
def test_a_generated_page_is_up_to_date(name: str) -> None:
    assert (FOLDER / name).read_text() == PAGES[name](), f'docs/{name} is old: run make docs'


def test_every_capability_and_option_of_a_driver_is_listed() -> None:
    text = (FOLDER / 'reference' / 'drivers.md').read_text()
    assert SUPPORT.keys() == {field.name for field in dataclasses.fields(Capabilities)}
    for words in SUPPORT.values():
        assert f'| {words} |' in text
    for kind, driver in drivers().items():
        assert [name for name in driver.OPTIONS if f'| {kind} | `{name}` |' not in text] == []
    assert {'appliance', 'ebs'} <= drivers().keys() <= DRIVERS.keys()


#: Variables that keep the meaning that AWS, OpenStack's clients or the shell give them.
STANDARD = {'AWS_ACCESS_KEY_ID', 'AWS_DEFAULT_REGION', 'AWS_REGION', 'OS_CLIENT_CONFIG_FILE', 'PATH'}


def test_every_environment_variable_is_listed() -> None:
    settings = {name.upper() for name in Settings._fields}
    assert configuration.variables_read() - settings - STANDARD == configuration.READ.keys()


def test_every_parameter_of_the_template_is_described() -> None:
    found = configuration.parameters()
    assert len(found) > 40
    assert [name for name, facts in found.items() if not facts.get('Description')] == []


def test_the_index_of_decisions_has_no_gap() -> None:
    numbers = re.findall(r'^\| (\d+) \|', decision_index.page(), re.MULTILINE)
    assert [int(number) for number in numbers] == list(range(1, len(numbers) + 1))
    assert len(decision_index.titles()) == len(list((FOLDER / 'decisions').glob('[0-9]*.md')))


def test_the_newest_release_is_the_same_everywhere() -> None:
    """CHANGELOG's newest section with a date, the package's version, and the base of ``make changes``."""
    changelog = (ROOT / 'CHANGELOG.md').read_text()
    sections = re.findall(r'^## (.+)$', changelog, re.MULTILINE)
    assert sections[0] == 'Unreleased'
    released = [re.fullmatch(r'(\d+\.\d+\.\d+) - \d{4}-\d\d-\d\d', section) for section in sections[1:]]
    assert all(released)
    versions = [match[1] for match in released if match]
    assert set(versions) == {path.stem for path in (ROOT / 'infra' / 'released').glob('*.json')}
    assert versions[0] == tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']['version']


def links(document: Path) -> list[tuple[str, str]]:
    """Return (path, anchor) of each link within the project, code apart."""
    text = re.sub(r'^ *```.*?^ *```|`[^`\n]*`', '', document.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [(link, anchor) for link, anchor in LINK.findall(text) if '://' not in link]


def anchors(document: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub derives them."""
    text = re.sub(r'^ *```.*?^ *```', '', document.read_text(), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r'^#+ (.*)$', text, re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', title.strip().lower()).replace(' ', '-') for title in titles}


@pytest.mark.parametrize('document', DOCUMENTS, ids=NAMES)
def test_links_within_the_project_exist(document: Path) -> None:
    assert [link for link, _ in links(document) if link and not (document.parent / link).exists()] == []


@pytest.mark.parametrize('document', DOCUMENTS, ids=NAMES)
def test_linked_headings_exist(document: Path) -> None:
    linked = [(document.parent / link if link else document, anchor) for link, anchor in links(document) if anchor]
    assert [anchor for page, anchor in linked if page.suffix == '.md' and anchor not in anchors(page)] == []


def test_every_page_can_be_reached_from_the_index() -> None:
    found, new = set[Path](), {FOLDER / 'index.md'}
    while new:
        found |= new
        linked = {(page.parent / link).resolve() for page in new for link, _ in links(page) if link.endswith('.md')}
        new = linked - found
    assert [page for page in (ROOT / 'docs').rglob('*.md') if page not in found] == []


def test_the_site_lists_every_page_but_single_decisions() -> None:
    listed = re.findall(r'^ +- (?:\w+: )?([\w/-]+\.md)$', (FOLDER / 'site.yml').read_text(), re.MULTILINE)
    pages = {page for page in site.sources().values() if not re.match(r'decisions/\d', page)}
    assert sorted(listed) == sorted(pages)


def test_links_of_a_page_of_the_site_lead_to_pages() -> None:
    pages = site.sources()
    images = {f'{site.IMAGES}/{path.name}' for path in (FOLDER / site.IMAGES).iterdir()}
    for source, target in pages.items():
        linked = [link for link, _ in LINK.findall(site.page(source, pages)) if link and '://' not in link]
        folder = Path(target).parent
        assert {os.path.normpath(folder / link) for link in linked} <= {*pages.values(), *images}, source


def code(document: Path) -> str:
    """Return a document's inline code and code blocks."""
    return '\n'.join(re.findall(r'```.*?```|`[^`]+`', document.read_text(), re.DOTALL))


@pytest.mark.parametrize('document', DOCUMENTS, ids=NAMES)
def test_named_make_targets_exist(document: Path) -> None:
    targets = set(TARGET.findall((ROOT / 'Makefile').read_text()))
    assert set(MAKE.findall(code(document))) <= targets


@pytest.mark.parametrize('document', DOCUMENTS, ids=NAMES)
def test_named_modules_exist(document: Path) -> None:
    text = document.read_text()
    current = text.partition('\n## 0.')[0] if document.name == 'CHANGELOG.md' else text  # releases are the past
    modules = re.findall(r'python3? -m ([\w.]+)', current)
    places = [ROOT / name.replace('.', '/') for name in modules if name.partition('.')[0] in PROJECT]
    assert [
        place for place in places if not (place.with_suffix('.py').exists() or (place / '__main__.py').exists())
    ] == []


@pytest.mark.parametrize('document', DOCUMENTS, ids=NAMES)
def test_named_files_exist(document: Path) -> None:
    """Paths in code font that begin at one of the project's folders; the stage ``mine`` is the reader's own."""
    named = re.findall(rf'`((?:{"|".join(PROJECT)})/[\w./-]+\.\w+)`', document.read_text())
    assert [path for path in named if not (ROOT / path).exists() and not path.startswith('deploy/mine.')] == []


#: Packages of chalicelib, as documents name their modules: `operations/quotas.py`.
PACKAGES = '|'.join(sorted(path.name for path in (ROOT / 'chalicelib').iterdir() if (path / '__init__.py').exists()))


@pytest.mark.parametrize('document', DOCUMENTS, ids=NAMES)
def test_named_modules_of_chalicelib_exist(document: Path) -> None:
    """Paths in code font that begin at a package of chalicelib, which a renamed module would leave behind."""
    named = re.findall(rf'`((?:{PACKAGES})/\w+\.py)', document.read_text())
    assert [path for path in named if not ((ROOT / 'chalicelib' / path).exists() or (ROOT / path).exists())] == []


def commands(program: str) -> Iterator[tuple[Path, str]]:
    """Yield (document, the rest of the command) of each command of a program in the documents' code."""
    for document in DOCUMENTS:
        for block in re.findall(r'```sh\n(.*?)```|`([^`\n]+)`', document.read_text(), re.DOTALL):
            for line in ''.join(block).replace('\\\n', ' ').splitlines():
                if found := re.match(rf'\s*{program} (.+?)(?:\s+#.*)?$', line):
                    yield document, found[1]


def options(command: str) -> set[str]:
    """Return the long options of a command, values apart."""
    return set(re.findall(r'(?:^|\s)(--[a-z][\w-]*)', command))


#: Options that every command of the openstack CLI and its output formatters take.
COMMON_OPTIONS = {'--debug', '--os-volume-api-version'}

#: Groups of entry points with the commands that the documents name.
GROUPS = ('openstack.volume.v3', 'openstack.common', 'openstack.identity.v3')


def openstack_commands() -> dict[str, importlib.metadata.EntryPoint]:
    """Return {``volume create``: its entry point}."""
    points = [point for group in GROUPS for point in importlib.metadata.entry_points(group=group)]
    return {point.name.replace('_', ' '): point for point in points}


def accepted(parser: argparse.ArgumentParser) -> set[str]:
    return {option for action in parser._actions for option in action.option_strings}


def test_commands_of_the_openstack_cli_exist() -> None:
    """As the client's own parsers define them, options included."""
    known, named = openstack_commands(), list(commands('openstack'))
    assert len(named) > 20
    for document, command in named:
        words = command.split()
        name = next((' '.join(words[:size]) for size in (4, 3, 2, 1) if ' '.join(words[:size]) in known), None)
        assert name, f'{document.name}: openstack {command}'
        parser = known[name].load()(None, None).get_parser(name)
        assert options(command) - COMMON_OPTIONS <= accepted(parser), f'{document.name}: openstack {command}'


def test_commands_of_the_cinder_shell_exist() -> None:
    from cinderclient.v3 import shell

    named = list(commands('cinder'))
    assert named
    for document, command in named:
        rest = re.sub(r'--os-volume-api-version \S+ ', '', command)
        function = getattr(shell, f'do_{rest.split()[0].replace("-", "_")}', None)
        assert function, f'{document.name}: cinder {command}'
        taken = {name for names, _ in function.arguments for name in names}
        assert options(rest) <= taken, f'{document.name}: cinder {command}'


def test_commands_of_the_program_exist() -> None:
    """With the arguments and options that they take, parsed as they are typed."""
    import shlex

    import click

    from cinderless.program import program

    named = list(commands('cinderless'))
    assert len(named) > 30
    for document, text in named:
        plain = re.sub(r'\$\(.*\)', 'ID', text).partition('>')[0].partition(' | ')[0]
        words = [word for word in shlex.split(plain) if word != '...']
        if words[0] == 'COMMAND' or words[0].startswith('-'):
            continue
        context, command = click.Context(program), program.get_command(click.Context(program), words.pop(0))
        while isinstance(command, click.Group) and words:
            command = command.get_command(context, words.pop(0))
        assert command is not None, f'{document.name}: cinderless {text}'
        taken = {name for option in command.params for name in option.opts} | {'--help'}
        assert options(plain) <= taken, f'{document.name}: cinderless {text}'
        if document.name != 'program.md' and plain.startswith(text[:9]) and '`' not in text and '--help' not in words:
            _parsed(command, words, f'{document.name}: cinderless {text}')


def _parsed(command: Any, words: list[str], place: str) -> None:
    """Parse a command of a document; one that is named without its arguments is only named."""
    import click

    if not words:
        return
    try:
        command.make_context(place, list(words), resilient_parsing=False)
    except click.MissingParameter:
        return
    except click.UsageError as error:
        pytest.fail(f'{place}: {error.format_message()}')


#: Commands of the AWS CLI that are not operations of a service, and options that every command takes.
CUSTOM = {('logs', 'tail'), ('s3', 'cp'), ('s3', 'rb'), ('cloudformation', 'package')}
EVERYWHERE = {'endpoint-url', 'cli-binary-format', 'profile', 'region', 'query', 'output'}


def test_commands_of_the_aws_cli_exist() -> None:
    """As botocore's models define them: a service, an operation, its parameters."""
    import botocore.session
    from botocore import xform_name

    session, named = botocore.session.get_session(), list(commands('aws'))
    assert len(named) > 8
    for document, text in named:
        service, command, *_ = re.sub(r'(--endpoint-url \S+|\$LOCAL) ', '', text).split()
        if (service, command) in CUSTOM:
            continue
        model = session.get_service_model(service)
        found = [name for name in model.operation_names if xform_name(name, '-') == command]
        assert found, f'{document.name}: aws {text}'
        members = model.operation_model(found[0]).input_shape.members
        given = {option.removeprefix('--').removeprefix('no-') for option in options(text)}
        assert given - EVERYWHERE <= {xform_name(name, '-') for name in members}, (service, command)
