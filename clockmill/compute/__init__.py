"""Arrays in, arrays out: who to recommend, what is similar. Nothing heavy is imported before a function is used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clockmill.compute.changes import everything
    from clockmill.compute.fallback import or_popular_people, or_popular_products
    from clockmill.compute.graph_edits import (
        befriended,
        friend_lists,
        friend_rows,
        numbers,
        pair_like,
        with_friends,
    )
    from clockmill.compute.graphs import Graph, friends, friendship_graph, mutual
    from clockmill.compute.native import compile_kernels
    from clockmill.compute.pairs import similar_range
    from clockmill.compute.people_changes import changed_people, know_graph, people_basis
    from clockmill.compute.product_changes import changed_products, know_ratings, products_basis
    from clockmill.compute.ratings import Ratings, ratings_matrix
    from clockmill.compute.recommendations import recommend, recommend_range
    from clockmill.compute.similarity import compared, similar_products
    from clockmill.compute.weightings import Damping

__all__ = [
    "Damping",
    "Graph",
    "Ratings",
    "befriended",
    "changed_people",
    "changed_products",
    "compared",
    "compile_kernels",
    "everything",
    "friend_lists",
    "friend_rows",
    "friends",
    "friendship_graph",
    "know_graph",
    "know_ratings",
    "mutual",
    "numbers",
    "or_popular_people",
    "or_popular_products",
    "pair_like",
    "people_basis",
    "products_basis",
    "ratings_matrix",
    "recommend",
    "recommend_range",
    "similar_products",
    "similar_range",
    "with_friends",
]

_HOMES = {
    "Damping": "weightings",
    "Graph": "graphs",
    "Ratings": "ratings",
    "befriended": "graph_edits",
    "changed_people": "people_changes",
    "changed_products": "product_changes",
    "compared": "similarity",
    "compile_kernels": "native",
    "everything": "changes",
    "friend_lists": "graph_edits",
    "friend_rows": "graph_edits",
    "friends": "graphs",
    "friendship_graph": "graphs",
    "know_graph": "people_changes",
    "know_ratings": "product_changes",
    "mutual": "graphs",
    "numbers": "graph_edits",
    "or_popular_people": "fallback",
    "or_popular_products": "fallback",
    "pair_like": "graph_edits",
    "people_basis": "people_changes",
    "products_basis": "product_changes",
    "ratings_matrix": "ratings",
    "recommend": "recommendations",
    "recommend_range": "recommendations",
    "similar_products": "similarity",
    "similar_range": "pairs",
    "with_friends": "graph_edits",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
