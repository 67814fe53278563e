#!/usr/bin/env bash
# rumqttd 0.20.0 (in PyPI's iotcore 0.4.0) forgets a message that it has answered with PUBREC if the link breaks before PUBREL.
#
# One would have guessed: after PUBREC the broker has the message, and PUBREL after a reconnect completes it (section 4.3.3 of MQTT
# 3.1.1). It publishes at PUBREL only, from the connection's memory.
# Seen 2026-11-28 on raw sockets, 3.1.1: CONNACK says that the session is present; PUBREL ends the connection, at each return; the
# message never comes. PUBREL of a message that was completed, whose PUBCOMP was lost, is answered in the same way.
# What it costs: a publisher cannot tell "done" from "gone". To give the id up loses messages, to publish again repeats some.
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

import socket
import struct

text = lambda value: struct.pack(">H", len(value)) + value
packet = lambda first, body: bytes([first, len(body)]) + body

def connect():
    c = socket.create_connection(("127.0.0.1", port), timeout=3)
    c.sendall(packet(0x10, text(b"MQTT") + b"\x04\x00\x00\x3c" + text(b"publisher")))
    return c, c.recv(4)[2] == 1

def release(c):
    """What PUBREL of the message is answered with; nothing: the end of the connection."""
    c.sendall(packet(0x62, b"\x00\x05"))
    try:
        return c.recv(4)
    except OSError:
        return b""

subscriber = client("subscriber")
subscriber.subscribe("r/#", 2)
until(lambda: subscriber.granted)
c, _ = connect()
c.sendall(packet(0x34, text(b"r/x") + b"\x00\x05" + b"m"))
received = c.recv(4) == packet(0x50, b"\x00\x05")
c.close()
seen = [received]
for _ in range(2):
    time.sleep(0.5)
    c, present = connect()
    seen.append((present, release(c)))
    c.close()
time.sleep(1)
seen.append(len(subscriber.got))
print("PUBREC came; session present and answer to PUBREL, twice; messages delivered:", seen)
sys.exit(seen != [True, (True, b""), (True, b""), 0])
PYTHON
