"""Who speaks with the client that is tried, over the broker that is tried; paho, with a session that outlives a restart."""
import queue
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

PATIENCE_SECONDS = 30.0
SESSION_SECONDS = 600


class Different(Exception):
    """What came is not what had to come."""


class Message:
    def __init__(self, came):
        self.topic, self.payload, self.qos, self.retain = came.topic, came.payload, came.qos, bool(came.retain)
        self.again, self.properties = bool(came.dup), came.properties

    def __str__(self):
        payload = self.payload if len(self.payload) < 40 else f"{len(self.payload)} bytes"
        return f"{self.topic} at QoS {self.qos}{', retained' if self.retain else ''}: {payload}"


class Witness:
    def __init__(self, port, filters=("soak/out/#", "soak/status")):
        self.messages, self.sessions, self.granted = queue.Queue(), queue.Queue(), queue.Queue()
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "soak-witness", protocol=mqtt.MQTTv5)
        self.client.reconnect_delay_set(1, 1)
        self.client.on_connect = lambda _c, _u, flags, _reason, _p: self.sessions.put(flags.session_present)
        self.client.on_subscribe = lambda _c, _u, _mid, reasons, _p: self.granted.put([reason.value for reason in reasons])
        self.client.on_message = lambda _c, _u, message: self.messages.put(Message(message))
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = SESSION_SECONDS
        # Never clean: mosquitto 2.0.11 does not keep a session over a restart that has begun with a clean start.
        self.client.connect("127.0.0.1", port, clean_start=False, properties=properties)
        self.client.loop_start()
        self.is_back()
        self.client.subscribe([(topic, 2) for topic in filters])
        granted = self.granted.get(timeout=PATIENCE_SECONDS)
        if granted != [2] * len(filters):
            raise Different(f"the witness was granted {granted}")

    def is_back(self, with_session=False):
        try:
            present = self.sessions.get(timeout=PATIENCE_SECONDS)
        except queue.Empty:
            raise Different("the witness does not get in") from None
        if present != with_session:
            raise Different(f"the witness is told that its session is {'there' if present else 'gone'}")

    def publish(self, topic, payload, qos, retain=False, properties=None):
        info = self.client.publish(topic, payload, qos, retain, properties)
        info.wait_for_publish(PATIENCE_SECONDS)
        if not info.is_published():
            raise Different(f"no acknowledgement of {topic} at QoS {qos}")

    def next(self, seconds=PATIENCE_SECONDS):
        try:
            return self.messages.get(timeout=seconds)
        except queue.Empty:
            return None

    def expect(self, topic, payload, qos, seconds=PATIENCE_SECONDS):
        """The next message is this one."""
        came = self.next(seconds)
        if came is None:
            raise Different(f"nothing came to {topic}")
        if (came.topic, came.payload, came.qos, came.retain) != (topic, payload, qos, False):
            raise Different(f"came {came}")
        return came

    def expect_nothing(self, seconds):
        came = self.next(seconds)
        if came is not None:
            raise Different(f"came {came}")

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


def expect_retained(port, topic, payload, qos):
    """Who subscribes now is sent this, with the retain flag."""
    done, seen = threading.Event(), []
    late = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "soak-late")
    late.on_connect = lambda client, *_: client.subscribe(topic, 2)
    late.on_message = lambda _c, _u, message: (seen.append(Message(message)), done.set())
    late.connect("127.0.0.1", port)
    late.loop_start()
    done.wait(PATIENCE_SECONDS)
    late.disconnect()
    late.loop_stop()
    if not seen:
        raise Different(f"nothing is retained at {topic}")
    if (seen[0].payload, seen[0].qos, seen[0].retain) != (payload, qos, True):
        raise Different(f"late came {seen[0]}")
