#!/usr/bin/env bash
# rumqttd 0.20.0 (in PyPI's iotcore 0.4.0) delivers at the QoS of the subscription, also what was published at a lower one.
#
# One would have guessed: at the lower of the two.
# Seen 2026-11-28 with paho-mqtt 2.2.0: published at 0, delivered at 2 to a subscriber at 2, and kept for one with a session that is
# away. And a second SUBSCRIBE of the filter is granted its QoS, but the first one's stays.
# What it costs: a subscriber at QoS 1 or 2 pays for acknowledgements, and a bridge for its disk, of every QoS 0 reading.
set -euo pipefail
export LC_ALL=C

dir=$(mktemp -d)
started=()
trap 'for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done; wait; rm -rf "$dir"' EXIT

python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check iotcore==0.4.0 paho-mqtt==2.2.0
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
port=$(free_port)
cat >"$dir/rumqttd.toml" <<END
id = 0
[router]
id = 0
max_connections = 100
max_outgoing_packet_count = 200
max_segment_size = 1048576
max_segment_count = 10
[v4.1]
name = "finding"
listen = "127.0.0.1:$port"
next_connection_delay_ms = 1
[v4.1.connections]
connection_timeout_ms = 60000
max_payload_size = 20480
max_inflight_count = 100
dynamic_filters = true
END
"$dir/venv/bin/python3" -m iotcore --config "$dir/rumqttd.toml" >"$dir/log" 2>&1 &
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
subscriber = client("subscriber", clean_session=False)
subscriber.subscribe("q/#", 2)
until(lambda: subscriber.granted)
publisher.publish("q/x", "m", 0)
until(lambda: subscriber.got)
seen = [[message.qos for message in subscriber.got]]
again = client("again")
for qos in (0, 1):
    again.subscribe("r/#", qos)
until(lambda: len(again.granted) == 2)
publisher.publish("r/x", "m", 1).wait_for_publish(5)
until(lambda: again.got)
seen += [again.granted, [message.qos for message in again.got]]
print("delivered at; granted, delivered at:", seen)
sys.exit(seen != [[2], [[0], [1]], [0]])
PYTHON
