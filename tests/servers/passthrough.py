"""A file system in user space that passes on to a folder, with habits that volumes have: see `HABITS`."""

import errno
import os
import sys
from unicodedata import normalize

HABITS = {
    "case": "takes names that differ in case for one, as SMB does",
    "forms": "takes names that differ in the form of their characters for one, as HFS+ does",
    "windows": "takes no name that Windows does not take",
    "mute": "does not say at all how large it is",
    "unsized": "states no size, as some FUSE file systems do",
}

LOOKED_AT = ("st_mode", "st_nlink", "st_uid", "st_gid", "st_size", "st_ino", "st_blocks")


def main(backing: str, mount: str, *habits: str) -> None:
    """Serve until it is unmounted."""
    import mfusepy as fuse

    class Passthrough(fuse.Operations):
        use_ns = True

        def at(self, path: str) -> str:
            """Where a path is in the folder."""
            place = backing
            for name in path.split("/")[1:]:
                place = os.path.join(place, self._named(place, name)) if name else place
            return place

        def _named(self, place: str, name: str) -> str:
            if "windows" in habits and (set(name) & set('"*:<>?\\|') or name[-1] in " ." or name.lower() == "con"):
                raise fuse.FuseOSError(errno.EINVAL)
            if os.path.lexists(os.path.join(place, name)) or not {"case", "forms"} & {*habits}:
                return name
            names = os.listdir(place) if os.path.isdir(place) else []
            return next((other for other in names if _form(other) == _form(name)), name)

        def getattr(self, path, fh=None):
            try:
                found = os.lstat(self.at(path))
            except fuse.FuseOSError as error:
                raise fuse.FuseOSError(errno.ENOENT) from error
            times = {name: getattr(found, f"{name}_ns") for name in ("st_atime", "st_mtime", "st_ctime")}
            return {name: getattr(found, name) for name in LOOKED_AT} | times

        def readdir(self, path, fh):
            return [".", "..", *os.listdir(self.at(path))]

        def chmod(self, path, mode):
            os.chmod(self.at(path), mode)

        def chown(self, path, uid, gid):
            os.lchown(self.at(path), uid, gid)

        def mkdir(self, path, mode):
            os.mkdir(self.at(path), mode)

        def rmdir(self, path):
            os.rmdir(self.at(path))

        def unlink(self, path):
            os.unlink(self.at(path))

        def symlink(self, target, source):
            os.symlink(source, self.at(target))

        def readlink(self, path):
            return os.readlink(self.at(path))

        def rename(self, old, new):
            os.rename(self.at(old), self.at(new))

        def link(self, target, source):
            os.link(self.at(source), self.at(target))

        def utimens(self, path, times=None):
            os.utime(self.at(path), ns=times, follow_symlinks=False)

        def open(self, path, flags):
            return os.open(self.at(path), flags)

        def create(self, path, mode, fi=None):
            return os.open(self.at(path), os.O_RDWR | os.O_CREAT, mode)

        def read(self, path, size, offset, fh):
            return os.pread(fh, size, offset)

        def write(self, path, data, offset, fh):
            return os.pwrite(fh, data, offset)

        def truncate(self, path, length, fh=None):
            os.truncate(self.at(path), length)

        def flush(self, path, fh):
            return 0

        def fsync(self, path, datasync, fh):
            return 0

        def release(self, path, fh):
            os.close(fh)

        def statfs(self, path):
            if "mute" in habits:
                raise fuse.FuseOSError(errno.ENOSYS)
            found = os.statvfs(self.at(path))
            names = ("f_bavail", "f_bfree", "f_blocks", "f_bsize", "f_favail", "f_ffree", "f_files", "f_frsize")
            return {name: 0 if "unsized" in habits else getattr(found, name) for name in names} | {"f_namemax": 255}

    def _form(name: str) -> str:
        name = name.casefold() if "case" in habits else name
        return normalize("NFC", name) if "forms" in habits else name

    fuse.FUSE(Passthrough(), mount, foreground=True, nothreads=True, entry_timeout=0, attr_timeout=0, allow_other=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
