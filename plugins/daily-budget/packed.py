"""The block of bytes that a batch of messages comes as: docs/plugins/packed.md of Tidegate; and JSON as text that is UTF-8."""

import json
import re
from struct import Struct, pack

# JSON of more levels is none: Python recurses for each, and would end the plugin for want of a stack.
_LEVELS = 128
_ALL_BUT_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"|[^\[\]{}"]+', re.DOTALL)


def _is_deep(text):
    if len(text) <= _LEVELS or text.count("[") + text.count("{") <= _LEVELS:
        return False
    levels = 0
    for bracket in _ALL_BUT_BRACKETS.sub("", text):
        levels += 1 if bracket in "[{" else -1
        if levels > _LEVELS:
            return True
    return False


# `json.loads` and `json.dumps` with options make a decoder or an encoder for each call.


def _no_constant(text):
    raise ValueError(f"{text} is no JSON")


def _encoder():
    encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    try:
        # `encode` makes one of these for each value. They belong to Python's own code, so one that is otherwise is not taken.
        make, quote = json.encoder.c_make_encoder, json.encoder.encode_basestring
        chunks = make(None, encoder.default, quote, None, ":", ",", False, False, False)
        if "".join(chunks({"a": [1.5, "é"]}, 0)) == '{"a":[1.5,"é"]}':
            return lambda value: "".join(chunks(value, 0))
    except Exception:
        pass
    return encoder.encode


_decode = json.JSONDecoder(parse_constant=_no_constant).decode
_encode = _encoder()

_HEAD = Struct("<QQBI").unpack_from
u32 = Struct("<I").unpack_from
_NOT_READ = object()


def from_json(text):
    """A value of JSON; ValueError if it is none. NaN and Infinity are no JSON."""
    return _decode(text)


def to_json(value):
    """Compactly, as bytes."""
    return _encode(value).encode()


class Properties:
    """Of a message; None for what is absent."""

    __slots__ = ("content_type", "correlation_data", "message_expiry_seconds", "payload_is_utf8", "response_topic", "user")

    def __init__(self):
        self.content_type = self.response_topic = self.correlation_data = self.message_expiry_seconds = None
        self.payload_is_utf8, self.user = False, []

    def read(self, block, at):
        present, at = block[at], at + 1
        if present & 1:
            self.content_type, at = _text(block, at)
        if present & 2:
            self.response_topic, at = _text(block, at)
        if present & 4:
            end = at + 4 + u32(block, at)[0]
            self.correlation_data, at = block[at + 4 : end], end
        if present & 8:
            self.message_expiry_seconds, at = u32(block, at)[0], at + 4
        self.payload_is_utf8 = bool(present & 16)
        count, at = u32(block, at)[0], at + 4
        for _ in range(count):
            name, at = _text(block, at)
            value, at = _text(block, at)
            self.user.append((name, value))


class Message:
    """A message as it came. What is not asked for is not decoded."""

    __slots__ = ("_block", "_json", "_payload_at", "_payload_end", "_properties", "_topic", "_topic_at", "_flags", "id", "received_ms", "source")

    def __init__(self, source, block, at):
        self.source, self._block = source, block
        self.id, self.received_ms, self._flags, length = _HEAD(block, at)
        self._topic_at = at + 21
        self._payload_at = at + 25 + length
        self._payload_end = self._payload_at + u32(block, self._payload_at - 4)[0]
        self._json = _NOT_READ
        self._properties = self._topic = None

    @property
    def end(self):
        """Where the next one begins."""
        return _after_properties(self._block, self._payload_end) if self._flags & 16 else self._payload_end

    @property
    def qos(self):
        return self._flags & 3

    @property
    def retain(self):
        return bool(self._flags & 4)

    @property
    def redelivered(self):
        """True when an earlier call with this message may have happened."""
        return bool(self._flags & 8)

    @property
    def topic(self):
        if self._topic is None:
            self._topic = str(self._block[self._topic_at : self._payload_at - 4], "utf-8")
        return self._topic

    @property
    def payload(self):
        return self._block[self._payload_at : self._payload_end]

    @property
    def properties(self):
        """With `content_type`, `response_topic`, `correlation_data`, `message_expiry_seconds`, `payload_is_utf8`, `user`."""
        if self._properties is None:
            self._properties = Properties()
            if self._flags & 16:
                self._properties.read(self._block, self._payload_end)
        return self._properties

    def text(self):
        """The payload as text; None if it is not UTF-8."""
        try:
            return str(self.payload, "utf-8")
        except UnicodeDecodeError:
            return None

    def json(self):
        """The payload as JSON; None if it is none. NaN and Infinity are no JSON. Do not change what it returns: make a new one."""
        if self._json is _NOT_READ:
            try:
                text = str(self.payload, "utf-8")
                self._json = None if _is_deep(text) else _decode(text)
            except (ValueError, RecursionError):
                self._json = None
        return self._json

    def user_property(self, name):
        """The first user property of this name, or None."""
        return next((value for key, value in self.properties.user if key == name), None)


def _text(block, at):
    end = at + 4 + u32(block, at)[0]
    return str(block[at + 4 : end], "utf-8"), end


def _after_properties(block, at):
    present, at = block[at], at + 1
    for bit in (1, 2, 4):
        if present & bit:
            at += 4 + u32(block, at)[0]
    if present & 8:
        at += 4
    texts, at = 2 * u32(block, at)[0], at + 4
    for _ in range(texts):
        at += 4 + u32(block, at)[0]
    return at


def pack_messages(messages):
    """The block of messages that came field by field."""
    written = [pack("<I", len(messages))]
    for message in messages:
        flags = message.qos.value | message.retain << 2 | message.redelivered << 3 | 16
        written.append(pack("<QQB", message.id, message.received_ms, flags))
        _sized(written, message.topic.encode(), message.payload)
        of = message.properties
        sized = [of.content_type, of.response_topic, of.correlation_data]
        present = sum(1 << bit for bit, value in enumerate([*sized, of.message_expiry_seconds]) if value is not None)
        written.append(bytes([present | of.payload_is_utf8 << 4]))
        for value in sized:
            if value is not None:
                _sized(written, value if isinstance(value, bytes) else value.encode())
        if of.message_expiry_seconds is not None:
            written.append(pack("<I", of.message_expiry_seconds))
        written.append(pack("<I", len(of.user)))
        for name, value in of.user:
            _sized(written, name.encode(), value.encode())
    return b"".join(written)


def _sized(written, *values):
    for value in values:
        written += (pack("<I", len(value)), value)
