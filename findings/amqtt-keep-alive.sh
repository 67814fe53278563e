#!/usr/bin/env bash
# amqtt 0.12.1 (PyPI) never ends a connection for its silence.
#
# One would have guessed: after one and a half times the keep-alive, with the client's will, as section 3.1.2.10 of MQTT 3.1.1 says.
# Seen 2026-11-28: a raw socket with keep-alive 1 s and a will, silent for 12 s: still open, no will published.
# What it costs: the will of a device that has lost its power or its cable is not published; "online" stays.
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

watcher = client("watcher")
watcher.subscribe("will", 1)
until(lambda: watcher.granted)
text = lambda value: struct.pack(">H", len(value)) + value
body = text(b"MQTT") + bytes([4, 0b110]) + struct.pack(">H", 1) + text(b"silent") + text(b"will") + text(b"gone")
silent = socket.create_connection(("127.0.0.1", port))
silent.sendall(bytes([0x10, len(body)]) + body)
accepted = silent.recv(4)[3] == 0
silent.settimeout(12)
try:
    still_open = bool(silent.recv(1))
except TimeoutError:
    still_open = True
seen = (accepted, still_open, len(watcher.got))
print("accepted, open after 12 s, wills:", seen)
sys.exit(seen != (True, True, 0))
PYTHON
