"""What stands between a rule and the gateway's contract (wit/gateway.wit): decisions in words, messages as Python has them.

The gateway calls `handle_packed`; `handle`, which the contract wants as well, answers the same by way of it.
What is imported here is there at run time too: only modules that are imported while the component is built are part of it.
"""

import json
from struct import pack

from packed import Message, pack_messages, to_json, u32
from wit_world.imports import log as _log
from wit_world.imports import types as wit

_LEVELS = {"debug": _log.Level.DEBUG, "info": _log.Level.INFO, "warn": _log.Level.WARN, "error": _log.Level.ERROR}
# In the order of the contract.
_DECISIONS = [wit.Decision_Drop, None, None, wit.Decision_Reject, wit.Decision_Retry]
_CHANGES = [
    wit.Change_Topic,
    wit.Change_Payload,
    wit.Change_Qos,
    wit.Change_Retain,
    wit.Change_ContentType,
    wit.Change_ResponseTopic,
    wit.Change_CorrelationData,
    wit.Change_MessageExpirySeconds,
    wit.Change_PayloadIsUtf8,
    wit.Change_UserProperty,
    wit.Change_Remove,
    wit.Change_Key,
]
_TOPIC, _PAYLOAD, _QOS, _RETAIN, _CONTENT_TYPE, _RESPONSE_TOPIC = range(6)
_CORRELATION_DATA, _EXPIRY, _IS_UTF8, _USER, _REMOVE, _KEY = range(6, 12)
_PROPERTIES = {member.name.lower(): member for member in wit.Property}


def log(level, line):
    """A line in the gateway's log: `debug`, `info`, `warn` or `error`."""
    _log.log(_LEVELS[level], _utf8(str(line)))


class Problem(Exception):
    """An error of the configuration, to be raised; `at` is a path into it."""

    def __init__(self, at, message):
        super().__init__(message)
        self.at, self.message = at, message


def pass_():
    """Onward, unchanged."""
    return _PASS


def drop(reason):
    """Nowhere, for this reason; counted under it, so let there be few."""
    return Decision(0, _text(reason, "reason"))


def reject(reason):
    """It will never be decided: the route's `on_failure`."""
    return Decision(3, _text(reason, "reason"))


def retry(reason):
    """Not now: try again later."""
    return Decision(4, _text(reason, "reason"))


def onward():
    """An output to the route's next plugin; after the last one, to the route's targets."""
    return Output(None)


def target(name):
    """An output straight to this broker or target set, which must be granted."""
    return Output(_text(name, "target"))


class Decision:
    """One without outputs."""

    __slots__ = ("kind", "reason")

    def __init__(self, kind, reason):
        self.kind, self.reason = kind, reason


_PASS = Decision(2, "")


class Output:
    """The message that came in, but for the changes that are said."""

    __slots__ = ("changes", "target")

    def __init__(self, target):
        # Each change is a number of the contract and a value.
        self.target, self.changes = target, []

    def _change(self, kind, value):
        self.changes.append((kind, value))
        return self

    def topic(self, topic):
        return self._change(_TOPIC, _text(topic, "topic"))

    def payload(self, payload):
        """Bytes."""
        return self._change(_PAYLOAD, _bytes(payload, "payload wants bytes; there are text() and json() too"))

    def text(self, payload):
        return self._change(_PAYLOAD, _text(payload, "text").encode())

    def json(self, value):
        return self._change(_PAYLOAD, to_json(value))

    def qos(self, level):
        if level not in (0, 1, 2):
            raise ValueError("qos is 0, 1 or 2")
        return self._change(_QOS, int(level))

    def retain(self, retained=True):
        return self._change(_RETAIN, bool(retained))

    def content_type(self, text):
        return self._change(_CONTENT_TYPE, _text(text, "content type"))

    def response_topic(self, topic):
        return self._change(_RESPONSE_TOPIC, _text(topic, "response topic"))

    def correlation_data(self, data):
        return self._change(_CORRELATION_DATA, _bytes(data, "correlation data wants bytes"))

    def expiry(self, seconds):
        return self._change(_EXPIRY, float(seconds))

    def payload_is_utf8(self, is_utf8=True):
        return self._change(_IS_UTF8, bool(is_utf8))

    def user_property(self, name, value):
        """One more, behind those that are there."""
        return self._change(_USER, (_text(name, "name"), _text(value, "value")))

    def remove(self, name):
        """Without this: `every`, `content_type`, `response_topic`, `correlation_data`, `message_expiry`, `payload_is_utf8`, `user`."""
        if name not in _PROPERTIES:
            raise ValueError(f"remove wants one of {', '.join(_PROPERTIES)}")
        return self._change(_REMOVE, _PROPERTIES[name])

    def key(self, key):
        """A set of policy `balance` chooses its member by this."""
        return self._change(_KEY, _text(key, "key"))


class Plugin:
    """What the gateway calls, of a module with `decide` and perhaps `configure` and `tick`."""

    def __init__(self, rule):
        self._rule, self._config = rule, None

    def configure(self, text):
        try:
            table = json.loads(text)
            configure = getattr(self._rule, "configure", None)
            self._config = configure(table) if configure else table
            return wit.Verdict_Accepted()
        except Problem as problem:
            return wit.Verdict_Refused([wit.Diagnostic(at=problem.at, message=problem.message)])

    def handle_packed(self, source, block):
        written = [block[:4]]
        self._decide_each(source, block, _packed_decision, written)
        return b"".join(written)

    def handle(self, source, messages):
        decisions = []
        self._decide_each(source, pack_messages(messages), _typed_decision, decisions)
        return decisions

    def tick(self, now_ms):
        try:
            return [_typed_output(output) for output in _outputs(self._rule.tick(now_ms, self._config), "tick")]
        except Exception as error:
            log("error", _words(error))
            raise

    def _decide_each(self, source, block, add, decisions):
        decide, config, at = self._rule.decide, self._config, 4
        for _ in range(u32(block, 0)[0]):
            message = Message(source, block, at)
            at, before = message.end, len(decisions)
            # An exception costs its own message, and no start anew.
            try:
                add(decisions, decide(message, config))
            except Exception as error:
                del decisions[before:]
                log("error", _words(error))
                add(decisions, reject(f"exception: {type(error).__name__}: {error}"))


def _words(error):
    """An exception and where it came from. `traceback` looks for the source files, and that traps without WASI."""
    words, of = [f"{type(error).__name__}: {error}"], error.__traceback__
    while of is not None:
        code = of.tb_frame.f_code
        words.append(f"  in {code.co_qualname}, {code.co_filename}:{of.tb_lineno}")
        of = of.tb_next
    return "\n".join(words)


def _outputs(returned, where):
    if isinstance(returned, Output):
        return [returned]
    if isinstance(returned, (list, tuple)) and all(isinstance(one, Output) for one in returned):
        return returned
    others = "pass_(), drop(why), " if where == "decide" else ""
    raise TypeError(f"{where} returned {returned!r}: return {others}an output or a list of outputs")


def _packed_decision(written, returned):
    if isinstance(returned, Decision):
        written.append(bytes([returned.kind]))
        if returned is not _PASS:
            _sized(written, returned.reason)
        return
    outputs = _outputs(returned, "decide")
    written.append(pack("<BI", 1, len(outputs)))
    for output in outputs:
        if output.target is None:
            written.append(b"\1")
        else:
            written.append(b"\0")
            _sized(written, output.target)
        written.append(pack("<I", len(output.changes)))
        for kind, value in output.changes:
            if isinstance(value, bytes):
                written += (pack("<BI", kind, len(value)), value)
            elif isinstance(value, str):
                written.append(bytes([kind]))
                _sized(written, value)
            elif kind == _USER:
                written.append(bytes([kind]))
                for text in value:
                    _sized(written, text)
            elif kind == _EXPIRY:
                written.append(pack("<Bd", kind, value))
            else:
                written.append(bytes([kind, value.value if kind == _REMOVE else value]))


def _sized(written, text):
    encoded = text.encode(errors="replace")
    written += (pack("<I", len(encoded)), encoded)


def _typed_decision(decisions, returned):
    if returned is _PASS:
        decisions.append(wit.Decision_Pass())
    elif isinstance(returned, Decision):
        decisions.append(_DECISIONS[returned.kind](_utf8(returned.reason)))
    else:
        decisions.append(wit.Decision_Forward([_typed_output(output) for output in _outputs(returned, "decide")]))


def _typed_output(output):
    to = wit.Destination_Onward() if output.target is None else wit.Destination_Target(_utf8(output.target))
    return wit.Output(to, [_CHANGES[kind](_typed_value(kind, value)) for kind, value in output.changes])


def _typed_value(kind, value):
    if kind == _QOS:
        return wit.Qos(value)
    if kind == _USER:
        return tuple(_utf8(text) for text in value)
    return _utf8(value) if isinstance(value, str) else value


def _utf8(text):
    """Half a surrogate pair becomes `?`."""
    return text.encode(errors="replace").decode()


def _text(value, what):
    if not isinstance(value, str):
        raise TypeError(f"{what} wants text, not {type(value).__name__}")
    return value


def _bytes(value, otherwise):
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise TypeError(otherwise)
    return bytes(value)
