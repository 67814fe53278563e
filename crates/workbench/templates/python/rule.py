"""Fahrenheit becomes Celsius; what is hotter than `above` goes to the target `alarms` as well."""

import math

from tidegate import Problem, drop, onward, target


def configure(config):
    """Checks the `config` table of the plugin and returns what `decide` needs of it."""
    config = {"field": "temp", "above": 50} | config
    for key in config.keys() - {"field", "above"}:
        raise Problem(key, "unknown key; there are `field` and `above`")
    if not isinstance(config["above"], (int, float)):
        raise Problem("above", "must be a number, in degrees Celsius")
    return config


def decide(message, config):
    """From a message to a decision: pass_(), drop(why), reject(why), retry(why), an output or a list of outputs."""
    reading, field = message.json(), config["field"]
    value = reading.get(field) if isinstance(reading, dict) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return drop("no such field")
    if not math.isfinite(value):
        return drop("no such field")  # 1e400 is JSON, and no number that a float holds
    celsius = math.floor((float(value) - 32) * 50 / 9 + 0.5) / 10
    converted = onward().json(reading | {field: celsius})
    if celsius <= config["above"]:
        return converted
    alarm = target("alarms").topic(f"alarm/{message.topic}").text(str(celsius))
    return [converted, alarm.user_property("above", str(config["above"]))]
