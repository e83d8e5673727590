"""Documents of YAML files, and what is not YAML."""

import pytest

from dsload.errors import UsageError
from dsload.k8s.documents import read_documents
from tests.k8s.reading import SHORT

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for name, before in zip("bcdefghij", "abcdefghi", strict=True)
)


def test_documents_are_numbered_as_people_count_them() -> None:
    text = (
        f"# nothing yet\n---\n# nothing\n---\n{SHORT}---\nkind: List\nitems:\n- kind: A\n- kind: B\n---\nkind: List\n"
    )
    assert [(where, document["kind"]) for where, document in read_documents(text, "f")] == [
        ("f, document 2", "Dataset"),
        ("f, document 3, item 1", "A"),
        ("f, document 3, item 2", "B"),
        ("f, document 4", "List"),
    ]
    assert read_documents("", "f") == read_documents("---\n", "f") == []


def test_dates_are_text_and_merge_keys_work() -> None:
    text = "a: &a {x: 1, d: 2024-05-01}\nb: {<<: *a, x: 2}\nc: {<<: {x: 1}, x: 3}\n"
    [(_, document)] = read_documents(text, "f")
    assert (document["b"], document["c"]) == ({"x": 2, "d": "2024-05-01"}, {"x": 3})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: [\n", "line 3: expected the node content, but found '<stream end>'"),
        ("a: 1\n\tb: 2\n", "line 2: found character '\\t' that cannot start any token"),
        ("a: 1\nb: 2\na: 3\n", "line 3: the key 'a' appears twice, first in line 1"),
        ("spec:\n  {mode: x, mode: x}\n", "line 2: the key 'mode' appears twice, first in line 2"),
        ("a: 1\nb: 2024-99-99\n", "line 2: month must be in 1..12"),
        (f"a: {'9' * 5000}\n", "line 1: Exceeds the limit"),
        ("a: 1\nb: !!bool maybe\n", "line 2: 'maybe'"),
        ("a: 1\nb: !secret x\n", "line 2: could not determine a constructor"),
        ("a: 1\nb: *nowhere\n", "line 2: found undefined alias 'nowhere'"),
        ("a: 1\n? [b]\n: 1\n", "line 2: found unhashable key"),
        ("a: 1\nb: \x07\n", "line 2: special characters are not allowed"),
        ("[" * 3000, "nested too deeply"),
        ("a: 1\nb: &b {c: *b}\n", "line 2: an alias stands within what it stands for"),
        (BOMB, "line 7: with its aliases written out it has more than 1,000,000 values"),
    ],
)
def test_what_is_not_yaml_is_refused(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_documents(f"kind: Fine\n---\n{text}" if "line" not in words else text, "f.yaml")
    assert str(caught.value).startswith("reading f.yaml: it is not YAML")
    assert words in str(caught.value)


def test_a_line_of_yaml_that_is_wrong_is_not_shown() -> None:
    with pytest.raises(UsageError) as caught:
        read_documents("password: 'hunter2-hunter2\n", "f.yaml")
    assert "hunter2" not in str(caught.value)
