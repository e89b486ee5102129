"""What each word of `overlap` means: one decision, for the ledger and for whoever foretells it."""

from typing import Literal

#: start: nothing is in the way. skip: it ends here, with the reason. wait: until the other one has ended.
#: cancel, terminate: the other one is asked to end, gently or at once; this one waits for that.
Step = Literal["start", "skip", "wait", "cancel", "terminate"]
#: How the owner of a running run is asked to end it (runs.cancel_asked): by a person, who waits; by a later run.
BY_PERSON, AT_ONCE, GENTLY = 1, 2, 3


def decide(overlap: str, running: int | None, waiting: int | None) -> tuple[Step, str | None]:
    """What becomes of a run that is due, and the reason when it is skipped.

    running: another run of the job that has begun. waiting: an earlier run of the job that waits for its turn.
    """
    if running is None or overlap == "allow":
        return "start", None
    if overlap == "skip":
        return "skip", f"overlap: run {running} is running"
    if overlap == "queue_one" and waiting is not None:
        return "skip", f"overlap: run {waiting} waits already"
    if overlap == "cancel_previous":
        return "cancel", None
    return ("terminate" if overlap == "terminate_previous" else "wait"), None
