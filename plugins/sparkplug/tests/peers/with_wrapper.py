"""mqtt-spb-wrapper: `write` says what it writes, `read` says how it reads what is on standard input."""

import sys

from mqtt_spb_wrapper.spb_base import SpbPayloadParser
from mqtt_spb_wrapper.spb_protobuf import sparkplug_b as spb
from shared import NOW, cases, judge, say, told

TYPES = spb.MetricDataType


def add(payload):
    for alias, (name, datatype, json, value) in enumerate(cases(), 1):
        if datatype == "DataSet":
            columns = {column: [row[at] for row in json["rows"]] for at, column in enumerate(json["columns"])}
            spb.addMetricDataset_from_dict(payload, name, alias, columns)
        elif value is not None and not datatype.endswith("Array") and datatype != "Template":
            spb.addMetric(payload, name, alias, getattr(TYPES, datatype), value, NOW)


def write():
    death = spb.getNodeDeathPayload()
    birth = spb.getNodeBirthPayload()
    add(birth)
    say("NBIRTH", "wrapper", birth.SerializeToString())
    data = spb.getDdataPayload()
    add(data)
    say("NDATA", "wrapper", data.SerializeToString())
    say("NDEATH", "wrapper", death.SerializeToString())


def read():
    for _, payload in told():
        parsed = SpbPayloadParser(payload).payload
        for metric in parsed["metrics"]:
            judge(metric["name"], metric.get("value"))


{"write": write, "read": read}[sys.argv[1]]()
