import math
import subprocess
import sys
from contextlib import nullcontext

import numpy as np
import pytest

from clockmill import JobError
from clockmill.compute import recommendations as recommending
from clockmill.compute import weightings as comparing
from db.bases import Basis
from jobs.recommendations import recommendations
from jobs.similarity import similarity


class Context:
    """What the two jobs use of a context, over columns given as lists."""

    cache_dir = None

    def __init__(self, job, rows, **params):
        self.params = {**job.clockmill_job.params, **params}
        self.rows = rows
        self.published = {}
        self.lines = []

    def read(self, source, *columns):
        return {name: np.array(self.rows[source][name]) for name in columns}

    def phase(self, name):
        return nullcontext()

    def progress(self, share):
        pass

    def log(self, text):
        if not text.startswith("compiling the kernels"):
            self.lines.append(text)

    def basis(self, output, recipe, rebuild):
        return Basis(missing="nothing was published yet")

    def publish(self, output, rows, only=None, basis=None, why=""):
        self.published[output] = {name: column.tolist() for name, column in rows.items()}


def test_recommendations_publishes_friends_and_lists():
    ctx = Context(recommendations, {"friendships": {"user_id": [1, 2, 2], "friend_id": [2, 3, 2]}})
    recommendations(ctx)
    assert ctx.published == {
        "friends": {"user_id": [1, 2, 2, 3], "friend_id": [2, 1, 3, 2]},
        "recommendations": {
            "user_id": [1, 3],
            "rank": [1, 1],
            "candidate_id": [3, 1],
            "score": [1 / math.log(2)] * 2,
            "mutual_count": [1, 1],
            "mutual_ids": ["[2]", "[2]"],
        },
    }
    assert ctx.lines == ["friendships: 1 rows of a user with themselves were left out"]


def test_similarity_publishes_lists_and_tells_what_was_left_out():
    rows = {"user_id": [1, 2, 1, 2, 1], "product_id": [7, 7, 8, 8, 9], "value": [5.0, 5, 5, 5, math.nan]}
    ctx = Context(similarity, {"ratings": rows}, weighting="cosine")
    similarity(ctx)
    assert ctx.published == {
        "similar": {"product_id": [7, 8], "rank": [1, 1], "similar_id": [8, 7], "score": [1, 1], "support": [2, 2]}
    }
    assert ctx.lines == ["ratings: 1 values were left out, being not finite"]


def test_a_wrong_parameter_is_a_foreseen_failure():
    ctx = Context(recommendations, {"friendships": {"user_id": [1], "friend_id": [2]}}, k=0)
    with pytest.raises(JobError, match="k must be a whole number, 1 or more; seen: 0"):
        recommendations(ctx)


@pytest.mark.parametrize(("job", "home"), [(recommendations, recommending), (similarity, comparing)])
def test_a_job_offers_every_weighting(job, home):
    assert set(job.clockmill_job.choices["weighting"]) == set(home.WEIGHTINGS)


@pytest.mark.parametrize("job", ["recommendations", "similarity"])
def test_importing_a_job_imports_neither_numpy_nor_numba(job):
    code = f"import sys, jobs.{job}; print({{'numpy', 'numba'}} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
