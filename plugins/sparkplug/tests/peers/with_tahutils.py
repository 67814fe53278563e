"""tahutils: `write` says what it writes, `read` says how it reads what is on standard input."""

import sys

from shared import NOW, cases, judge, say, told
from tahutils.parse import parse_metric_value, payload_from_string
from tahutils.tahu import sparkplug_b as spb

TYPES = spb.MetricDataType


def add(payload, with_names):
    for alias, (name, datatype, json, value) in enumerate(cases(), 1):
        title = (name if with_names else None, alias)
        if datatype == "DataSet":
            types = [getattr(spb.DataSetDataType, column) for column in json["types"]]
            data_set = spb.initDatasetMetric(payload, *title, json["columns"], types)
            for row in json["rows"]:
                elements = data_set.rows.add().elements
                elements.add().long_value = row[0]
                elements.add().string_value = row[1]
        elif datatype == "Template":
            template = spb.initTemplateMetric(payload, *title, json["template_ref"])
            parameter = template.parameters.add()
            parameter.name, parameter.type, parameter.string_value = "p", 12, "x"
            inner = json["metrics"][0]
            spb.addMetric(template, inner["name"], None, TYPES.Double, inner["value"], NOW)
        elif not hasattr(TYPES, datatype):
            continue  # it has no arrays
        elif value is None:
            spb.addNullMetric(payload, *title, getattr(TYPES, datatype), NOW)
        else:
            spb.addMetric(payload, *title, getattr(TYPES, datatype), value, NOW)


def write():
    death = spb.getNodeDeathPayload()
    birth = spb.getNodeBirthPayload()
    add(birth, True)
    say("NBIRTH", "tahutils", birth.SerializeToString())
    data = spb.getDdataPayload()
    add(data, False)
    say("NDATA", "tahutils", data.SerializeToString())
    say("NDEATH", "tahutils", death.SerializeToString())


def read():
    for _, payload in told():
        for metric in payload_from_string(payload).metrics:
            try:
                judge(metric.name, parse_metric_value(metric))
            except NotImplementedError as error:
                print(f"WRONG {metric.name[:60]}: {error!r}")


{"write": write, "read": read}[sys.argv[1]]()
