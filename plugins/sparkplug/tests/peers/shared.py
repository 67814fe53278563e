"""What the three programs in Python share: the cases, and how messages are written down and compared.

A metric is named by its datatype and its value as JSON, so that who reads it can tell whether it was read rightly.
"""

import base64
import datetime
import json
import math
import os
import struct
import sys

NOW = 1_700_000_000_000
NODE = "spBv1.0/plant/%s/%s"


def cases():
    """Each metric: its name, its datatype, its value as JSON has it, and as Python has it."""
    with open(os.path.join(os.path.dirname(__file__), "cases.json"), encoding="utf-8") as file:
        for datatype, value in json.load(file):
            yield f"{datatype} {json.dumps(value, ensure_ascii=False)}", datatype, value, native(datatype, value)


def native(datatype, value):
    if isinstance(value, str) and datatype in ("Float", "Double"):
        return float(value.replace("Infinity", "inf"))
    if isinstance(value, str) and datatype in ("Bytes", "File"):
        return base64.b64decode(value)
    return value


def say(kind, edge, payload):
    print(NODE % (kind, edge), payload.hex())


def told():
    """The messages on standard input."""
    for line in sys.stdin:
        if not line.startswith("#"):
            topic, payload = line.split()
            yield topic.split("/")[2], bytes.fromhex(payload)


def plain(value):
    """A value as JSON would have it."""
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime.datetime):
        return round(value.timestamp() * 1000)
    if isinstance(value, (list, tuple)):
        return [plain(element) for element in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def judge(name, value):
    """One line: whether what was read is what the metric's name says."""
    datatype, wanted = name.split(" ", 1)
    wanted = json.loads(wanted)
    value = plain(value)
    if datatype == "DataSet" and isinstance(value, list):
        wanted = wanted["rows"]  # all that tahutils gives of it
    if datatype == "Float" and isinstance(wanted, float) and isinstance(value, float):
        wanted, value = (struct.unpack("<f", struct.pack("<f", number))[0] for number in (wanted, value))
    good = same(value, wanted)
    print(f"{'ok   ' if good else 'WRONG'} {name[:60]}" + ("" if good else f": {value!r}"[:100]))


def same(a, b):
    return repr(a) == repr(b) or type(a) is not bool and type(b) is not bool and a == b
