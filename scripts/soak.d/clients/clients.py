"""The rows of the table: each client with its versions of MQTT and its transports, and how it is started."""
import json
import os
import pathlib
import subprocess

from collectd import Collectd
from mosquitto_rr import MosquittoRr
from servers import free_port
from story import Echo

HERE = pathlib.Path(__file__).parent
FOLDER = pathlib.Path(os.environ["SOAK_CLIENTS"])
PYTHON = str(FOLDER / "python/bin/python3")
NODE_RED = FOLDER / "node/node_modules/node-red"


def python(script):
    return lambda _folder, *arguments: [PYTHON, str(HERE / script), *map(str, arguments)]


def paho_c(_folder, *arguments):
    return [str(FOLDER / "echo_paho"), *map(str, arguments)]


def node_red(folder, port, transport, version, keep_alive):
    """Its flow is written into the folder; over WebSocket the URL stands where the host does."""
    flows = (HERE / "flows.json").read_text()
    known = {"BROKER": f"ws://127.0.0.1:{port}" if transport == "ws" else "127.0.0.1", "PORT": str(port),
             "VERSION": "5" if version == "5" else "4", "KEEP_ALIVE": str(keep_alive)}
    for name, value in known.items():
        flows = flows.replace(f"SOAK_{name}", value)
    (folder / "flows.json").write_text(flows)
    return ["env", f"SOAK_UI_PORT={free_port()}", "node", "--no-deprecation", str(NODE_RED / "red.js"), "--userDir", str(folder),
            "--settings", str(HERE / "settings.js"), str(folder / "flows.json")]


def npm_version(package):
    return json.loads((package / "package.json").read_text())["version"]


def pip_version(package):
    said = f"from importlib.metadata import version; print(version('{package}'))"
    return subprocess.run([PYTHON, "-c", said], capture_output=True, text=True, check=True).stdout.strip()


def unpacked_version(package):
    versions = dict(line.split() for line in (FOLDER / "debian/versions").read_text().splitlines())
    return versions[package]


def rows():
    aiomqtt = f"aiomqtt {pip_version('aiomqtt')} (paho-mqtt {pip_version('paho-mqtt')})"
    for version, transport in (("3.1.1", "tcp"), ("5", "tcp"), ("5", "ws")):
        yield Echo(aiomqtt, version, transport, python("echo_aiomqtt.py"))
    for version in ("3.1.1", "5"):
        yield Echo(f"gmqtt {pip_version('gmqtt')}", version, "tcp", python("echo_gmqtt.py"))
    name = f"Node-RED {npm_version(NODE_RED)} (mqtt.js {npm_version(NODE_RED.parent / 'mqtt')})"
    for version, transport in (("3.1.1", "tcp"), ("5", "tcp"), ("5", "ws")):
        yield Echo(name, version, transport, node_red)
    for version, transport in (("3.1.1", "tcp"), ("5", "tcp"), ("5", "ws")):
        yield Echo(f"paho C {unpacked_version('libpaho-mqtt1.3')}", version, transport, paho_c)
    for version in ("3.1.1", "5"):
        yield MosquittoRr(version)
    yield Collectd(unpacked_version("collectd-core"))


ROWS = list(rows())
