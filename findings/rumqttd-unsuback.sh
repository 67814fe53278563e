#!/usr/bin/env bash
# rumqttd 0.20.0 (in PyPI's iotcore 0.4.0) does not answer an UNSUBSCRIBE of a filter that is not subscribed.
#
# One would have guessed: UNSUBACK in any case, as section 3.10.4 of MQTT 3.1.1 says.
# Seen 2026-11-28 with paho-mqtt 2.2.0: answered for a filter that is subscribed, not for another, in MQTT 3.1.1 and 5 alike.
# What it costs: the broker forgets sessions when it restarts; a client that tidies up what it had before waits for ever.
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

c = client("c")
answers = []
c.on_unsubscribe = lambda c, _, mid, codes, properties: answers.append(mid)
c.subscribe("a/#", 1)
until(lambda: c.granted)
known, unknown = (c.unsubscribe(topic)[1] for topic in ("a/#", "never/subscribed"))
until(lambda: unknown in answers, 5)
seen = (known in answers, unknown in answers, c.is_connected())
print("answered, answered for the unknown, connected:", seen)
sys.exit(seen != (True, False, True))
PYTHON
