"""MQTT on a plain socket: just enough of 3.1.1 and 5 for the probes, with every byte in their own hands.

A packet is (first byte, body). Numbers of messages travel in the payload as `u000123` (up) or `d000123` (down).
"""
import re
import select
import socket
import struct
import time

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBSCRIBE, SUBACK = range(1, 10)
UNSUBACK = 11
DISCONNECT = 14
NUMBER = re.compile(rb"[ud]\d{6}")
ANSWER_SECONDS = 10.0
READ_SIZE = 65536


class Closed(Exception):
    """The other side ended the connection, or said no."""


def text(value):
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack(">H", len(raw)) + raw


def packet(first, body=b""):
    length, rest = b"", len(body)
    while True:
        rest, low = divmod(rest, 128)
        length += bytes([low | (128 if rest else 0)])
        if not rest:
            return bytes([first]) + length + body


def split(buffer):
    """Takes whole packets off the front of a bytearray."""
    packets = []
    while len(buffer) >= 2:
        length = used = 0
        for used in range(1, min(5, len(buffer))):
            length |= (buffer[used] & 127) << 7 * (used - 1)
            if buffer[used] < 128:
                break
        else:
            return packets
        end = used + 1 + length
        if len(buffer) < end:
            return packets
        packets.append((buffer[0], bytes(buffer[used + 1:end])))
        del buffer[:end]
    return packets


def number(body):
    """The number a message of ours carries, such as `u000123`; nothing for anybody else's."""
    found = NUMBER.search(body)
    return found.group().decode() if found else None


def packet_id(first, body):
    """Of a PUBLISH or anything that answers one; 0 at QoS 0."""
    kind = first >> 4
    if kind != PUBLISH:
        return struct.unpack(">H", body[:2])[0]
    if not first & 6:
        return 0
    at = 2 + struct.unpack(">H", body[:2])[0]
    return struct.unpack(">H", body[at:at + 2])[0]


class Wire:
    """One connection. `level` is 4, 5, or 0x84 with the bridge bit; a session is kept unless `clean`."""

    def __init__(self, port, client_id, level=4, clean=False, user=None, password=None, will=None, keep_alive=120):
        self.open(port, level)
        flags = (2 if clean else 0) | (0x80 if user else 0) | (0x40 if password else 0) | (4 if will else 0)
        body = text("MQTT") + bytes([level, flags]) + struct.pack(">H", keep_alive)
        if level == 5:  # session expiry 1 h, receive maximum 100
            properties = b"" if clean else b"\x11" + struct.pack(">I", 3600)
            properties += b"\x21" + struct.pack(">H", 100)
            body += bytes([len(properties)]) + properties
        body += text(client_id)
        if will:
            body += (b"\0" if level == 5 else b"") + text(will[0]) + text(will[1])
        body += (text(user) if user else b"") + (text(password) if password else b"")
        self.send(packet(CONNECT << 4, body))
        answer = self.wait(CONNACK)
        self.session_present = bool(answer[0] & 1)
        if answer[1]:
            raise Closed(f"CONNACK {answer[1]:#04x}")

    @classmethod
    def raw(cls, port, level):
        """A connection on which nothing has been said yet."""
        wire = cls.__new__(cls)
        wire.open(port, level)
        return wire

    def open(self, port, level):
        self.level, self.buffer, self.arrived = level, bytearray(), []
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data):
        try:
            self.socket.sendall(data)
        except OSError as error:
            raise Closed(str(error)) from error

    def read(self, seconds):
        """Packets that have come, after at most `seconds`."""
        if self.arrived:
            packets, self.arrived = self.arrived, []
            return packets
        if not select.select([self.socket], [], [], seconds)[0]:
            return []
        try:
            data = self.socket.recv(READ_SIZE)
        except OSError as error:
            raise Closed(str(error)) from error
        if not data:
            raise Closed("end of stream")
        self.buffer += data
        return split(self.buffer)

    def wait(self, kind, seconds=ANSWER_SECONDS):
        """The body of the next packet of that kind; what comes before it is kept for `read`."""
        end, early = time.monotonic() + seconds, []
        while time.monotonic() < end:
            packets = self.read(0.1)
            for at, (first, body) in enumerate(packets):
                if first >> 4 == kind:
                    self.arrived = early + packets[at + 1:]
                    return body
                early.append((first, body))
        raise Closed(f"no packet of kind {kind} within {seconds:g} s")

    def subscribe(self, topic_filter, qos):
        """The reason code that the broker answers with."""
        none = b"\0" if self.level == 5 else b""
        self.send(packet(SUBSCRIBE << 4 | 2, b"\0\1" + none + text(topic_filter) + bytes([qos])))
        return self.wait(SUBACK)[-1]

    def publish(self, topic, payload, qos=0, packet_number=0, flags=0):
        body = text(topic) + (struct.pack(">H", packet_number) if qos else b"")
        body += (b"\0" if self.level == 5 else b"") + payload
        self.send(packet(PUBLISH << 4 | qos << 1 | flags, body))

    def answer(self, kind, packet_number):
        self.send(packet(kind << 4 | (2 if kind == PUBREL else 0), struct.pack(">H", packet_number)))

    def close(self, goodbye=True):
        try:
            if goodbye:
                self.socket.sendall(packet(DISCONNECT << 4))
            self.socket.close()
        except OSError:
            pass
