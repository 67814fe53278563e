"""Asks each broker what it does where brokers differ, without a gateway, and prints the answers as a table."""
import dataclasses
import pathlib
import shutil
import signal
import struct
import sys
import tempfile
import time

import wire
import zoo
from wire import CONNACK, PUBACK, PUBLISH, PUBREC, PUBREL, UNSUBACK, Closed, Wire, packet, text

PATIENCE_SECONDS = 1.5
SETTLE_SECONDS = 1.0  # after a start, until sessions are answered for
MANY = 300
TOPICS = ["a.b", "a b", "a>b", "a*b", "/a", "a//b", "a/", "$x/y", "/".join("n" * 120)]
PAYLOADS = [(20_000, "20 kB"), (1 << 20, "1 MiB"), ((16 << 20) - 100, "16 MiB")]
KEPT_NOTHING = "nothing"


@dataclasses.dataclass
class Came:
    topic: str
    qos: int
    retained: bool
    again: bool
    payload: bytes


class Asker:
    """Opens connections to one broker; `collect` answers what comes, unless told not to."""

    def __init__(self, row, broker):
        self.row, self.broker, self.count = row, broker, 0

    def connect(self, name=None, clean=True, will=None, keep_alive=60, level=None):
        self.count += 1
        return Wire(self.broker.port, name or f"asker{self.count}", level or self.row.level, clean, self.row.user,
                    self.row.password, will, keep_alive)

    def collect(self, connection, seconds=0.6, answer=True):
        came, others, end = [], [], time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                packets = connection.read(0.05)
            except Closed:
                return came, others + ["end"]
            for first, body in packets:
                kind, slot = first >> 4, wire.packet_id(first, body) if first >> 4 in (3, 4, 5, 6) else 0
                if kind == PUBLISH:
                    length = struct.unpack(">H", body[:2])[0]
                    came.append(Came(body[2:2 + length].decode(), first >> 1 & 3, bool(first & 1), bool(first & 8), body))
                    if answer and slot:
                        connection.answer(PUBACK if first >> 1 & 3 == 1 else PUBREC, slot)
                else:
                    others.append(kind)
                    if kind == PUBREL:
                        connection.answer(wire.PUBCOMP, slot)
                    if kind == PUBREC:
                        connection.answer(PUBREL, slot)
        return came, others

    def live(self, filters, topic, qos, flags=0, level=None, options=0):
        """What a new subscriber gets of one message."""
        subscriber, publisher = self.connect(level=level), self.connect(level=level)
        for topic_filter, wanted in filters:
            subscriber.subscribe(topic_filter, wanted | options)
        publisher.publish(topic, b"m", qos, 7, flags)
        came, _ = self.collect(subscriber)
        self.collect(publisher, 0.2)
        subscriber.close()
        publisher.close()
        return came

    def retain(self, topic, qos=1):
        publisher = self.connect()
        publisher.publish(topic, b"m", qos, 7, 1)
        self.collect(publisher, 0.4)
        publisher.close()


def hello(asker, name, level):
    row = asker.row
    flags = 2 | (0x80 if row.user else 0) | (0x40 if row.password else 0)
    body = text(name) + bytes([level, flags, 0, 60]) + (b"\x05\x11\0\0\0\x3c" if level == 5 else b"") + text(f"hello{level}")
    body += text(row.user) + text(row.password) if row.user else b""
    connection = Wire.raw(asker.broker.port, level)
    connection.send(packet(0x10, body))
    try:
        code = connection.wait(CONNACK, 3)[1]
        return "yes" if code == 0 else f"no (code {code:#04x})"
    except Closed as error:
        return "no answer" if "no packet" in str(error) else "ends"
    finally:
        connection.close(goodbye=False)


def versions(asker):
    """Which CONNECTs are accepted: MQTT 5, 3.1.1, 3.1, and 3.1.1 with the bridge bit."""
    asked = (("MQTT 5", "MQTT", 5), ("MQTT 3.1.1", "MQTT", 4), ("MQTT 3.1", "MQIsdp", 3), ("bridge bit", "MQTT", 0x84))
    return [(title, hello(asker, name, level)) for title, name, level in asked]


def qos_2(asker):
    connection = asker.connect()
    granted = connection.subscribe("g/#", 2)
    connection = asker.connect()
    connection.publish("q/x", b"m", 2, 9)
    _, others = asker.collect(connection)
    answer = {PUBREC: "PUBREC", PUBACK: "PUBACK", "end": "ends the connection"}.get(others[0] if others else 0, "no answer")
    return f"{granted}; {answer}"


def lower_qos(asker):
    came = asker.live([("l/x", 1)], "l/x", 0)
    return f"at {came[0].qos}" if came else "none"


def retained(asker):
    asker.retain("r/x")
    subscriber = asker.connect()
    subscriber.subscribe("r/+", 0)
    came, _ = asker.collect(subscriber)
    exact = asker.connect()
    exact.subscribe("r/x", 1)
    found, _ = asker.collect(exact)
    if not came:
        return "exact filters only" if found else "no"
    subscriber.subscribe("r/+", 0)
    again, _ = asker.collect(subscriber)
    words = ["yes"] + ([f"{len(found)} copies"] if len(found) > 1 else []) + ([] if again else ["not again"])
    return ", ".join(words + ([f"at {came[0].qos} though 0 was granted"] if came[0].qos else []))


def retain_flag(asker):
    kept = []
    for title, level, options in (("5", 5, 8), ("bridge bit", 0x84, 0), ("3.1.1", 4, 0)):
        try:
            came = asker.live([(f"f/{level}", 1)], f"f/{level}", 1, flags=1, level=level, options=options)
            if came and came[0].retained:
                kept.append(title)
        except Closed:
            pass
    return ", ".join(kept) or "never"


def echo(asker):
    """How a client is spared its own messages."""
    ways = []
    for title, level, options in (("no-local", 5, 4), ("bridge bit", 0x84, 0)):
        try:
            connection = asker.connect(level=level)
            connection.subscribe("e/x", 1 | options)
            connection.publish("e/x", b"m", 1, 8)
            came, _ = asker.collect(connection)
            ways += [] if came else [title]
        except Closed:
            pass
    return ", ".join(ways) or "no"


def shared(asker):
    members, publisher = [asker.connect(), asker.connect()], asker.connect()
    try:
        codes = [member.subscribe("$share/g/s/#", 1) for member in members]
    except Closed:
        return "ends the connection"
    if max(codes) > 2:
        return f"refused ({codes[0]:#04x})"
    for number in range(10):
        publisher.publish("s/x", b"m", 1, 20 + number)
    got = [len(asker.collect(member)[0]) for member in members]
    return "yes" if sum(got) == 10 else "granted, nothing comes"


def topics(asker):
    changed = []
    for at, topic in enumerate(TOPICS):
        name, mark = "120 levels" if topic.count("/") > 100 else f"`{topic}`", b"mark%d" % at
        others, found, code = ["end"], [], 0
        try:
            subscriber, publisher = asker.connect(), asker.connect()
            code = subscriber.subscribe(topic, 1)  # `#` would reach into the streams that NATS keeps messages in
            publisher.publish(topic, mark, 1, 9)
            _, others = asker.collect(publisher, 0.3)
            found = [c.topic for c in asker.collect(subscriber)[0] if mark in c.payload]
        except Closed:
            pass
        if "end" in others:
            changed.append(f"{name} ends the connection")
        elif code > 2:
            changed.append(f"{name} refused as a filter ({code:#04x})")
        elif found != [topic]:
            changed.append(f"{name} {f'is `{found[0]}`' if found else 'reaches nobody'}")
        subscriber.close()
        publisher.close()
    return ", ".join(changed) or "kept"


def payload(asker):
    largest = KEPT_NOTHING
    for size, name in PAYLOADS:
        subscriber, publisher = asker.connect(), asker.connect()
        subscriber.subscribe("p/x", 0)
        try:
            publisher.publish("p/x", b"m" * size)
            came, _ = asker.collect(subscriber, 2.0)
        except Closed:
            came = []
        if not came:
            break
        largest = name
    return f"{largest} or more" if largest == PAYLOADS[-1][1] else largest


def window(asker):
    subscriber, publisher = asker.connect(), asker.connect()
    subscriber.subscribe("w/#", 1)
    for number in range(MANY):
        publisher.publish("w/x", b"m", 1, 1 + number)
        if number % 20 == 19:
            publisher.read(0.05)
    came = len(asker.collect(subscriber, PATIENCE_SECONDS, answer=False)[0])
    return str(came) if came < MANY else f"{MANY} or more"


def overlap(asker):
    came = asker.live([("o/#", 1), ("o/+", 0)], "o/x", 1)
    return f"{len(came)} at {' and '.join(str(c.qos) for c in came)}"


def changed_qos(asker):
    came = asker.live([("c/x", 1), ("c/x", 0)], "c/x", 1)
    return "replaced" if [c.qos for c in came] == [0] else f"comes at {' and '.join(str(c.qos) for c in came)}"


def unknown_unsubscribe(asker):
    connection = asker.connect()
    connection.send(packet(0xA2, b"\0\7" + (b"\0" if connection.level == 5 else b"") + text("never/x")))
    return "answered" if UNSUBACK in asker.collect(connection, PATIENCE_SECONDS)[1] else "no answer"


def unacknowledged(asker):
    """A session with five messages under way whose link breaks, and five that come meanwhile."""
    subscriber, publisher = asker.connect("broken", clean=False), asker.connect()
    subscriber.subscribe("u/#", 1)
    for number in range(5):
        publisher.publish(f"u/{number}", b"m", 1, 1 + number)
    asker.collect(subscriber, answer=False)
    subscriber.close(goodbye=False)
    for number in range(5, 10):
        publisher.publish(f"u/{number}", b"m", 1, 1 + number)
    asker.collect(publisher, 1.0)
    subscriber = asker.connect("broken", clean=False)
    if not subscriber.session_present:
        return "no session"
    came, _ = asker.collect(subscriber, PATIENCE_SECONDS)
    order = [c.topic for c in came]
    words = [] if order == sorted(order) and len(order) == 10 else [f"{len(set(order))} of 10 at once, in order from {order[0][2:] if order else 'none'}"]
    words += [] if came and came[0].again else ["no DUP"]
    return ", ".join(words) or "in order, DUP"


def wills(asker):
    """Whether a will comes when the id is taken over, and when the client is silent."""
    watcher = asker.connect()
    watcher.subscribe("will/#", 1)
    held = [asker.connect("taken", will=("will/taken", "m")), asker.connect("taken"),
            asker.connect("silent", will=("will/silent", "m"), keep_alive=1)]
    came = {c.topic for c in asker.collect(watcher, 9.0)[0]}
    for connection in held:
        connection.close()
    return ", ".join(f"{what}: {'yes' if f'will/{what}' in came else 'no'}" for what in ("taken", "silent"))


def restarts(asker):
    """What is there after a planned stop and a kill: messages for a session that is away, and a retained one."""
    answers = []
    for how in (signal.SIGTERM, signal.SIGKILL):
        absent, publisher = asker.connect(how.name, clean=False), asker.connect()
        absent.subscribe(f"{how.name}/#", 1)
        absent.close()
        publisher.publish(f"{how.name}/x", b"m", 1, 1)
        asker.collect(publisher, 0.4)
        asker.retain(f"kept/{how.name}")
        asker.broker.process.stop(how)
        asker.broker.start()
        time.sleep(SETTLE_SECONDS)
        back, fresh = asker.connect(how.name, clean=False), asker.connect()
        fresh.subscribe(f"kept/{how.name}", 1)
        kept = ["session"] if asker.collect(back)[0] else []
        kept += ["retained"] if asker.collect(fresh)[0] else []
        answers.append(" and ".join(kept) or KEPT_NOTHING)
    return f"{answers[0]}; {answers[1]}"


QUESTIONS = [
    ("granted for QoS 2; answer to PUBLISH", qos_2), ("QoS 0 to a subscription at 1", lower_qos),
    ("retained with wildcards", retained), ("keeps the retain flag of live ones", retain_flag),
    ("no echo by", echo), ("`$share`", shared), ("topics", topics), ("largest payload", payload),
    ("unacknowledged at a time", window), ("`o/#` at 1 and `o/+` at 0", overlap),
    ("same filter, QoS 1 then 0", changed_qos), ("UNSUBSCRIBE of the unknown", unknown_unsubscribe),
    ("after a broken link", unacknowledged), ("will when id taken, client silent", wills),
    ("kept over SIGTERM; SIGKILL", restarts),
]


def ask(row, folder):
    """Answers by question; a broker that hangs up on one says so in its place."""
    broker, answers = row.broker(folder), {}
    try:
        broker.start()
        asker = Asker(row, broker)
        answers |= dict(versions(asker))
        for title, question in QUESTIONS:
            try:
                answers[title] = question(asker)
            except (Closed, OSError) as error:
                answers[title] = f"ends ({error})"
            print(f"{row.name}, {title}: {answers[title]}", file=sys.stderr)
    finally:
        broker.stop()
    return answers


def table(rows):
    folder, found = pathlib.Path(tempfile.mkdtemp(prefix="soak-habits-")), {}
    try:
        for at, row in enumerate(rows):
            found[f"{row.name} {row.broker.version()}"] = ask(row, folder / str(at))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    titles = list(next(iter(found.values())))
    lines = ["| | " + " | ".join(found) + " |", "|---" * (len(found) + 1) + "|"]
    return "\n".join(lines + [f"| {title} | " + " | ".join(answers[title] for answers in found.values()) + " |" for title in titles])
