"""Customers also liked: for each product those whose ratings come from the same users."""

from clockmill import Context, JobError, Output, compute, job

SIMILAR = Output(
    "similar",
    key="product_id",
    order="rank",
    item="similar_id",
    score="score",
    columns={"product_id": "id", "rank": "int", "similar_id": "id", "score": "float", "support": "int"},
    redis="json",
)


@job(
    schedule="45 3 * * *",
    timeout="30m",
    params={"weighting": "cosine", "k": 20, "min_support": 2, "full": False},
    choices={"weighting": ("cosine", "jaccard")},
    outputs=[SIMILAR],
)
def similarity(ctx: Context) -> None:
    rows = ctx.read("ratings", "user_id", "product_id", "value")
    with ctx.phase("compile"):
        compute.compile_kernels(ctx.cache_dir)
    options = {name: ctx.params[name] for name in ("weighting", "k", "min_support")}
    with ctx.phase("compute"):
        try:
            ratings = compute.ratings_matrix(rows["user_id"], rows["product_id"], rows["value"])
            lists = compute.similar_products(ratings, progress=ctx.progress, **options)
        except ValueError as e:
            raise JobError(f"similarity: {e}") from None
    for count, what in zip(ratings.dropped, ("not finite", "replaced by a later row", "zero"), strict=True):
        if count:
            ctx.log(f"ratings: {count} values were left out, being {what}")
    ctx.publish("similar", lists)
