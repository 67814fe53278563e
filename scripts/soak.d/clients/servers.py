"""The two brokers that each client is run against: the gateway's own, and mosquitto; both with tcp and WebSocket."""
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "brokers"))
os.environ.setdefault("TIDEGATE_TEST_ENV", os.environ["SOAK_CLIENTS"])
import zoo
from zoo import Process, free_port


class Tidegate(zoo.Broker):
    name = "tidegate"

    def prepare(self):
        self.ws_port = free_port()
        self.write("gateway.toml", f"""[gateway]
name = "soak"
data_dir = "data"
[admin]
listen = "127.0.0.1:{free_port()}"
[brokers.own]
embedded = true
listen = ["mqtt://127.0.0.1:{self.port}", "ws://127.0.0.1:{self.ws_port}"]
""")

    def command(self):
        return [os.environ["TIDEGATE_BIN"], "run", "--config", "gateway.toml"]


class Mosquitto(zoo.Mosquitto):
    name = "mosquitto"

    def prepare(self):
        super().prepare()
        self.ws_port = free_port()
        with open(self.folder / "m.conf", "a") as config:
            config.write(f"log_type all\nlistener {self.ws_port} 127.0.0.1\nprotocol websockets\n")
