# Packages installed, used, upgraded and taken away, in a root that is thrown away. Read by `run`.
# shellcheck shell=bash disable=SC2154,SC2016

readonly config=/etc/tidegate/tidegate.toml
readonly state=/var/lib/tidegate

deb_life() { # DEB NEW_DEB
  fresh_root
  cp "$1" "$r/tmp/old.deb"
  cp "$2" "$r/tmp/new.deb"
  in_root dpkg -i /tmp/old.deb
  in_root dpkg -V tidegate
  [[ $(in_root stat -c '%U:%G %a' $state) = 'tidegate:tidegate 700' ]]
  [[ $(in_root stat -c '%U:%G %a' $config) = 'root:root 644' ]]
  [[ $(in_root getent passwd tidegate) = *:/usr/sbin/nologin ]]
  [[ -L $r/etc/systemd/system/multi-user.target.wants/tidegate.service ]]
  in_root dpkg -i /tmp/old.deb # again: it changes nothing

  as_gateway tidegate check --config $config
  start_gateway
  until_true 20 ready
  useful in_root tidegate
  messages_that_wait 100
  in_root dpkg -i /tmp/new.deb
  [[ $(in_root dpkg-query -W -f '${Version}' tidegate) = "$upgrade_version" ]]
  kill -0 "$gateway"
  waiting office 100
  grep -q office "$r$config" # what was edited stays
  stop_gateway
  start_gateway
  until_true 20 waiting office 100
  stop_gateway
  messages_arrive 100

  in_root dpkg -r tidegate
  [[ ! -e $r/usr/bin/tidegate && ! -e $r/usr/lib/tidegate && ! -e $r/usr/lib/systemd/system/tidegate.service ]]
  [[ -d $r$state/spool && -s $r$config ]]
  in_root dpkg -i /tmp/new.deb # removed by mistake: it goes on
  [[ -L $r/etc/systemd/system/multi-user.target.wants/tidegate.service ]]
  [[ ! -e $r/etc/systemd/system/tidegate.service ]] # nor masked
  in_root dpkg -r tidegate
  in_root dpkg -P tidegate
  [[ ! -e $r$state && ! -e $r/etc/tidegate ]]
  [[ -z $(find "$r/etc/systemd" "$r/var/lib/systemd" -name '*tidegate*') ]]
  in_root dpkg -i /tmp/old.deb
  in_root dpkg -P tidegate
}

rpm_life() { # RPM NEW_RPM
  fresh_root
  local rpm=(rpm --root "$r" --nodeps)
  rpm --root "$r" --initdb
  "${rpm[@]}" -i "$1"
  rpm --root "$r" -V --nodeps tidegate
  [[ $(in_root stat -c '%U:%G %a' $state) = 'tidegate:tidegate 700' ]]
  start_gateway
  until_true 20 ready
  useful in_root tidegate
  messages_that_wait 100
  "${rpm[@]}" -U "$2"
  grep -q office "$r$config"
  stop_gateway
  messages_arrive 100
  "${rpm[@]}" -e tidegate
  [[ ! -e $r/usr/bin/tidegate && -d $r$state/spool ]]
  grep -q office "$r$config.rpmsave"
}

# By scripts/install, as root: a user, a unit, and places of the box.
plain_life() { # TARBALL
  fresh_root
  unpack_tarball "$1" /tmp/box
  in_root /tmp/box/install
  [[ $(in_root stat -c '%U:%G %a' $state) = 'tidegate:tidegate 700' ]]
  grep -qx 'ExecStart=/usr/local/bin/tidegate run --config /etc/tidegate/tidegate.toml --log-format json' "$r/etc/systemd/system/tidegate.service"
  start_gateway /usr/local/bin/tidegate
  until_true 20 ready
  useful in_root /usr/local/bin/tidegate
  echo '# mine' >>"$r$config"
  in_root /tmp/box/install # over the one that runs
  [[ $(tail -n 1 "$r$config") = '# mine' && -s $r$config.new ]]
  stop_gateway
  in_root /tmp/box/install --uninstall
  [[ -d $r$state/spool && -s $r$config ]]
  [[ -z $(find "$r/usr/local" "$r/etc/systemd" -name '*tidegate*') ]]
  in_root /tmp/box/install --uninstall --purge
  [[ ! -e $r$state && ! -e $r/etc/tidegate ]]
}

# As somebody, under a folder of his own; the demo too.
own_life() { # TARBALL
  fresh_root
  unpack_tarball "$1" /tmp/box
  install -d -m 755 -o 4321 -g 4321 "$r/tmp/own"
  local as=(chroot --userspec=4321:4321 "$r")
  "${as[@]}" /tmp/box/install --prefix /tmp/own
  "${as[@]}" /tmp/own/bin/tidegate run --config /tmp/own/etc/tidegate/tidegate.toml &
  gateway=$!
  until_true 20 ready
  useful "${as[@]}" /tmp/own/bin/tidegate
  stop_gateway
  "${as[@]}" /tmp/own/bin/tidegate demo --for 2s | grep -q 'Every message accounted for .*: yes'
  [[ -z $(find "$r/tmp/own" ! -user 4321) ]]
  "${as[@]}" /tmp/box/install --prefix /tmp/own --uninstall --purge
  [[ -z $(find "$r/tmp/own" ! -type d) ]]
}

unpack_tarball() { # TARBALL DIR
  mkdir -p "$r$2"
  tar xf "$1" -C "$r$2" --strip-components 1
}

# What is in the image and nothing else, with the user and the command that it says.
image_life() { # IMAGE
  local user command
  r=$work/roots/image
  mkdir -p "$r" "$work/roots/layout"
  tar xf "$1" -C "$work/roots/layout"
  read -r user command < <(python3 "$here/layout.py" "$work/roots/layout" "$r")
  mkdir -p "$r/proc" "$r/dev"
  mount -t proc proc "$r/proc"
  mount --bind /dev "$r/dev"
  # shellcheck disable=SC2086 # words of a command
  chroot --userspec="$user" "$r" $command &
  gateway=$!
  until_true 20 ready
  useful in_root /usr/bin/tidegate
  stop_gateway
  chroot --userspec="$user" "$r" /usr/bin/tidegate demo --for 2s | grep -q 'Every message accounted for .*: yes'
}

# --- the gateway, by hand ---

start_gateway() { # [TIDEGATE]
  # Not by a function: the process that a signal goes to is the gateway.
  chroot --userspec=tidegate:tidegate "$r" "${1:-/usr/bin/tidegate}" run --config $config &
  gateway=$!
}

# Told to, it ends with 0.
stop_gateway() {
  kill "$gateway"
  wait "$gateway"
}

# Messages for a broker that is away; the gateway follows the file that is edited under it.
messages_that_wait() { # NUMBER
  cat >>"$r$config" <<'END'
[brokers.office]
url = "mqtt://127.0.0.1:1999"
reconnect = { max = "1s" }
[[routes]]
name = "telemetry"
from = { broker = "local", topics = ["dev/#"] }
to = ["office"]
END
  until_true 20 ready 503 # office is away
  seq "$1" | in_root "$(installed)" pub --url mqtt://127.0.0.1:1884 -q 1 -t dev/count --lines
  until_true 20 waiting office "$1"
}

installed() { if [[ -x $r/usr/bin/tidegate ]]; then echo /usr/bin/tidegate; else echo /usr/local/bin/tidegate; fi; }

# The gateway is down, and starts when the broker is there and somebody listens: all of them come, in order.
messages_arrive() { # NUMBER
  local heard=$work/heard
  mkdir -p "$r/tmp/office"
  cat >"$r/tmp/office/tidegate.toml" <<'END'
[gateway]
name = "office"
data_dir = "data"
[brokers.own]
embedded = true
listen = ["mqtt://127.0.0.1:1999"]
END
  chroot "$r" "$(installed)" run --config /tmp/office/tidegate.toml &
  local office=$!
  until_true 10 in_root "$(installed)" pub --url mqtt://127.0.0.1:1999 -t hello -m ''
  rm -f "$heard" "$heard.err"
  in_root "$(installed)" sub --url mqtt://127.0.0.1:1999 -t 'dev/#' --count "$1" --for 30s >"$heard" 2>"$heard.err" &
  local listener=$!
  until_true 10 grep -q subscribed "$heard.err"
  start_gateway
  wait "$listener"
  seq "$1" | sed 's,^,dev/count ,' | cmp - "$heard"
  until_true 10 waiting office 0
  stop_gateway
  kill "$office"
  wait "$office"
}
