"""One handler whose every effect is a row; nothing in the table keeps a second row of one event out."""

from clockmill import EventContext, on


@on("chaos.thing.*", order_by="thing", data={"thing": "int", "n": "int"})
def record(ctx: EventContext) -> None:
    data = ctx.event.data
    ctx.execute(
        "INSERT INTO effects (event, thing, n) VALUES (:event, :thing, :n)",
        event=ctx.event.id,
        thing=data["thing"],
        n=data["n"],
    )
