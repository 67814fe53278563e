# What the examples stand on: brokers, a gateway, listeners, and words for what came. Sourced by their scripts, which set `here`
# to their folder, `begin`, and `finish`.

readonly root=$(cd "$here/../.." && pwd)
readonly python=${TIDEGATE_TEST_PYTHON:-python3}
readonly patience_s=30
readonly attempts=5
failures=0
keep=no
pids=()

begin() {
  PATH=$PATH:/usr/sbin
  local tool
  for tool in mosquitto mosquitto_pub mosquitto_sub; do
    command -v "$tool" >/dev/null || { echo "no $tool: sudo apt-get install mosquitto mosquitto-clients" >&2; exit 69; }
  done
  tidegate=${TIDEGATE_BIN:-$root/target/release/tidegate}
  [[ -x $tidegate ]] || (cd "$root" && cargo build --release -p tidegate)
  work=$(mktemp -d)
  trap stop EXIT
}

has_paho() { "$python" -c 'import paho.mqtt.client as c; c.CallbackAPIVersion' 2>/dev/null; }

needs_paho() {
  has_paho || { echo "no paho-mqtt 2 for $python: pip install paho-mqtt, or set TIDEGATE_TEST_PYTHON" >&2; exit 69; }
}

# Says whether all was as expected. With --stay as first argument everything goes on until Ctrl-C, and the rest is printed.
finish() {
  echo
  ((failures == 0)) || give_up "$failures expectation(s) failed"
  echo "all as expected"
  if [[ ${1:-} = --stay ]]; then
    echo "$2; metrics at http://127.0.0.1:$admin_port/metrics; Ctrl-C ends"
    wait "$gateway"
  fi
}

give_up() {
  echo "$1; the logs, and all else, are in $work"
  local log
  for log in "$work"/*.log; do
    echo "-- ${log##*/}"
    cat "$log"
  done
  keep=yes
  exit 1
}

stop() {
  local pid
  for pid in ${gateway:-} "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  [[ $keep = yes ]] || rm -rf "$work"
}

# A port of 127.0.0.1 that nobody listens at, from below those that the system gives to connections and to whoever asks for
# any. Somebody may still be faster, so whoever starts something there is ready to try another.
free_port() {
  "$python" - <<'PY'
import random, socket
with open("/proc/sys/net/ipv4/ip_local_port_range") as ports:
    lowest = int(ports.read().split()[0])
while True:
    port = random.randrange(lowest // 2, lowest) if lowest > 4096 else random.randrange(4096, 65536)
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) != 0:
            print(port)
            break
PY
}

# A broker at a port of its own, which becomes NAME_port.
new_broker() {
  local name=$1 port attempt
  for ((attempt = 0; attempt < attempts; attempt++)); do
    port=$(free_port)
    if broker "$name" "$port"; then
      declare -g "${name}_port=$port"
      echo "   broker $name listens"
      return
    fi
  done
  give_up "broker $name found no port in $attempts attempts"
}

# A broker that keeps sessions when it is stopped; its process becomes NAME. Fails if it ends before it listens: its port is
# taken.
broker() {
  local name=$1 port=$2 pid deadline=$((SECONDS + patience_s))
  printf 'listener %s 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location %s/\nmax_queued_messages 0\n' \
    "$port" "$work" >"$work/$name.conf"
  printf 'persistence_file %s.db\n' "$name" >>"$work/$name.conf"
  ((EUID != 0)) || printf 'user root\n' >>"$work/$name.conf"
  mosquitto -c "$work/$name.conf" >>"$work/$name.broker.log" 2>&1 &
  pid=$!
  pids+=("$pid")
  declare -g "$name=$pid"
  while kill -0 "$pid" 2>/dev/null && ((SECONDS < deadline)); do
    sleep 0.1
    # Looked at in this order: who listens while it still runs is it.
    if listens "$port" && kill -0 "$pid" 2>/dev/null; then return; fi
  done
  kill "$pid" 2>/dev/null || true
  return 1
}

# It writes what it has acknowledged to its disk. One that is killed forgets some of it: mosquitto syncs nothing before it answers.
stop_broker() {
  kill "${!1}"
  wait "${!1}" 2>/dev/null || true
}

broker_again() {
  local port=${1}_port
  until_true "broker $1 listens again" broker "$1" "${!port}"
}

# The gateway, with gateway.toml. NAME_PORT there is that of the broker NAME; for a name without a broker, a free port, which
# becomes NAME_port.
start_gateway() {
  local attempt name port edits
  for ((attempt = 0; attempt < attempts; attempt++)); do
    admin_port=$(free_port)
    edits="s|ADMIN_PORT|$admin_port|; s|ROOT|$root|"
    for name in "$@"; do
      port=${name}_port
      [[ -n ${!name:-} ]] || declare -g "$port=$(free_port)"
      edits+="; s|${name^^}_PORT|${!port}|"
    done
    sed -e "$edits" "$here/gateway.toml" >"$work/gateway.toml"
    ((attempt > 0)) || "$tidegate" check --config "$work/gateway.toml"
    "$tidegate" run --config "$work/gateway.toml" >>"$work/gateway.log" 2>&1 &
    gateway=$!
    until_true "the gateway is ready" ready_or_ended
    ((failures == 0)) || give_up "the gateway is not ready"
    if kill -0 "$gateway" 2>/dev/null; then return; fi
    echo "   no, it has ended"
  done
  give_up "the gateway ended $attempts times"
}

ready_or_ended() { ! kill -0 "$gateway" 2>/dev/null || ready; }
listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
ready() { [[ $(curl_get /ready) = ready ]]; }
metrics() { curl_get /metrics; }

# The sum of all samples that begin so; 0 if there is none.
metric() { metrics | awk -v begins="$1" 'index($0, begins) == 1 { sum += $NF } END { print sum + 0 }'; }
metric_is() { [[ $(metric "$1") = "$2" ]]; }

curl_get() {
  listens "$admin_port" || return 1
  exec 4<>"/dev/tcp/127.0.0.1/$admin_port"
  printf 'GET %s HTTP/1.0\r\n\r\n' "$1" >&4
  sed '1,/^\r$/d' <&4
  exec 4<&-
}

# Writes everything that arrives into NAME.out; outlives its broker.
listen() {
  local name=$1 port=$2 filter=$3
  touch "$work/$name.out"
  # What it says of itself (-d) stands between the messages, and tells when it is subscribed.
  stdbuf -oL mosquitto_sub -d -p "$port" -i "listener-$name" -c -q 1 -t "$filter" -F '%t %p' >>"$work/$name.out" 2>&1 &
  pids+=($!)
  until_true "a client listens at $name" grep -q 'Subscribed (mid' "$work/$name.out"
}

until_true() {
  local what=$1 deadline=$((SECONDS + patience_s))
  shift
  until "$@"; do
    if ((SECONDS >= deadline)); then
      echo "   NOT within $patience_s s: $what"
      failures=$((failures + 1))
      return
    fi
    sleep 0.1
  done
  echo "   $what"
}

came() { grep -qxF -- "$2" "$work/$1.out"; }
expect() { until_true "at $1: $2" came "$1" "$2"; }
refuse() {
  if came "$1" "$2"; then
    echo "   NOT expected at $1: $2"
    failures=$((failures + 1))
  else
    echo "   not at $1: $2"
  fi
}

# A figure beside what it must be.
compare() {
  local what=$1 value=$2 operator=$3 wanted=$4
  if ((value $operator wanted)); then
    echo "   $what: $value"
  else
    echo "   NOT expected: $what: $value, and not $operator $wanted"
    failures=$((failures + 1))
  fi
}
