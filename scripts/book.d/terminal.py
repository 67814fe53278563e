"""A terminal as a reader has one: what is typed there, and what it shows, without its colours."""

import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import termios
import fcntl
import threading
import time

# For a command to end, and for a line to come.
PATIENCE_S = 30

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\r")
ROWS, COLUMNS = 50, 200

_taken = set()
_running = set()


def free_port():
    """One that nobody listens on, each but once."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if port not in _taken:
            _taken.add(port)
            return port


class Terminal:
    """One command in a terminal of its own."""

    def __init__(self, command, folder, env):
        leader, follower = pty.openpty()
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self._process = subprocess.Popen(
            ["bash", "-c", command], cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=follower, stderr=follower,
            start_new_session=True,
        )
        os.close(follower)
        _running.add(self)
        self._raw, self._at, self._lock = b"", 0, threading.Lock()
        self._reader = threading.Thread(target=self._read, args=(leader,), daemon=True)
        self._reader.start()

    def _read(self, leader):
        # The end of a terminal whose last process is gone is an error on Linux.
        while True:
            try:
                if not select.select([leader], [], [], 0.2)[0]:
                    if self._process.poll() is not None:
                        break
                    continue
                block = os.read(leader, 1 << 16)
            except OSError:
                break
            if not block:
                break
            with self._lock:
                self._raw += block
        os.close(leader)

    def text(self):
        with self._lock:
            return ESCAPES.sub("", self._raw.decode("utf-8", "replace"))

    def ends(self):
        """Its exit code, or None if it goes on."""
        try:
            code = self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.end()
            return None
        self._reader.join(2)
        _running.discard(self)
        return code

    def shows(self, lines, theirs):
        """Waits until each of these lines has come, in this order; the first that has not, if one does not come."""
        for line in lines:
            if line == "...":
                continue
            pattern = re.compile(r"^" + re.escape(line).replace(r"\.\.\.", ".*") + r"[ \t]*$", re.M)
            until = time.monotonic() + PATIENCE_S
            while not (found := pattern.search(theirs(self.text()), self._at)):
                if time.monotonic() > until:
                    return line
                time.sleep(0.02)
            self._at = found.end()
        return None

    def rest(self):
        return self.text()[-3000:]

    def interrupt(self):
        self._signal(signal.SIGINT)

    def end(self):
        """Its processes, asked first."""
        for how in (signal.SIGTERM, signal.SIGKILL):
            self._signal(how)
            try:
                self._process.wait(5)
                break
            except subprocess.TimeoutExpired:
                continue
        _running.discard(self)

    def _signal(self, how):
        try:
            os.killpg(self._process.pid, how)
        except ProcessLookupError:
            pass


def end_all():
    """Those of all pages."""
    for terminal in list(_running):
        terminal.end()
