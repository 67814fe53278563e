"""Sends back what comes to soak/in/# to soak/out/#, at the QoS it came with; what ends in `kept`, retained. By aiomqtt.

Arguments: port, transport (tcp or ws), version (3.1.1 or 5), seconds of the keep-alive.
"""
import asyncio
import sys

import aiomqtt

PORT, TRANSPORT, VERSION, KEEP_ALIVE = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])


async def main():
    client = aiomqtt.Client(
        "127.0.0.1", PORT, identifier="echo-aiomqtt", keepalive=KEEP_ALIVE,
        protocol=aiomqtt.ProtocolVersion.V5 if VERSION == "5" else aiomqtt.ProtocolVersion.V311,
        transport="websockets" if TRANSPORT == "ws" else "tcp",
        will=aiomqtt.Will("soak/status", "gone", 1, True))
    while True:  # as aiomqtt's manual says to connect again
        try:
            async with client:
                await client.subscribe("soak/in/#", 2)
                await client.publish("soak/status", "here", 1, True)
                async for message in client.messages:
                    topic = message.topic.value.replace("/in/", "/out/")
                    await client.publish(topic, message.payload, message.qos, topic.endswith("kept"))
        except aiomqtt.MqttError as error:
            print(error, flush=True)
            await asyncio.sleep(1)


asyncio.run(main())
