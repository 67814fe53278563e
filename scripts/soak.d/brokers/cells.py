"""One cell of the table: numbered messages both ways through a gateway, what became of them, and whose fault it was."""
import collections
import dataclasses
import time

from probes import Publisher, Subscriber, probe
from zoo import free_port

from gateway import Gateway
from tap import Tap

KILL_AT = 400  # messages acknowledged by both sources
PAUSE_SECONDS = 0.3
PER_SECOND = 1000
CELL_SECONDS = 40.0
OPENING_SECONDS = 10.0


@dataclasses.dataclass
class Counted:
    """What became of one direction. Fields that end in `_ours` are the gateway's fault by what the tap saw."""

    acknowledged: int = 0
    lost: int = 0
    repeated: int = 0
    reordered: int = 0
    lost_ours: int = 0
    waiting: int = 0  # taken by the gateway and not answered by the target: it does not leave
    repeated_ours: int = 0
    reordered_ours: int = 0
    reasons: str = ""

    def is_ours(self):
        return bool(self.lost_ours or self.waiting or self.repeated_ours or self.reordered_ours)


@dataclasses.dataclass
class Cell:
    up: Counted = None
    down: Counted = None
    connect_seconds: float = None
    connections: int = 0
    complaints: list = dataclasses.field(default_factory=list)
    failed: str = ""


def firsts(numbers):
    return list(dict.fromkeys(numbers))


def out_of_order(numbers):
    """Messages that come after a later one of the same topic; repeats do not count."""
    latest, count = {}, 0
    for name in firsts(numbers):
        value = int(name[1:])
        topic = (value + 1) % 4
        count += value < latest.get(topic, -1)
        latest[topic] = max(value, latest.get(topic, -1))
    return count


def count(direction, publisher, subscriber, tap, qos):
    """Up: broker, tap, gateway, far. Down: far, gateway, tap, broker. Each step that a message has not made names who lost it."""
    sender, answerer = ("broker", "gateway") if direction == "up" else ("gateway", "broker")
    with tap.lock:
        answers, sent, fresh = list(tap.answered[answerer]), firsts(tap.order[sender]), dict(tap.fresh[sender])
        now_under_way = {name for name, connection in tap.sent_in.items() if connection == tap.connections}
        forgotten, at_qos_1, collided = tap.sessions_lost > 0, set(tap.at_qos_1), set(tap.collided["broker"])
    acknowledged, arrived = set(publisher.acknowledged), collections.Counter(subscriber.arrived)
    lost, answered = acknowledged - set(arrived), set(answers)
    repeated = {name for name, times in arrived.items() if times > 1}
    result = Counted(len(acknowledged), len(lost), len(subscriber.arrived) - len(arrived), out_of_order(subscriber.arrived))
    reasons = set()
    if direction == "up":
        ours = lost - collided
        result.lost_ours = len(ours & answered) if qos else 0
        result.waiting = len(ours & now_under_way - answered) if qos else 0
        reasons |= {"a"} if lost - set(sent) else set()
        reasons |= {"c"} if ours & set(sent) - now_under_way - answered else set()
        reasons |= {"f"} if lost & collided else set()
        # What the gateway had not answered when the link broke may come again behind later ones: its answers are the order.
        result.reordered_ours = 0 if collided else max(0, result.reordered - out_of_order(answers))
    else:
        result.waiting = len(lost - answered)
        reasons |= {"b"} if lost & answered else set()
        result.reordered_ours = min(out_of_order(sent), result.reordered)
    if result.reordered and not result.reordered_ours:
        reasons.add("e")
    if qos == 2 and repeated:
        once = repeated - at_qos_1 - collided
        if not forgotten:
            result.repeated_ours = sum((fresh.get(name, 0) > 1) == (direction == "down") for name in once)
        if repeated & at_qos_1:
            reasons.add("q")
        if once and not result.repeated_ours:
            reasons.add("d" if forgotten else "e")
    result.reasons = " ".join(sorted(reasons))
    return result


class Bench:
    """The brokers of one row, and cells measured between them."""

    def __init__(self, row, folder, binary, far, broker):
        self.row, self.folder, self.binary, self.far, self.broker = row, folder, binary, far, broker
        self.cells = 0

    def measure(self, qos, disturb, messages):
        self.cells += 1
        name = f"c{self.cells}"
        tap = Tap(self.broker.port, free_port())
        gateway = Gateway(self.binary, self.folder / name, name, self.row, tap.port, self.far.port, qos)
        workers = []
        try:
            return self.run(name, gateway, tap, qos, disturb, messages, workers)
        finally:
            for worker in workers:
                worker.stop()
            gateway.stop()
            tap.close()

    def run(self, name, gateway, tap, qos, disturb, messages, workers):
        cell, far = Cell(), dataclasses.replace(self.row, level=4, user=None, password=None)
        gateway.start()
        cell.connect_seconds = gateway.wait_until_ready()
        if cell.connect_seconds is None:
            cell.failed, cell.complaints = f"not ready: {gateway.ready()[1].strip()}", gateway.complaints()
            return cell
        at_broker = probe(lambda: self.broker.port, f"{name}-sub", self.row)
        at_far = probe(lambda: self.far.port, f"{name}-sub", far)
        up_sub, down_sub = Subscriber(at_far, f"{name}/up/#", qos), Subscriber(at_broker, f"{name}/down/#", qos)
        up_qos = min(qos, self.row.max_publish_qos)
        up = Publisher(probe(lambda: self.broker.port, f"{name}-pub", self.row, clean=True), f"{name}/up", "u",
                       messages if up_qos == qos else 0, up_qos, PER_SECOND)
        down = Publisher(probe(lambda: self.far.port, f"{name}-pub", far, clean=True), f"{name}/down", "d", messages, qos, PER_SECOND)
        for subscriber in (up_sub, down_sub):
            workers.append(subscriber)
            subscriber.start()
            if not subscriber.subscribed.wait(OPENING_SECONDS):
                cell.failed = "a probe could not subscribe"
                return cell
        end = time.monotonic() + CELL_SECONDS
        for publisher in (up, down):
            workers.append(publisher)
            publisher.start()
        if disturb:
            while time.monotonic() < end and not all(
                len(publisher.acknowledged) >= min(KILL_AT, publisher.count) for publisher in (up, down)
            ):
                time.sleep(0.005)
            disturb(self, gateway, tap)
        self.wait_for_arrival(((up, up_sub), (down, down_sub)), end)
        cell.connections, cell.complaints = tap.connections, gateway.complaints()
        if up_qos == qos:
            cell.up = count("up", up, up_sub, tap, qos)
        cell.down = count("down", down, down_sub, tap, qos)
        return cell

    def wait_for_arrival(self, pairs, end):
        """Until all has arrived, or nothing has moved for a while, or time is up."""
        while time.monotonic() < end:
            published = all(not publisher.is_alive() for publisher, _ in pairs)
            if published and all(set(publisher.acknowledged) <= set(subscriber.arrived) for publisher, subscriber in pairs):
                time.sleep(0.3)  # what repeats comes late
                return
            quiet = time.monotonic() - max(subscriber.last_arrival for _, subscriber in pairs)
            if published and quiet > self.row.quiet_seconds:
                return
            time.sleep(0.05)


def kill_gateway(_bench, gateway, _tap):
    gateway.kill()
    time.sleep(PAUSE_SECONDS)
    gateway.start()


def restart_broker(bench, _gateway, tap):
    tap.close()
    bench.broker.stop_for_a_while()
    time.sleep(PAUSE_SECONDS)
    bench.broker.start()
    tap.open()
