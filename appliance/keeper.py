"""A thread that brings tgtd to the journal's state whenever they may differ.

They differ after a request without an answer, after an interrupted verb, after a restart of tgtd, and after another
program changed a target. While tgtd does not answer, the thread keeps trying.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback

from appliance.errors import ApplianceError
from appliance.service import Appliance

#: Seconds between two checks, and the longest pause after failed checks.
INTERVAL = 2.0
LONGEST = 60.0

#: Seconds between two comparisons of all targets, which block tgtd for a quarter of a second per 3,000 targets.
COMPARE = 600.0


class Keeper:
    def __init__(self, appliance: Appliance) -> None:
        self._appliance = appliance
        self._wake = threading.Event()
        self._stopping = False
        self._compared = time.monotonic()
        self._thread = threading.Thread(target=self._run, name='keeper', daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Check now: tgtd was restarted."""
        self._wake.set()

    def stop(self) -> None:
        """Stop, and wait for a check in progress."""
        self._stopping = True
        self._wake.set()
        self._thread.join()

    def check(self) -> bool:
        """Settle all unsettled objects; return whether all are settled."""
        due = time.monotonic() - self._compared >= COMPARE
        try:
            settled = self._appliance.reconcile(compare=due)
        except ApplianceError as error:
            print(f'exports cannot be checked: {error}', file=sys.stderr)
            return False
        except Exception:  # a bug must not end the thread
            traceback.print_exc()
            return False
        if due:
            self._compared = time.monotonic()
        return settled

    def _run(self) -> None:
        pause = INTERVAL
        while not self._stopping:
            self._wake.wait(pause)
            self._wake.clear()
            if not self._stopping:
                pause = INTERVAL if self.check() else min(2 * pause, LONGEST)
