"""A collector of traces. Every request is read by OpenTelemetry's own protobuf definitions, strictly.

Prints a line of JSON for each span it takes, and one for each request that it refuses because of the file `answer`, which has
lines of status codes: the next request is answered with the first of them, which is taken out.
"""
import base64, http.server, json, os, sys
from google.protobuf.json_format import MessageToDict, ParseDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

port, answers = int(sys.argv[1]), sys.argv[2]


def bytes_of_ids(value):
    """OTLP writes ids in hexadecimal digits, where the JSON of protobuf has base64."""
    if isinstance(value, list):
        return [bytes_of_ids(one) for one in value]
    if not isinstance(value, dict):
        return value
    ids = ("traceId", "spanId", "parentSpanId")
    return {
        key: base64.b64encode(bytes.fromhex(one)).decode() if key in ids else bytes_of_ids(one)
        for key, one in value.items()
    }


def plain(attributes):
    def value(one):
        kind = one.WhichOneof("value")
        found = getattr(one, kind)
        return [value(each) for each in found.values] if kind == "array_value" else found

    return {one.key: value(one.value) for one in attributes}


def tell(line):
    print("COLLECTED " + json.dumps(line), flush=True)


def next_answer():
    if not os.path.exists(answers):
        return 200
    with open(answers) as file:
        first, *rest = file.read().split() or ["200"]
    with open(answers, "w") as file:
        file.write("\n".join(rest))
    return int(first)


class Collector(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.headers["Content-Type"] == "application/json", self.headers
        status = next_answer()
        if status == 200:
            request = ParseDict(bytes_of_ids(json.loads(body)), ExportTraceServiceRequest())
            for resource in request.resource_spans:
                of = plain(resource.resource.attributes)
                for span in (span for scope in resource.scope_spans for span in scope.spans):
                    assert len(span.trace_id) == 16 and len(span.span_id) == 8, span
                    assert 0 < span.start_time_unix_nano <= span.end_time_unix_nano, span
                    tell({
                        "path": self.path, "authorization": self.headers.get("Authorization"), "resource": of,
                        "trace": span.trace_id.hex(), "span": span.span_id.hex(), "parent": span.parent_span_id.hex(),
                        "name": span.name, "kind": span.kind, "attributes": plain(span.attributes),
                        "events": [event.name for event in span.events], "status": MessageToDict(span.status),
                        "ms": (span.end_time_unix_nano - span.start_time_unix_nano) / 1e6,
                    })
        else:
            tell({"refused": status})
        answer = b'{"partialSuccess":{}}' if status == 200 else b"not now"
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", port), Collector).serve_forever()
