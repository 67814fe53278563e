#!/usr/bin/env bash
# aedes 1.2.0 (npm) answers a SUBSCRIBE that names a filter twice with one return code less than it has filters.
#
# One would have guessed: one code for each filter, in order, as section 3.9.3 of MQTT 3.1.1 says.
# Seen 2026-11-28 with paho-mqtt 2.2.0: [b at 2, a at 0, b at 1, c at 0] is answered with [1, 0, 0].
# What it costs: every code behind the first double belongs to another filter than the client thinks; a client that counts them hangs up.
set -euo pipefail
export LC_ALL=C

dir=$(mktemp -d)
started=()
trap 'for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done; wait; rm -rf "$dir"' EXIT

python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check paho-mqtt==2.2.0
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
port=$(free_port)
npm install --silent --no-audit --no-fund --prefix "$dir" aedes@1.2.0
cat >"$dir/server.mjs" <<'END'
import { createServer } from 'node:net'
import { Aedes } from 'aedes'
createServer((await Aedes.createBroker()).handle).listen(Number(process.argv[2]), '127.0.0.1')
END
node "$dir/server.mjs" "$port" >"$dir/log" 2>&1 &
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
for filters in ([("b", 2), ("a", 0), ("c", 0)], [("b", 2), ("a", 0), ("b", 1), ("c", 0)]):
    c.subscribe(filters)
    before = len(c.granted)
    until(lambda: len(c.granted) > before, 2)
print(c.granted)
sys.exit(c.granted != [[2, 0, 0], [1, 0, 0]])
PYTHON
