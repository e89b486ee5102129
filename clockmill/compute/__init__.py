"""Arrays in, arrays out: who to recommend, what is similar. Nothing heavy is imported before a function is used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clockmill.compute.graphs import Graph, friends, friendship_graph, mutual
    from clockmill.compute.native import compile_kernels
    from clockmill.compute.ratings import Ratings, ratings_matrix
    from clockmill.compute.recommendations import recommend
    from clockmill.compute.similarity import similar_products

__all__ = [
    "Graph",
    "Ratings",
    "compile_kernels",
    "friends",
    "friendship_graph",
    "mutual",
    "ratings_matrix",
    "recommend",
    "similar_products",
]

_HOMES = {
    "Graph": "graphs",
    "Ratings": "ratings",
    "compile_kernels": "native",
    "friends": "graphs",
    "friendship_graph": "graphs",
    "mutual": "graphs",
    "ratings_matrix": "ratings",
    "recommend": "recommendations",
    "similar_products": "similarity",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
