"""The story that every client is told, step by step. A client that sends back what it hears can be asked for all of it."""
import contextlib
import random
import time

from servers import Process
from witness import Different, Witness, expect_retained

LARGE_BYTES = 900_000
WEBSOCKET_BYTES = 20_000
AWAY_SECONDS = 1.0
STEPS = ("connect", "QoS 0", "QoS 1", "QoS 2", "retained", "large", "idle", "restart", "will")


class Pace:
    def __init__(self, quick):
        self.keep_alive, self.idle_seconds = (2, 4) if quick else (5, 12)

    def at_least(self, keep_alive):
        """For a client that takes no shorter one."""
        pace = Pace(quick=False)
        if self.keep_alive < keep_alive:
            pace.keep_alive, pace.idle_seconds = keep_alive, keep_alive * 8 / 5
        return pace


class Found:
    """What became of each step, and what is worth a note though it is no failure."""

    def __init__(self):
        self.steps, self.notes = {}, []

    @contextlib.contextmanager
    def step(self, name):
        try:
            yield
        except (Different, OSError, RuntimeError, ValueError) as error:
            self.steps[name] = str(error) or type(error).__name__
            raise Broken from error
        self.steps[name] = "ok"

    def note(self, text):
        if text not in self.notes:
            self.notes.append(text)

    def words(self):
        bad = [f"{name}: {said}" for name, said in self.steps.items() if said != "ok"]
        return "; ".join(bad) or "ok"


class Broken(Exception):
    """A step has failed, and the story ends."""


def large(broker, transport):
    """mosquitto 2.0.11 with Debian's libwebsockets was seen to send 40,000 bytes over WebSocket, and not the end of 50,000."""
    is_small = transport == "ws" and broker.name == "mosquitto"
    return random.Random(1).randbytes(WEBSOCKET_BYTES if is_small else LARGE_BYTES)


def restart(broker, witness):
    """The broker is away for a moment, and the witness is in its session again."""
    broker.stop()
    time.sleep(AWAY_SECONDS)
    broker.start()
    witness.is_back(with_session=True)


class Echo:
    """A program that sends back what comes to `soak/in/#` to `soak/out/#`; `command(port, transport, version, keep_alive)`."""

    skipped = ()

    def __init__(self, name, version, transport, command):
        self.name, self.version, self.transport, self.command = name, version, transport, command

    def start(self, broker, folder, pace):
        port = broker.ws_port if self.transport == "ws" else broker.port
        return Process(self.command(folder, port, self.transport, self.version, pace.keep_alive), folder)

    def run(self, broker, folder, pace, found):
        witness, client = Witness(broker.port), None
        try:
            with found.step("connect"):
                client = self.start(broker, folder, pace)
                witness.expect("soak/status", b"here", 1)
                expect_retained(broker.port, "soak/status", b"here", 1)
            for qos in range(3):
                with found.step(f"QoS {qos}"):
                    sent_back(witness, f"plain/{qos}", b"some words", qos)
            with found.step("retained"):
                sent_back(witness, "kept", b"kept", 1)
                expect_retained(broker.port, "soak/out/kept", b"kept", 1)
            with found.step("large"):
                payload = large(broker, self.transport)
                if len(payload) != LARGE_BYTES:
                    found.note(f"{len(payload):,} bytes in place of {LARGE_BYTES:,}")
                for qos in range(3):
                    sent_back(witness, f"large/{qos}", payload, qos)
            with found.step("idle"):
                witness.expect_nothing(pace.idle_seconds)
                sent_back(witness, "after", b"still here", 1)
            with found.step("restart"):
                restart(broker, witness)
                is_here_again(witness, found)
                for qos in range(3):
                    sent_back(witness, f"again/{qos}", b"here again", qos)
            with found.step("will"):
                client.stop(9)
                witness.expect("soak/status", b"gone", 1)
                expect_retained(broker.port, "soak/status", b"gone", 1)
                witness.expect_nothing(0.5)
        finally:
            if client:
                client.stop(9)
            witness.close()


def sent_back(witness, topic, payload, qos):
    witness.publish(f"soak/in/{topic}", payload, qos)
    witness.expect(f"soak/out/{topic}", payload, qos)


def is_here_again(witness, found):
    """A will of the connection that the restart cut may come first, and at QoS 1 what was not acknowledged in time once more."""
    while True:
        came = witness.next()
        if came is None:
            raise Different("the client does not come back")
        if (came.topic, came.payload, came.retain) == ("soak/status", b"here", False):
            return
        if (came.topic, came.payload) == ("soak/status", b"gone"):
            found.note("its will was published when the broker was stopped")
        elif not (came.again and came.qos == 1):
            raise Different(f"came {came}")

