"""paho at home on a broker: every check prints its name when it holds, and the first that does not ends the script.

Arguments: port, transport (tcp or ws), version (3.1.1 or 5).
"""

import queue
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

PORT, TRANSPORT, VERSION = int(sys.argv[1]), sys.argv[2], sys.argv[3]
V5 = VERSION == "5"
PATIENCE_S = 20


class Client:
    """A client whose events are queues."""

    def __init__(self, name, clean=True, will=None):
        arguments = {} if V5 else {"clean_session": clean}
        self.mqtt = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            client_id=f"paho-{TRANSPORT}-{VERSION}-{name}",
            protocol=mqtt.MQTTv5 if V5 else mqtt.MQTTv311,
            transport="websockets" if TRANSPORT == "ws" else "tcp",
            **arguments,
        )
        self.clean, self.messages, self.events = clean, queue.Queue(), queue.Queue()
        self.mqtt.on_message = lambda _c, _u, message: self.messages.put(message)
        self.mqtt.on_connect = lambda _c, _u, flags, reason, _p: self.events.put((flags, reason))
        self.mqtt.on_subscribe = lambda _c, _u, _mid, reasons, _p: self.events.put(reasons)
        self.mqtt.on_disconnect = lambda *_: self.events.put(None)
        if will:
            self.mqtt.will_set(*will)

    def connect(self):
        """Returns whether the broker had the session."""
        arguments = {}
        if V5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = 0 if self.clean else 300
            arguments = {"clean_start": self.clean, "properties": properties}
        self.mqtt.connect("127.0.0.1", PORT, **arguments)
        self.mqtt.loop_start()
        flags, reason = self.events.get(timeout=PATIENCE_S)
        assert not reason.is_failure, reason
        return flags.session_present

    def subscribe(self, topic, qos):
        self.mqtt.subscribe(topic, qos)
        reasons = self.events.get(timeout=PATIENCE_S)
        assert [reason.value for reason in reasons] == [qos], reasons

    def publish(self, topic, payload, qos=1, retain=False, properties=None):
        """Returns when it is written (QoS 0) or acknowledged."""
        info = self.mqtt.publish(topic, payload, qos, retain, properties=properties)
        info.wait_for_publish(PATIENCE_S)
        assert info.is_published(), f"no acknowledgement of {topic}"

    def next(self):
        return self.messages.get(timeout=PATIENCE_S)

    def close(self):
        self.mqtt.disconnect()
        assert self.events.get(timeout=PATIENCE_S) is None
        self.mqtt.loop_stop()

    def vanish(self):
        """Closes the socket without a word."""
        self.mqtt.loop_stop()
        self.mqtt.socket().close()


def connected(name, **arguments):
    client = Client(name, **arguments)
    assert client.connect() is False, f"{name} is new"
    return client


def every_qos():
    sub, pub = connected("sub"), connected("pub")
    for granted in range(3):
        sub.subscribe(f"lab/{granted}/+", granted)
    for granted in range(3):
        for qos in range(3):
            payload = bytes(range(256)) * 100
            pub.publish(f"lab/{granted}/{qos}", payload, qos)
            came = sub.next()
            assert (came.topic, came.payload) == (f"lab/{granted}/{qos}", payload)
            assert came.qos == min(granted, qos), came.qos
    sub.close()
    pub.close()


def retained():
    pub = connected("pub")
    pub.publish("lab/retained", "kept", 1, True)
    sub = connected("sub")
    sub.subscribe("lab/retained", 1)
    came = sub.next()
    assert (came.payload, came.retain) == (b"kept", True)
    pub.publish("lab/retained", "", 1, True)
    assert (sub.next().payload) == b""
    late = connected("late")
    late.subscribe("lab/+", 1)
    pub.publish("lab/next", "x", 1)
    assert late.next().topic == "lab/next", "what was cleared does not come"
    for client in (pub, sub, late):
        client.close()


def will():
    sub = connected("sub")
    sub.subscribe("lab/will", 2)
    polite = connected("polite", will=("lab/will", "polite", 1))
    polite.close()
    connected("lost", will=("lab/will", "lost", 1)).vanish()
    came = sub.next()
    assert (came.payload, came.qos) == (b"lost", 1), came.payload
    sub.close()


def shared():
    members, pub = [connected("one"), connected("two")], connected("pub")
    for member in members:
        member.subscribe("$share/group/lab/shared", 1)
    for n in range(20):
        pub.publish("lab/shared", str(n), 1)
    for member in members:
        member.subscribe("lab/end", 1)
    pub.publish("lab/end", "", 1)
    came = []
    for member in members:
        mine = []
        while (message := member.next()).topic != "lab/end":
            mine.append(int(message.payload))
        assert mine, "every member has a share"
        came += mine
    assert sorted(came) == list(range(20)), came
    for client in (pub, *members):
        client.close()


def session():
    pub, sub = connected("pub"), connected("kept", clean=False)
    sub.subscribe("lab/session", 2)
    sub.close()
    for n in range(9):
        pub.publish("lab/session", str(n), 1 if n < 5 else 2)
    again = Client("kept", clean=False)
    assert again.connect() is True, "the session is kept"
    assert [int(again.next().payload) for _ in range(9)] == list(range(9))
    again.close()
    fresh = connected("kept")
    fresh.close()
    pub.close()


def properties():
    if not V5:
        return
    sub, pub = connected("sub"), connected("pub")
    sub.subscribe("lab/properties", 1)
    said = Properties(PacketTypes.PUBLISH)
    said.ContentType, said.ResponseTopic, said.CorrelationData = "text/plain", "lab/answers", b"66"
    said.PayloadFormatIndicator, said.MessageExpiryInterval = 1, 1000
    said.UserProperty = [("a", "b"), ("a", "c")]
    pub.publish("lab/properties", "x", 1, properties=said)
    came = sub.next().properties
    assert (came.ContentType, came.ResponseTopic, came.CorrelationData) == ("text/plain", "lab/answers", b"66")
    assert came.PayloadFormatIndicator == 1 and 900 <= came.MessageExpiryInterval <= 1000
    assert came.UserProperty == [("a", "b"), ("a", "c")]
    sub.close()
    pub.close()


def office():
    client = connected("device")
    client.subscribe("cmd/#", 1)
    came = client.next()
    assert (came.topic, came.payload) == ("cmd/go", b"now")
    for qos in range(3):
        client.publish(f"dev/{qos}", "to the office", qos)
    client.close()


for check in (every_qos, retained, will, shared, session, properties, office):
    check()
    print(check.__name__, flush=True)
