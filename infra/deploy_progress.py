"""Progress of a deploy: bytes uploaded, and resources of the change set that CloudFormation has completed.

Both are read beside the command of the AWS CLI that does the work. A look that AWS refuses shows nothing, and never
ends the deploy.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from infra.progress import Progress, Show

#: Seconds between two looks at a stack.
INTERVAL = 5.0

#: The AWS CLI's own progress on standard error (customizations/s3uploader.py).
_UPLOADED = re.compile(r'Uploading to (\S+) +(\d+) / [\d.]+ ')


class Looks(Protocol):
    """The AWS CLI of one region (infra.deploy.Aws)."""

    def look(self, *words: str) -> str | None:
        """Run a command that changes nothing, without printing it; None when it fails."""


class Uploads:
    """Call it with standard error of the AWS CLI, a part at a time; ``show`` receives the bytes of all uploads."""

    def __init__(self, total: int, show: Show) -> None:
        self._total, self._show = total, show
        self._sent: dict[str, int] = {}
        self._rest = ''

    def __call__(self, text: str) -> None:
        self._rest += text
        for found in _UPLOADED.finditer(self._rest):
            self._sent[found[1]] = int(found[2])
        self._rest = self._rest[self._rest.rfind('\r') :]
        if self._sent:
            self._show(min(self._total, sum(self._sent.values())))


@contextlib.contextmanager
def stack_progress(stack: str, aws: Looks, progress: Progress) -> Iterator[None]:
    """Show how far CloudFormation is with the change set that the block executes."""
    ended, worked = threading.Event(), threading.Event()
    change_set, before = _change_set(stack, aws), _resources(stack, aws)

    def watch() -> None:
        total: frozenset[str] = frozenset()
        while not total and not ended.wait(INTERVAL):
            total = _changes(stack, aws, change_set)
        if total:
            _follow(total, lambda: _resources(stack, aws), before, progress, ended, worked)

    thread = threading.Thread(target=watch, name='stack-progress', daemon=True)
    thread.start()
    try:
        yield
        worked.set()
    finally:
        ended.set()
        thread.join()


#: Logical id -> (status, time of the last change).
Resources = Mapping[str, tuple[str, str]]


def _follow(
    changes: frozenset[str],
    read: Callable[[], Resources],
    before: Resources,
    progress: Progress,
    ended: threading.Event,
    worked: threading.Event,
) -> None:
    """Show the completed resources until the deploy has ended; all of them when it has worked."""
    with progress('deploy', len(changes), unit='resources') as show:
        while True:
            now = read()
            done = [each for each in changes & now.keys() if now[each] != before.get(each) and _is_complete(now[each])]
            show(len(done))
            if ended.wait(INTERVAL):
                break
        if worked.is_set():
            show(len(changes))


def _is_complete(resource: tuple[str, str]) -> bool:
    return resource[0].endswith('_COMPLETE')


def _change_set(stack: str, aws: Looks) -> str:
    """The change set that made the stack what it is; '' for none."""
    found = _read(aws, 'describe-stacks', '--stack-name', stack, '--query', 'Stacks[0].ChangeSetId')
    return found if isinstance(found, str) else ''


def _changes(stack: str, aws: Looks, before: str) -> frozenset[str]:
    """Logical ids that the change set changes, once CloudFormation executes one other than ``before``."""
    now = _change_set(stack, aws)
    if now in ('', before):
        return frozenset()
    query = ('--query', 'Changes[].ResourceChange.LogicalResourceId')
    found = _read(aws, 'describe-change-set', '--stack-name', stack, '--change-set-name', now, *query)
    return frozenset(found or ())


def _resources(stack: str, aws: Looks) -> Resources:
    query = 'StackResourceSummaries[].[LogicalResourceId,ResourceStatus,LastUpdatedTimestamp]'
    found = _read(aws, 'list-stack-resources', '--stack-name', stack, '--query', query)
    return {id: (status, changed) for id, status, changed in found or ()}


def _read(aws: Looks, *words: str) -> Any:
    """The parsed answer of a command of CloudFormation; None for none."""
    text = aws.look('cloudformation', *words, '--output', 'json')
    return json.loads(text) if text else None
