"""A proxy between the gateway and the broker that is tried: what was on the wire tells whose fault a loss is."""
import socket
import threading

import wire
from wire import CONNACK, PUBACK, PUBLISH, PUBREC, PUBREL

PIECE = 65536


class Tap:
    """Listens on `port`; passes on to the broker while it is open. Closed while the broker is away, so that the gateway is
    refused by the system, as it would be without a proxy."""

    def __init__(self, broker_port, port):
        self.broker_port, self.port = broker_port, port
        self.lock = threading.Lock()
        self.order = {"broker": [], "gateway": []}  # numbers of PUBLISH by who sent them
        self.answered = {"broker": {}, "gateway": {}}  # numbers by who answered PUBACK or PUBREC, in order; all at QoS 0
        self.sent_in = {}  # number: the last connection in which the broker sent it
        self.fresh = {"broker": {}, "gateway": {}}  # number: how often it was sent as a new message, not again
        self.slots = {"broker": {}, "gateway": {}}  # packet id: number, of messages that are not released
        self.collided = {"broker": set(), "gateway": set()}  # numbers that shared a packet id while one was unfinished
        self.at_qos_1 = set()  # numbers that were answered with PUBACK, whatever QoS was meant
        self.sessions_lost = -1  # the first connection has no session to lose
        self.connections = 0
        self.listener = None
        self.open()

    def open(self):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(16)
        self.listener = listener
        threading.Thread(target=self.accept, args=(listener,), daemon=True).start()

    def close(self):
        if self.listener:
            self.listener.shutdown(socket.SHUT_RDWR)  # wakes accept
            self.listener.close()
            self.listener = None

    def accept(self, listener):
        while True:
            try:
                gateway, _ = listener.accept()
            except OSError:
                return
            try:
                broker = socket.create_connection(("127.0.0.1", self.broker_port), timeout=5)
            except OSError:
                gateway.close()
                continue
            broker.settimeout(None)
            self.connections += 1
            for source, target, sender in ((gateway, broker, "gateway"), (broker, gateway, "broker")):
                threading.Thread(target=self.pump, args=(source, target, sender), daemon=True).start()

    def pump(self, source, target, sender):
        buffer = bytearray()
        try:
            while data := source.recv(PIECE):
                buffer += data
                with self.lock:
                    for first, body in wire.split(buffer):
                        self.note(first, body, sender)
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def note(self, first, body, sender):
        kind, other = first >> 4, "gateway" if sender == "broker" else "broker"
        if kind == CONNACK and body[1] == 0 and not body[0] & 1:
            self.sessions_lost += 1
            self.slots = {"broker": {}, "gateway": {}}
        elif kind == PUBLISH and (name := wire.number(body)):
            slot = wire.packet_id(first, body)
            self.order[sender].append(name)
            if sender == "broker":
                self.sent_in[name] = self.connections
            if not slot:
                self.answered[other][name] = True
                return
            holder = self.slots[sender].get(slot)
            if holder != name:
                self.fresh[sender][name] = self.fresh[sender].get(name, 0) + 1
                self.slots[sender][slot] = name
            if holder not in (None, name):
                self.collided[sender] |= {holder, name}
        elif kind in (PUBACK, PUBREC):
            if name := self.slots[other].get(wire.packet_id(first, body)):
                self.answered[sender][name] = True
            if kind == PUBACK and name:
                self.at_qos_1.add(name)
                del self.slots[other][wire.packet_id(first, body)]
        elif kind == PUBREL:
            self.slots[sender].pop(wire.packet_id(first, body), None)
