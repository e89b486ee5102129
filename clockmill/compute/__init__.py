"""Arrays in, arrays out: who to recommend, what is similar. Nothing heavy is imported before a function is used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clockmill.compute.changes import everything
    from clockmill.compute.fallback import or_popular_people, or_popular_products
    from clockmill.compute.graphs import Graph, friends, friendship_graph, mutual
    from clockmill.compute.native import compile_kernels
    from clockmill.compute.pairs import similar_range
    from clockmill.compute.people_changes import changed_people, know_graph, people_basis
    from clockmill.compute.people_now import befriended, friend_rows, id_like, pair_like, recommend_now
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
    "friend_rows",
    "friends",
    "friendship_graph",
    "id_like",
    "know_graph",
    "know_ratings",
    "mutual",
    "or_popular_people",
    "or_popular_products",
    "pair_like",
    "people_basis",
    "products_basis",
    "ratings_matrix",
    "recommend",
    "recommend_now",
    "recommend_range",
    "similar_products",
    "similar_range",
]

_HOMES = {
    "Damping": "weightings",
    "Graph": "graphs",
    "Ratings": "ratings",
    "befriended": "people_now",
    "changed_people": "people_changes",
    "changed_products": "product_changes",
    "compared": "similarity",
    "compile_kernels": "native",
    "everything": "changes",
    "friend_rows": "people_now",
    "friends": "graphs",
    "friendship_graph": "graphs",
    "id_like": "people_now",
    "know_graph": "people_changes",
    "know_ratings": "product_changes",
    "mutual": "graphs",
    "or_popular_people": "fallback",
    "or_popular_products": "fallback",
    "pair_like": "people_now",
    "people_basis": "people_changes",
    "products_basis": "product_changes",
    "ratings_matrix": "ratings",
    "recommend": "recommendations",
    "recommend_now": "people_now",
    "recommend_range": "recommendations",
    "similar_products": "similarity",
    "similar_range": "pairs",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
