#!/usr/bin/env bash
# mosquitto 2.0.11 (Debian 2.0.11-1.2+deb12u2) sends a client packets above the maximum packet size that it announced.
#
# One would have guessed: never; MQTT 5 makes it a protocol error, and a client may hang up on it.
# Seen 2026-11-28 with paho-mqtt 2.2.0: announced 1,000; the largest packet that comes has 1,001 bytes (QoS 0; its first byte is
# not counted). Reported and mended upstream in 2.0.23.
# What it costs: a client that hangs up on it is sent the same message at its return, for ever, if it has a session.
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
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
port=$(free_port)
printf 'listener %s 127.0.0.1\nallow_anonymous true\n' "$port" >"$dir/m.conf"
/usr/sbin/mosquitto -c "$dir/m.conf" 2>"$dir/log" &
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

def client(name, user=None, properties=None, clean_start=mqtt.MQTT_CLEAN_START_FIRST_ONLY, **options):
    """Connected; tries for a while, since the broker may only be starting."""
    c = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, name, **options)
    c.got, c.granted = [], []
    c.on_message = lambda c, _, message: c.got.append(message)
    c.on_subscribe = lambda c, _, mid, codes, properties: c.granted.append([code.value for code in codes])
    if user:
        c.username_pw_set(*user)
    end = time.time() + 60
    while not c.is_connected() and time.time() < end:
        try:
            c.connect("127.0.0.1", port, properties=properties, clean_start=clean_start)
            c.loop_start()
            if until(c.is_connected, 2):
                break
            c.loop_stop()
        except OSError:
            time.sleep(0.2)
    return c

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

announced = Properties(PacketTypes.CONNECT)
announced.MaximumPacketSize = 1000
subscriber = client("subscriber", protocol=mqtt.MQTTv5, properties=announced)
subscriber.subscribe("a/x", 0)
until(lambda: subscriber.granted)
publisher = client("publisher")
BESIDE_PAYLOAD = 1 + 2 + 2 + len("a/x") + 1  # first byte, length in two bytes, topic, no properties
for size in range(990, 1011):
    publisher.publish("a/x", b"x" * (size - BESIDE_PAYLOAD))
publisher.publish("a/x", "end")
until(lambda: subscriber.got and subscriber.got[-1].payload == b"end")
largest = max(len(message.payload) for message in subscriber.got) + BESIDE_PAYLOAD
print("announced 1000, came", largest)
sys.exit(largest != 1001)
PYTHON
