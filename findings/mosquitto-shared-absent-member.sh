#!/usr/bin/env bash
# mosquitto 2.0.11 (Debian 2.0.11-1.2+deb12u2): a member of a shared subscription that is away, but has a session, keeps its turn.
#
# One would have guessed: while one member is away, the others take all.
# Seen 2026-11-28 with paho-mqtt 2.2.0, MQTT 3.1.1: two members, one of them away; of ten messages at QoS 1 five wait for it.
# What it costs: half of the messages are late by the length of the outage, or lost if it never returns, although a worker was
# there. A session that ends with the connection (clean, or a short expiry) does not have the fault.
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

absent = client("absent", clean_session=False)
absent.subscribe("$share/g/w/#", 1)
until(lambda: absent.granted)
absent.disconnect()
absent.loop_stop()
present = client("present")
present.subscribe("$share/g/w/#", 1)
until(lambda: present.granted)
publisher = client("publisher")
for n in range(10):
    publisher.publish("w/x", str(n), 1).wait_for_publish(5)
time.sleep(1)
seen = [len(present.got)]
back = client("absent", clean_session=False)
until(lambda: len(back.got) == 5, 3)
seen.append(len(back.got))
print("present, and the absent when it is back:", seen)
sys.exit(seen != [5, 5])
PYTHON
