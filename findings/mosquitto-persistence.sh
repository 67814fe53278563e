#!/usr/bin/env bash
# mosquitto 2.0.11 (Debian 2.0.11-1.2+deb12u2) with `persistence true` loses all it has acknowledged since its last save when killed.
#
# One would have guessed: that QoS 1 with a persistent session and persistence is on disk when PUBACK comes. It is saved every
# `autosave_interval` (30 minutes) and at a planned stop.
# Seen 2026-11-28 with paho-mqtt 2.2.0: 50 messages acknowledged for a session that is away, one retained; after SIGKILL no session,
# no message, nothing retained; after SIGTERM all.
# What it costs: a power cut takes up to half an hour of what devices believe delivered, unless `autosave_interval` says less.
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
mkdir "$dir/data"
printf 'listener %s 127.0.0.1\nallow_anonymous true\nuser %s\npersistence true\npersistence_location %s/data/\n' \
  "$port" "$(id -un)" "$dir" >"$dir/m.conf"

"$dir/venv/bin/python3" - "$port" "$dir/m.conf" <<'PYTHON'
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

import signal
import subprocess

def broker():
    return subprocess.Popen(["/usr/sbin/mosquitto", "-c", sys.argv[2]], stderr=subprocess.DEVNULL)

seen = []
for how in (signal.SIGTERM, signal.SIGKILL):
    process = broker()
    name = how.name
    absent = client(name, clean_session=False)
    absent.subscribe(f"{name}/#", 1)
    until(lambda: absent.granted)
    absent.disconnect()
    absent.loop_stop()
    publisher = client("publisher")
    for n in range(50):
        publisher.publish(f"{name}/x", str(n), 1, retain=n == 49).wait_for_publish(5)
    publisher.loop_stop()
    process.send_signal(how)
    process.wait()
    process = broker()
    back, fresh = client(name, clean_session=False), client("fresh")
    fresh.subscribe(f"{name}/#", 1)
    until(lambda: fresh.granted)
    time.sleep(1)
    seen.append((len(back.got), len(fresh.got)))
    process.terminate()
    process.wait()
print("waiting and retained, after SIGTERM and after SIGKILL:", seen)
sys.exit(seen != [(50, 1), (0, 0)])
PYTHON
