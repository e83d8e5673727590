"""The main job of dsload, on a small model that is made and served on the spot.

Loads it, is killed half-way, loads it again, verifies it, and shows what each run moved.
"""

import argparse
import http.server
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

FILES = {
    "model-00001-of-00003.safetensors": 70 << 20,
    "model-00002-of-00003.safetensors": 70 << 20,
    "model-00003-of-00003.safetensors": 56 << 20,
    "tokenizer.json": 3 << 20,
    "vocab.txt": 900 << 10,
    "config.json": 700,
    "README.md": 2 << 10,
}
RATE = 40 << 20  # bytes/s of the embedded server, so that there is something to see
DSLOAD = [str(Path(sys.executable).with_name("dsload"))]


class Handler(http.server.SimpleHTTPRequestHandler):
    """A file server with directory indexes and ranges that counts the bytes it sends."""

    protocol_version = "HTTP/1.1"
    sent = 0
    lock = threading.Lock()

    def do_GET(self) -> None:
        """A file or a part of it; a folder's index by the base class."""
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            super().do_GET()
            return
        size = path.stat().st_size
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        start, end = (int(wanted[1]), min(int(wanted[2]) + 1, size)) if wanted else (0, size)
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(end - start))
        self.send_header("Last-Modified", self.date_time_string(int(path.stat().st_mtime)))
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        self.end_headers()
        with path.open("rb") as file:
            file.seek(start)
            while start < end and (block := file.read(min(256 << 10, end - start))):
                self.wfile.write(block)
                start += len(block)
                self._pace(len(block))

    @classmethod
    def _pace(cls, size: int) -> None:
        with cls.lock:
            cls.sent += size
            time.sleep(size / RATE)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Server(http.server.ThreadingHTTPServer):
    """A server that does not mind a client that was killed."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing."""


def make_model(folder: Path) -> None:
    """Write the model's files, the same bytes each time, and their SHA256SUMS."""
    dice = random.Random(20)
    block = dice.randbytes(1 << 20)
    for name, size in FILES.items():
        with (folder / name).open("wb") as file:
            for start in range(0, size, len(block)):
                file.write(dice.randbytes(16))
                file.write(block[: min(len(block), size - start) - 16])
    sums = subprocess.run(["sha256sum", *FILES], cwd=folder, check=True, capture_output=True)
    (folder / "SHA256SUMS").write_bytes(sums.stdout)


def run(*arguments: str) -> None:
    """Run dsload to its end."""
    print("\n$ dsload " + " ".join(arguments), flush=True)
    subprocess.run([*DSLOAD, *arguments], check=True)


def run_and_kill(*arguments: str) -> None:
    """Run dsload, and kill it when the server has sent half of the model."""
    print("\n$ dsload " + " ".join(arguments), flush=True)
    process = subprocess.Popen([*DSLOAD, *arguments])
    while Handler.sent < sum(FILES.values()) // 2:
        if process.poll() is not None:
            raise SystemExit(f"dsload ended early with exit code {process.returncode}")
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    if sys.stderr.isatty():
        print("\x1b[?25h", end="", file=sys.stderr)  # a killed bar leaves the cursor hidden
    print("\n(killed by SIGKILL)", flush=True)


def main() -> None:
    """Make, serve, load, kill, resume, verify."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("volume", type=Path, help="folder to load into; emptied first")
    volume: Path = parser.parse_args().volume
    shutil.rmtree(volume, ignore_errors=True)
    volume.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="dsload-demo-") as temporary:
        (Path(temporary) / "model").mkdir()
        make_model(Path(temporary) / "model")
        server = Server(("127.0.0.1", 0), lambda *request: Handler(*request, directory=temporary))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/model/"
        load = ["load", url, "--mount-root", str(volume), "--mount-path", "model", "--workers", "4"]
        load += ["--mount-uid", str(os.getuid()), "--mount-gid", str(os.getgid())]
        run_and_kill(*load)
        first, Handler.sent = Handler.sent, 0
        run(*load)
        second, Handler.sent = Handler.sent, 0
        run("verify", str(volume / "model"))
        run(*load)
        third = Handler.sent
        server.shutdown()
    total = sum(FILES.values())
    print(f"\nThe model has {total / 2**20:.1f} MiB. The server sent")
    print(f"  {first / 2**20:6.1f} MiB to the run that was killed,")
    print(f"  {second / 2**20:6.1f} MiB to the run that resumed ({(first + second - total) / 2**20:.1f} MiB twice),")
    print(f"  {third / 2**20:6.1f} MiB to the run that found everything in place.")


if __name__ == "__main__":
    main()
