"""The two ends of a measurement: one that publishes numbered messages, one that notes what arrives."""
import threading
import time

import wire
from wire import PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, Closed, Wire

TOPICS = 4
WINDOW = 20
RECONNECT_SECONDS = 0.1
LAST_ANSWERS_SECONDS = 5.0


class Publisher(threading.Thread):
    """Publishes `count` messages at a pace. What a broken connection leaves unanswered is not sent again: it is then no
    message that the source has acknowledged, and does not count."""

    def __init__(self, connect, prefix, letter, count, qos, per_second):
        super().__init__(daemon=True)
        self.connect, self.prefix, self.letter = connect, prefix, letter
        self.count, self.qos, self.per_second = count, qos, per_second
        self.acknowledged = []
        self.stopped = threading.Event()

    def run(self):
        self.next, self.begun = 0, time.monotonic()
        while not self.stopped.is_set():
            try:
                connection = self.connect()
            except (OSError, Closed):
                self.stopped.wait(RECONNECT_SECONDS)
                continue
            try:
                self.publish_all(connection)
                connection.close()
                return
            except Closed:
                connection.close(goodbye=False)

    def publish_all(self, connection):
        waiting, unused, last = {}, list(range(WINDOW, 0, -1)), None
        while not self.stopped.is_set():
            due = min(self.count, int((time.monotonic() - self.begun) * self.per_second) + 1)
            while self.next < due and (unused or not self.qos):
                name = f"{self.letter}{self.next:06d}"
                self.next += 1
                slot = unused.pop() if self.qos else 0
                if self.qos:
                    waiting[slot] = name
                topic = f"{self.prefix}/{self.next % TOPICS}"
                connection.publish(topic, f"{name} {topic}".encode(), self.qos, slot)
                if not self.qos:
                    self.acknowledged.append(name)
            if self.next == self.count and last is None:
                last = time.monotonic() + LAST_ANSWERS_SECONDS
            if last and (not waiting or time.monotonic() > last):
                return
            for first, body in connection.read(0.002):
                kind = first >> 4
                if kind not in (PUBACK, PUBREC, PUBCOMP):
                    continue
                slot = wire.packet_id(first, body)
                if kind == PUBREC:
                    connection.answer(PUBREL, slot)
                elif slot in waiting:
                    self.acknowledged.append(waiting.pop(slot))
                    unused.insert(0, slot)

    def stop(self):
        self.stopped.set()
        self.join(5)


class Subscriber(threading.Thread):
    """Notes the numbers of what arrives, in order; takes QoS 2 exactly once, as a receiver should."""

    def __init__(self, connect, topic_filter, qos):
        super().__init__(daemon=True)
        self.connect, self.topic_filter, self.qos = connect, topic_filter, qos
        self.arrived, self.known, self.granted = [], set(), None
        self.last_arrival = time.monotonic()
        self.subscribed, self.stopped = threading.Event(), threading.Event()

    def run(self):
        while not self.stopped.is_set():
            try:
                connection = self.connect()
            except (OSError, Closed):
                self.stopped.wait(RECONNECT_SECONDS)
                continue
            try:
                if not connection.session_present:
                    self.known.clear()
                if not connection.session_present or not self.subscribed.is_set():
                    self.granted = connection.subscribe(self.topic_filter, self.qos)
                    self.subscribed.set()
                while not self.stopped.is_set():
                    for first, body in connection.read(0.05):
                        self.take(connection, first, body)
                connection.close()
            except Closed:
                connection.close(goodbye=False)

    def take(self, connection, first, body):
        kind = first >> 4
        if kind == PUBREL:
            self.known.discard(wire.packet_id(first, body))
            connection.answer(PUBCOMP, wire.packet_id(first, body))
        if kind != PUBLISH:
            return
        qos, slot = first >> 1 & 3, wire.packet_id(first, body)
        if qos == 1:
            connection.answer(PUBACK, slot)
        if qos == 2:
            connection.answer(PUBREC, slot)
            if slot in self.known:
                return
            self.known.add(slot)
        if name := wire.number(body):
            self.arrived.append(name)
            self.last_arrival = time.monotonic()

    def stop(self):
        self.stopped.set()
        self.join(5)


def probe(port, client_id, row, clean=False):
    """How a probe connects to the broker of a row."""
    return lambda: Wire(port(), client_id, row.level, clean, row.user, row.password)
