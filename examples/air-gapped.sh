#!/bin/sh
# Brings a model or dataset to a site without network, and into a volume there: load, carry, verify, own.

usage() {
    cat <<'END'
usage: air-gapped.sh pack ARCHIVE [TYPE] URI [FLAG...]
       air-gapped.sh unpack ARCHIVE MOUNT_ROOT MOUNT_PATH [FLAG...]

pack, on a connected machine: loads the source into the folder ARCHIVE.d, and packs it with its inventory. The folder
stays: the same command resumes if it was interrupted, and later brings what changed. FLAGs are those of
`dsload load`, such as -o revision=v1 and --mount-secrets DIR; -f DATASET.yaml may stand for TYPE and URI.

unpack, at the site: unpacks, re-hashes every file against the inventory, and only then loads all of it into
MOUNT_ROOT/MOUNT_PATH, with its owner and mode. What an earlier carry brought, unpacked in the same WORK, is not written
again if it is unchanged, and is deleted if this carry does not have it. FLAGs are those of `dsload load`, such as
--mount-uid 1000, --mount-gid 1000 and --mount-mode 0755.

environment: WORK       directory to unpack in, with room for the content [the ARCHIVE's own]
             DSLOAD_…   flags of dsload, such as DSLOAD_MOUNT_UID

The exit code is that of the dsload that failed; 2 for wrong arguments, 4 if there is no archive, 5 if it is damaged,
7 if it cannot be written or unpacked. `dsload --help` explains them all.
END
}

fail() {
    code=$1
    shift
    printf 'air-gapped.sh: %s\n' "$*" >&2
    exit "$code"
}

wrong() {
    usage >&2
    exit 2
}

pack() {
    archive=$1 folder=$1.d
    shift
    mkdir -p -- "$folder" || fail 7 "cannot make $folder"
    # Files of the user who packs them, and executable only if they are so at the source.
    dsload load "$@" --mount-root "$folder" --mount-path / \
        --mount-uid "$(id -u)" --mount-gid "$(id -g)" --mount-mode 0644
    cksum <"$folder/.dsload/inventory.jsonl" >"$folder/.dsload/inventory.cksum" || fail 7 "cannot write $folder/.dsload"
    # Through a redirection: tar takes a : in a name for that of a host.
    tar -cf - -C "$folder" . >"$archive.partial" || fail 7 "cannot write $archive.partial"
    mv -f -- "$archive.partial" "$archive" || fail 7 "cannot write $archive"
    printf 'carry %s\n' "$archive"
}

unpack() {
    archive=$1 root=$2 path=$3
    shift 3
    [ -r "$archive" ] || fail 4 "cannot read $archive"
    work=$(CDPATH='' cd -- "${WORK:-$(dirname -- "$archive")}" && pwd) || fail 7 "set WORK to a directory to unpack in"
    # One place for every carry: dsload knows a source by its path, and moves what changed since the last load of it.
    staging=$work/air-gapped.unpacked
    mkdir -- "$staging" || fail 7 "remove $staging, which an earlier run left, or set WORK to another directory"
    trap 'rm -rf -- "$staging"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    tar -tf - <"$archive" >/dev/null || fail 5 "$archive is damaged: carry it again"
    tar -xof - -C "$staging" <"$archive" || fail 7 "cannot unpack into $staging: is there room?"
    check_inventory "$staging/.dsload" || fail 5 "the inventory in $archive is damaged: carry it again"
    dsload verify "$staging"
    # Loaded rather than moved: file by file under its final name only when whole and owned. The inventory is of the
    # carried folder, and the load writes one of its own.
    dsload load FILE "file://$(escaped "$staging")" -o 'exclude=.dsload/*' "$@" \
        --mount-root "$root" --mount-path "$path"
}

check_inventory() {
    sum=$(cksum <"$1/inventory.jsonl") && [ "$sum" = "$(cat -- "$1/inventory.cksum")" ]
}

escaped() {
    printf '%s' "$1" | sed 's/%/%25/g; s/#/%23/g; s/?/%3F/g'
}

set -eu
case ${1-} in
    -h | --help) usage ;;
    pack)
        [ $# -ge 3 ] || wrong
        shift
        pack "$@"
        ;;
    unpack)
        [ $# -ge 4 ] || wrong
        shift
        unpack "$@"
        ;;
    *) wrong ;;
esac
