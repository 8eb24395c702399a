"""The documents tell the truth: generated pages are up to date, links lead somewhere, named commands exist."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from chalicelib.drivers.base import Capabilities
from chalicelib.drivers.registry import DRIVERS
from docs.generate import FOLDER, PAGES, SUPPORT, drivers

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([ROOT / 'README.md', ROOT / 'appliance' / 'README.md', *(ROOT / 'docs').rglob('*.md')])
LINK = re.compile(r'\[[^\]]*\]\(([^)#\s]*)(?:#([^)]*))?\)')
MAKE = re.compile(r'`?\bmake ([a-z]+)')
TARGET = re.compile(r'^([a-z]+):', re.MULTILINE)

#: Folders of the project.
OURS = ('appliance', 'bench', 'chalicelib', 'deploy', 'docs', 'infra', 'local', 'stepfunctions', 'tests')


@pytest.mark.parametrize('name', PAGES)
def test_a_generated_page_is_what_would_be_generated(name: str) -> None:
    assert (FOLDER / name).read_text() == PAGES[name](), f'docs/{name} is old: run make docs'


def test_what_drivers_support_is_told_in_full() -> None:
    """Every capability and every option of every driver that is there."""
    text = (FOLDER / 'drivers.md').read_text()
    assert SUPPORT.keys() == {field.name for field in dataclasses.fields(Capabilities)}
    for words in SUPPORT.values():
        assert f'| {words} |' in text
    for kind, driver in drivers().items():
        assert [name for name in driver.OPTIONS if f'| {kind} | `{name}` |' not in text] == []
    assert {'appliance', 'ebs'} <= drivers().keys() <= DRIVERS.keys()


@pytest.mark.parametrize('document', DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_within_the_project_lead_somewhere(document: Path) -> None:
    links = [link for link, _ in LINK.findall(document.read_text()) if link and '://' not in link]
    broken = [link for link in links if not (document.parent / link).exists()]
    assert broken == []


@pytest.mark.parametrize('document', DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_make_targets_that_are_named_exist(document: Path) -> None:
    code = ' '.join(re.findall(r'`[^`]+`|```.*?```', document.read_text(), re.DOTALL))
    targets = set(TARGET.findall((ROOT / 'Makefile').read_text()))
    assert set(MAKE.findall(code)) <= targets


def anchors(document: Path) -> set[str]:
    """What headings of a page may be linked by, as GitHub makes it of them."""
    titles = re.findall(r'^#+ (.*)$', document.read_text(), re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', title.strip().lower()).replace(' ', '-') for title in titles}


@pytest.mark.parametrize('document', DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_headings_that_are_linked_exist(document: Path) -> None:
    linked = [(link, anchor) for link, anchor in LINK.findall(document.read_text()) if anchor and '://' not in link]
    targets = [((document.parent / link) if link else document, anchor) for link, anchor in linked]
    assert [anchor for page, anchor in targets if page.suffix == '.md' and anchor not in anchors(page)] == []


@pytest.mark.parametrize('document', DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_that_are_run_exist(document: Path) -> None:
    modules = re.findall(r'python -m ([\w.]+)', document.read_text())
    places = [ROOT / name.replace('.', '/') for name in modules if name.partition('.')[0] in OURS]
    assert [
        place for place in places if not (place.with_suffix('.py').exists() or (place / '__main__.py').exists())
    ] == []


@pytest.mark.parametrize('document', DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_that_are_named_exist(document: Path) -> None:
    """Paths in code font that begin at one of the project's folders."""
    named = re.findall(rf'`((?:{"|".join(OURS)})/[\w./-]+\.\w+)`', document.read_text())
    assert [path for path in named if not (ROOT / path).exists()] == []


#: Commands of the AWS CLI that are no operations of a service, and options that every command takes.
CUSTOM = {('s3', 'cp'), ('s3', 'rb'), ('cloudformation', 'package')}
EVERYWHERE = {'endpoint-url', 'cli-binary-format', 'profile', 'region', 'query', 'output'}


def aws_commands() -> list[tuple[str, str, tuple[str, ...]]]:
    """(service, operation, options) of every command of the AWS CLI in the documents' code."""
    found = []
    for document in DOCUMENTS:
        for block in re.findall(r'```sh\n(.*?)```|`(aws [^`]+)`', document.read_text(), re.DOTALL):
            for line in ''.join(block).replace('\\\n', ' ').splitlines():
                if words := re.match(r'aws (?:--endpoint-url \S+ )?([\w]+) ([\w-]+)(.*)', line.strip()):
                    found.append((words[1], words[2], tuple(re.findall(r' --([a-z][a-z0-9-]*)', words[3]))))
    return found


def test_commands_of_the_aws_cli_exist() -> None:
    """As its own data has them: a service, an operation, its parameters."""
    import botocore.session
    from botocore import xform_name

    session, commands = botocore.session.get_session(), aws_commands()
    assert len(commands) > 8
    for service, command, options in commands:
        if (service, command) in CUSTOM:
            continue
        model = session.get_service_model(service)
        [operation] = [name for name in model.operation_names if xform_name(name, '-') == command]
        members = model.operation_model(operation).input_shape.members
        named = {option.removeprefix('no-') for option in options}
        assert named - EVERYWHERE <= {xform_name(name, '-') for name in members}, (service, command)
