"""clockmill evaluate on tables of one's own: what it prints, writes and refuses."""

import pytest

MEASURED = ["users", "recall", "precision", "ndcg", "map", "hit_rate", "coverage", "popularity"]


def shop():
    rows = [(u, 10 * (u % 4) + p) for u in range(48) for p in range(6) if p != u % 6]
    return "user_id,product_id,value\n" + "".join(f"{u},{p},{1 + p % 5}\n" for u, p in rows)


def people():
    rows = [(10 * g + a, 10 * g + b) for g in range(4) for a in range(9) for b in range(a)]
    return "user_id,friend_id\n" + "".join(f"{a},{b}\n" for a, b in rows)


@pytest.fixture
def loaded(clockmill):
    clockmill("load", "ratings", clockmill.write("ratings.csv", shop()))
    clockmill("load", "friendships", clockmill.write("friends.csv", people()))
    return clockmill


@pytest.mark.parametrize("job", ["recommendations", "similarity"])
def test_every_weighting_is_measured(loaded, job):
    told = loaded("evaluate", job, "--json").json
    assert list(told) == ["job", "split", "share", "seed", "places", "best", "trials"]
    assert all(list(trial) == ["settings", *MEASURED] for trial in told["trials"])
    assert {trial["settings"]["weighting"] for trial in told["trials"]} >= {"jaccard"}
    assert all(trial["hit_rate"] == 1 for trial in told["trials"])


def test_the_table_and_the_picture_name_the_best(loaded):
    shown = loaded("evaluate", "recommendations", "-w", "jaccard", "-w", "adamic_adar").out
    assert "SETTING" in shown
    assert shown.count("<- best") == 1


def test_the_best_setting_is_written_and_used(loaded):
    loaded.configure("# mine\n")
    best = loaded("evaluate", "similarity", "-w", "jaccard", "--write", "--json").json["best"]
    assert best == {"weighting": "jaccard"}
    assert "# mine" in (loaded.folder / "clockmill.toml").read_text()
    assert "jaccard" in loaded("jobs", "show", "similarity").out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("similarity", "-w", "magic"), '--weighting "magic"; allowed: cosine, '),
        (("similarity", "--split", "time"), 'map the column "at"'),
    ],
)
def test_what_cannot_be_evaluated_is_said(loaded, words, said):
    assert said in loaded("evaluate", *words, code=2).err


def test_without_rows_there_is_nothing_to_evaluate(clockmill):
    assert "the source ratings has no rows" in clockmill("evaluate", "similarity", code=2).err
