#!/usr/bin/env bash
# aedes 1.2.0 (npm) sends retained messages at the QoS they were published with, whatever was granted.
#
# One would have guessed: at the lower of the two, as it does with live messages.
# Seen 2026-11-28 with paho-mqtt 2.2.0: subscribed and granted at 0, a retained message of QoS 2 comes as QoS 2, the same one live
# as QoS 0.
# What it costs: a client that asked for QoS 0 since it cannot acknowledge leaves the broker waiting.
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

publisher, subscriber = client("publisher"), client("subscriber")
publisher.publish("r/x", "kept", 2, retain=True).wait_for_publish(5)
subscriber.subscribe("r/#", 0)
until(lambda: subscriber.got)
publisher.publish("r/x", "live", 2).wait_for_publish(5)
until(lambda: len(subscriber.got) == 2)
seen = (subscriber.granted, [(message.payload, message.qos) for message in subscriber.got])
print(seen)
sys.exit(seen != ([[0]], [(b"kept", 2), (b"live", 0)]))
PYTHON
