"""Prints what each client did at both brokers as Markdown; called by scripts/soak, which has installed the clients."""
import argparse
import concurrent.futures
import pathlib
import shutil
import signal
import sys
import tempfile

import clients
import servers
import story

BROKERS = (servers.Tidegate, servers.Mosquitto)


def tried(client, kind, folder, pace):
    """Everything that happened at this broker, alone with it."""
    found = story.Found()
    broker = kind(folder / kind.name)
    place = folder / f"client-{kind.name}"
    place.mkdir()
    try:
        with found.step("connect"):
            broker.start()
        client.run(broker, place, pace, found)
    except story.Broken:
        pass
    except Exception as error:  # the other rows go on
        found.steps["the story"] = f"{type(error).__name__}: {error}"
    finally:
        broker.stop()
    left = [name for name in story.STEPS if name not in found.steps and name not in client.skipped]
    if left and found.words() == "ok":
        found.steps["not reached"] = ", ".join(left)
    return found


def main():
    parser = argparse.ArgumentParser(prog="scripts/soak clients")
    parser.add_argument("--only", metavar="NAME", help="rows whose name begins so")
    parser.add_argument("--quick", action="store_true", help="a keep-alive of 2 s, and 4 s of silence")
    arguments = parser.parse_args()
    rows = [client for client in clients.ROWS if client.name.startswith(arguments.only or "")]
    if not rows:
        names = dict.fromkeys(client.name for client in clients.ROWS)
        parser.error(f"no such client; there are {', '.join(names)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    pace, status, notes, kept = story.Pace(arguments.quick), 0, {}, []
    folder = pathlib.Path(tempfile.mkdtemp(prefix="soak-clients-"))
    lines = ["| client | MQTT | over | tidegate | mosquitto | not asked of it |", "|---|---|---|---|---|---|"]
    with concurrent.futures.ThreadPoolExecutor(len(BROKERS)) as pool:
        for at, client in enumerate(rows):
            place = folder / str(at)
            place.mkdir()
            found = list(pool.map(lambda kind: tried(client, kind, place, pace), BROKERS))
            words = [each.words() for each in found]
            lines.append(f"| {client.name} | {client.version} | {client.transport} | {' | '.join(words)} | "
                         f"{', '.join(client.skipped) or 'nothing'} |")
            print(lines[-1], file=sys.stderr)
            row = f"{client.name.split(' (')[0]} {client.version} {client.transport}"
            for kind, each in zip(BROKERS, found):
                for note in each.notes:
                    notes.setdefault(f"at {kind.name} {note}", []).append(row)
            if words == ["ok"] * len(BROKERS):
                shutil.rmtree(place)
            else:
                status = 1
                kept.append(f"{row}: what was said is in {place}")
    if not kept:
        folder.rmdir()
    said = [*(f"{note}: {', '.join(of)}" for note, of in notes.items()), *kept]
    print("\n".join(["", *lines, "", *(f"- {line}" for line in said)]).rstrip())
    return status


if __name__ == "__main__":
    sys.exit(main())
