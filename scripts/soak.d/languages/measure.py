#!/usr/bin/env python3
"""Measures the rule of `plugin new` in each language: `measure.py BINARY MESSAGES LANGUAGE...`, as `scripts/soak languages` calls it.

Prints a row of a table for each. Exit code 0 if each was built and good, failed on no message, started anew for no other reason than
its deadline, which a busy machine may cost, and its memory did not grow; in Python it may, by 64 bytes a message (docs/plugins/languages.md).
"""

import pathlib
import re
import subprocess
import sys
import tempfile
import time

MAY_GROW_BYTES = {"python": 64}


def run(folder, *command):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}")
    return done.stdout


def value(told, name):
    return re.search(rf"^{name} +(.*)$", told, re.M)[1]


def row(binary, messages, language, folder):
    began = time.monotonic()
    run(folder, binary, "plugin", "new", language, "--lang", language)
    built = run(folder, binary, "plugin", "build", language, "--release")
    took = time.monotonic() - began
    run(folder, binary, "plugin", "test", language)
    told = run(folder, binary, "plugin", "bench", language, "--messages", messages)
    alone, batch = (re.search(rf"batch +{size} +([\d.]+) µs", told)[1] for size in (1, 32))
    lines = re.findall(r"messages +(\d+) KiB +(.*)", told)
    memory, grew = lines[-1][0], int(value(told, "memory").split()[0]) * 1024
    anew = re.search(r"anew: (.*)", lines[-1][1])
    wrong = []
    if anew and set(re.findall(r"[a-z_]+", anew[1])) != {"deadline"}:
        wrong.append(f"started anew: {anew[1]}")
    if grew > 1 << 20 and grew > MAY_GROW_BYTES.get(language, 0) * int(messages):
        wrong.append(f"grew by {grew} bytes")
    if value(told, "it failed") != "on no message":
        wrong.append(value(told, "it failed"))
    cells = [language, value(built, "size"), f"{took:.0f} s", value(built, "compile"), alone, batch, f"{memory} KiB", "; ".join(wrong) or "good"]
    print("|", " | ".join(cells), "|", flush=True)
    return not wrong


def main(binary, messages, *languages):
    binary = pathlib.Path(binary).absolute()
    print("| Language | Component | Made in | First compile | µs alone | µs in 32 | Memory | |\n|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        rows = [row(binary, messages, language, folder) for language in languages]
    sys.exit(not all(rows))


main(*sys.argv[1:])
