"""The rows of the model hubs in the registry, and how their URIs and options are read."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from urllib.parse import unquote, urlsplit, urlunsplit

from dsload.errors import UsageError
from dsload.fetchers.hubs.weights import read_format
from dsload.fetchers.reading import check_uri, web_url
from dsload.registry import Reading, Spec
from dsload.secrets import public_uri
from dsload.source import Source

KINDS = {"model": "models", "dataset": "datasets", "space": "spaces"}  # in the singular, and as URLs have them
_AT = re.compile(r"(?P<revision>refs/(?:convert|pr)/[^/]+|[^/]+)(?:/(?P<path>.*))?")
_NAME = re.compile(r"[\w.-]+")


@dataclass(frozen=True, slots=True)
class Repo:
    """A repository on a hub.

    Args:
        kind: one of KINDS.
        id: owner/name, or the one name of an old model.
        revision: branch, tag, commit or refs/pr/N; "" for the hub's default.
        path: of a folder or file in it, "" for all.
        weights: the format of weights to keep, "" for all.
        endpoint: URL of a mirror, "" for the environment's, or the hub itself.
    """

    kind: str
    id: str
    revision: str = ""
    path: str = ""
    weights: str = ""
    endpoint: str = ""


def read(spec: "Spec", kinds: tuple[str, ...], uri: str, options: Mapping[str, str]) -> Reading:
    """Read a URI and options of a hub that has repositories of these kinds. Raises UsageError."""
    check_uri(uri, spec.type, spec.schemes)
    uri = _with_a_host(uri)
    repo = read_repo(uri, options)
    if repo.kind not in kinds:
        has = " and ".join(f"{kind}s" for kind in kinds)
        fix = f"give {' or '.join(kind.upper() for kind in kinds)}"
        raise UsageError("reading", "option repoType", f"{spec.type} has {has}", fix)
    decides = {name: value for name, value in options.items() if name != "fallback"}
    second = options.get("fallback", "")
    return Reading(repo, uri, decides, _fallback(second, spec, uri, decides, repo) if second else None)


def _with_a_host(uri: str) -> str:
    """`hf://gpt2@v1` as `hf://gpt2/@v1`: in a host's place, what stands before an `@` would be taken for a user."""
    parts = urlsplit(uri)
    name, at, revision = parts.netloc.partition("@")
    return urlunsplit(parts._replace(netloc=name, path=f"/@{revision}{parts.path}")) if at else uri


def read_repo(uri: str, options: Mapping[str, str]) -> Repo:
    """Read `scheme://[datasets/]owner/name[@revision][/path]` and the options repo, repoType and revision, which win.

    Raises:
        UsageError: it names no repository, or its kind, format of weights or endpoint is unknown.
    """
    parts = urlsplit(uri)
    where = f"URI {public_uri(uri)!r}"
    before, at, after = (parts.netloc + parts.path).partition("@")
    names = [unquote(name) for name in before.strip("/").split("/")]
    prefix = {plural: kind for kind, plural in KINDS.items()}.get(names[0], "") if len(names) > 1 else ""
    names = names[1:] if prefix else names
    revision = path = ""
    if at:
        if not (match := _AT.fullmatch(after)):
            raise UsageError("reading", where, "its '@' is not followed by a revision")
        revision, path = unquote(match["revision"]), unquote(match["path"] or "")
    elif len(names) > 2:
        names, path = names[:2], "/".join(names[2:])
    if repo := options.get("repo", ""):
        names = repo.strip("/").split("/")
    if not 1 <= len(names) <= 2 or not all(_NAME.fullmatch(name) and name.strip(".") for name in names):
        raise UsageError(
            "reading", where, f"{'/'.join(names)!r} is not a repository", f"give {parts.scheme}://OWNER/NAME"
        )
    return Repo(
        _kind(options, prefix),
        "/".join(names),
        options.get("revision", "") or revision,
        path.strip("/"),
        read_format(options.get("weights", "")),
        read_endpoint(options["endpoint"], "option endpoint") if options.get("endpoint") else "",
    )


def _kind(options: Mapping[str, str], prefix: str) -> str:
    given = options.get("repoType", "").lower()
    if given and given not in KINDS:
        known = ", ".join(kind.upper() for kind in KINDS)
        raise UsageError("reading", "option repoType", f"the type {given.upper()!r} does not exist", f"known: {known}")
    if given and prefix and given != prefix:
        why = f"it is {given.upper()}, and the URI names a {prefix}"
        raise UsageError("reading", "option repoType", why, "leave one of them out")
    return given or prefix or "model"


def read_endpoint(given: str, where: str) -> str:
    """A hub's URL without `/` at its end; https if it names no scheme. Raises UsageError."""
    return web_url(given, where, "a hub", "give http://HOST:PORT or https://HOST, and the token as a secret")


def _fallback(text: str, spec: Spec, uri: str, options: Mapping[str, str], repo: Repo) -> Source:
    """What the option fallback names: another hub's URI, or another endpoint for the same one."""
    if urlsplit(text).scheme in ("http", "https"):
        return Source.parse(uri, spec.type, {**options, "endpoint": text})
    other = Source.parse(text)
    if not isinstance(other.config, Repo):
        why = f"{public_uri(text)!r} is neither a hub's URI nor an endpoint"
        raise UsageError("reading", "option fallback", why, "give modelscope://NAMESPACE/NAME or https://HOST")
    if repo.revision and not other.config.revision:
        fix = "name the fallback's too: …?revision=REVISION"
        raise UsageError("reading", "option fallback", "it names no revision, while the source does", fix)
    if repo.weights and not other.config.weights:
        other = replace(other, config=replace(other.config, weights=repo.weights))
    return other


_OPTIONS = {
    "repo": "owner/name, instead of the URI's",
    "repoType": "MODEL, DATASET or SPACE; MODEL if not given",
    "revision": "branch, tag or commit",
    "endpoint": "URL of a mirror",
    "weights": "safetensors, bin, pt, h5, msgpack, onnx or gguf: leave out the same weights in other formats",
    "fallback": "URI at another hub, or another endpoint, for when the first cannot be reached",
}


def _row(type: str, schemes: tuple[str, ...], fetcher: str, kinds: tuple[str, ...]) -> Spec:
    spec = Spec(type, schemes, fetcher, _OPTIONS, revision_option="revision")
    return replace(spec, read=partial(read, spec, kinds))


HUGGING_FACE = _row("HUGGING_FACE", ("huggingface", "hf"), "dsload.fetchers.hubs.huggingface:HuggingFace", tuple(KINDS))
MODEL_SCOPE = _row(
    "MODEL_SCOPE", ("modelscope", "ms"), "dsload.fetchers.hubs.modelscope:ModelScope", ("model", "dataset")
)
