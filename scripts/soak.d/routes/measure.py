#!/usr/bin/env python3
"""Measures a gateway with many routes: `measure.py BINARY COUNT`, as `scripts/soak routes` calls it.

Prints what `check --no-plugins` costs, how long a start takes until the gateway serves, and how long a reload of one route
takes from SIGHUP until it is applied. The source is the box's own broker, the target is away: what is measured is the
gateway's own. Exit code 0 if all of it worked.
"""

import pathlib
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time

PATIENCE = 300.0
LOOK = 0.002


def configuration(folder, count, prefix):
    """COUNT routes, of which the one in the middle has another prefix."""
    text = [
        f'[gateway]\nname = "many"\ndata_dir = "{folder}/data"\n[admin]\nlisten = "unix:{folder}/admin.sock"\n'
        '[brokers.home]\nembedded = true\nlisten = ["mqtt://127.0.0.1:0"]\n'
        '[brokers.office]\nurl = "mqtt://127.0.0.1:1"\n'
    ]
    for site in range(count):
        mine = prefix if site == count // 2 else "up/"
        text.append(
            f'[[routes]]\nname = "site-{site}"\n'
            f'from = {{ broker = "home", topics = ["site/{site}/+/temp", "site/{site}/state"] }}\n'
            f'to = ["office"]\nremap = {{ strip = "site/", prefix = "{mine}" }}\n'
        )
    return "".join(text)


def until(condition):
    """Waits for it. Returns the seconds that it took."""
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > PATIENCE:
            sys.exit("it takes too long")
        time.sleep(LOOK)
    return time.monotonic() - start


def serves(path):
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(path)
            client.sendall(b"GET /health HTTP/1.0\r\n\r\n")
            return b" 200 " in client.recv(64)
        except OSError:
            return False


def main():
    binary, count = sys.argv[1], int(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        file, log = pathlib.Path(folder, "gateway.toml"), pathlib.Path(folder, "log")
        file.write_text(configuration(folder, count, "up/"))
        subprocess.run([binary, "check", "--no-plugins", file], check=True, stdout=subprocess.DEVNULL)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(f"check --no-plugins: {used.ru_utime + used.ru_stime:.2f} s of CPU")
        with open(log, "wb") as out:
            gateway = subprocess.Popen([binary, "run", "--config", file], stderr=out)
        try:
            print(f"start until it serves: {until(lambda: serves(f'{folder}/admin.sock')):.2f} s")
            # Not while it settles, and by SIGHUP: a save alone is looked at once the file has been quiet for a while.
            time.sleep(2)
            file.with_suffix(".new").write_text(configuration(folder, count, "elsewhere/"))
            file.with_suffix(".new").rename(file)
            gateway.send_signal(signal.SIGHUP)
            applied = re.compile(rb"reloaded.*prefix changed")
            print(f"reload of one route: {until(lambda: applied.search(log.read_bytes())):.3f} s")
        finally:
            gateway.terminate()
            gateway.wait(PATIENCE)


if __name__ == "__main__":
    main()
