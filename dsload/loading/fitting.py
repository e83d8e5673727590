"""Names that a volume may not keep apart, or not take: it is asked before the first byte, where a plan has some."""

from itertools import combinations
from unicodedata import normalize

from dsload.errors import UnsafePathError
from dsload.loading.plan import Plan
from dsload.target.volume import Volume

_DOING = "checking the listing's name"


def fit(plan: Plan, volume: Volume) -> None:
    """Fit a plan to what its volume makes of names.

    What is to be deleted goes first if the volume would take it for something that stays. What is left as it is, but
    stands where something else is to be loaded, is forgotten.

    Raises:
        UnsafePathError: the volume takes two names of the listing for one, or does not take a name.
    """
    for path in plan.peculiar:
        volume.state.try_name(path.rpartition("/")[2], path)
    old = {*plan.delete, *plan.forget, *plan.left}
    same = _Judge(volume)
    first: set[str] = set()
    for group in plan.alike:
        for one, other in combinations(group, 2):
            if {one, other} <= old or not same(one, other):
                continue
            if not old & {one, other}:
                why = f"this volume takes {one!r} and {other!r} for one name"
                fix = "exclude one by -o exclude=…, or load into a volume that keeps them apart"
                raise UnsafePathError(_DOING, repr(one), why, fix)
            first |= old & {one, other}
    if first:
        plan.forget += sorted(first & plan.left)
        plan.delete_first += [path for path in plan.delete if path in first]
        plan.delete = [path for path in plan.delete if path not in first]


class _Judge:
    """Whether a volume takes two paths for one. It is asked once for each kind of difference."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._known: dict[object, bool] = {}

    def __call__(self, one: str, other: str) -> bool:
        names = next(pair for pair in zip(one.split("/"), other.split("/"), strict=True) if pair[0] != pair[1])
        kind = _kind(*names)
        if kind not in self._known:
            self._known[kind] = self._volume.state.takes_for_one(*names)
        return self._known[kind]


def _kind(one: str, other: str) -> object:
    """What two names differ in, as far as a volume folds all or none of its sort; else the names themselves."""
    if one.lower() == other.lower():
        return "case", one.isascii()
    if normalize("NFC", one) == normalize("NFC", other):
        return "form"
    return one, other
