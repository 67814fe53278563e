#!/usr/bin/env bash
# componentize-py 0.25.1 (PyPI): each exported function of an interface has an object of its own of the class that implements it.
#
# One would have guessed: one object for the interface, or one for each call; an attribute set by one method is seen by the others or
# by none.
# Seen 2026-11-29 with wasmtime 50.0.1 (PyPI): `set(50)` puts 50 into `self.calls`; `count()`, which adds one and returns it, then gives
# 1, 2, 3: its object lasts, and is not the one of `set`. A class attribute is shared: 51, 52, 53.
# What it costs: what `configure` keeps in `self` is not there in `handle`, which looks as if it had never been called.
set -euo pipefail
export LC_ALL=C

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check componentize-py==0.25.1 wasmtime==50.0.1
cat >demo.wit <<'END'
package local:demo;
interface counter { set: func(n: u32); count: func() -> u32; }
world demo { export counter; }
END
cat >call.py <<'END'
import sys
from wasmtime import Engine, Store
from wasmtime.component import Component, Linker

engine = Engine()
store = Store(engine)
instance = Linker(engine).instantiate(store, Component.from_file(engine, sys.argv[1]))
interface = instance.get_export_index(store, "local:demo/counter")

def call(name, *arguments):
    function = instance.get_func(store, instance.get_export_index(store, name, interface))
    result = function(store, *arguments)
    function.post_return(store)
    return result

call("set", 50)
print([call("count") for _ in range(3)])
END

counts() { # OWNER: who has the attribute
  cat >app.py <<END
from wit_world import exports

class Counter(exports.Counter):
    calls = 0

    def set(self, n):
        $1.calls = n

    def count(self):
        $1.calls += 1
        return $1.calls
END
  venv/bin/componentize-py -d demo.wit -w demo componentize --stub-wasi app -o demo.wasm >/dev/null
  venv/bin/python3 call.py demo.wasm
}

of_object=$(counts self)
of_class=$(counts Counter)
echo "an attribute of the object: $of_object"
echo "an attribute of the class:  $of_class"
[[ $of_object = "[1, 2, 3]" && $of_class = "[51, 52, 53]" ]]
