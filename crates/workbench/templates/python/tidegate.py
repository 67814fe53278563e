"""What stands between a rule and the gateway's contract (wit/gateway.wit): decisions in words, messages as Python has them.

What is imported here is there at run time too: only modules that are imported while the component is built are part of it.
"""

import json
import traceback

from wit_world.imports import log as _log
from wit_world.imports import types as wit

_LEVELS = {"debug": _log.Level.DEBUG, "info": _log.Level.INFO, "warn": _log.Level.WARN, "error": _log.Level.ERROR}
_QOS = [wit.Qos.AT_MOST_ONCE, wit.Qos.AT_LEAST_ONCE, wit.Qos.EXACTLY_ONCE]
NONE = object()


def log(level, line):
    """A line in the gateway's log: `debug`, `info`, `warn` or `error`."""
    _log.log(_LEVELS[level], str(line))


class Problem(Exception):
    """An error of the configuration, to be raised; `at` is a path into it."""

    def __init__(self, at, message):
        super().__init__(message)
        self.at, self.message = at, message


def pass_():
    """Onward, unchanged."""
    return wit.Decision_Pass()


def drop(reason):
    """Nowhere, for this reason; counted under it, so let there be few."""
    return wit.Decision_Drop(_text(reason, "reason"))


def reject(reason):
    """It will never be decided: the route's `on_failure`."""
    return wit.Decision_Reject(_text(reason, "reason"))


def retry(reason):
    """Not now: try again later."""
    return wit.Decision_Retry(_text(reason, "reason"))


def onward():
    """An output to the route's next plugin; after the last one, to the route's targets."""
    return Output(wit.Destination_Onward())


def target(name):
    """An output straight to this broker or target set, which must be granted."""
    return Output(wit.Destination_Target(_text(name, "target")))


class Output:
    """The message that came in, but for the changes that are said."""

    def __init__(self, to):
        self.to, self.changes = to, []

    def _change(self, change):
        self.changes.append(change)
        return self

    def topic(self, topic):
        return self._change(wit.Change_Topic(_text(topic, "topic")))

    def payload(self, payload):
        """Bytes."""
        if not isinstance(payload, (bytes, bytearray, memoryview)):
            raise TypeError("payload wants bytes; there are text() and json() too")
        return self._change(wit.Change_Payload(bytes(payload)))

    def text(self, payload):
        return self.payload(_text(payload, "text").encode())

    def json(self, value):
        return self.text(json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")))

    def qos(self, level):
        return self._change(wit.Change_Qos(_QOS[level]))

    def retain(self, retained=True):
        return self._change(wit.Change_Retain(bool(retained)))

    def content_type(self, text):
        return self._change(wit.Change_ContentType(_text(text, "content type")))

    def response_topic(self, topic):
        return self._change(wit.Change_ResponseTopic(_text(topic, "response topic")))

    def expiry(self, seconds):
        return self._change(wit.Change_MessageExpirySeconds(float(seconds)))

    def user_property(self, name, value):
        """One more, behind those that are there."""
        return self._change(wit.Change_UserProperty((_text(name, "name"), _text(value, "value"))))

    def remove(self, name):
        """Without this: `every`, `content_type`, `response_topic`, `correlation_data`, `message_expiry`, `user`."""
        return self._change(wit.Change_Remove(wit.Property[name.upper()]))

    def key(self, key):
        """A set of policy `balance` chooses its member by this."""
        return self._change(wit.Change_Key(_text(key, "key")))


class Message:
    """A message as it came."""

    def __init__(self, message, source):
        self.source = source
        self.id, self.topic, self.payload = message.id, message.topic, message.payload
        self.qos, self.retain = message.qos.value, message.retain
        self.redelivered, self.received_ms = message.redelivered, message.received_ms
        self.properties = message.properties
        self._json = NONE

    def text(self):
        """The payload as text; None if it is not UTF-8."""
        try:
            return self.payload.decode()
        except UnicodeDecodeError:
            return None

    def json(self):
        """The payload as JSON; None if it is none. NaN and Infinity are no JSON."""
        if self._json is NONE:
            try:
                self._json = json.loads(self.payload.decode(), parse_constant=_no_constant)
            except (ValueError, RecursionError):
                self._json = None
        return self._json

    def user_property(self, name):
        """The first user property of this name, or None."""
        return next((value for key, value in self.properties.user if key == name), None)


def _no_constant(text):
    raise ValueError(text)


def _text(value, what):
    if not isinstance(value, str):
        raise TypeError(f"{what} wants text, not {type(value).__name__}")
    return value


class Rule:
    """What the gateway calls, of a module with `decide` and perhaps `configure`."""

    # Of the class: the runtime makes an object for each of the two functions below.
    config = None

    def __init__(self, rule):
        self.rule = rule

    def configure(self, text):
        try:
            table = json.loads(text)
            configure = getattr(self.rule, "configure", None)
            Rule.config = configure(table) if configure else table
            return wit.Verdict_Accepted()
        except Problem as problem:
            return wit.Verdict_Refused([wit.Diagnostic(at=problem.at, message=problem.message)])

    def handle(self, source, messages):
        return [self._decide(source, message) for message in messages]

    def _decide(self, source, message):
        # An exception costs its own message, and no start anew.
        try:
            return _decision(self.rule.decide(Message(message, source), Rule.config))
        except Exception as error:
            log("error", traceback.format_exc())
            return reject(f"exception: {type(error).__name__}: {error}")


def _decision(returned):
    if isinstance(returned, Output):
        returned = [returned]
    if isinstance(returned, (list, tuple)) and all(isinstance(one, Output) for one in returned):
        return wit.Decision_Forward([wit.Output(one.to, one.changes) for one in returned])
    if type(returned).__name__.startswith("Decision_"):
        return returned
    raise TypeError(f"decide returned {returned!r}: return pass_(), drop(why), an output or a list of outputs")
