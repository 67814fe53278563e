"""A Paho client that keeps a list of brokers and moves on to the next when its connection breaks.

moves_on.py publish TOPIC FIRST COUNT PORT...   numbers at QoS 1; ends when all are acknowledged, or nobody has answered for long
moves_on.py read FILTER FILE PORT...            writes what comes into a file, a line each, until it is killed
"""

import sys
import threading
import time

import paho.mqtt.client as mqtt

PER_S = 500
GIVES_UP_AFTER_S = 3
RETRY_S = 0.2


class MovesOn:
    """A connection to the first broker of the list that answers, with a session that is kept."""

    def __init__(self, client_id, ports):
        self.ports = ports
        self.answered = time.monotonic()
        self.client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id, clean_session=False, reconnect_on_failure=False
        )

    def run(self):
        at = 0
        while True:
            try:
                self.client.connect("127.0.0.1", self.ports[at], keepalive=5)
                # Until the connection breaks. What was not acknowledged is sent again by the next.
                self.client.loop_forever()
            except OSError:
                time.sleep(RETRY_S)
            at = (at + 1) % len(self.ports)


def publish(topic, first, count, *ports):
    device = MovesOn("device", [int(port) for port in ports])

    acknowledged = set()

    def is_acknowledged(_client, _userdata, mid, *_):
        acknowledged.add(mid)
        device.answered = time.monotonic()

    device.client.on_publish = is_acknowledged
    threading.Thread(target=device.run, daemon=True).start()
    # What is published while there is no connection waits in memory, although `publish` says that there is none.
    sent = set()
    for n in range(int(first), int(first) + int(count)):
        sent.add(device.client.publish(topic, n, qos=1).mid)
        time.sleep(1 / PER_S)
    while not sent <= acknowledged:
        if time.monotonic() > device.answered + GIVES_UP_AFTER_S:
            print(f"   the device gives up: {len(sent - acknowledged)} readings were only in its memory", flush=True)
            return
        time.sleep(0.05)
    device.client.disconnect()


def read(topic_filter, path, *ports):
    reader = MovesOn("dashboard", [int(port) for port in ports])
    with open(path, "a", encoding="utf-8", buffering=1) as out:

        def connected(client, *_):
            client.subscribe(topic_filter, qos=1)

        def subscribed(client, *_):
            print(f"subscribed at {client.port}", file=out)

        def came(_client, _userdata, message):
            print(message.topic, message.payload.decode(), file=out)

        reader.client.on_connect = connected
        reader.client.on_subscribe = subscribed
        reader.client.on_message = came
        reader.run()


{"publish": publish, "read": read}[sys.argv[1]](*sys.argv[2:])
