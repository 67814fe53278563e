#!/usr/bin/env bash
# mosquitto 2.0.11 (Debian 2.0.11-1.2+deb12u2) sends retained messages to every member that joins a shared subscription.
#
# One would have guessed: none, as section 3.8.3.1 of MQTT 5 says of shared subscriptions; a group is to take each message once.
# Seen 2026-11-28 with paho-mqtt 2.2.0, MQTT 5: two members of `$share/g/r/#`, one retained message: both get it.
# What it costs: each worker, at each reconnect with a new session, handles all retained messages again.
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

client("publisher").publish("r/1", "kept", 1, retain=True).wait_for_publish(5)
members = [client(f"member{n}", protocol=mqtt.MQTTv5) for n in range(2)]
for member in members:
    member.subscribe("$share/g/r/#", 1)
    until(lambda: member.granted)
time.sleep(1)
seen = [[(message.payload, message.retain) for message in member.got] for member in members]
print(seen)
sys.exit(seen != [[(b"kept", True)], [(b"kept", True)]])
PYTHON
