import pytest

from clockmill.fetch.text import plain


@pytest.mark.parametrize(
    ("markup", "words"),
    [
        ("Tom &amp; Jerry", "Tom & Jerry"),
        ("<b>bold</b> and <a href='javascript:x'>link</a>", "bold and link"),
        ("<script>alert(1)</script>after", "after"),
        ("&lt;script&gt;alert(1)&lt;/script&gt;after", "after"),
        ("a < b", "a < b"),
        ("two\nlines\tand\x00more", "two lines andmore"),
        ("half \ud800 a pair", "half a pair"),
    ],
)
def test_markup_becomes_words(markup, words):
    assert plain(markup, 100) == words


def test_no_depth_of_escaping_brings_a_tag_through():
    text = "<img src=x onerror=alert(1)>"
    for _ in range(9):
        text = text.replace("&", "&amp;").replace("<", "&lt;")
    assert "<" not in plain(text, 1000)


def test_a_long_text_is_cut_at_a_word():
    assert plain("one two three", 9) == "one two…"
