"""Sends back what comes to soak/in/# to soak/out/#, at the QoS it came with; what ends in `kept`, retained. By gmqtt.

Arguments: port, transport (it has only tcp), version (3.1.1 or 5), seconds of the keep-alive.
"""
import asyncio
import logging
import sys

import gmqtt
from gmqtt.mqtt.constants import MQTTv50, MQTTv311

PORT, VERSION, KEEP_ALIVE = int(sys.argv[1]), sys.argv[3], int(sys.argv[4])


def on_connect(client, _flags, _result, _properties):
    client.subscribe("soak/in/#", qos=2)


def on_subscribe(client, _mid, _granted, _properties):
    client.publish("soak/status", "here", qos=1, retain=True)


def on_message(client, topic, payload, qos, _properties):
    topic = topic.replace("/in/", "/out/")
    client.publish(topic, payload, qos=qos, retain=topic.endswith("kept"))
    return 0


async def main():
    client = gmqtt.Client("echo-gmqtt", will_message=gmqtt.Message("soak/status", "gone", qos=1, retain=True))
    client.set_config({"reconnect_delay": 1})
    client.on_connect, client.on_subscribe, client.on_message = on_connect, on_subscribe, on_message
    await client.connect("127.0.0.1", PORT, keepalive=KEEP_ALIVE, version=MQTTv50 if VERSION == "5" else MQTTv311)
    await asyncio.Event().wait()


logging.basicConfig(level=logging.INFO)
asyncio.run(main())
