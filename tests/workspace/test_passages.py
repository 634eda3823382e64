import pytest
from hypothesis import given
from hypothesis import strategies as st

from operalta.workspace.files.passages import LONGEST_PASSAGE, MOST_PASSAGES, Passage, passages_of
from operalta.workspace.files.rules import UNKNOWN_TYPE, content_type_of, folders_above, text_in


def test_headings_begin_passages_and_paragraphs_stay_together() -> None:
    text = "Before.\n\n# Plan #\n\nOne.\nTwo.\n\nThree.\n## Risks\nFour."
    assert passages_of(text, markdown=True) == [
        Passage("", "Before."),
        Passage("Plan", "One.\nTwo.\n\nThree."),
        Passage("Risks", "Four."),
    ]
    assert [passage.heading for passage in passages_of(text, markdown=False)] == [""]


def test_a_line_in_a_fence_is_no_heading() -> None:
    text = "# Code\n````\n# not a heading\n```\n# nor this\n\nend\n````\n# After\nx"
    assert passages_of(text, markdown=True) == [
        Passage("Code", "````\n# not a heading\n```\n# nor this\n\nend\n````"),
        Passage("After", "x"),
    ]


@given(st.text(max_size=6_000), st.booleans())
def test_passages_are_never_too_long_and_never_empty(text: str, markdown: bool) -> None:  # noqa: FBT001 - hypothesis
    for passage in passages_of(text * 2, markdown=markdown):
        assert 0 < len(passage.body) <= LONGEST_PASSAGE
        assert passage.body.strip()
        assert len(passage.heading) <= 200


def test_a_long_paragraph_is_cut_at_sentences_and_loses_no_word() -> None:
    words = [f"word{number}" for number in range(2_000)]
    made = passages_of(" ".join(words), markdown=True)
    assert " ".join(passage.body for passage in made).split() == words
    assert len(passages_of("x" * (LONGEST_PASSAGE * 3), markdown=True)) == 3
    assert len(passages_of("a\n\n" * 10 + ("y" * LONGEST_PASSAGE + "\n\n") * 3_000, markdown=False)) == MOST_PASSAGES


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("a.md", "text/markdown"),
        ("a.PDF", "application/pdf"),
        ("a.html", UNKNOWN_TYPE),
        ("a.svg", UNKNOWN_TYPE),
        ("a.js", "text/plain"),
        ("a.md.exe", UNKNOWN_TYPE),
        ("README", UNKNOWN_TYPE),
        (".md", UNKNOWN_TYPE),
    ],
)
def test_the_type_follows_from_the_extension_alone(path: str, kind: str) -> None:
    assert content_type_of(path) == kind


def test_text_is_what_decodes_and_is_named_so() -> None:
    assert text_in("a.md", b"\xef\xbb\xbfhi") == "hi"
    assert text_in("README", b"hi") == "hi"
    assert text_in("a.md", b"\xff\xfe") is None
    assert text_in("a.md", b"a\x00b") is None
    assert text_in("a.pdf", b"plain") is None
    assert folders_above("a/b/c.md") == ("a", "a/b")
    assert folders_above("c.md") == ()
