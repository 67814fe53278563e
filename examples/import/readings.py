"""Publishes readings with paho: PORT FIRST COUNT."""
import sys
import paho.mqtt.client as mqtt

port, first, count = map(int, sys.argv[1:4])
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="thermometer")
client.connect("127.0.0.1", port)
client.loop_start()
for n in range(first, first + count):
    client.publish("sensors/hall", f'{{"n":{n}}}', qos=1).wait_for_publish()
client.disconnect()
client.loop_stop()
