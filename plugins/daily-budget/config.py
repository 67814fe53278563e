"""The plugin's configuration, checked."""

import re
from dataclasses import dataclass

from tidegate import Problem

_KEYS = ["by", "bytes", "max_keys", "messages", "over", "utc_offset"]
_MAX_KEYS = 5000
_MAX_BUDGET = 2**53 - 1
_OFFSET = re.compile(r"([+-])(\d\d):(\d\d)")
_MAX_OFFSET_MINUTES = 14 * 60


@dataclass(frozen=True, slots=True)
class Config:
    """What a key may use in a day; None is no limit."""

    messages: int | None
    bytes: int | None
    # "topic", "all", or what kind and which one.
    by: tuple
    # None drops what is beyond the budget.
    over: str | None
    offset_ms: int
    max_keys: int


def check(table):
    for key in table:
        if key not in _KEYS:
            raise Problem(key, f"unknown key; there are {', '.join(_KEYS)}")
    messages, size = _whole(table, "messages", None, _MAX_BUDGET), _whole(table, "bytes", None, _MAX_BUDGET)
    if messages is None and size is None:
        raise Problem("", "a budget is missing: `messages`, `bytes`, or both, for a day")
    return Config(
        messages=messages,
        bytes=size,
        by=_by(table.get("by", "topic")),
        over=_over(table.get("over", "drop")),
        offset_ms=_offset_ms(table.get("utc_offset", "+00:00")),
        max_keys=_whole(table, "max_keys", 2000, _MAX_KEYS),
    )


def _by(by):
    if by in ("topic", "all"):
        return (by, None)
    if isinstance(by, dict) and len(by) == 1:
        ((kind, which),) = by.items()
        if kind == "level" and _is_whole(which) and 0 <= which < 128:
            return ("level", which)
        if kind == "field" and isinstance(which, str) and which:
            return ("field", which)
    raise Problem("by", 'must be "topic", "all", { level = 1 } (from 0) or { field = "name" }')


def _over(over):
    if over == "drop":
        return None
    if isinstance(over, dict) and list(over) == ["target"] and isinstance(over["target"], str) and over["target"]:
        return over["target"]
    raise Problem("over", 'must be "drop" or { target = "name" }')


def _offset_ms(text):
    match = _OFFSET.fullmatch(text) if isinstance(text, str) else None
    if match:
        sign, hours, minutes = match.groups()
        total = int(hours) * 60 + int(minutes)
        if int(minutes) < 60 and total <= _MAX_OFFSET_MINUTES:
            return (-total if sign == "-" else total) * 60_000
    raise Problem("utc_offset", 'must be the difference to UTC such as "+01:00", at most 14 hours')


def _whole(table, key, otherwise, most):
    value = table.get(key, otherwise)
    if value is otherwise or (_is_whole(value) and 1 <= value <= most):
        return value
    raise Problem(key, f"must be a whole number from 1 to {most}")


def _is_whole(value):
    return isinstance(value, int) and not isinstance(value, bool)
