#!/usr/bin/env bash
# nats-server 2.9.10 (Debian 2.9.10-1+b3) ends the connection of whoever publishes to a topic with a dot or a blank.
#
# One would have guessed: any valid topic is taken; or at least that the message is answered. 3.1.1 has no code to refuse it, so the
# socket is closed without a word, and a client that repeats what is unanswered does so at each reconnect.
# Seen 2026-11-28 with paho-mqtt 2.2.0: `fw/1.2` at QoS 1 is never confirmed, nor is what was published behind it; the filter
# `fw/1.2/#` is answered with 0x80.
# What it costs: one device with a version number in its topic stops everything that its client has to say.
set -euo pipefail
export LC_ALL=C

dir=$(mktemp -d)
started=()
trap 'for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done; wait; rm -rf "$dir"' EXIT

# From Debian, without leaving its daemon on.
as_root() { if ((EUID == 0)); then "$@"; else sudo "$@"; fi; }
if ! dpkg-query -W -f '${db:Status-Status}' nats-server 2>/dev/null | grep -qx installed; then
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends nats-server >/dev/null
  as_root systemctl disable --quiet --now nats-server 2>/dev/null || true
fi
dpkg-query -W nats-server

python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check paho-mqtt==2.2.0
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
port=$(free_port)
cat >"$dir/nats.conf" <<END
server_name: n
listen: "127.0.0.1:$(free_port)"
jetstream { store_dir: "$dir/data" }
mqtt { listen: "127.0.0.1:$port" }
END
/usr/sbin/nats-server -c "$dir/nats.conf" >"$dir/log" 2>&1 &
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

publisher, subscriber = client("publisher"), client("subscriber")
subscriber.subscribe([("fw/1.2/#", 1), ("fw/#", 1)])
until(lambda: subscriber.granted)
ends = []
publisher.on_disconnect = lambda *_: ends.append(1)
publisher.reconnect_delay_set(1, 1)
dotted = publisher.publish("fw/1.2", "m", 1)
behind = publisher.publish("fw/ok", "m", 1)
time.sleep(5)
seen = (subscriber.granted, dotted.is_published(), behind.is_published(), len(ends) >= 2)
print("granted, confirmed, confirmed behind it, connection ended again and again:", seen)
sys.exit(seen != ([[128, 1]], False, False, True))
PYTHON
