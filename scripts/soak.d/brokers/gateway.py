"""A Tidegate between the broker that is tried and a mosquitto, in a folder of its own."""
import pathlib
import re
import signal
import time
import urllib.error
import urllib.request

from zoo import Process, free_port

READY_SECONDS = 25.0
CONFIG = """[gateway]
name = "{name}"
data_dir = "data"
[admin]
listen = "127.0.0.1:{admin}"
[brokers.x]
url = "mqtt://127.0.0.1:{x}"
reconnect = {{ min = "100ms", max = "1s" }}
{login}[brokers.far]
url = "mqtt://127.0.0.1:{far}"
reconnect = {{ min = "100ms", max = "1s" }}
[[routes]]
name = "up"
from = {{ broker = "x", topics = ["{name}/up/#"], qos = {qos} }}
to = ["far"]
[[routes]]
name = "down"
from = {{ broker = "far", topics = ["{name}/down/#"], qos = {qos} }}
to = ["x"]
"""


class Gateway:
    """`name` is also the first level of its topics, and part of its client ids: cells share brokers, not sessions."""

    def __init__(self, binary, folder, name, row, x_port, far_port, qos):
        self.binary, self.folder, self.admin = binary, pathlib.Path(folder), free_port()
        self.folder.mkdir(parents=True)
        login = f'username = "{row.user}"\npassword = {{ file = "x.pass" }}\n' if row.user else ""
        if row.user:
            secret = self.folder / "x.pass"
            secret.write_text(row.password)
            secret.chmod(0o600)
        (self.folder / "gateway.toml").write_text(
            CONFIG.format(name=name, admin=self.admin, x=x_port, far=far_port, login=login, qos=qos))
        self.process = None

    def start(self):
        self.process = Process([self.binary, "run", "--config", "gateway.toml"], self.folder, {"RUST_LOG": "info"})

    def wait_until_ready(self):
        """Seconds from the call until `/ready` says 200; nothing if it does not."""
        begun = time.monotonic()
        while time.monotonic() < begun + READY_SECONDS:
            if self.ready()[0]:
                return time.monotonic() - begun
            time.sleep(0.01)
        return None

    def ready(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/ready", timeout=2) as answer:
                return True, answer.read().decode()
        except urllib.error.HTTPError as error:
            return False, error.read().decode()
        except OSError as error:
            return False, str(error)

    def kill(self):
        self.process.stop(signal.SIGKILL)

    def stop(self):
        if self.process:
            self.process.stop()
            self.process = None

    def complaints(self):
        """Lines of the log that warn, without times and waits, and each once."""
        lines = []
        for line in (self.folder / "log").read_text(errors="replace").splitlines():
            at = max(line.find("WARN"), line.find("ERROR"))
            if at >= 0:
                lines.append(re.sub(r" retry_in=\S+", "", line[at:]))
        return list(dict.fromkeys(lines))
