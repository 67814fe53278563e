#!/usr/bin/env bash
# paho-mqtt 2.2.0 says of a message that was published while there was no connection that its publishing has failed, also when
# the broker has acknowledged it.
#
# One would have guessed: that `is_published()` becomes true once the message, which paho kept and sent on connecting, is acknowledged.
# `publish` returns MQTT_ERR_NO_CONN, and the handle keeps that code for ever: `is_published()` and `wait_for_publish()` raise RuntimeError.
# Seen 2026-11-29 with mosquitto 2.0.11 (Debian 2.0.11-1.2+deb12u2): `on_publish` is called and a subscriber has the message; both raise.
# What it costs: a client that publishes again what has "failed" sends everything twice; one that moves on to another broker must count
# `on_publish`, as examples/failover/moves_on.py does.
set -euo pipefail
export LC_ALL=C

dir=$(mktemp -d)
started=()
trap 'for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done; wait; rm -rf "$dir"' EXIT

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
printf 'listener %s 127.0.0.1\nallow_anonymous true\n' "$port" >"$dir/m.conf"
/usr/sbin/mosquitto -c "$dir/m.conf" 2>/dev/null &
started+=($!)

"$dir/venv/bin/python3" - "$port" <<'PYTHON'
import sys, time
import paho.mqtt.client as mqtt

port = int(sys.argv[1])

def until(true, seconds=10.0):
    end = time.time() + seconds
    while not true() and time.time() < end:
        time.sleep(0.05)
    return true()

def connect(client):
    end = time.time() + 60
    while time.time() < end:
        try:
            client.connect("127.0.0.1", port)
            break
        except OSError:
            time.sleep(0.2)
    client.loop_start()
    return until(client.is_connected)

reader = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "reader")
reader.got, reader.granted = [], []
reader.on_message = lambda _c, _u, message: reader.got.append(message.payload)
reader.on_subscribe = lambda *_: reader.granted.append(True)
connect(reader)
reader.subscribe("a", 1)
until(lambda: reader.granted)

publisher = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "publisher")
acknowledged = []
publisher.on_publish = lambda _c, _u, mid, *_: acknowledged.append(mid)
early = publisher.publish("a", "published before the connection", qos=1)
connect(publisher)
until(lambda: acknowledged and reader.got)

raised = []
for ask in (early.is_published, lambda: early.wait_for_publish(5)):
    try:
        ask()
    except RuntimeError as error:
        raised.append(str(error))
print("acknowledged:", acknowledged == [early.mid], "arrived:", reader.got, "raised:", raised)
for client in (publisher, reader):
    client.disconnect()
    client.loop_stop()
sys.exit(not (acknowledged == [early.mid] and len(reader.got) == 1 and len(raised) == 2))
PYTHON
