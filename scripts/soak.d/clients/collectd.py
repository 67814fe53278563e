"""The story for collectd: one instance publishes what it is told by its socket, another subscribes and is asked for it."""
import os
import pathlib
import socket
import time

from servers import Process
from story import restart
from witness import PATIENCE_SECONDS, Different, Witness, expect_retained

FOLDER = pathlib.Path(os.environ["SOAK_CLIENTS"]) / "debian"
VALUE = "soak/plugin-a/gauge-b"  # host, plugin and type, as the socket and the topics have them
START_SECONDS = 20.0
COMMON = """Hostname "{name}"
BaseDir "{folder}"
PIDFile "{folder}/{name}.pid"
PluginDir "{debian}/usr/lib/collectd"
TypesDB "{debian}/usr/share/collectd/types.db"
Interval 1
Timeout 1000
LoadPlugin logfile
<Plugin logfile>
  LogLevel info
  File STDOUT
</Plugin>
LoadPlugin unixsock
<Plugin unixsock>
  SocketFile "{folder}/{name}.sock"
</Plugin>
LoadPlugin mqtt
<Plugin mqtt>
{blocks}</Plugin>
"""
PUBLISH = """  <Publish "{name}">
    Host "127.0.0.1"
    Port "{port}"
    ClientId "collectd-{name}"
    Prefix "soak/out/{name}"
    QoS {qos}
    Retain {retain}
  </Publish>
"""
SUBSCRIBE = """  <Subscribe "all">
    Host "127.0.0.1"
    Port "{port}"
    ClientId "collectd-subscriber"
    Topic "soak/in/#"
    QoS 2
    CleanSession false
  </Subscribe>
"""
PUBLISHERS = {"none": (0, "false"), "one": (1, "false"), "two": (2, "false"), "kept": (1, "true")}


class Instance(Process):
    def __init__(self, folder, name, blocks):
        self.socket = str(folder / f"{name}.sock")
        config = folder / f"{name}.conf"
        config.write_text(COMMON.format(name=name, folder=folder, debian=FOLDER, blocks=blocks))
        super().__init__([str(FOLDER / "usr/sbin/collectd"), "-f", "-C", str(config)], folder)

    def says(self, command):
        """All lines of the answer."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE_SECONDS)
            client.connect(self.socket)
            client.sendall(f"{command}\n".encode())
            lines = client.makefile()
            first = next(lines)
            return [first, *(next(lines) for _ in range(max(0, int(first.split()[0]))))]

    def has_started(self):
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            try:
                return self.says("LISTVAL")
            except OSError:
                time.sleep(0.1)
        raise Different("collectd does not open its socket")

    def put(self, value):
        answer = self.says(f"PUTVAL {VALUE} interval=1 N:{value}")
        if not answer[0].startswith("0 Success"):
            raise Different(answer[0].strip())

    def has(self, value):
        said = self.says(f"GETVAL {VALUE}")
        return said[0].startswith("1 ") and float(said[1].split("=")[1]) == value


class Collectd:
    version, transport = "3.1.1", "tcp"
    skipped = ("large", "idle", "will")  # it sends no such value, its keep-alive is 60 s, and it knows no will

    def __init__(self, version):
        self.name = f"collectd {version}"

    def run(self, broker, folder, _pace, found):
        blocks = "".join(PUBLISH.format(name=name, port=broker.port, qos=qos, retain=retain)
                         for name, (qos, retain) in PUBLISHERS.items())
        witness, instances = Witness(broker.port), []
        try:
            with found.step("connect"):
                instances += [Instance(folder, "subscriber", SUBSCRIBE.format(port=broker.port)),
                              Instance(folder, "publisher", blocks)]
                for instance in instances:
                    instance.has_started()
            subscriber, publisher = instances
            came = []
            with found.step("connect"):
                came = arrive(witness, publisher, 1.5)
                self.is_heard(witness, subscriber, 2.5)
            for qos, name in enumerate(PUBLISHERS):
                if qos < 3:
                    with found.step(f"QoS {qos}"):
                        looks_right(came[name], qos, 1.5)
            with found.step("retained"):
                looks_right(came["kept"], 1, 1.5)
                expect_retained(broker.port, f"soak/out/kept/{VALUE}", came["kept"].payload, 1)
            with found.step("restart"):
                restart(broker, witness)
                arrive(witness, publisher, 3.5)
                self.is_heard(witness, subscriber, 4.5)
        finally:
            for instance in instances:
                instance.stop()
            witness.close()

    def is_heard(self, witness, subscriber, value):
        """What somebody else says, with the NUL and without: the subscriber takes both."""
        for qos, end in ((1, "\0"), (2, "")):
            value += 100
            witness.publish(f"soak/in/{VALUE}", f"{time.time():.3f}:{value}{end}", qos)
            wait_for(subscriber, value)


def arrive(witness, publisher, value):
    """Gives the value each second until each publisher's message of it has come: the last by name. collectd looks at what the
    broker has said when it publishes, so a message at QoS 2 is released with the next one."""
    came, end = {}, time.monotonic() + PATIENCE_SECONDS
    while set(came) != set(PUBLISHERS):
        publisher.put(value)
        until = time.monotonic() + 1
        while set(came) != set(PUBLISHERS) and time.monotonic() < until:
            message = witness.next(0.2)
            if message and message.payload.endswith(f":{value:.15g}\0".encode()):
                came[message.topic.split("/")[2]] = message
        if time.monotonic() > end:
            raise Different(f"nothing came of {', '.join(set(PUBLISHERS) - set(came))}")
    return came


def looks_right(message, qos, value):
    words = message.payload.split(b":")
    if message.qos != qos or len(words) != 2 or words[1] != f"{value:.15g}\0".encode():
        raise Different(f"came {message}")


def wait_for(subscriber, value):
    end = time.monotonic() + PATIENCE_SECONDS
    while not subscriber.has(value):
        if time.monotonic() > end:
            raise Different(f"the subscriber has not heard {value}")
        time.sleep(0.1)
