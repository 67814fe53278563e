"""The story for mosquitto_rr, which asks a question, waits for the answer and ends."""
import pathlib
import subprocess

from servers import Process
from story import LARGE_BYTES, restart
from witness import Different, Witness, expect_retained

END_SECONDS = 20.0
KEEP_ALIVE_MIN = 5
QUESTION_BYTES = 100_000  # as an argument of a program: with `-f` and `-s` 2.0.11 asks with an empty message
QUESTIONS, ANSWERS = "soak/out/questions", "soak/answers"


class MosquittoRr:
    transport, skipped = "tcp", ("retained",)

    def __init__(self, version):
        said = subprocess.run(["mosquitto_rr", "--help"], capture_output=True, text=True).stdout
        self.name = "mosquitto_rr " + said.split(" version ")[1].split()[0]
        self.version = version

    def ask(self, broker, folder, qos, question, *more):
        """Its log, which is the answer, begins anew."""
        (folder / "log").unlink(missing_ok=True)
        return Process(["mosquitto_rr", "-h", "127.0.0.1", "-p", str(broker.port), "-V", "mqttv5" if self.version == "5" else "mqttv311",
                        "-t", QUESTIONS, "-e", ANSWERS, "-q", str(qos), "-m", question.decode(), "-N", *more], folder)

    def asked(self, witness, qos, question):
        """Where the answer goes to, which the question says; with 3.1.1 it says nothing."""
        to = getattr(witness.expect(QUESTIONS, question, qos).properties, "ResponseTopic", None)
        if to != (ANSWERS if self.version == "5" else None):
            raise Different(f"the answer is wanted at {to}")
        return to or ANSWERS

    def is_answered(self, witness, broker, folder, qos, question, answer, silence_seconds=0, will=()):
        asking = self.ask(broker, folder, qos, question, *will)
        try:
            answer_to = self.asked(witness, qos, question)
            if silence_seconds:
                witness.expect_nothing(silence_seconds)
            witness.publish(answer_to, answer, qos)
            if (code := asking.child.wait(END_SECONDS)) != 0:
                raise Different(f"it ends with {code}")
        except subprocess.TimeoutExpired:
            raise Different("it does not end") from None
        finally:
            asking.stop(9)
        if will:
            # It ends without DISCONNECT: the will comes though it was answered.
            witness.expect("soak/status", b"gone", 1)
        heard = pathlib.Path(folder / "log").read_bytes()
        if heard != answer:
            raise Different(f"it heard {heard[:40]} of {len(heard)} bytes")

    def run(self, broker, folder, pace, found):
        witness, pace = Witness(broker.port), pace.at_least(KEEP_ALIVE_MIN)
        will = ["-k", str(pace.keep_alive), "--will-topic", "soak/status", "--will-payload", "gone", "--will-qos", "1", "--will-retain"]
        try:
            with found.step("connect"):
                self.is_answered(witness, broker, folder, 0, b"who is there", b"a witness", will=will)
            for qos in range(3):
                with found.step(f"QoS {qos}"):
                    self.is_answered(witness, broker, folder, qos, b"some words", b"other words")
            with found.step("large"):
                for qos in range(3):
                    self.is_answered(witness, broker, folder, qos, b"q" * QUESTION_BYTES, b"a" * LARGE_BYTES)
            with found.step("idle"):
                self.is_answered(witness, broker, folder, 1, b"and after a while", b"still here", pace.idle_seconds, will)
            with found.step("restart"):
                self.is_cut(witness, broker, folder, found)
                for qos in range(3):
                    self.is_answered(witness, broker, folder, qos, b"again", b"here again")
            with found.step("will"):
                asking = self.ask(broker, folder, 1, b"never answered", *will)
                witness.expect(QUESTIONS, b"never answered", 1)
                asking.stop(9)
                witness.expect("soak/status", b"gone", 1)
                expect_retained(broker.port, "soak/status", b"gone", 1)
        finally:
            witness.close()

    def is_cut(self, witness, broker, folder, found):
        """It does not connect again: it ends. With which code is its own affair, and noted."""
        asking = self.ask(broker, folder, 1, b"cut off")
        try:
            witness.expect(QUESTIONS, b"cut off", 1)
            restart(broker, witness)
            code = asking.child.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            raise Different("it waits though the broker was away") from None
        finally:
            asking.stop(9)
        said = " ".join((folder / "log").read_text().split())
        found.note(f"it ends with {code} when the broker goes away, and says {said or 'nothing'}")
