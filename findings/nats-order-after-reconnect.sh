#!/usr/bin/env bash
# nats-server 2.9.10 (Debian 2.9.10-1+b3): after a reconnect, what came later is delivered before what was not acknowledged.
#
# One would have guessed: unacknowledged messages first, in their order, as sections 4.4 and 4.6 of MQTT 3.1.1 say.
# Seen 2026-11-28 with paho-mqtt 2.2.0, QoS 1, session kept: three old, three new; the new come at once, the old after 25 to 31 s,
# when JetStream's wait for an acknowledgement is over.
# What it costs: a state topic shows the old state after the new one, half a minute later. Time-stamp what has an order.
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

subscriber = client("subscriber", clean_session=False, manual_ack=True)
subscriber.subscribe("a/#", 1)
until(lambda: subscriber.granted)
publisher = client("publisher")
for n in range(3):
    publisher.publish("a/x", f"old{n}", 1).wait_for_publish(5)
until(lambda: len(subscriber.got) == 3)
subscriber.loop_stop()
subscriber.socket().close()
for n in range(3):
    publisher.publish("a/x", f"new{n}", 1).wait_for_publish(5)
began = time.time()
subscriber = client("subscriber", clean_session=False)
until(lambda: len(subscriber.got) == 6, 40)
seen = [message.payload.decode() for message in subscriber.got]
print(seen, f"{time.time() - began:.0f} s")
sys.exit(seen != ["new0", "new1", "new2", "old0", "old1", "old2"])
PYTHON
