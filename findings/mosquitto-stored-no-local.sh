#!/usr/bin/env bash
# mosquitto 2.0.11 (Debian 2.0.11-1.2+deb12u2): no-local is not for what is stored: a client gets its own retained messages.
#
# One would have guessed: none of its own, live or stored, as MQTT-3.8.3-3 says of a subscription with No Local.
# Seen 2026-11-29 with paho-mqtt 2.2.0, MQTT 5: what a client has published with the retain flag comes back to it when it
# subscribes with no-local; what it publishes afterwards does not.
# What it costs: a bridge in both directions that asks for what is stored at each start carries its own older state back over what has
# changed at the other side in the meantime.
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

def client(name, user=None, **options):
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
            c.connect("127.0.0.1", port)
            c.loop_start()
            if until(c.is_connected, 2):
                break
            c.loop_stop()
        except OSError:
            time.sleep(0.2)
    return c

both = client("both", protocol=mqtt.MQTTv5)
both.publish("s/1", "stored", 1, retain=True).wait_for_publish(5)
both.subscribe("s/#", options=mqtt.SubscribeOptions(qos=1, noLocal=True))
until(lambda: both.granted)
both.publish("s/1", "live", 1, retain=True).wait_for_publish(5)
time.sleep(1)
seen = [(message.payload, message.retain) for message in both.got]
print(seen)
sys.exit(seen != [(b"stored", True)])
PYTHON
