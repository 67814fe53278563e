"""aiomqtt at home on a broker: every check prints its name when it holds, and the first that does not ends the script.

Arguments: port, transport (tcp or ws), version (3.1.1 or 5).
"""

import asyncio
import os
import socket
import sys
from contextlib import asynccontextmanager

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

PORT, TRANSPORT, VERSION = int(sys.argv[1]), sys.argv[2], sys.argv[3]
V5 = VERSION == "5"
PATIENCE_S = 20


def new(name, clean=True, will=None):
    """A client that is not connected yet."""
    if V5:
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 0 if clean else 300
        session = {"clean_start": clean, "properties": properties}
    else:
        session = {"clean_session": clean}
    return aiomqtt.Client(
        "127.0.0.1",
        PORT,
        identifier=f"aiomqtt-{TRANSPORT}-{VERSION}-{name}",
        protocol=aiomqtt.ProtocolVersion.V5 if V5 else aiomqtt.ProtocolVersion.V311,
        transport="websockets" if TRANSPORT == "ws" else "tcp",
        timeout=PATIENCE_S,
        will=will and aiomqtt.Will(*will),
        **session,
    )


@asynccontextmanager
async def connected(*names):
    """Connected clients, which say DISCONNECT in the end."""
    clients = [new(name) for name in names]
    for client in clients:
        await client.__aenter__()
    yield clients
    for client in clients:
        await client.__aexit__(None, None, None)


async def subscribe(client, topic, qos):
    granted = await client.subscribe(topic, qos)
    assert [getattr(code, "value", code) for code in granted] == [qos], granted


async def next_of(client):
    return await asyncio.wait_for(anext(client.messages), PATIENCE_S)


async def every_qos():
    async with connected("sub", "pub") as (sub, pub):
        for granted in range(3):
            await subscribe(sub, f"lab/{granted}/+", granted)
        for granted in range(3):
            for qos in range(3):
                payload = bytes(range(256)) * 100
                await pub.publish(f"lab/{granted}/{qos}", payload, qos)
                came = await next_of(sub)
                assert (came.topic.value, came.payload) == (f"lab/{granted}/{qos}", payload)
                assert came.qos == min(granted, qos), came.qos


async def retained():
    async with connected("pub", "sub", "late") as (pub, sub, late):
        await pub.publish("lab/retained", "kept", 1, True)
        await subscribe(sub, "lab/retained", 1)
        came = await next_of(sub)
        assert (came.payload, came.retain) == (b"kept", True)
        await pub.publish("lab/retained", "", 1, True)
        assert (await next_of(sub)).payload == b""
        await subscribe(late, "lab/+", 1)
        await pub.publish("lab/next", "x", 1)
        assert (await next_of(late)).topic.value == "lab/next", "what was cleared does not come"


async def will():
    async with connected("sub") as (sub,):
        await subscribe(sub, "lab/will", 2)
        async with new("polite", will=("lab/will", "polite", 1)):
            pass
        try:
            async with new("lost", will=("lab/will", "lost", 1)) as lost:
                # aiomqtt cannot vanish by itself: the socket is closed behind its back.
                with socket.socket(fileno=os.dup(lost._client.socket().fileno())) as behind:
                    behind.shutdown(socket.SHUT_RDWR)
                await next_of(lost)
            raise AssertionError("it did not see that it was lost")
        except aiomqtt.MqttError:
            pass
        came = await next_of(sub)
        assert (came.payload, came.qos) == (b"lost", 1), came.payload


async def shared():
    async with connected("one", "two", "pub") as (*members, pub):
        for member in members:
            await subscribe(member, "$share/group/lab/shared", 1)
        for n in range(20):
            await pub.publish("lab/shared", str(n), 1)
        for member in members:
            await subscribe(member, "lab/end", 1)
        await pub.publish("lab/end", "", 1)
        came = []
        for member in members:
            mine = []
            while (message := await next_of(member)).topic.value != "lab/end":
                mine.append(int(message.payload))
            assert mine, "every member has a share"
            came += mine
        assert sorted(came) == list(range(20)), came


async def session():
    async with connected("pub") as (pub,):
        async with new("kept", clean=False) as kept:
            await subscribe(kept, "lab/session", 2)
        for n in range(9):
            await pub.publish("lab/session", str(n), 1 if n < 5 else 2)
        async with new("kept", clean=False) as again:
            assert [int((await next_of(again)).payload) for _ in range(9)] == list(range(9))
        async with new("kept") as fresh:
            await pub.publish("lab/session", "into nothing", 1)
            await subscribe(fresh, "lab/other", 1)
            await pub.publish("lab/other", "x", 1)
            assert (await next_of(fresh)).topic.value == "lab/other", "the session is gone"


async def properties():
    if not V5:
        return
    async with connected("sub", "pub") as (sub, pub):
        await subscribe(sub, "lab/properties", 1)
        said = Properties(PacketTypes.PUBLISH)
        said.ContentType, said.ResponseTopic, said.CorrelationData = "text/plain", "lab/answers", b"66"
        said.PayloadFormatIndicator, said.MessageExpiryInterval = 1, 1000
        said.UserProperty = [("a", "b"), ("a", "c")]
        await pub.publish("lab/properties", "x", 1, properties=said)
        came = (await next_of(sub)).properties
        assert (came.ContentType, came.ResponseTopic, came.CorrelationData) == ("text/plain", "lab/answers", b"66")
        assert came.PayloadFormatIndicator == 1 and 900 <= came.MessageExpiryInterval <= 1000
        assert came.UserProperty == [("a", "b"), ("a", "c")]


async def office():
    async with connected("device") as (device,):
        await subscribe(device, "cmd/#", 1)
        came = await next_of(device)
        assert (came.topic.value, came.payload) == ("cmd/go", b"now")
        for qos in range(3):
            await device.publish(f"dev/{qos}", "to the office", qos)


async def main():
    for check in (every_qos, retained, will, shared, session, properties, office):
        await check()
        print(check.__name__, flush=True)


asyncio.run(main())
