"""What a plan, a run, a verification or a rollback found: counts by kind, and findings."""

from __future__ import annotations

import collections
import dataclasses
import enum
from collections.abc import Iterable, Iterator
from typing import Any

from cinderless.migration.items import Finding, Verdict

#: Ids that the printed report names of one problem; --json has all.
NAMED = 10


class Outcome(enum.StrEnum):
    """What becomes of a record."""

    NEW = 'new'
    CHANGED = 'changed'
    SAME = 'unchanged'
    #: Its row was deleted in Cinder, or a rollback removed it.
    REMOVED = 'removed'
    #: It was changed here since it was written, or the name or id is taken: left as it is.
    KEPT = 'kept'


@dataclasses.dataclass
class Report:
    """``applied``: whether records were written; otherwise the counts are those of a run."""

    source: str
    revision: str
    applied: bool
    counts: dict[str, collections.Counter[Outcome]] = dataclasses.field(default_factory=dict)
    findings: list[Finding] = dataclasses.field(default_factory=list)
    seconds: float = 0.0

    def count(self, kind: str, outcome: Outcome, number: int = 1) -> None:
        self.counts.setdefault(kind, collections.Counter())[outcome] += number

    def total(self, *outcomes: Outcome) -> int:
        return sum(counted[outcome] for counted in self.counts.values() for outcome in outcomes)

    @property
    def is_complete(self) -> bool:
        """Whether every row was mapped and no record was kept from it."""
        return not any(finding.verdict == Verdict.LEFT_OUT for finding in self.findings)

    def rows(self) -> Iterator[list[object]]:
        """Yield a line of the table for each kind."""
        for kind, counted in self.counts.items():
            yield [kind, *(counted[outcome] for outcome in Outcome)]

    def problems(self) -> Iterator[str]:
        """Yield a paragraph for each verdict, problem and advice, with ids."""
        same: dict[tuple[Verdict, str, str, str], list[Finding]] = {}
        for one in self.findings:
            same.setdefault((one.verdict, one.table, _shape(one), one.advice), []).append(one)
        for (verdict, table, _, advice), found in sorted(same.items(), key=lambda pair: pair[0]):
            ids = [f'  {one.id}: {one.problem}' for one in found[:NAMED]]
            more = [f'  and {len(found) - NAMED} more (--json lists all)'] if len(found) > NAMED else []
            yield '\n'.join([f'{verdict}: {len(found)} of {table}', *ids, *more, f'  -> {advice}'])

    def document(self) -> dict[str, Any]:
        """Return the report as JSON."""
        return {
            'source': self.source,
            'revision': self.revision,
            'applied': self.applied,
            'seconds': round(self.seconds, 3),
            'records': {kind: dict(counted) for kind, counted in self.counts.items()},
            'findings': [finding._asdict() for finding in self.findings],
        }


def _shape(finding: Finding) -> str:
    """Return the problem without its particulars, by which findings are grouped."""
    return ' '.join(word for word in finding.problem.split() if word.isalpha() and word.islower())


def left_out(findings: Iterable[Finding]) -> set[tuple[str, str]]:
    """Return (table, id) of the rows that are left out."""
    return {(one.table, one.id) for one in findings if one.verdict == Verdict.LEFT_OUT}
