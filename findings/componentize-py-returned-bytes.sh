#!/usr/bin/env bash
# componentize-py 0.25.1 (PyPI): what a function returns as `list<u8>` is never freed, what it returns as `string` is.
#
# One would have guessed: both are freed when the caller has them (the post-return of the canonical ABI).
# Seen 2026-11-29 with wasmtime 50.0.1 (PyPI): 2,000 calls that return 10,000 bytes each let the component's memory grow by about 20 MB
# as `list<u8>`, by nothing as `string`; counted by the most calls that a component with 64 MB of memory answers.
# What it costs: a component that returns payloads lives for as many calls as fit its memory; its host must expect that and
# start it anew, or give it much.
set -euo pipefail
export LC_ALL=C

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check componentize-py==0.25.1 wasmtime==50.0.1
cat >demo.wit <<'END'
package local:demo;
world demo {
  export as-bytes: func(n: u32) -> list<u8>;
  export as-text: func(n: u32) -> string;
}
END
cat >app.py <<'END'
import wit_world

class WitWorld(wit_world.WitWorld):
    def as_bytes(self, n):
        return b"x" * n

    def as_text(self, n):
        return "x" * n
END
venv/bin/componentize-py -d demo.wit -w demo componentize --stub-wasi app -o demo.wasm >/dev/null
cat >calls.py <<'END'
import sys
from wasmtime import Engine, Store, WasmtimeError, Trap
from wasmtime.component import Component, Linker

engine = Engine()
store = Store(engine)
store.set_limits(memory_size=64 << 20)
instance = Linker(engine).instantiate(store, Component.from_file(engine, "demo.wasm"))
function = instance.get_func(store, sys.argv[1])
calls = 0
try:
    while calls < 20_000:
        function(store, 10_000)
        function.post_return(store)
        calls += 1
except (Trap, WasmtimeError):
    pass
print(calls)
END
bytes=$(venv/bin/python calls.py as-bytes)
text=$(venv/bin/python calls.py as-text)
echo "calls of 10,000 bytes within 64 MB: list<u8> $bytes, string $text"
((bytes < 10000 && text == 20000))
