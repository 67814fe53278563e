"""gmqtt at home on a broker: every check prints its name when it holds, and the first that does not ends the script.

Arguments: port, transport (it has only tcp), version (3.1.1 or 5).
"""

import asyncio
import sys

import gmqtt
from gmqtt.mqtt.constants import MQTTv50, MQTTv311
from gmqtt.storage import PersistentStorage

PORT, TRANSPORT, VERSION = int(sys.argv[1]), sys.argv[2], sys.argv[3]
V5 = VERSION == "5"
PATIENCE_S = 20


class Message:
    def __init__(self, topic, payload, qos, properties):
        self.topic, self.payload, self.qos, self.properties = topic, bytes(payload), qos, properties


class Client:
    """A client whose events are queues."""

    def __init__(self, name, clean=True, will=None):
        self.messages, self.events, self.unacknowledged = asyncio.Queue(), asyncio.Queue(), PersistentStorage()
        session = {} if clean or not V5 else {"session_expiry_interval": 300}
        self.mqtt = gmqtt.Client(
            f"gmqtt-{VERSION}-{name}",
            clean_session=clean,
            will_message=will and gmqtt.Message(*will),
            persistent_storage=self.unacknowledged,
            **session,
        )
        self.mqtt.on_connect = lambda _c, present, result, _p: self.events.put_nowait((present, result))
        self.mqtt.on_subscribe = lambda _c, _mid, granted, _p: self.events.put_nowait(list(granted))
        self.mqtt.on_disconnect = lambda _c, _packet, _exc=None: None
        self.mqtt.on_message = self.on_message

    def on_message(self, _client, topic, payload, qos, properties):
        self.messages.put_nowait(Message(topic, payload, qos, properties))
        return 0

    async def connect(self):
        """Returns whether the broker had the session."""
        await self.mqtt.connect("127.0.0.1", PORT, version=MQTTv50 if V5 else MQTTv311)
        present, result = await asyncio.wait_for(self.events.get(), PATIENCE_S)
        assert result == 0, result
        return bool(present)

    async def subscribe(self, topic, qos):
        self.mqtt.subscribe(topic, qos)
        granted = await asyncio.wait_for(self.events.get(), PATIENCE_S)
        assert granted == [qos], granted

    async def publish(self, topic, payload, qos=1, retain=False, **properties):
        """Returns when it is written (QoS 0) or acknowledged."""
        self.mqtt.publish(topic, payload, qos, retain, **properties)
        await asyncio.wait_for(self.unacknowledged.wait_empty(), PATIENCE_S)

    async def next(self):
        return await asyncio.wait_for(self.messages.get(), PATIENCE_S)

    async def close(self):
        await self.mqtt.disconnect()

    async def vanish(self):
        """Closes the socket without a word, which gmqtt has no call for."""
        self.mqtt.set_config({"reconnect_retries": -2})  # with 0, as `stop_reconnect` has it, it would try once
        await self.mqtt._connection.close()


async def connected(name, **arguments):
    client = Client(name, **arguments)
    assert await client.connect() is False, f"{name} is new"
    return client


async def every_qos():
    sub, pub = await connected("sub"), await connected("pub")
    for granted in range(3):
        await sub.subscribe(f"lab/{granted}/+", granted)
    for granted in range(3):
        for qos in range(3):
            payload = bytes(range(256)) * 100
            await pub.publish(f"lab/{granted}/{qos}", payload, qos)
            came = await sub.next()
            assert (came.topic, came.payload) == (f"lab/{granted}/{qos}", payload)
            assert came.qos == min(granted, qos), came.qos
    await sub.close()
    await pub.close()


async def retained():
    pub = await connected("pub")
    await pub.publish("lab/retained", "kept", 1, True)
    sub = await connected("sub")
    await sub.subscribe("lab/retained", 1)
    came = await sub.next()
    assert (came.payload, came.properties["retain"]) == (b"kept", 1)
    await pub.publish("lab/retained", "", 1, True)
    assert (await sub.next()).payload == b""
    late = await connected("late")
    await late.subscribe("lab/+", 1)
    await pub.publish("lab/next", "x", 1)
    assert (await late.next()).topic == "lab/next", "what was cleared does not come"
    for client in (pub, sub, late):
        await client.close()


async def will():
    sub = await connected("sub")
    await sub.subscribe("lab/will", 2)
    polite = await connected("polite", will=("lab/will", "polite", 1))
    await polite.close()
    await (await connected("lost", will=("lab/will", "lost", 1))).vanish()
    came = await sub.next()
    assert (came.payload, came.qos) == (b"lost", 1), came.payload
    await sub.close()


async def shared():
    members, pub = [await connected("one"), await connected("two")], await connected("pub")
    for member in members:
        await member.subscribe("$share/group/lab/shared", 1)
    for n in range(20):
        await pub.publish("lab/shared", str(n), 1)
    for member in members:
        await member.subscribe("lab/end", 1)
    await pub.publish("lab/end", "", 1)
    came = []
    for member in members:
        mine = []
        while (message := await member.next()).topic != "lab/end":
            mine.append(int(message.payload))
        assert mine, "every member has a share"
        came += mine
    assert sorted(came) == list(range(20)), came
    for client in (pub, *members):
        await client.close()


async def session():
    pub, sub = await connected("pub"), await connected("kept", clean=False)
    await sub.subscribe("lab/session", 2)
    await sub.close()
    for n in range(9):
        await pub.publish("lab/session", str(n), 1 if n < 5 else 2)
    again = Client("kept", clean=False)
    assert await again.connect() is True, "the session is kept"
    assert [int((await again.next()).payload) for _ in range(9)] == list(range(9))
    await again.close()
    fresh = await connected("kept")
    await fresh.close()
    await pub.close()


async def properties():
    if not V5:
        return
    sub, pub = await connected("sub"), await connected("pub")
    await sub.subscribe("lab/properties", 1)
    await pub.publish(
        "lab/properties",
        "x",
        content_type="text/plain",
        response_topic="lab/answers",
        correlation_data=b"66",
        payload_format_id=1,
        message_expiry_interval=1000,
        user_property=[("a", "b"), ("a", "c")],
    )
    came = (await sub.next()).properties
    assert (came["content_type"], came["response_topic"]) == (["text/plain"], ["lab/answers"]), came
    assert [bytes(data) for data in came["correlation_data"]] == [b"66"], came
    assert came["payload_format_id"] == [1] and 900 <= came["message_expiry_interval"][0] <= 1000, came
    assert came["user_property"] == [("a", "b"), ("a", "c")], came
    await sub.close()
    await pub.close()


async def office():
    client = await connected("device")
    await client.subscribe("cmd/#", 1)
    came = await client.next()
    assert (came.topic, came.payload) == ("cmd/go", b"now")
    for qos in range(3):
        await client.publish(f"dev/{qos}", "to the office", qos)
    await client.close()


async def main():
    for check in (every_qos, retained, will, shared, session, properties, office):
        await check()
        print(check.__name__, flush=True)


asyncio.run(main())
