#!/usr/bin/env bash
# ejabberd 23.01 (Debian 23.01-1, mod_mqtt) sends the next message of QoS 1 or 2 only when the last one was acknowledged.
#
# One would have guessed: a window of ten or more, or the receive maximum that an MQTT 5 client announces.
# Seen 2026-11-28 with paho-mqtt 2.2.0 and manual acknowledgement: of five messages one comes, and one more with each PUBACK.
# What it costs: at a round trip of 50 ms no more than 20 messages a second; a client that acknowledges in batches waits for ever.
set -euo pipefail
export LC_ALL=C

dir=$(mktemp -d)
started=()
trap 'for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done; wait; rm -rf "$dir"' EXIT

# From Debian, without leaving its daemon on.
as_root() { if ((EUID == 0)); then "$@"; else sudo "$@"; fi; }
if ! dpkg-query -W -f '${db:Status-Status}' ejabberd 2>/dev/null | grep -qx installed; then
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends ejabberd >/dev/null
  as_root systemctl disable --quiet --now ejabberd 2>/dev/null || true
fi
dpkg-query -W ejabberd

python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check paho-mqtt==2.2.0
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
port=$(free_port)
cat >"$dir/ejabberd.yml" <<END
hosts: [localhost]
loglevel: warning
listen:
  - {port: $port, ip: 127.0.0.1, module: mod_mqtt}
modules: {mod_mqtt: {}}
END
register='ejabberd:start(), ejabberd_auth:try_register(<<"u">>, <<"localhost">>, <<"p">>).'
(cd "$dir" && HOME=$dir EJABBERD_CONFIG_PATH=$dir/ejabberd.yml EJABBERD_LOG_PATH=$dir/ejabberd.log EJABBERD_PID_PATH=$dir/pid \
  exec erl -noinput -pa /usr/lib/*/ejabberd-*/ebin -mnesia dir "\"$dir/data\"" -s ejabberd -eval "$register") >"$dir/log" 2>&1 &
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

user = ("u@localhost", "p")
subscriber, publisher = client("subscriber", user, manual_ack=True), client("publisher", user)
subscriber.subscribe("a/#", 1)
until(lambda: subscriber.granted)
for n in range(5):
    publisher.publish("a/x", str(n), 1).wait_for_publish(5)
seen = []
for _ in range(3):
    time.sleep(0.7)
    seen.append(len(subscriber.got))
    subscriber.ack(subscriber.got[-1].mid, 1)
print("came after 0, 1 and 2 acknowledgements:", seen)
sys.exit(seen != [1, 2, 3])
PYTHON
