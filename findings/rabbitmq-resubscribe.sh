#!/usr/bin/env bash
# RabbitMQ 3.10.8 (Debian 3.10.8-1.1+deb12u1, plugin rabbitmq_mqtt): subscribing again at another QoS adds a subscription.
#
# One would have guessed: it replaces the one with the same filter, as section 3.8.4 of MQTT 3.1.1 says.
# Seen 2026-11-28 with paho-mqtt 2.2.0: `z/#` at 1, then at 0: each message comes twice, at 0 and at 1, until UNSUBSCRIBE.
# What it costs: a client that changes its QoS on a session that is kept gets everything double from then on.
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

subscriber, publisher = client("subscriber"), client("publisher")
for qos in (1, 0):
    subscriber.subscribe("z/#", qos)
until(lambda: len(subscriber.granted) == 2)
publisher.publish("z/1", "m", 1).wait_for_publish(5)
until(lambda: len(subscriber.got) == 2, 3)
seen = [sorted(message.qos for message in subscriber.got)]
subscriber.got.clear()
subscriber.unsubscribe("z/#")
time.sleep(1)
publisher.publish("z/1", "m", 1).wait_for_publish(5)
time.sleep(1)
seen.append(subscriber.got)
print("QoS of the copies of one message, and after one UNSUBSCRIBE:", seen)
sys.exit(seen != [[0, 1], []])
PYTHON
