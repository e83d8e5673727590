"""Write FOLDER/pip.conf from `pip config list` on stdin, for a build that sees FOLDER as /mnt.

Files it names (certificates) are copied, folders (local indexes, wheels) printed as "folder<TAB>mount point".
"""

import ast
import os
import shutil
import sys
from pathlib import Path

# The settings that say where packages come from; others (user, target, require-virtualenv) would change the build.
KEPT = {
    *("index-url", "extra-index-url", "find-links", "no-index", "trusted-host"),
    *("cert", "client-cert", "proxy", "timeout", "default-timeout", "retries", "disable-pip-version-check"),
}


def main(folder: Path) -> None:
    listed = dict(line.rstrip("\n").split("=", 1) for line in sys.stdin if "=" in line)
    ordered = sorted(listed, key=lambda name: name.startswith(":env:"))  # the environment wins
    settings = {name.split(".", 1)[1]: ast.literal_eval(listed[name]) for name in ordered}
    settings.setdefault("cert", "/mnt/ca.crt")
    mounts: dict[str, str] = {}

    def inside(word: str) -> str:
        path = word.removeprefix("file://")
        if not os.path.isabs(path) or path.startswith("/mnt/") or not os.path.exists(path):
            return word
        if os.path.isfile(path):
            copy = folder / f"file{len(list(folder.iterdir()))}"
            shutil.copy(path, copy)
            return f"/mnt/{copy.name}"
        # A simple index may link to files beside it, so its parent is mounted.
        top = os.path.dirname(path) if path != word else path
        point = mounts.setdefault(top, f"/mnt/{len(mounts)}")
        (folder / Path(point).name).mkdir(exist_ok=True)
        return word[: len(word) - len(path)] + point + path[len(top) :]

    lines = [f"{key} = {' '.join(map(inside, str(value).split()))}" for key, value in settings.items() if key in KEPT]
    (folder / "pip.conf").write_text("\n".join(["[global]", *lines, ""]))
    for top, point in mounts.items():
        print(top, point, sep="\t")


main(Path(sys.argv[1]))
