# The service under systemd, and another machine under qemu-user. Read by `run`.
# shellcheck shell=bash disable=SC2154,SC2016

# A Debian whose first process is its systemd, in namespaces of its own; the network is that of the trials.
booted() { # DEB NEW_DEB
  local drop_in=/etc/systemd/system/tidegate.service.d
  fresh_root
  cp "$1" "$r/root/old.deb"
  cp "$2" "$r/root/new.deb"
  in_root dpkg -i /root/old.deb
  mkdir -p "$r$drop_in"
  boot
  # It was enabled when there was no systemd, and is up now.
  until_true 30 booted_in systemctl is-active --quiet tidegate
  until_true 10 ready
  useful in_root /usr/bin/tidegate
  booted_in systemd-analyze security --threshold=15 tidegate.service
  [[ $(booted_in systemctl show -P User tidegate) = tidegate ]]

  # A reload says whether it was taken.
  booted_in systemctl reload tidegate
  cp "$r$config" "$r/root/good.toml"
  echo 'nonsense = 1' >>"$r$config"
  fails booted_in systemctl reload tidegate
  booted_in systemctl is-active --quiet tidegate
  cat "$r/root/good.toml" >"$r$config"
  booted_in systemctl reload tidegate

  # A secret of root's, and the gateway gets it.
  cat >>"$r$config" <<'END'
[brokers.office]
url = "mqtt://127.0.0.1:1999"
username = "box"
password = { credential = "office" }
[[routes]]
name = "telemetry"
from = { broker = "local", topics = ["dev/#"] }
to = ["office"]
END
  install -d -m 700 "$r/etc/tidegate/secrets"
  (umask 077 && echo secret >"$r/etc/tidegate/secrets/office")
  booted_in systemctl restart tidegate
  until_true 20 says_of_ready credential
  printf '[Service]\nLoadCredential=office:/etc/tidegate/secrets/office\n' >"$r$drop_in/secret.conf"
  booted_in systemctl daemon-reload
  booted_in systemctl restart tidegate
  until_true 20 says_of_ready office
  fails says_of_ready credential

  # Messages wait over an upgrade, which starts the new one.
  local before
  before=$(booted_in systemctl show -P MainPID tidegate)
  seq 100 | in_root /usr/bin/tidegate pub --url mqtt://127.0.0.1:1884 -q 1 -t dev/count --lines
  until_true 20 waiting office 100
  booted_in dpkg -i --force-confold /root/new.deb
  until_true 20 booted_in systemctl is-active --quiet tidegate
  [[ $(booted_in systemctl show -P MainPID tidegate) != "$before" ]]
  until_true 20 waiting office 100

  # One that hangs is started again.
  printf '[Service]\nWatchdogSec=3s\n' >"$r$drop_in/watchdog.conf"
  booted_in systemctl daemon-reload
  booted_in systemctl restart tidegate
  sleep 5 # longer than that: it is fed
  [[ $(booted_in systemctl show -P NRestarts tidegate) = 0 ]]
  booted_in sh -c 'kill -STOP $(systemctl show -P MainPID tidegate)'
  until_true 30 restarted_once
  until_true 20 waiting office 100

  booted_in systemctl stop tidegate
  [[ $(booted_in systemctl show -P Result tidegate) = success ]]
  booted_in systemctl start tidegate
  booted_in dpkg -r tidegate
  fails alive
  [[ -d $r$state/spool ]]
  booted_in dpkg -P tidegate
  [[ ! -e $r$state ]]
}

boot() {
  unshare --mount --pid --fork --uts --ipc --cgroup bash -c '
    set -e
    mount --bind "$1" "$1"
    mount -t sysfs -o ro sysfs "$1/sys"
    mount -t cgroup2 cgroup2 "$1/sys/fs/cgroup"
    mount -t proc proc "$1/proc"
    cd "$1"
    pivot_root . mnt
    umount -l /mnt
    mount --make-rshared /
    exec env -i container=trial PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --log-target=console
  ' bash "$r" </dev/null &
  init=
  until_true 10 found_init
  until_true 60 booted_in sh -c 'systemctl is-system-running | grep -qx -e running -e degraded'
}

# The child of `unshare`: the first process in there.
found_init() {
  init=$(pgrep -x systemd -P "$!" || pgrep -P "$!")
  [[ -n $init && $(cat "/proc/$init/comm") = systemd ]]
}

booted_in() { nsenter --target "$init" --mount --pid --uts --ipc --cgroup --root --wd "$@"; }

says_of_ready() { curl -s http://127.0.0.1:9180/ready | grep -qF "$1"; }

restarted_once() { [[ $(booted_in systemctl show -P NRestarts tidegate) -ge 1 && $(booted_in systemctl is-active tidegate) = active ]]; }

foreign_demo() { # IMAGE
  local emulator=qemu-aarch64-static
  r=$work/roots/arm64
  mkdir -p "$r" "$work/roots/layout"
  tar xf "$1" -C "$work/roots/layout"
  python3 "$here/layout.py" "$work/roots/layout" "$r"
  "$emulator" -L "$r" "$r/usr/bin/tidegate" --version
  "$emulator" -L "$r" "$r/usr/bin/tidegate" demo --for 5s | tee "$work/demo"
  grep -q 'Every message accounted for .*: yes' "$work/demo"
  fails grep -q '^0 readings' "$work/demo"
  "$emulator" -L "$r" "$r/usr/bin/tidegate" plugin test "$r/usr/lib/tidegate/plugins/convert.wasm" "$root"/plugins/convert/samples/*
}
