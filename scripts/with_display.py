"""Run a command with a display: the user's own, or else a virtual one that ends with it.

Usage: with_display.py [--virtual] command ...

With --virtual the user's screen is left alone. xvfb-run is not used because it needs xauth.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

START_SECONDS = 30


@contextmanager
def virtual_display() -> Iterator[str]:
    """Start Xvfb on a free display number and yield its name."""
    read_end, write_end = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write_end), "-screen", "0", "1600x1200x24", "-nolisten", "tcp"],
        pass_fds=[write_end],
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the command, the server goes after it
    )
    os.close(write_end)
    try:
        ready, _, _ = select.select([read_end], [], [], START_SECONDS)
        number = os.read(read_end, 16).decode().strip() if ready else ""
        if not number:
            sys.exit("The virtual display (Xvfb) did not start.")
        yield f":{number}"
    finally:
        os.close(read_end)
        end(server)


def end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def run(command: list[str], environment: dict[str, str]) -> int:
    process = subprocess.Popen(command, env=environment)
    try:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue  # the command got it too and decides
    finally:
        if process.poll() is None:
            end(process)


def main() -> int:
    arguments = sys.argv[1:]
    virtual = arguments[:1] == ["--virtual"]
    command = arguments[1:] if virtual else arguments
    if not command:
        sys.exit(__doc__)

    # So that the `finally` blocks above run when this process is told to end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))

    environment = dict(os.environ)
    has_screen = "DISPLAY" in environment or "WAYLAND_DISPLAY" in environment
    if sys.platform != "linux" or (has_screen and not virtual):
        return run(command, environment)

    environment.pop("WAYLAND_DISPLAY", None)
    with virtual_display() as name:
        return run(command, environment | {"DISPLAY": name, "QT_QPA_PLATFORM": "xcb"})


if __name__ == "__main__":
    sys.exit(main())
