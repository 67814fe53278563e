#!/usr/bin/env bash
# amqtt 0.12.1 (PyPI): with `allow_anonymous: true`, the default, nobody has a session that outlives the connection, with a user
# name or without.
#
# One would have guessed: that it is about clients without a name only.
# Seen 2026-11-28 with paho-mqtt 2.2.0: clean_session false, user name given, subscribed at QoS 1, away for 2 s: what was published
# and acknowledged meanwhile is gone, and so is the subscription.
# What it costs: durable subscriptions are none until the file says `allow_anonymous: false` and each client has a name.
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

c = client("c", ("name", "word"), clean_session=False)
c.subscribe("s/#", 1)
until(lambda: c.granted)
c.disconnect()
c.loop_stop()
time.sleep(2)
publisher = client("publisher")
waiting = publisher.publish("s/x", "while away", 1)
waiting.wait_for_publish(5)
present = []
c = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "c", clean_session=False)
c.username_pw_set("name", "word")
got = []
c.on_connect = lambda c, _, flags, code, properties: present.append(flags.session_present)
c.on_message = lambda c, _, message: got.append(message.payload)
c.connect("127.0.0.1", port)
c.loop_start()
time.sleep(2)
seen = (waiting.is_published(), present, got)
print("acknowledged, session present, arrived:", seen)
sys.exit(seen != (True, [False], []))
PYTHON
