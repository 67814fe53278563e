#!/usr/bin/env bash
# RabbitMQ 3.10.8 (Debian 3.10.8-1.1+deb12u1, plugin rabbitmq_mqtt) answers a PUBLISH of QoS 2 with PUBACK, and clients take it.
#
# One would have guessed: PUBREC, or the end of the connection, since it grants QoS 1 at most; and a client that says so.
# Seen 2026-11-28 with paho-mqtt 2.2.0: `publish(qos=2)` is reported as published, and what a repetition would do is QoS 1.
# What it costs: nothing tells a publisher that "exactly once" is off; a client that waits for PUBREC waits for ever.
set -euo pipefail
export LC_ALL=C

dir=$(mktemp -d)
started=()
trap 'for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done; wait; rm -rf "$dir"' EXIT

# From Debian, without leaving its daemon on.
as_root() { if ((EUID == 0)); then "$@"; else sudo "$@"; fi; }
if ! dpkg-query -W -f '${db:Status-Status}' rabbitmq-server 2>/dev/null | grep -qx installed; then
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends rabbitmq-server >/dev/null
  as_root systemctl disable --quiet --now rabbitmq-server 2>/dev/null || true
fi
dpkg-query -W rabbitmq-server

python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check paho-mqtt==2.2.0
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
port=$(free_port)
mapper=$(free_port)
printf 'listeners.tcp.1 = 127.0.0.1:%s\nmqtt.listeners.tcp.1 = 127.0.0.1:%s\n' "$(free_port)" "$port" >"$dir/r.conf"
echo '[rabbitmq_mqtt].' >"$dir/plugins"
epmd -port "$mapper" -address 127.0.0.1 &
started+=($!)
HOME=$dir ERL_EPMD_PORT=$mapper ERL_EPMD_ADDRESS=127.0.0.1 RABBITMQ_NODENAME=finding@localhost RABBITMQ_DIST_PORT=$(free_port) \
  RABBITMQ_CONF_ENV_FILE=/dev/null RABBITMQ_CONFIG_FILE=$dir/r.conf RABBITMQ_ENABLED_PLUGINS_FILE=$dir/plugins \
  RABBITMQ_MNESIA_BASE=$dir/data RABBITMQ_LOG_BASE=$dir/logs RABBITMQ_PID_FILE=$dir/pid \
  RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1}' \
  /usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server >"$dir/log" 2>&1 &
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

answers = []
publisher = client("publisher")
publisher.on_log = lambda c, _, level, line: answers.append(line.split(" ")[1]) if line.startswith("Received PUB") else None
subscriber = client("subscriber")
subscriber.subscribe("q/#", 2)
until(lambda: subscriber.granted)
told = publisher.publish("q/x", "m", 2)
until(told.is_published)
until(lambda: subscriber.got)
seen = (subscriber.granted, answers, told.is_published(), [message.qos for message in subscriber.got])
print("granted, answers, told published, delivered at:", seen)
sys.exit(seen != ([[1]], ["PUBACK"], True, [1]))
PYTHON
