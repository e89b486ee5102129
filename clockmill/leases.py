"""The leases of one process: renewed while it runs something, obeyed when the ledger says otherwise.

One thread talks to the database; another one looks at the clock only, so that a database that neither answers nor
refuses cannot keep a job alive beyond its lease.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from db.lease_clock import LEASE_S, RENEW_S, SECOND, boot_micros
from db.ledger import Ledger
from db.overlap import AT_ONCE, BY_PERSON, GENTLY
from db.pause import pause
from db.run import Claim

#: Why a run is cancelled, by what the ledger was asked (db.overlap); a person's Ctrl-C is the first, too.
CANCELLED = {
    BY_PERSON: "cancelled by a person",
    AT_ONCE: "a later run takes its place (overlap = terminate_previous)",
    GENTLY: "a later run takes its place (overlap = cancel_previous)",
}
#: How often the ledger is asked whether somebody wants a run cancelled.
LOOK_S = 1.0
#: So long before the lease could end, the job is killed: the next owner must find nobody at work.
MARGIN_S = LEASE_S / 6
#: How often that is looked at.
GUARD_S = MARGIN_S / 4

log = logging.getLogger("clockmill.leases")


@dataclass
class Holding:
    """One run held. `end` ends its job, gently or at once, with the reason."""

    claim: Claim
    end: Callable[[str, bool], None]
    #: On this host's boot clock; counted from before the claim was sent.
    until_us: int
    #: How it was asked to end so far: not at all, gently, at once.
    asked: int = 0

    def stop(self, reason: str, at_once: bool) -> None:
        """Asks once, and once more when it has become urgent."""
        wanted = 1 + at_once
        if wanted <= self.asked:
            return
        before, self.asked = self.asked, wanted
        try:
            self.end(reason, at_once)
        except Exception:
            # Whoever watches the lease must live on, and asks again at its next look.
            self.asked = before
            log.exception("run %d cannot be ended", self.claim.run_id)


class Leases:
    """Holds runs from `hold` to `release`; its threads are started with the first run."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        #: By run and fence: after a long stop this process may claim again what it still holds under the old fence.
        self._held: dict[tuple[int, int], Holding] = {}
        self._lock = threading.Lock()
        self._started = False

    def hold(self, claim: Claim, end: Callable[[str, bool], None], claimed_at_us: int) -> None:
        with self._lock:
            self._held[claim.run_id, claim.fence] = Holding(claim, end, claimed_at_us + LEASE_S * SECOND)
            if not self._started:
                self._started = True
                for work in (self._keep, self._guard):
                    threading.Thread(target=work, name=f"leases{work.__name__}", daemon=True).start()

    def release(self, claim: Claim) -> None:
        with self._lock:
            self._held.pop((claim.run_id, claim.fence), None)

    def stop_all(self, reason: str, at_once: bool) -> None:
        """Ends every job this process runs."""
        for holding in self._holdings():
            holding.stop(reason, at_once)

    def _holdings(self) -> list[Holding]:
        with self._lock:
            return list(self._held.values())

    def _guard(self) -> None:
        while True:
            pause(GUARD_S)
            for holding in self._holdings():
                if boot_micros() > holding.until_us - MARGIN_S * SECOND:
                    holding.stop("the lease could not be renewed", True)

    def _keep(self) -> None:
        renewed = time.monotonic()
        while True:
            pause(LOOK_S)
            held = self._holdings()
            if not held:
                renewed = time.monotonic() - RENEW_S
                continue
            due = time.monotonic() - renewed >= RENEW_S
            if self._look(held, renew=due) and due:
                renewed = time.monotonic()

    def _look(self, held: list[Holding], renew: bool) -> bool:
        """One look at the ledger; False when it could not be reached."""
        now = boot_micros()
        ids = [holding.claim.run_id for holding in held]
        try:
            rows = self._ledger.renew(ids) if renew else self._ledger.held(ids)
        except Exception as e:
            # Whatever it was: the next look may go better, and the guard sees to the jobs if none does.
            log.warning("leases cannot be renewed: %s", e)
            return False
        for holding in held:
            self._obey(holding, rows.get(holding.claim.run_id), now if renew else None)
        return True

    def _obey(self, holding: Holding, row: object, renewed_at: int | None) -> None:
        state = getattr(row, "state", None)
        mine = getattr(row, "fence", None) == holding.claim.fence and getattr(row, "owner", None) == holding.claim.owner
        if not mine and holding in self._holdings():
            holding.stop("another process took the run over", True)
        elif state == "cancelled":
            holding.stop("it was ended with the run whose shard it is", True)
        elif state in ("running", "succeeded") and renewed_at is not None:
            # What has succeeded is nobody's to claim, and its process may be long at bringing it to Redis.
            holding.until_us = renewed_at + LEASE_S * SECOND
        asked = getattr(row, "cancel_asked", 0)
        if mine and state == "running" and asked:
            holding.stop(CANCELLED[asked], asked == AT_ONCE)
