"""Which folders of a source are opened while it is listed, by its filter."""

from dsload.listing import Filter


def opens(select: Filter, folder: str) -> bool:
    """Whether a folder has to be opened: something below it may be selected, or it itself is, in case it is empty.

    Args:
        select: include and exclude of the source.
        folder: its path relative to the source, "" for the source itself.
    """
    return select.below(folder) or (select(folder) and Filter(exclude=select.exclude).below(folder))


def left_out(select: Filter, folder: str) -> bool:
    """Whether a pattern excludes a folder by its own name: then it does not matter if it cannot be opened."""
    return bool(folder) and not Filter(exclude=select.exclude)(folder)


def to_exclude(folder: str) -> str:
    """The option that leaves a folder out, for messages."""
    return f"-o exclude='{folder}/'"
