"""The command line that a Job runs: a loader reads the Dataset's own values from it."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsload.errors import UsageError
from dsload.k8s.arguments import go_quoted
from dsload.k8s.cluster import Cluster
from dsload.k8s.manifest_settings import ManifestSettings
from dsload.k8s.manifests import manifests
from dsload.source import merge_options, parse_option
from tests.k8s.datasets import KEYS, VALUES, dataset
from tests.k8s.making import loader, read_back


@given(st.dictionaries(KEYS, VALUES, max_size=4), VALUES)
def test_the_loader_reads_the_options_of_the_dataset(options, path):
    what = dataset(uri="http://host/a b/$(X)?q=$$", options=options, path=path)
    try:
        arguments = manifests(what, ManifestSettings(), Cluster())[-1]["spec"]["template"]["spec"]["containers"][0][
            "args"
        ]
    except UsageError as error:  # the one text that Go quotes cannot tell from a quoted one
        assert "cannot be passed to the loader" in str(error)
        assert any(re.fullmatch(r'"\S*\\\S*"', value) for value in options.values())
        return
    taken = read_back(arguments)
    assert taken["source"] == ("HTTP", what.uri)
    assert merge_options(map(parse_option, taken["options"])) == options
    assert (taken["mount_path"], taken["mount_root"]) == (path, "/baize/dataset/data")
    assert (taken["mount_mode"], taken["mount_uid"], taken["mount_gid"]) == (0o774, 1000, 1000)


@pytest.mark.parametrize(
    ("value", "argument"),
    [
        ("a", "a"),
        ("a b", '"a b"'),
        ('"a b"', r'"\"a b\""'),
        ('"a"', '"a"'),
        ("x\ny", r'"x\ny"'),
        ("a\\", "a\\"),
        ("a b\\", r'"a b\\"'),
        ("k=v", "k=v"),
        ("$(HOME) $", '"$$(HOME) $$"'),
        ("é ü", '"é ü"'),
        ("\x01 \u2028 \U000e0001", r'"\x01 \u2028 \U000e0001"'),
    ],
)
def test_options_are_quoted_as_go_does(value, argument):
    assert loader(dataset(options={"k": value}))["args"][2] == f"--options=k={argument}"


@pytest.mark.parametrize(
    "options", [{"a=b": "c"}, {" a": "b"}, {"": "b"}, {"a": "b\0"}, {"a": "\ud800"}, {"a": r'"b\tc"'}]
)
def test_what_no_command_line_can_say_is_refused(options):
    with pytest.raises(UsageError, match=r"cannot be passed to the loader|which a command line cannot carry"):
        manifests(dataset(options=options), ManifestSettings(), Cluster())


def test_a_refused_value_stays_out_of_the_message():
    for options in ({"Authorization": r'"Bearer\thush"'}, {"Authorization": "Bearer-hush\0"}):
        with pytest.raises(UsageError) as caught:
            manifests(dataset(options=options), ManifestSettings(), Cluster())
        assert "hush" not in str(caught.value)


@given(VALUES)
def test_go_quotes_hold_every_text(value):
    assert parse_option(f"k={go_quoted(value + ' ')}") == ("k", value + " ")
