"""A thermometer: publishes COUNT readings in Fahrenheit at QoS 1 and waits until the broker has acknowledged each."""

import sys

import paho.mqtt.client as mqtt

port, first, count = (int(argument) for argument in sys.argv[1:4])
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="thermometer", protocol=mqtt.MQTTv5)
client.connect("127.0.0.1", port)
client.loop_start()
sent = [
    client.publish("dev/kitchen/temp", f'{{"n":{n},"temp":{68 + n % 10}.5}}', qos=1) for n in range(first, first + count)
]
for message in sent:
    message.wait_for_publish(30)
    if not message.is_published():
        sys.exit("a reading was not acknowledged within 30 s")
client.disconnect()
client.loop_stop()
