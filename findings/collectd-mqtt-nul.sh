#!/usr/bin/env bash
# collectd 5.12.0 (Debian collectd-core 5.12.0-14): what its mqtt plugin publishes ends with a byte 0.
#
# One would have guessed: `TIME:VALUE` and nothing else.
# Seen 2026-12-01 with mosquitto 2.0.11: `1796120922.398:1.5` and 00. Its own subscriber takes values with the byte and without.
# What it costs: a filter that compares text, or reads a number, or JSON made of the payload, fails on what looks right on a terminal.
set -euo pipefail
export LC_ALL=C

dir=$(mktemp -d)
started=()
trap 'for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done; wait; rm -rf "$dir"' EXIT

# From Debian, without leaving its daemon on; collectd is only unpacked, so that no daemon comes with it.
as_root() { if ((EUID == 0)); then "$@"; else sudo "$@"; fi; }
if ! dpkg-query -W -f '${db:Status-Status} ' mosquitto mosquitto-clients 2>/dev/null | grep -qx 'installed installed '; then
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mosquitto mosquitto-clients >/dev/null
  as_root systemctl disable --quiet --now mosquitto 2>/dev/null || true
fi
(cd "$dir" && apt-get download -qq collectd-core && dpkg -x collectd-core_*.deb collectd)
dpkg-query -W mosquitto mosquitto-clients
basename "$dir"/collectd-core_*.deb

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
printf 'listener %s 127.0.0.1\nallow_anonymous true\n' "$port" >"$dir/m.conf"
/usr/sbin/mosquitto -c "$dir/m.conf" 2>"$dir/log" &
started+=($!)
until mosquitto_pub -p "$port" -t up -n 2>/dev/null; do sleep 0.1; done

cat >"$dir/collectd.conf" <<CONF
Hostname "here"
BaseDir "$dir"
PIDFile "$dir/pid"
PluginDir "$dir/collectd/usr/lib/collectd"
TypesDB "$dir/collectd/usr/share/collectd/types.db"
Interval 1
LoadPlugin uptime
LoadPlugin mqtt
<Plugin mqtt>
  <Publish "out">
    Host "127.0.0.1"
    Port "$port"
    Prefix "out"
  </Publish>
</Plugin>
CONF
"$dir/collectd/usr/sbin/collectd" -f -C "$dir/collectd.conf" >"$dir/collectd.log" 2>&1 &
started+=($!)
seen=$(mosquitto_sub -p "$port" -t 'out/#' -C 1 -W 30 -F '%x')
echo "a payload: $seen"
# Digits, a dot, a colon (3a), digits, 00.
[[ $seen =~ ^(3[0-9])+(2e(3[0-9])+)?3a(3[0-9])+(2e(3[0-9])+)?00$ ]]
