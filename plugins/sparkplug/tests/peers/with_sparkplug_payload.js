// sparkplug-payload: `write` says what it writes, `read` says how it reads what is on standard input.

const fs = require("fs");
const path = require("path");
const Long = require("long");
const sparkplug = require("sparkplug-payload").get("spBv1.0");

const NOW = 1700000000000;
const text = fs.readFileSync(path.join(__dirname, "cases.json"), "utf8");
// The value as it is written there, for numbers of 64 bits are not exact here.
const cases = text.split("\n").map((line) => line.match(/^ *\["(\w+)", (.*)\],?$/)).filter(Boolean);

function native(type, json) {
  if (/^U?Int64$/.test(type)) return Long.fromString(json, type === "UInt64");
  const value = JSON.parse(json);
  if (type === "DateTime") return Long.fromNumber(value, true);
  if ((type === "Float" || type === "Double") && typeof value === "string") return Number(value);
  if (type === "Bytes" || type === "File") return Buffer.from(value, "base64");
  if (type === "DataSet") return { numOfColumns: 2, ...value, rows: value.rows.map(([a, b]) => [Long.fromNumber(a), b]) };
  if (type !== "Template") return value;
  const member = ({ name, datatype, value, timestamp }) => ({ name, type: datatype, value, timestamp });
  const { template_ref: templateRef, is_definition: isDefinition } = value;
  return { templateRef, isDefinition, parameters: value.parameters.map(member), metrics: value.metrics.map(member) };
}

function metrics(withNames) {
  return cases.map(([, type, json], at) => {
    const value = native(type, json);
    const name = `${type} ${json}`;
    return { ...(withNames && { name }), alias: at + 1, timestamp: NOW, type, value, ...(value === null && { isNull: true }) };
  });
}

function say(kind, payload) {
  const bytes = sparkplug.encodePayload(payload);
  console.log(`spBv1.0/plant/${kind}/sparkplug-payload ${Buffer.from(bytes).toString("hex")}`);
}

function write() {
  const bdSeq = { name: "bdSeq", timestamp: NOW, type: "Int64", value: Long.fromNumber(3) };
  say("NBIRTH", { timestamp: NOW, seq: 0, metrics: [bdSeq, ...metrics(true)] });
  say("NDATA", { timestamp: NOW, seq: 1, metrics: metrics(false) });
  say("NDEATH", { timestamp: NOW, metrics: [bdSeq] });
}

// What it gives, as the case has it.
function understood(type, value) {
  if (type === "DataSet" && value) {
    const { columns, types, rows } = value;
    return { columns, rows: rows.map((row) => row.map((cell) => (Long.isLong(cell) ? cell.toNumber() : cell))), types };
  }
  if (type === "Template" && value) {
    const member = ({ name, type, value, timestamp }) => ({ datatype: type, name, timestamp: timestamp && Number(timestamp), value });
    const { templateRef: template_ref, isDefinition: is_definition, parameters, metrics } = value;
    return { is_definition, metrics: metrics.map(member), parameters: parameters.map(member), template_ref };
  }
  return value ?? null;
}

function plain(value) {
  if (Long.isLong(value)) return value.toString();
  if (value instanceof Uint8Array) return JSON.stringify(Buffer.from(value).toString("base64"));
  if (typeof value === "number" && !Number.isFinite(value)) return JSON.stringify(String(value));
  return Object.is(value, -0) ? "-0.0" : JSON.stringify(value);
}

function read() {
  for (const line of fs.readFileSync(0, "utf8").split("\n").filter((line) => line && !line.startsWith("#"))) {
    const [topic, hex] = line.split(" ");
    let payload;
    try {
      payload = sparkplug.decodePayload(Buffer.from(hex, "hex"));
    } catch (error) {
      console.log(`WRONG a ${topic.split("/")[2]}: ${error}`);
      continue;
    }
    for (const { name, value, type } of payload.metrics) {
      const wanted = name.slice(name.indexOf(" ") + 1);
      let got = plain(understood(type, value));
      if (type === "Float" && typeof value === "number") got = String(Math.fround(JSON.parse(wanted)) === value ? wanted : got);
      const good = got === wanted;
      console.log(`${good ? "ok   " : "WRONG"} ${name.slice(0, 60)}${good ? "" : `: ${got}`.slice(0, 100)}`);
    }
  }
}

({ write, read })[process.argv[2]]();
