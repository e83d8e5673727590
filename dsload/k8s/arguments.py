"""The arguments of the preload container, as the original operator passes them to its data-loader."""

import re

from dsload.errors import UsageError
from dsload.k8s.conda import passed_options
from dsload.k8s.crd import DEFAULT_ID
from dsload.k8s.dataset import Dataset
from dsload.source import parse_option

MOUNT_ROOT = "/baize/dataset/data"
_ESCAPES = {"\a": r"\a", "\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\v": r"\v"}


def loader_arguments(dataset: Dataset) -> list[str]:
    """TYPE, URI, options and mount flags, from which a loader that Kubernetes starts reads the Dataset's own values.

    Args:
        dataset: a Dataset of a type that is loaded.

    Raises:
        UsageError: a command line cannot express an option.
    """
    uid = DEFAULT_ID if dataset.uid is None else dataset.uid
    gid = DEFAULT_ID if dataset.gid is None else dataset.gid
    arguments = [
        dataset.type,
        dataset.uri,
        *(f"--options={_option(key, value, dataset)}" for key, value in passed_options(dataset).items()),
        f"--mount-path={dataset.path}",
        f"--mount-mode={dataset.mode}",
        f"--mount-uid={uid}",
        f"--mount-gid={gid}",
        f"--mount-root={MOUNT_ROOT}",
    ]
    if any(char == "\0" or "\ud800" <= char <= "\udfff" for argument in arguments for char in argument):
        why = "its URI, path or an option contains NUL or half a surrogate pair, which a command line cannot carry"
        raise UsageError("making the manifests of", dataset.where, why)
    return [argument.replace("$", "$$") for argument in arguments]  # Kubernetes expands $(NAME) and $$


def go_quoted(text: str) -> str:
    """A text as Go's strconv.Quote writes it."""
    return '"' + "".join(map(_go_escaped, text)) + '"'


def _option(key: str, value: str, dataset: Dataset) -> str:
    plain, quoted = f"{key}={value}", f"{key}={go_quoted(value)}"
    for text in (quoted, plain) if re.search(r"\s", value) else (plain, quoted):
        if key and "=" not in key and parse_option(text) == (key, value):
            return text
    why = f"spec.source.options.{key} cannot be passed to the loader"
    fix = "use a key without '=' or outer spaces, and no escaped white space in a value in double quotes"
    raise UsageError("making the manifests of", dataset.where, why, fix)


def _go_escaped(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    if char in _ESCAPES or char.isprintable():
        return _ESCAPES.get(char, char)
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
