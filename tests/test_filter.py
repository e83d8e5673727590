"""The filter: what it selects, and which folders need not be opened for it."""

from hypothesis import given
from hypothesis import strategies as some

from dsload.listing import Filter
from dsload.names import parents

NAMES = some.text("ab.", min_size=1, max_size=2)
PATHS = some.lists(NAMES, min_size=1, max_size=4).map("/".join)
PATTERNS = some.lists(some.text("ab./*?[]!", min_size=1, max_size=7), max_size=2)


@given(PATTERNS, PATTERNS, PATHS)
def test_a_folder_that_holds_something_selected_is_opened(include: list[str], exclude: list[str], path: str) -> None:
    chosen = Filter(tuple(include), tuple(exclude))
    if chosen(path):
        assert chosen.below("")
        assert all(chosen.below(folder) and chosen.below(folder + "/") for folder in parents(path))


def test_a_folder_that_holds_nothing_selected_is_not_opened() -> None:
    assert not Filter(exclude=("lost+found/*",)).below("lost+found")
    assert not Filter(exclude=("lost+found/",)).below("lost+found/")
    assert not Filter(exclude=("a*",)).below("ab")
    assert not Filter(include=("model/*.bin",)).below("data")
    assert not Filter(include=("model/a.bin",)).below("model/a.bin")
    assert not Filter(exclude=("*",)).below("")


def test_an_include_pattern_of_an_excluded_folder_need_not_match() -> None:
    chosen = Filter(include=("a.txt", "sub/*", "sub/deep/b"), exclude=("sub/*",))
    assert chosen.unmatched(["a.txt"]) == []
    assert chosen.unmatched([]) == ["a.txt"]
    assert Filter(include=("sub/*",), exclude=("sub/deep/*",)).unmatched(["a"]) == ["sub/*"]


def test_a_pattern_for_a_file_of_this_name_leaves_the_folder_of_this_name() -> None:
    assert Filter(exclude=("data",)).below("data")
    assert Filter(exclude=("data/*.bin",)).below("data")
