"""Customers also liked: for each product those whose ratings come from the same users."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from clockmill import Context, JobError, Output, Shard, compute, job

SIMILAR = Output(
    "similar",
    key="product_id",
    order="rank",
    item="similar_id",
    score="score",
    columns={"product_id": "id", "rank": "int", "similar_id": "id", "score": "float", "support": "int"},
    redis="json",
)


def some_pairs(shard: Shard) -> Mapping[str, Any]:
    compute.compile_kernels(shard.cache_dir, shard.log, of=())
    return compute.similar_range(shard.arrays, shard.facts, shard.first, shard.last, shard.progress)


@job(
    schedule="45 3 * * *",
    timeout="30m",
    # What an event asks for while a run is at work must follow it.
    overlap="queue_one",
    params={
        "weighting": "damped",
        "k": 20,
        "min_support": 2,
        "shrink": 0.0,
        "damp_user": 0.5,
        "damp_seed": 0.7,
        "damp_target": 0.4,
        "full": False,
        "rebuild": "7d",
        "shards": 1,
    },
    choices={"weighting": ("cosine", "jaccard", "dice", "tf_idf", "bm25", "log_likelihood", "damped")},
    outputs=[SIMILAR],
    shard=some_pairs,
)
def similarity(ctx: Context) -> None:
    rows = ctx.read("ratings", "user_id", "product_id", "value")
    with ctx.phase("compile"):
        compute.compile_kernels(ctx.cache_dir, ctx.log, ["products"])
    options = {name: ctx.params[name] for name in ("weighting", "k", "min_support", "shrink")}
    damping = compute.Damping(*(ctx.params[f"damp_{name}"] for name in compute.Damping._fields))
    recipe = {**options, "damping": list(damping), "lists": 2}
    before = ctx.basis("similar", recipe, ctx.params["rebuild"])
    k, min_support = options["k"], options["min_support"]
    divide = partial(ctx.shards, ctx.params["shards"]) if ctx.params["shards"] != 1 else None
    with ctx.phase("compute"):
        try:
            ratings = compute.ratings_matrix(rows["user_id"], rows["product_id"], rows["value"])
            prepared = compute.compared(ratings, options["weighting"], options["shrink"], damping)
            known = compute.know_ratings(ratings, *prepared)
            change = (
                compute.changed_products(ratings, known, min_support, before)
                if before
                else compute.everything(before.missing)
            )
            lists = compute.similar_products(
                ratings,
                only=change.rows,
                prepared=prepared,
                progress=ctx.progress,
                damping=damping,
                divide=divide,
                **options,
            )
        except ValueError as e:
            raise JobError(f"similarity: {e}") from None
        basis = compute.products_basis(ratings, known, k, before, change, lists)
        lists = compute.or_popular_products(ratings, lists, k, change.rows)
    for count, what in zip(ratings.dropped, ("not finite", "replaced by a later row", "zero"), strict=True):
        if count:
            ctx.log(f"ratings: {count} values were left out, being {what}")
    ctx.publish("similar", lists, only=change.keys(ratings.product_ids), basis=basis, why=change.why)
