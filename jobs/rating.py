"""Ratings as they are told of: kept where the table is clockmill's own, and followed by a run of similarity.

One rating moves the lists of all products that its user has rated, and of their partners: what to compute is for the
incremental build to find out, and one run serves all ratings of some seconds.
"""

import math
from typing import Any

from clockmill import EventContext, on
from clockmill.slots import iso

AT_ONCE = 500
#: The run starts when no rating has come for so long, and after ten times that while they keep coming.
QUIET = "5s"


@on(
    "app.rating.created",
    "app.rating.deleted",
    batch=AT_ONCE,
    gather="200ms",
    data={"user_id": "id", "product_id": "id"},
)
def rating(ctx: EventContext) -> None:
    told: dict[tuple[Any, Any], dict[str, Any] | None] = {}
    for event in ctx.events:
        key, value = (event.data["user_id"], event.data["product_id"]), event.data.get("value")
        if event.type.endswith(".deleted"):
            told[key] = None
        elif isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            ctx.refuse(event, f"its data.value is {str(value)[:40]!r}; expected a number")
        else:
            at = event.time and iso(event.time.replace(microsecond=0))
            told[key] = {"user_id": key[0], "product_id": key[1], "value": float(value), "at": at}
    if told:
        ctx.apply("ratings", [row for row in told.values() if row], [key for key, row in told.items() if row is None])
        ctx.start("similarity", after=QUIET)
