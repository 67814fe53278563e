"""pysparkplug: `write` says what it writes, `read` says how it reads what is on standard input."""

import datetime
import re
import sys

from pysparkplug import DataType, Metric, NBirth, NCmd, NData, NDeath
from shared import NOW, cases, judge, say, told

ENUM = {re.sub("_", "", datatype.name).upper(): datatype for datatype in DataType}


def moment(ms):
    return datetime.datetime.fromtimestamp(ms / 1000, tz=datetime.timezone.utc)


def metrics(with_names):
    for alias, (name, datatype, _, value) in enumerate(cases(), 1):
        if datatype in ("DataSet", "Template"):
            continue
        if datatype == "DateTime":
            value = moment(value)
        if datatype == "DateTimeArray":
            value = tuple(map(moment, value))
        yield Metric(NOW, name if with_names else None, ENUM[datatype.upper()], None, value, alias, is_null=value is None)


def write():
    bd_seq = Metric(NOW, "bdSeq", DataType.INT64, None, 3)
    say("NBIRTH", "pysparkplug", NBirth(NOW, 0, (bd_seq, *metrics(True))).encode())
    say("NDATA", "pysparkplug", NData(NOW, 1, tuple(metrics(False))).encode(include_dtypes=True))
    say("NDATA", "pysparkplug", NData(NOW, 2, tuple(metrics(False))).encode())
    say("NDATA", "pysparkplug", NData(NOW, 3, tuple(metrics(True))).encode())
    say("NDEATH", "pysparkplug", NDeath(NOW, bd_seq).encode())


def read():
    for kind, payload in told():
        decoded = None
        try:
            decoded = (NCmd if kind == "NCMD" else NData).decode(payload)
        except Exception as error:  # one metric that it cannot read costs it the whole payload
            print(f"WRONG a {kind}: {error!r}")
        for metric in decoded.metrics if decoded else ():
            judge(metric.name, metric.value)


{"write": write, "read": read}[sys.argv[1]]()
