import gzip

import pytest

from bench.convert import FORMATS, BadLine, convert, main


def converted(kind, text):
    return [tuple(row) for row in FORMATS[kind](text.splitlines(keepends=True))]


EDGE = ("user_id", "friend_id")
PAIR = ("user_id", "product_id", "value")


@pytest.mark.parametrize(
    ("kind", "text", "rows"),
    [
        ("facebook100", "0 4\n0 30\n", [EDGE, ("0", "4"), ("0", "30")]),
        ("musae", "node_1,node_2\n0,747\n", [EDGE, ("0", "747")]),
        ("musae", "id_1,id_2\n7,7\n", [EDGE, ("7", "7")]),
        ("musae", "from,to\n1,2\n2,1\n", [EDGE, ("1", "2"), ("2", "1")]),
        ("snap", "# Directed graph\r\n# FromNodeId\tToNodeId\r\n30\t1412\r\n", [EDGE, ("30", "1412")]),
        ("tsv", "0\t4224\n", [EDGE, ("0", "4224")]),
        ("ego-facebook", "3625,3873\n", [EDGE, ("3625", "3873")]),
        ("metis", "3 1 0\n2 \n1\n\n", [EDGE, ("1", "2"), ("2", "1")]),
        ("metis", "% a comment\n3 1\n\n3\n2\n", [EDGE, ("2", "3"), ("3", "2")]),
        ("gowalla", "0 5 6\n1\n2 5\n", [PAIR, ("0", "5", "1"), ("0", "6", "1"), ("2", "5", "1")]),
        ("amazon-beauty", "4 20 4 20\n", [PAIR, ("4", "20", "1"), ("4", "4", "1"), ("4", "20", "1")]),
        ("fimi-retail", "0 1 \n30 \n", [PAIR, ("1", "0", "1"), ("1", "1", "1"), ("2", "30", "1")]),
        ("ml-100k", "196\t242\t3\t881250949\n", [(*PAIR, "at"), ("196", "242", "3", "881250949")]),
        (
            "ml-latest-small",
            "userId,movieId,rating,timestamp\n1,31,2.5,1260759144\n",
            [(*PAIR, "at"), ("1", "31", "2.5", "1260759144")],
        ),
        (
            "ml-latest-small",
            'movieId,title,genres\n11,"American President, The (1995)",Drama\n',
            [("product_id", "name"), ("11", "American President, The (1995)")],
        ),
        ("lastfm-hetrec", "1\t46\t13883\n", [PAIR, ("1", "46", "13883")]),
        ("lastfm-hetrec", "userID\tfriendID\n2\t275\n", [EDGE, ("2", "275")]),
        ("lastfm-hetrec", "", [EDGE]),
    ],
)
def test_a_format_becomes_rows_under_canonical_names(kind, text, rows):
    assert converted(kind, text) == rows


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        ("snap", "1\t2\nx\ty\n", r"line 2: 'x\\ty' is not an edge"),
        ("tsv", "1\n", "line 1: '1' is not an edge"),
        ("metis", "2 1 1\n2 5\n1 5\n", "without weights"),
        ("metis", "1 1\n2\n1\n", "more than the 1 nodes"),
        ("metis", "", "line 1"),
        ("ml-100k", "196\t242\n", "line 1: 2 cells instead of 4"),
        ("ml-latest-small", "a,b\n", "not a header of MovieLens"),
    ],
)
def test_a_line_that_the_format_does_not_allow_is_named(kind, text, said):
    with pytest.raises(BadLine, match=said):
        converted(kind, text)


def test_a_gzipped_file_becomes_csv(tmp_path):
    (tmp_path / "a.edges.gz").write_bytes(gzip.compress(b"0 4\n0 30\n"))
    assert convert("facebook100", tmp_path / "a.edges.gz", tmp_path / "out.csv") == 2
    assert (tmp_path / "out.csv").read_bytes() == b"user_id,friend_id\n0,4\n0,30\n"


def test_names_in_latin_1_are_read(tmp_path):
    (tmp_path / "a.dat").write_bytes("1\tBjörk\t5\n".encode("latin-1"))
    convert("lastfm-hetrec", tmp_path / "a.dat", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()[1] == "1,Björk,5"


def test_the_command_says_how_many_rows(tmp_path, capsys):
    (tmp_path / "a.tsv").write_text("1\t2\n")
    assert main(["tsv", str(tmp_path / "a.tsv"), str(tmp_path / "out.csv")]) == 0
    assert capsys.readouterr().err.endswith("out.csv: 1 rows\n")


def test_the_command_says_what_is_wrong(tmp_path, capsys):
    assert main(["tsv", str(tmp_path / "absent"), str(tmp_path / "out.csv")]) == 1
    assert "No such file" in capsys.readouterr().err
