import sys

import numpy as np
import pytest

from db.errors import LoadError
from db.files import ArrayRows, open_rows

HEADERS = {"user_id": "uid", "product_id": "sku", "value": "stars"}


@pytest.fixture
def csv_file(tmp_path):
    def write(content):
        path = tmp_path / "reviews.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def read(source, path, columns=None):
    rows = open_rows(source, path, columns or {})
    return [dict(batch) for batch in rows.batches()]


def test_headers_are_mapped_and_others_left_alone(csv_file):
    path = csv_file("sku,note,uid,stars\np1,fine,7,4.5\n")
    assert read("ratings", path, HEADERS) == [{"user_id": ["7"], "product_id": ["p1"], "value": ["4.5"]}]


def test_a_byte_order_mark_and_crlf_are_no_content(csv_file):
    assert read("users", csv_file(b"\xef\xbb\xbfuser_id\r\n7\r\n8\r\n")) == [{"user_id": ["7", "8"]}]


def test_quoted_cells_keep_commas_quotes_and_line_breaks(csv_file):
    path = csv_file('product_id,name\n1,"a, ""b""\nc"\n')
    assert read("products", path) == [{"product_id": ["1"], "name": ['a, "b"\nc']}]


def test_blank_lines_are_no_rows(csv_file):
    assert read("users", csv_file("user_id\n\n7\n\n")) == [{"user_id": ["7"]}]


def test_a_header_alone_is_a_file_without_rows(csv_file):
    assert read("users", csv_file("user_id\n")) == []


def test_a_cell_is_found_by_its_line_even_after_a_cell_of_several_lines(csv_file):
    rows = open_rows("products", csv_file('product_id,name\n1,"a\nb"\n\n2,c\n'), {})
    assert rows.where(1, "name").endswith('reviews.csv, line 5, column "name"')


@pytest.mark.parametrize(
    ("content", "columns", "said"),
    [
        ("uid\n7\n", {}, 'there is no column "user_id"; did you mean "uid"?; the header has uid; name the right'),
        ("", {}, "the header has nothing"),
        ("user_id\n7\n", {"at": "when"}, 'there is no column "when"'),
        ("user_id\n7\n", {"usr": "x"}, '"usr" is not a canonical column'),
        ("user_id,user_id\n7,8\n", {}, 'the header has "user_id" more than once'),
        ("user_id,at\n7,\n8\n", {}, "line 3: 1 cells under a header of 2"),
        ('user_id\n"7\n', {}, "not CSV: unexpected end of data"),
        (b"user_id\n\xff\xfe\n", {}, "not UTF-8; convert it first"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_says_where_and_why(csv_file, content, columns, said):
    with pytest.raises(LoadError) as error:
        read("users", csv_file(content), columns)
    assert said in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(LoadError, match=r"absent\.csv: No such file"):
        read("users", tmp_path / "absent.csv")


def test_another_format_is_refused(tmp_path):
    with pytest.raises(LoadError, match=r'"\.xlsx" is not a format that can be loaded; allowed: \.csv, \.parquet'):
        read("users", tmp_path / "users.xlsx")


def test_parquet_comes_in_the_same_batches(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "r.parquet"
    parquet.write_table(pyarrow.table({"uid": [7], "sku": ["p1"], "stars": [4.5], "note": ["-"]}), path)
    assert read("ratings", path, HEADERS) == [{"user_id": [7], "product_id": ["p1"], "value": [4.5]}]


def test_a_broken_parquet_file_is_named(tmp_path):
    pytest.importorskip("pyarrow")
    path = tmp_path / "r.parquet"
    path.write_bytes(b"PAR1 no")
    with pytest.raises(LoadError, match="not a Parquet file"):
        read("users", path)


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(LoadError, match=r"install clockmill\[parquet\]"):
        read("users", tmp_path / "r.parquet")


def test_arrays_stay_arrays():
    rows = ArrayRows("users", {"user_id": np.array([7]), "at": np.array(["2026-03-08T07"], dtype="datetime64[ns]")})
    (batch,) = rows.batches()
    assert (batch["user_id"].dtype, batch["at"].astype(str).tolist()) == (np.int64, ["2026-03-08T07:00:00.000000000"])


def test_arrays_of_different_lengths_are_refused():
    with pytest.raises(LoadError, match="differ in length"):
        ArrayRows("users", {"user_id": [1, 2], "at": [None]})
