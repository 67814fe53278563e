"""Prints the bridging table as Markdown; called by scripts/soak, which has installed the brokers."""
import argparse
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import time

import cells
import habits
import zoo

MESSAGES, QUICK_MESSAGES = 1000, 100
COLUMNS = [
    ("plain 0", 0, None), ("plain 1", 1, None), ("plain 2", 2, None),
    ("kill9 1", 1, cells.kill_gateway), ("kill9 2", 2, cells.kill_gateway),
    ("restart 1", 1, cells.restart_broker), ("restart 2", 2, cells.restart_broker),
]
QUICK_COLUMNS = COLUMNS[:3]
KEY = """`lost/repeated/out of order` of what the source acknowledged, up (to mosquitto) and down (from it); one number: nothing
was repeated or out of order. **Bold**: the gateway's doing. The rest is the broker's own, by what was on the wire between it and the gateway:

- a: it acknowledged the message to its publisher and never sent it to the gateway (a session kept in memory, as a rule)
- b: it acknowledged the message to the gateway and never sent it to its own subscriber
- c: it had sent the message when the link broke, was not answered, and did not send it again
- d: it had forgotten the gateway's session, so that what was unfinished was sent again as new
- e: it sent finished messages again, or later ones before those that waited
- f: it gave one packet id to two messages at a time, so that the second is a repetition of the first to any receiver
- q: QoS 1 was spoken where 2 was asked, since the broker grants no more
- `-`: it takes no QoS 2 from a publisher"""


def words(counted):
    if counted is None:
        return "-"
    if not counted.acknowledged:
        return "none acknowledged"
    numbers = f"{counted.lost}/{counted.repeated}/{counted.reordered}"
    if not counted.repeated and not counted.reordered:
        numbers = str(counted.lost)
    if counted.waiting:
        numbers += f" (of them {counted.waiting} do not leave)"
    if counted.is_ours():
        numbers = f"**{numbers}**"
    return f"{numbers} {counted.reasons}".strip()


def cell_words(cell):
    if cell.failed:
        return f"**{cell.failed}**"
    up, down = words(cell.up), words(cell.down)
    return up if up == down else f"{up}, {down}"


def measure_row(row, folder, binary, columns, messages):
    """Cells by column; an exception in one is that cell's."""
    far, broker = zoo.Mosquitto(folder / "far"), row.broker(folder / "x")
    found = {}
    try:
        far.start()
        broker.start()
        bench = cells.Bench(row, folder, binary, far, broker)
        for title, qos, disturb in columns:
            begun = time.monotonic()
            found[title] = cell = bench.measure(qos, disturb, messages)
            took = time.monotonic() - begun
            print(f"{row.name}, {title}: {cell_words(cell)}, {took:.1f} s, {cell.connections} connections", file=sys.stderr)
            for line in cell.complaints if is_bad(cell) else []:
                print(f"    {line}", file=sys.stderr)
    finally:
        broker.stop()
        far.stop()
    return found


def is_bad(cell):
    return bool(cell.failed or cell.down.is_ours() or (cell.up and cell.up.is_ours()))


def main():
    parser = argparse.ArgumentParser(prog="scripts/soak brokers")
    parser.add_argument("--only", metavar="NAME", help="rows whose name begins so")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_MESSAGES} messages, plain columns only")
    parser.add_argument("--habits", action="store_true", help="what each broker does, without a gateway")
    arguments = parser.parse_args()
    rows = [row for row in zoo.ROWS if row.name.startswith(arguments.only or "")]
    if not rows:
        parser.error(f"no such broker; there are {', '.join(row.name for row in zoo.ROWS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if arguments.habits:
        print(habits.table([row for row in rows if row.broker is not zoo.Amqtt]))
        return 0
    columns, messages = (QUICK_COLUMNS, QUICK_MESSAGES) if arguments.quick else (COLUMNS, MESSAGES)
    folder, status, notes = pathlib.Path(tempfile.mkdtemp(prefix="soak-brokers-")), 0, []
    lines = ["| broker | " + " | ".join(title for title, *_ in columns) + " | s to connect |",
             "|---" * (len(columns) + 2) + "|"]
    try:
        for at, row in enumerate(rows):
            try:
                found = measure_row(row, folder / str(at), os.environ["TIDEGATE_BIN"], columns, messages)
            except (RuntimeError, OSError) as error:
                notes.append(f"{row.name} could not be tried: {error}")
                status = 1
                continue
            seconds = [cell.connect_seconds for cell in found.values() if cell.connect_seconds is not None]
            lines.append(f"| {row.name} {row.broker.version()} | " + " | ".join(cell_words(found[title]) for title, *_ in columns)
                         + f" | {f'{min(seconds):.2f} to {max(seconds):.2f}' if seconds else 'never'} |")
            for title, cell in found.items():
                if is_bad(cell):
                    status = 1
                    notes += [f"{row.name}, {title}: {line}" for line in cell.complaints[-3:]]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("\n".join(["", *lines, "", KEY, "", *(f"- {note}" for note in notes)]).rstrip())
    return status


if __name__ == "__main__":
    sys.exit(main())
