"""Gives each key a budget of messages or bytes for a day; what is beyond it is dropped, or goes somewhere else."""

import state
from config import check
from tidegate import drop, log, pass_, target

_DAY_MS = 86_400_000
# A clock that was set back by more than this was wrong before, and its day is not waited for.
_DAYS_BACK = 1
# In the state a key is `20000/key/dev/1`, the day first; those beyond `max_keys`, and too long ones, are together in this.
_OTHERS = "others"
_MAX_KEY_LENGTH = 200
_FORGOTTEN_AT_ONCE = 20

OVER = "over the daily budget"


class Days:
    """The day it is, how many keys are counted in it, and what is kept of other days: all can be found again in the state."""

    def __init__(self):
        self.today, self.keys, self.stale = None, 0, []

    def at(self, day):
        """The day that counts: a clock set back a little does not give a new budget."""
        if self.today is None or not self.today - _DAYS_BACK <= day <= self.today:
            self._begin(day)
        # A few with each message, so that no call takes long.
        for name in self.stale[-_FORGOTTEN_AT_ONCE:]:
            state.delete(name)
        del self.stale[-_FORGOTTEN_AT_ONCE:]
        return self.today

    def _begin(self, day):
        days = {name: _day_of(name) for name in state.keys()}
        self.today = max((of for of in days.values() if of - _DAYS_BACK <= day <= of), default=day)
        self.stale = [name for name, of in days.items() if of != self.today]
        self.keys = len(days) - len(self.stale)


def _day_of(name):
    day = name.partition("/")[0]
    return int(day) if day.isdecimal() else -1


_days = Days()


def configure(config):
    return check(config)


def decide(message, config):
    key = _key_of(message, config.by)
    # One that comes again may have been counted, and must not be lost for that.
    if key is None or message.redelivered:
        return pass_()
    day = _days.at((message.received_ms + config.offset_ms) // _DAY_MS)
    name = f"{day}/key/{key}"
    is_short = len(key) <= _MAX_KEY_LENGTH
    used = state.get(name) if is_short else None
    is_new = used is None and is_short and _days.keys < config.max_keys
    if used is None and not is_new:
        log("warn", f"{_days.keys} keys are known today, or one is longer than {_MAX_KEY_LENGTH}: others share one budget")
        name = f"{day}/{_OTHERS}"
        used = state.get(name)
    messages, size = used or (0, 0)
    messages, size = messages + 1, size + len(message.payload)
    if _within(messages, config.messages) and _within(size, config.bytes):
        state.set(name, [messages, size])
        _days.keys += is_new
        return pass_()
    return drop(OVER) if config.over is None else target(config.over).user_property("reason", OVER)


def _key_of(message, by):
    kind, which = by
    if kind == "topic":
        return message.topic
    if kind == "all":
        return ""
    if kind == "level":
        levels = message.topic.split("/")
        return levels[which] if which < len(levels) else None
    reading = message.json()
    value = reading.get(which) if isinstance(reading, dict) else None
    return str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else None


def _within(used, budget):
    return budget is None or used <= budget
