#!/usr/bin/env bash
# mosquitto_rr 2.0.11 (Debian mosquitto-clients 2.0.11-1.2+deb12u2): `-f FILE` and `-s` ask with an empty message.
#
# One would have guessed: that the file, or standard input, is the request, as its manual page says and as mosquitto_pub has it.
# Seen 2026-12-01: who hears the requests gets 0 bytes for `-f` and for `-s`, all of it for `-m`, and all of it for `mosquitto_pub -f`. No error.
# What it costs: a service that is tried from a shell with a file answers an empty question, and is looked for the fault.
set -euo pipefail
export LC_ALL=C

dir=$(mktemp -d)
started=()
trap 'for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done; wait; rm -rf "$dir"' EXIT

# From Debian, without leaving its daemon on.
as_root() { if ((EUID == 0)); then "$@"; else sudo "$@"; fi; }
if ! dpkg-query -W -f '${db:Status-Status} ' mosquitto mosquitto-clients 2>/dev/null | grep -qx 'installed installed '; then
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mosquitto mosquitto-clients >/dev/null
  as_root systemctl disable --quiet --now mosquitto 2>/dev/null || true
fi
dpkg-query -W mosquitto mosquitto-clients

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
printf 'listener %s 127.0.0.1\nallow_anonymous true\n' "$port" >"$dir/m.conf"
/usr/sbin/mosquitto -c "$dir/m.conf" 2>"$dir/log" &
started+=($!)
until mosquitto_pub -p "$port" -t up -n 2>/dev/null; do sleep 0.1; done

printf 'a question' >"$dir/question"
mosquitto_sub -p "$port" -t ask -F '%l' -C 4 -W 30 >"$dir/heard" &
listener=$!
until grep -q SUBSCRIBE "$dir/log" || sleep 1; do sleep 0.1; done
# Nobody answers: each is left after a second.
ask() { timeout 1 mosquitto_rr -p "$port" -V 5 -t ask -e answer "$@" || true; }
ask -m 'a question'
ask -f "$dir/question"
ask -s <"$dir/question"
mosquitto_pub -p "$port" -t ask -f "$dir/question"
wait "$listener"
seen=$(tr '\n' ' ' <"$dir/heard")
echo "bytes of the request by mosquitto_rr -m, -f, -s, and by mosquitto_pub -f: $seen"
[[ $seen = '10 0 0 10 ' ]]
