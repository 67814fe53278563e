"""The durable state of the plugin: `import state`. Only worlds with `stateful` in their name have it, and the gateway must grant it
(`grants = { state = true }`). What a call writes takes effect together with its decisions, or not at all.
"""

from packed import from_json, to_json
from wit_world.imports import state as _durable


def get(key, otherwise=None):
    """The value of a key, kept as JSON; `otherwise` if there is none."""
    kept = _durable.get(key)
    if kept is None:
        return otherwise
    try:
        return from_json(str(kept, "utf-8"))
    except ValueError:
        raise ValueError(f"the state of {key} is no JSON; get_bytes() reads it, delete() forgets it") from None


def set(key, value):
    """Keeps a value as JSON."""
    _durable.set(key, to_json(value))


def get_bytes(key):
    """The bytes of a key, or None."""
    return _durable.get(key)


def set_bytes(key, value):
    """Keeps bytes."""
    _durable.set(key, bytes(value))


def delete(key):
    """Forgets a key."""
    _durable.delete(key)


def keys(prefix=""):
    """The keys that begin with this, all if with nothing."""
    return _durable.keys(prefix)
