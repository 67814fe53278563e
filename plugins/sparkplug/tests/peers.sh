#!/usr/bin/env bash
# What other libraries write and read, by themselves; no part of the tests, for it fetches them.
#
#   tests/peers.sh read             shows them what this plugin writes (golden/written-*.txt), and says what each makes of it
#   tests/peers.sh write            has them write golden/*.txt anew, which src/tests/golden.rs reads
#
# Each in an environment of its own below $PEERS (default: a folder in /tmp), as their versions of protobuf clash.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
peers=${PEERS:-${TMPDIR:-/tmp}/sparkplug-peers}
export PYTHONDONTWRITEBYTECODE=1

python_peer() { # PACKAGE VERSION PROGRAM VERB
  [[ -x $peers/$1/bin/python ]] || { python3 -m venv "$peers/$1" && "$peers/$1/bin/pip" install -q "$1==$2"; }
  "$peers/$1/bin/python" "$here/peers/$3" "$4"
}

javascript_peer() { # PACKAGE VERSION PROGRAM VERB
  [[ -d $peers/$1/node_modules ]] || npm install --silent --prefix "$peers/$1" "$1@$2" >&2
  NODE_PATH=$peers/$1/node_modules node "$here/peers/$3" "$4"
}

each() { # VERB FUNCTION
  "$2" python_peer pysparkplug 0.6.1 with_pysparkplug.py "$1"
  "$2" python_peer mqtt-spb-wrapper 2.1.2 with_wrapper.py "$1"
  "$2" python_peer tahutils 0.1.11 with_tahutils.py "$1"
  "$2" javascript_peer sparkplug-payload 1.0.3 with_sparkplug_payload.js "$1"
}

write_one() {
  { echo "# Written by $2 $3: see tests/peers.sh" && "$@"; } >"$here/golden/$2.new"
  mv "$here/golden/$2.new" "$here/golden/$2.txt"
}

read_one() {
  local dialect
  for dialect in python javascript; do
    echo "== $2 $3 reads dialect $dialect"
    "$@" <"$here/golden/written-$dialect.txt"
  done
}

mkdir -p "$peers"
case ${1:-} in
  write) each write write_one ;;
  read) each read read_one ;;
  *) sed -n '2,/^set /{s/^# \?//;/^set /!p}' "${BASH_SOURCE[0]}"; exit 64 ;;
esac
