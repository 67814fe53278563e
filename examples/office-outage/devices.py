"""Ten devices at home, behind one paho client: PORT RATE COUNT. Numbers at QoS 1, all of them acknowledged when it ends."""

import sys
import time

import paho.mqtt.client as mqtt

port, rate, count = (int(argument) for argument in sys.argv[1:4])
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="devices", protocol=mqtt.MQTTv5)
client.connect("127.0.0.1", port)
client.loop_start()
begin = time.monotonic()
sent = []
for n in range(1, count + 1):
    sent.append(client.publish(f"dev/{n % 10}/temp", n, qos=1))
    time.sleep(max(0.0, begin + n / rate - time.monotonic()))
for message in sent:
    message.wait_for_publish(30)
    if not message.is_published():
        sys.exit("a reading was not acknowledged within 30 s")
client.disconnect()
client.loop_stop()
