# The service under systemd, and another machine under qemu-user. Read by `run`.
# shellcheck shell=bash disable=SC2154

booted() { false; }

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
