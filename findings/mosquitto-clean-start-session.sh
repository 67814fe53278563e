#!/usr/bin/env bash
# mosquitto 2.0.11 (Debian 2.0.11-1.2+deb12u2), `persistence true`: of MQTT 5, a session whose last connection began with "clean start" is
# gone after a restart, whatever its expiry.
#
# One would have guessed: that clean start empties a session once, when it begins (MQTT 5, 3.1.2.4), and that its session expiry alone says how
# long it is kept; without a restart it is like that.
# Seen 2026-12-01 with paho-mqtt 2.2.0: session expiry 3,600 s each. Begun with clean start: there when the client comes again at once, gone
# when the broker was stopped with SIGTERM in between. Where the last connection came without clean start: there.
# What it costs: a device that makes its session new at each start of its own misses what comes while the broker is updated.
set -euo pipefail
export LC_ALL=C

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# From Debian, without leaving its daemon on.
as_root() { if ((EUID == 0)); then "$@"; else sudo "$@"; fi; }
if ! dpkg-query -W -f '${db:Status-Status}' mosquitto 2>/dev/null | grep -qx installed; then
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mosquitto >/dev/null
  as_root systemctl disable --quiet --now mosquitto 2>/dev/null || true
fi
dpkg-query -W mosquitto

python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check paho-mqtt==2.2.0
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
mkdir "$dir/data"
printf 'listener %s 127.0.0.1\nallow_anonymous true\nuser %s\npersistence true\npersistence_location %s/data/\n' \
  "$port" "$(id -un)" "$dir" >"$dir/m.conf"

"$dir/venv/bin/python3" - "$port" "$dir/m.conf" <<'PYTHON'
import subprocess
import sys
import threading
import time

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

port = int(sys.argv[1])


def broker():
    return subprocess.Popen(["/usr/sbin/mosquitto", "-c", sys.argv[2]], stderr=subprocess.DEVNULL)


def visit(name, clean_start):
    """Connects, subscribes, goes. Whether there was a session."""
    present, done = [], threading.Event()
    c = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, name, protocol=mqtt.MQTTv5)
    c.on_connect = lambda c, _, flags, *rest: (present.append(flags.session_present), c.subscribe("t", 1))
    c.on_subscribe = lambda *_: done.set()
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = 3600
    for _ in range(100):
        try:
            c.connect("127.0.0.1", port, clean_start=clean_start, properties=properties)
            break
        except OSError:
            time.sleep(0.1)
    c.loop_start()
    assert done.wait(10)
    c.disconnect()
    c.loop_stop()
    return present[0]


process = broker()
visit("stays", True)
seen = [visit("stays", False)]
visit("clean", True)
visit("twice", True), visit("twice", False)
process.terminate()
process.wait()
process = broker()
seen += [visit("clean", False), visit("twice", False)]
process.terminate()
process.wait()
print("session present: at once, after a restart, after a restart and a connection without clean start:", seen)
sys.exit(seen != [True, False, True])
PYTHON
