#!/usr/bin/env bash
# mosquitto 2.0.11 (Debian 2.0.11-1.2+deb12u2): what a member of a shared subscription had not acknowledged ends with its session.
#
# One would have guessed: another member gets it, which section 4.8.2 of MQTT 5 says that a server should do.
# Seen 2026-11-29 with paho-mqtt 2.2.0, MQTT 5 and 3.1.1, clean sessions: of 200 messages at QoS 1, half go to a member that
# acknowledges none of them and is killed. The 20 in flight to it and the 80 behind them reach nobody.
# What it costs: a worker that is killed takes with it what was on its way to it, though its publishers were told that it is safe.
set -euo pipefail
export LC_ALL=C

dir=$(mktemp -d)
started=()
trap 'for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done; wait; rm -rf "$dir"' EXIT

# From Debian, without leaving its daemon on.
as_root() { if ((EUID == 0)); then "$@"; else sudo "$@"; fi; }
if ! dpkg-query -W -f '${db:Status-Status}' mosquitto 2>/dev/null | grep -qx installed; then
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mosquitto >/dev/null
  as_root systemctl disable --quiet --now mosquitto 2>/dev/null || true
fi
dpkg-query -W mosquitto

python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check paho-mqtt==2.2.0
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
port=$(free_port)
printf 'listener %s 127.0.0.1\nallow_anonymous true\n' "$port" >"$dir/m.conf"
/usr/sbin/mosquitto -c "$dir/m.conf" 2>"$dir/log" &
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

def lost(protocol):
    clean = {} if protocol == mqtt.MQTTv5 else {"clean_session": True}
    killed, other = [client(name, protocol=protocol, manual_ack=name == "killed", **clean) for name in ("killed", "other")]
    for member in (killed, other):
        member.subscribe("$share/g/w/#", 1)
        until(lambda: member.granted)
    publisher = client("publisher", protocol=protocol, **clean)
    for n in range(200):
        publisher.publish("w/x", str(n), 1).wait_for_publish(5)
    until(lambda: len(other.got) == 100 and len(killed.got) == 20)
    killed.socket().shutdown(2)  # as if it were killed: no DISCONNECT
    killed.loop_stop()
    time.sleep(1)
    got = {message.payload for message in other.got}
    for member in (other, publisher):
        member.disconnect()
        member.loop_stop()
    return 200 - len(got)

seen = [lost(protocol) for protocol in (mqtt.MQTTv5, mqtt.MQTTv311)]
print("lost of 200 with MQTT 5 and with 3.1.1:", seen)
sys.exit(seen != [100, 100])
PYTHON
