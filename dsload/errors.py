"""Every way a load can fail, with its exit code and whether trying again can help.

DsloadError            1  unexpected (a bug)
├── UsageError         2  arguments, URI, options, manifest
├── RefusedError       3  the source refused the credentials or the request
├── NotFoundError      4  no such source, revision or path, or nothing matched
├── UnknownHostError   4  no DNS server knows the host of the source
├── IntegrityError     5  content still wrong after a refetch
├── UnsafePathError    5  a name that would leave the target or collide in it
├── NoSpaceError       6  space or inodes of the target
├── VolumeError        7  the target cannot be written
├── OwnershipError     7  uid, gid or mode cannot be applied
├── BusyError          8  another load holds the target           (a retry helps)
├── UnreachableError   9  past the retry budget                   (a retry helps)
├── BadAnswerError     9  answers that cannot be right            (a retry helps)
├── ChangedError       9  the source kept changing                (a retry helps)
├── InterruptedLoad  130  SIGINT                                  (a retry helps)
└── TerminatedLoad   143  SIGTERM                                 (a retry helps)
"""

from dataclasses import dataclass
from typing import ClassVar, Literal


class DsloadError(Exception):
    """A failure as its user reads it: one line of what was done, to what, why, and the remedy.

    Args:
        doing: what was being done, such as "listing" or "downloading".
        where: the source or file that it was done to, without secrets.
        why: the cause.
        fix: what the user can do; empty where nothing can be said.
    """

    exit_code: ClassVar[int] = 1
    retry: ClassVar[bool] = False

    def __init__(self, doing: str, where: str, why: str, fix: str = "") -> None:
        super().__init__(doing, where, why, fix)
        self.doing, self.where, self.why, self.fix = doing, where, why, fix

    def __str__(self) -> str:
        line = f"{self.doing} {self.where}: {self.why}" if self.where else f"{self.doing}: {self.why}"
        line = f"{line}; {self.fix}" if self.fix else line
        return " ".join(line.split())


class UsageError(DsloadError):
    """Arguments, URI, options or a manifest are not right."""

    exit_code = 2


class RefusedError(DsloadError):
    """The source refused the credentials (401, 403) or the request, or cannot be trusted."""

    exit_code = 3


class NotFoundError(DsloadError):
    """There is no such source, revision or path, or nothing in it matched."""

    exit_code = 4


class UnknownHostError(DsloadError):
    """No DNS server knows the host of the source."""

    exit_code = 4


class IntegrityError(DsloadError):
    """Content differs from what the source states, after a refetch too."""

    exit_code = 5


class UnsafePathError(DsloadError):
    """A name in the listing would leave the target, or collides with another."""

    exit_code = 5


class NoSpaceError(DsloadError):
    """The target has not enough space or inodes."""

    exit_code = 6


class VolumeError(DsloadError):
    """The target cannot be written."""

    exit_code = 7


class OwnershipError(DsloadError):
    """Uid, gid or mode cannot be applied on the target."""

    exit_code = 7


class BusyError(DsloadError):
    """Another load holds the target."""

    exit_code = 8
    retry = True


class UnreachableError(DsloadError):
    """The source stayed unreachable or too slow past the retry budget."""

    exit_code = 9
    retry = True


class BadAnswerError(DsloadError):
    """The source gave answers that cannot be right past the retry budget: cut, too short, of another kind."""

    exit_code = 9
    retry = True


class ChangedError(DsloadError):
    """The source changed while it was read, more often than dsload lists it again."""

    exit_code = 9
    retry = True


class InterruptedLoad(DsloadError):
    """SIGINT: what is done is kept, the next run resumes."""

    exit_code = 130
    retry = True


class TerminatedLoad(DsloadError):
    """SIGTERM: what is done is kept, the next run resumes."""

    exit_code = 143
    retry = True


@dataclass(frozen=True, slots=True)
class ExitCode:
    """An exit code of the command line.

    Args:
        code: the number.
        meaning: in words.
        retry: whether running the same command again helps; "" after a success.
    """

    code: int
    meaning: str
    retry: Literal["", "no", "maybe", "yes"]


_MEANINGS = {
    0: "every file is in place and verified",
    1: "unexpected error (a bug)",
    2: "usage: arguments, URI, options, manifest",
    3: "the source refused the credentials or the request, or cannot be trusted",
    4: "no such source, revision or path, or nothing matched",
    5: "integrity: wrong content after a refetch, or an unsafe name",
    6: "not enough space or inodes on the target",
    7: "target not writable, or ownership cannot be applied",
    8: "another load holds the target",
    9: "the source stayed unreachable or too slow, or gave bad answers",
    130: "interrupted (SIGINT)",
    143: "terminated (SIGTERM)",
}


def exit_table() -> tuple[ExitCode, ...]:
    """Every exit code, in order; whether a retry helps is what the errors of that code say."""
    helps = {error.exit_code for error in DsloadError.__subclasses__() if error.retry}
    return tuple(
        ExitCode(code, meaning, "" if code == 0 else "maybe" if code == 1 else "yes" if code in helps else "no")
        for code, meaning in _MEANINGS.items()
    )
