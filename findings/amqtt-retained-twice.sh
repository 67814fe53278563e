#!/usr/bin/env bash
# amqtt 0.12.1 (PyPI): a new subscriber gets a retained message once before its SUBACK and once more after it, from the second
# client on that subscribes.
#
# One would have guessed: one copy, and after the SUBACK, as all others do it.
# Seen 2026-11-28 on a raw socket: the first client sees SUBACK, PUBLISH; each one after it PUBLISH, SUBACK, PUBLISH.
# What it costs: what is sent on by a bridge comes double; a client that takes a PUBLISH before SUBACK for an error hangs up.
set -euo pipefail
export LC_ALL=C

dir=$(mktemp -d)
started=()
trap 'for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done; wait; rm -rf "$dir"' EXIT

python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check amqtt==0.12.1 paho-mqtt==2.2.0
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
port=$(free_port)
cat >"$dir/amqtt.yaml" <<END
listeners: {default: {type: tcp, bind: "127.0.0.1:$port"}}
plugins: {amqtt.plugins.authentication.AnonymousAuthPlugin: {allow_anonymous: true}}
END
"$dir/venv/bin/amqtt" -c "$dir/amqtt.yaml" >"$dir/log" 2>&1 &
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

client("publisher").publish("r/x", "kept", 1, retain=True).wait_for_publish(5)
text = lambda value: struct.pack(">H", len(value)) + value
packet = lambda first, body: bytes([first, len(body)]) + body

def packets(name):
    """The kinds of packets that come in half a second after SUBSCRIBE; all are shorter than 128 bytes."""
    c = socket.create_connection(("127.0.0.1", port), timeout=5)
    c.sendall(packet(0x10, text(b"MQTT") + b"\x04\x02\x00\x3c" + text(name)))
    c.recv(4)
    c.sendall(packet(0x82, b"\x00\x01" + text(b"r/x") + b"\x01"))
    time.sleep(0.5)
    data, kinds = c.recv(1000), []
    while data:
        kinds.append({9: "SUBACK", 3: "PUBLISH"}[data[0] >> 4])
        data = data[2 + data[1]:]
    c.sendall(b"\xe0\x00")
    c.close()
    return kinds

seen = [packets(b"c%d" % n) for n in range(3)]
print(seen)
again = ["PUBLISH", "SUBACK", "PUBLISH"]
sys.exit(seen != [["SUBACK", "PUBLISH"], again, again])
PYTHON
