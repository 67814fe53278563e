// What stands between a rule and the gateway's contract (wit/gateway.wit): decisions in words, messages as JavaScript has them.
// The gateway calls `handlePacked`; `handle`, which the contract wants as well, answers the same by way of it.
import { log as write } from "tidegate:gateway/log@1.0.0";
import { Block, Message, Writer } from "./packed.js";
import { encode } from "./text.js";

/** Onward, unchanged. */
export const pass = () => PASS;
/** Nowhere, for this reason; counted under it, so let there be few. */
export const drop = (reason) => new Decision(DROP, text(reason, "reason"));
/** It will never be decided: the route's `on_failure`. */
export const reject = (reason) => new Decision(REJECT, text(reason, "reason"));
/** Not now: try again later. */
export const retry = (reason) => new Decision(RETRY, text(reason, "reason"));
/** An output to the route's next plugin; after the last one, to the route's targets. */
export const onward = () => new Output(undefined);
/** An output straight to this broker or target set, which must be granted. */
export const target = (name) => new Output(text(name, "target"));
/** An error of the configuration, to be thrown: `at` is a path into it. */
export const problem = (at, message) => Object.assign(new Error(message), { at });

/** Lines in the gateway's log. */
export const log = Object.fromEntries(
  ["debug", "info", "warn", "error"].map((level) => [level, (line) => write(level, String(line).toWellFormed())]),
);

// In the order of the contract.
const DECISIONS = ["drop", "forward", "pass", "reject", "retry"];
const [DROP, FORWARD, , REJECT, RETRY] = DECISIONS.keys();
const CHANGES = ["topic", "payload", "qos", "retain", "content-type", "response-topic", "correlation-data",
  "message-expiry-seconds", "payload-is-utf8", "user-property", "remove", "key"];
const [TOPIC, PAYLOAD, QOS, RETAIN, CONTENT_TYPE, RESPONSE_TOPIC, CORRELATION_DATA, EXPIRY, IS_UTF8, USER, REMOVE, KEY] = CHANGES.keys();
const LEVELS = ["at-most-once", "at-least-once", "exactly-once"];
const PROPERTIES = ["every", "content-type", "response-topic", "correlation-data", "message-expiry", "payload-is-utf8", "user"];

class Decision {
  constructor(kind, reason) {
    this.kind = kind;
    this.reason = reason;
  }
}
const PASS = new Decision(DECISIONS.indexOf("pass"));

/** The message that came in, but for the changes that are said. */
export class Output {
  constructor(target) {
    this.target = target;
    this.changes = []; // each a number of the contract and a value
  }

  _change(kind, value) {
    this.changes.push(kind, value);
    return this;
  }

  topic(topic) {
    return this._change(TOPIC, text(topic, "topic"));
  }
  /** Bytes: a Uint8Array. */
  payload(payload) {
    return this._change(PAYLOAD, bytes(payload, "payload wants a Uint8Array; there are text() and json() too"));
  }
  text(payload) {
    return this._change(PAYLOAD, text(payload, "text"));
  }
  json(value) {
    const written = JSON.stringify(value);
    if (written === undefined) throw new TypeError("json wants a value; undefined is none");
    return this._change(PAYLOAD, written);
  }
  qos(level) {
    if (LEVELS[level] === undefined) throw new TypeError("qos is 0, 1 or 2");
    return this._change(QOS, level);
  }
  retain(retained = true) {
    return this._change(RETAIN, retained === true);
  }
  contentType(type) {
    return this._change(CONTENT_TYPE, text(type, "content type"));
  }
  responseTopic(topic) {
    return this._change(RESPONSE_TOPIC, text(topic, "response topic"));
  }
  correlationData(data) {
    return this._change(CORRELATION_DATA, bytes(data, "correlation data wants a Uint8Array"));
  }
  expiry(seconds) {
    if (typeof seconds !== "number") throw new TypeError("expiry wants a number of seconds");
    return this._change(EXPIRY, seconds);
  }
  payloadIsUtf8(isUtf8 = true) {
    return this._change(IS_UTF8, isUtf8 === true);
  }
  /** One more user property, behind those that are there. */
  userProperty(name, value) {
    return this._change(USER, [text(name, "name"), text(value, "value")]);
  }
  /** Without this: `every`, `content-type`, `response-topic`, `correlation-data`, `message-expiry`, `payload-is-utf8`, `user`. */
  remove(property) {
    const number = PROPERTIES.indexOf(property);
    if (number < 0) throw new TypeError(`remove wants one of ${PROPERTIES.join(", ")}`);
    return this._change(REMOVE, number);
  }
  /** A set of policy `balance` chooses its member by this. */
  key(key) {
    return this._change(KEY, text(key, "key"));
  }
}

/** What the gateway calls, of a rule with `decide` and perhaps `configure` and `tick`. */
export function join(rule) {
  const writer = new Writer();
  let config;

  function configure(json) {
    try {
      const table = JSON.parse(json);
      config = rule.configure ? rule.configure(table) : table;
      return { tag: "accepted" };
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      return { tag: "refused", val: [{ at: String(error?.at ?? ""), message }] };
    }
  }

  /** Each message of a block to `each`, which says what becomes of it. */
  function decideEach(source, packed, each) {
    const block = new Block(packed);
    let at = 4;
    for (let left = block.u32(0); left > 0; left--) {
      const message = new Message(source, block, at);
      at = Message.end(message);
      // An exception costs its own message, and no start anew.
      const before = writer.end;
      try {
        each(rule.decide(message, config));
      } catch (error) {
        writer.end = before;
        log.error(`${error}\n${error?.stack ?? ""}`);
        each(reject(`exception: ${error}`));
      }
    }
  }

  function handlePacked(source, packed) {
    writer.end = 0;
    writer.u32(new Block(packed).u32(0));
    decideEach(source, packed, (returned) => writeDecision(writer, returned));
    return writer.take();
  }

  function handle(source, messages) {
    const decisions = [];
    decideEach(source, packMessages(messages), (returned) => decisions.push(typedDecision(returned)));
    return decisions;
  }

  function tick(nowMs) {
    try {
      return outputs(rule.tick(Number(nowMs), config), "tick").map(typedOutput);
    } catch (error) {
      log.error(`${error}\n${error?.stack ?? ""}`);
      throw error;
    }
  }

  return { handler: { configure, handle }, packed: { handlePacked }, timer: { tick } };
}

function outputs(returned, where) {
  if (returned instanceof Output) return [returned];
  if (Array.isArray(returned) && returned.every((one) => one instanceof Output)) return returned;
  const others = where === "decide" ? "pass(), drop(why), " : "";
  throw new TypeError(`${where} returned ${returned}: return ${others}an output or a list of outputs`);
}

function writeDecision(writer, returned) {
  if (returned instanceof Decision) {
    writer.u8(returned.kind);
    if (returned !== PASS) writer.sized(returned.reason);
    return;
  }
  writer.u8(FORWARD);
  const all = outputs(returned, "decide");
  writer.u32(all.length);
  for (const { target, changes } of all) {
    if (target === undefined) {
      writer.u8(1);
    } else {
      writer.u8(0);
      writer.sized(target);
    }
    writer.u32(changes.length / 2);
    for (let at = 0; at < changes.length; at += 2) writeChange(writer, changes[at], changes[at + 1]);
  }
}

function writeChange(writer, kind, value) {
  writer.u8(kind);
  if (kind === EXPIRY) writer.f64(value);
  else if (kind === USER) value.forEach((text) => writer.sized(text));
  else if (typeof value === "object" || typeof value === "string") writer.sized(value);
  else writer.u8(Number(value));
}

// As `handle` and `tick` have them.

function typedDecision(returned) {
  if (returned === PASS) return { tag: "pass" };
  if (returned instanceof Decision) return { tag: DECISIONS[returned.kind], val: returned.reason.toWellFormed() };
  return { tag: "forward", val: outputs(returned, "decide").map(typedOutput) };
}

function typedOutput({ target, changes }) {
  const typed = [];
  for (let at = 0; at < changes.length; at += 2) {
    typed.push({ tag: CHANGES[changes[at]], val: typedValue(changes[at], changes[at + 1]) });
  }
  return { to: target === undefined ? { tag: "onward" } : { tag: "target", val: target.toWellFormed() }, changes: typed };
}

function typedValue(kind, value) {
  if (kind === PAYLOAD && typeof value === "string") return encode(value);
  if (kind === QOS) return LEVELS[value];
  if (kind === USER) return value.map((text) => text.toWellFormed());
  if (typeof value === "string") return value.toWellFormed();
  return kind === REMOVE ? PROPERTIES[value] : value;
}

function packMessages(messages) {
  const writer = new Writer();
  writer.u32(messages.length);
  for (const { id, receivedMs, qos, retain, redelivered, topic, payload, properties } of messages) {
    writer.u64(Number(id));
    writer.u64(Number(receivedMs));
    writer.u8(LEVELS.indexOf(qos) | (retain ? 4 : 0) | (redelivered ? 8 : 0) | 16);
    writer.sized(topic);
    writer.sized(payload);
    const { contentType, responseTopic, correlationData, messageExpirySeconds, payloadIsUtf8, user } = properties;
    const sized = [contentType, responseTopic, correlationData];
    const present = [...sized, messageExpirySeconds].map((value, bit) => (value == null ? 0 : 1 << bit));
    writer.u8(present.reduce((all, bit) => all | bit, payloadIsUtf8 ? 16 : 0));
    for (const value of sized) if (value != null) writer.sized(value);
    if (messageExpirySeconds != null) writer.u32(messageExpirySeconds);
    writer.u32(user.length);
    for (const property of user) property.forEach((text) => writer.sized(text));
  }
  return writer.take();
}

function text(value, what) {
  if (typeof value !== "string") throw new TypeError(`${what} wants text, not ${typeof value}`);
  return value;
}

function bytes(value, otherwise) {
  if (!(value instanceof Uint8Array)) throw new TypeError(otherwise);
  return value;
}
