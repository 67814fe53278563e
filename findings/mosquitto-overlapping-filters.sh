#!/usr/bin/env bash
# mosquitto 2.0.11 (Debian 2.0.11-1.2+deb12u2): with MQTT 3.1.1 a message that matches two filters of a client comes once,
# at the QoS of the filter that its tree meets first (exact, then `+`, then `#`), not at the higher one.
#
# One would have guessed: the higher of the two, as section 3.3.5 of MQTT 3.1.1 says.
# Seen 2026-11-28 with paho-mqtt 2.2.0: `o/#` at QoS 1 and `o/+` at QoS 0, published at QoS 1: one copy at QoS 0.
# What it costs: a client that adds an innocent `o/+` at QoS 0 loses messages of its `o/#` at every break of the link.
# With MQTT 5 the same broker sends one copy for each filter.
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

publisher = client("publisher")
seen = {}
for wide, narrow in ((1, 0), (0, 1)):
    subscriber = client(f"subscriber{wide}")
    subscriber.subscribe([("o/#", wide), ("o/+", narrow)])
    until(lambda: subscriber.granted)
    publisher.publish("o/x", "m", 1).wait_for_publish(5)
    until(lambda: subscriber.got, 3)
    time.sleep(0.5)
    seen[f"# at {wide}, + at {narrow}"] = [message.qos for message in subscriber.got]
print(seen)
sys.exit(seen != {"# at 1, + at 0": [0], "# at 0, + at 1": [1]})
PYTHON
