#!/usr/bin/env bash
# Proves the Containerfile without a public image registry: makes a Debian base with debootstrap, builds on it with
# buildah, then runs the image as its default user and as a UID of which it knows nothing, loading from loopback.
# Needs root, buildah, debootstrap, and the host's apt and pip set up. MIRROR=URL names another Debian mirror,
# BASE_TAR=FILE another base: the root file system of any image that the Containerfile takes.
# The base is kept in ${XDG_CACHE_HOME:-~/.cache}/dsload; everything else is removed at the end.
set -euo pipefail
cd "$(dirname "$0")/../.."

SUITE=bookworm ANY_UID=1234567
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/dsload
BASE_TAR=${BASE_TAR:-$CACHE/$SUITE-$(dpkg --print-architecture)-python3-venv.tar}

fail() { echo "tests/image/build.sh: $*" >&2; exit 1; }
ok() { echo "  ok  $*"; }
step() { printf '%4ds  %s\n' "$SECONDS" "$*"; }

[ "$(id -u)" = 0 ] || fail "needs root: debootstrap and chroot do"
for tool in buildah debootstrap unshare openssl; do
    command -v "$tool" >/dev/null || fail "$tool is missing: apt-get install buildah debootstrap util-linux openssl"
done

WORK=$(mktemp -d "${TMPDIR:-/tmp}/dsload-image.XXXXXX")
export TMPDIR=$WORK  # buildah's own temporary files
SERVERS=()
clean() {
    [ ${#SERVERS[@]} = 0 ] || kill "${SERVERS[@]}" 2>/dev/null || true
    rm -rf "$WORK" || echo "left behind: $WORK" >&2
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
bld() { buildah --storage-driver vfs --root "$WORK/storage" --runroot "$WORK/run" "$@"; }

# --- What the build needs of this host, found now and mounted at /mnt: CA bundle, pip and apt configuration ---
HOST=$WORK/host
MOUNTS=(-v "$HOST:/mnt:ro")
mkdir -p "$HOST"
cp "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" "$HOST/ca.crt"
# Every file or folder that pip's settings name is mounted too: one "folder<TAB>mount point" a line on stdout.
python3 -m pip config list | python3 tests/image/pip_conf.py "$HOST" >"$WORK/folders"
while IFS=$'\t' read -r folder point; do
    MOUNTS+=(-v "$folder:$point:ro")
done <"$WORK/folders"

# shellcheck disable=SC2016
[ -n "${MIRROR:=}" ] || MIRROR=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m1 '/debian/*$') ||
    fail "apt's sources name no Debian mirror: set MIRROR=URL"
echo "deb $MIRROR $SUITE main" >"$HOST/sources.list"
{
    apt-config dump | grep -E '^Acquire::(http|https|ftp|Check-|Retries|ForceIPv)' | grep -v '::CAInfo' || true
    echo 'Acquire::https::CAInfo "/mnt/ca.crt"; Dir::Etc::SourceList "/mnt/sources.list"; Dir::Etc::SourceParts "-";'
} >"$HOST/apt.conf"
chmod -R a+rX "$HOST"

# --- The base ---
if [ ! -s "$BASE_TAR" ]; then
    step "debootstrap $SUITE from $MIRROR"
    eval "$(apt-config shell http_proxy Acquire::http::Proxy https_proxy Acquire::https::Proxy)"
    env ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} \
        debootstrap --variant=minbase --include=python3,python3-venv $SUITE "$WORK/base" "$MIRROR" >"$WORK/log" 2>&1 ||
        fail "debootstrap failed: $(tail -5 "$WORK/log")"
    rm -rf "$WORK"/base/var/cache/apt/* "$WORK"/base/var/lib/apt/lists/* "$WORK"/base/var/log/*.log
    echo "deb http://deb.debian.org/debian $SUITE main" >"$WORK/base/etc/apt/sources.list"
    mkdir -p "$CACHE"
    tar -C "$WORK/base" --exclude='./dev/*' -cf "$WORK/base.tar" .
    mv "$WORK/base.tar" "$BASE_TAR"
    rm -rf "$WORK/base"
fi
step "base image from $BASE_TAR"
base=$(bld from scratch)
bld add -q "$base" "$BASE_TAR" / >/dev/null
bld config --cmd /bin/bash "$base"
bld commit -q --rm "$base" localhost/dsload-base >/dev/null

step "buildah bud"
bld bud -q --isolation chroot --build-arg BASE=localhost/dsload-base --build-arg VERSION=test \
    --build-arg PIP_CONFIG_FILE=/mnt/pip.conf --build-arg APT_CONFIG=/mnt/apt.conf \
    "${MOUNTS[@]}" -f Containerfile -t localhost/dsload . >"$WORK/log" 2>&1 || fail "buildah bud failed: $(tail -20 "$WORK/log")"

# --- The image at rest ---
step "look at the image"
config() { bld inspect --type image --format "{{$1}}" localhost/dsload; }
words() { config "range $1}}{{println .}}{{end" | sed '/^$/d'; }
ctr=$(bld from localhost/dsload)
root=$(bld mount "$ctr")
[ "$(config .OCIv1.Config.User)" = 1000 ] || fail "the default user is $(config .OCIv1.Config.User), not 1000"
[ "$(config .OCIv1.Config.Entrypoint)" = "[data-loader]" ] || fail "the entry point is $(config .OCIv1.Config.Entrypoint)"
ok "default user 1000, entry point data-loader, working directory $(config .OCIv1.Config.WorkingDir)"

[ -z "$(ls -A "$root/mnt")" ] || fail "the build's mounts left files in /mnt"
[ ! -e "$root/etc/pip.conf" ] || fail "/etc/pip.conf is in the image"
[ "$(grep -c BEGIN "$root/etc/ssl/certs/ca-certificates.crt")" = "$(grep -c '^[^#!]' "$root/etc/ca-certificates.conf")" ] ||
    fail "the CA bundle of the image holds other certificates than Debian's"
# Words of the host's settings that could not be there by chance, in any text file or in the image's configuration
{ cut -f1 "$WORK/folders"; grep -oE '[a-z]+://[^ ,]+' "$HOST/pip.conf" | grep -v '^file:///mnt/'
  [[ $MIRROR == *://deb.debian.org/* ]] || echo "$MIRROR"; } >"$WORK/words" || true
if [ -s "$WORK/words" ]; then
    found=$(grep -rIlFf "$WORK/words" "$root/etc" "$root/opt" "$root/usr/local" "$root/var" "$root/workspace" || true)
    [ -z "$found" ] || fail "settings of this host are in the image: $found"
    ! config . | grep -Ff "$WORK/words" || fail "settings of this host are in the image's configuration"
fi
ok "nothing of this host: CA bundle, pip and apt settings, mount points ($(wc -l <"$WORK/words") words looked for)"

for path in var/lib/apt/lists var/cache/apt root/.cache tmp; do
    [ -z "$(find "$root/$path" -type f ! -name lock 2>/dev/null)" ] || fail "left in the image: $(find "$root/$path" -type f | head -3)"
done
[ ! -e "$root/build" ] && [ ! -e "$root/src" ] && [ ! -e "$root/opt/dsload/bin/pip" ] || fail "the final stage has build tools"
plain=$(find "$root/opt/dsload/lib" -name '*.py' -printf '%P\n' | wc -l) compiled=$(find "$root/opt/dsload/lib" -name '*.pyc' | wc -l)
[ "$plain" = "$compiled" ] || fail "$plain modules but $compiled compiled ones in /opt/dsload"
ok "no caches, no pip, $compiled modules compiled, $(du -sm "$root/opt/dsload" | cut -f1) MB of venv"

# --- A source on loopback: http, and https with a certificate of our own ---
SOURCE=$WORK/source
mkdir -p "$SOURCE/model/tokenizer files/deep"
head -c 5000000 /dev/urandom >"$SOURCE/model/weights.bin"
echo '{"a": 1}' >"$SOURCE/model/config.json"
echo word >"$SOURCE/model/tokenizer files/vocab+é.txt"
: >"$SOURCE/model/tokenizer files/deep/empty"
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=loopback -addext subjectAltName=IP:127.0.0.1 \
    -keyout "$WORK/key" -out "$WORK/cert" 2>/dev/null
cat >"$WORK/serve.py" <<'PY'
import http.server, os, ssl, sys
source, address, *pem = sys.argv[1:]
os.chdir(source)
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
if pem:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pem)
    server.socket = context.wrap_socket(server.socket, server_side=True)
with open(address + ".new", "w") as out:
    out.write(f"http{'s' if pem else ''}://127.0.0.1:{server.server_port}/model/")
os.rename(address + ".new", address)
server.serve_forever()
PY
serve() {
    python3 "$WORK/serve.py" "$SOURCE" "$@" >>"$WORK/served" 2>&1 &
    SERVERS+=($!)
    for _ in {1..100}; do [ -s "$1" ] && return; sleep 0.1; done
    fail "no server on loopback: $(cat "$WORK/served")"
}
serve "$WORK/http"
serve "$WORK/https" "$WORK/cert" "$WORK/key"

# --- The image at work ---
mapfile -t entry < <(words .OCIv1.Config.Entrypoint)
data=$WORK/data
same() { # LOADED UID GID: the source's bytes, all owned by UID and GID, and nothing else in the volume
    diff -r --exclude=.dsload "$SOURCE/model" "$1" || fail "the loaded files differ from the source"
    [ -s "$1/.dsload/complete.json" ] || fail "no completion marker in $1"
    [ -z "$(find "$1" ! \( -uid "$2" -gid "$3" \) -print -quit)" ] || fail "not owned by $2:$3: $(find "$1" -ls)"
    [ "$(ls -A "$data")" = "$(basename "$1")" ] || fail "beside the target: $(ls -A "$data")"
}
state() { find "$root" -xdev \( -path "$root/data" -o -path "$root/proc" -o -path "$root/sys" -o -path "$root/dev" \) -prune \
    -o \( -type d -o -printf '%T@ ' \) -printf '%p %m %U %G %s\n' | sort -k2; }

step "run as the default user"
mkdir -m 0750 "$data"
chown 1000:1000 "$data"
bld run --isolation chroot -v "$data:/data" "$ctr" -- true  # makes the mount points, so that state compares
state >"$WORK/before"
bld run --isolation chroot -v "$data:/data" "$ctr" -- "${entry[@]}" HTTP "$(cat "$WORK/http")" --mount-root /data \
    --mount-path /model --mount-uid 1000 --mount-gid 1000 >"$WORK/log" 2>&1 || fail "exit $?: $(cat "$WORK/log")"
state >"$WORK/after"
same "$data/model" 1000 1000
diff "$WORK/before" "$WORK/after" || fail "the load wrote outside its target"
ok "user 1000 loads over http, exit 0, same bytes, owner 1000:1000, nothing written elsewhere"

bld run --isolation chroot "$ctr" -- dsload sources >"$WORK/log" || fail "dsload sources: $(cat "$WORK/log")"
for type in CONDA GIT; do
    grep -q "^$type .*(installed)" "$WORK/log" || fail "$type is not installed: $(grep "^$type" "$WORK/log")"
done
bld run --isolation chroot "$ctr" -- sh -c 'mkdir /opt/baize-runtime-env/x && rmdir /opt/baize-runtime-env/x' ||
    fail "user 1000 cannot make a place for an environment"
ok "CONDA and GIT are installed, and user 1000 can make a place for an environment"

# buildah run cannot make the root read-only, so a mount namespace of our own does it.
cat >"$WORK/enter.sh" <<'SH'
set -euo pipefail
root=$1 data=$2 user=$3 cert=$4; shift 4
mount --bind "$root" "$root"
mount --bind "$data" "$root/data"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount -t tmpfs -o size=16m tmpfs "$root/tmp"
mount --bind "$cert" "$root/etc/ssl/certs/ca-certificates.crt"
mount -o remount,ro,bind "$root"
status=0
chroot --userspec="$user" --groups=0 "$root" sh -c '
    if touch /workspace/x 2>/dev/null; then echo "the root is writable"; exit 98; fi
    cd /workspace && exec "$@"' sh "$@" || status=$?
[ -z "$(ls -A "$root/tmp")" ] || { echo "left in /tmp: $(ls -A "$root/tmp")"; exit 99; }
exit "$status"
SH
mapfile -t environment < <(words .OCIv1.Config.Env)
readonly_run() { # UID:GID ARGS...
    local user=$1; shift
    unshare --mount --pid --fork bash "$WORK/enter.sh" "$root" "$data" "$user" "$WORK/cert" \
        env -i "${environment[@]}" "$@" >"$WORK/log" 2>&1 || fail "exit $?: $(cat "$WORK/log")"
}
for scheme in http https; do
    step "run as UID $ANY_UID, GID 0, read-only root, $scheme"
    rm -rf "$data"
    mkdir -m 0770 "$data"
    readonly_run $ANY_UID:0 "${entry[@]}" HTTP "$(cat "$WORK/$scheme")" --mount-root /data --mount-path /model
    same "$data/model" $ANY_UID 0
    ok "UID $ANY_UID loads over $scheme with a read-only root, exit 0, same bytes, owner $ANY_UID:0, /tmp left empty"
done

step "done"
echo "image: $(du -sm "$root" | cut -f1) MB, of it the base $(($(stat -c %s "$BASE_TAR") / 1000000)) MB"
