// What stands between a rule and the gateway's contract (wit/gateway.wit): decisions in words, messages as JavaScript has them.
// It runs in both engines: QuickJS has no TextEncoder, no TextDecoder and no console.
import { log as write } from "tidegate:gateway/log@1.0.0";

/** Onward, unchanged. */
export const pass = () => ({ tag: "pass" });
/** Nowhere, for this reason; counted under it, so let there be few. */
export const drop = (reason) => ({ tag: "drop", val: text(reason, "reason") });
/** It will never be decided: the route's `on_failure`. */
export const reject = (reason) => ({ tag: "reject", val: text(reason, "reason") });
/** Not now: try again later. */
export const retry = (reason) => ({ tag: "retry", val: text(reason, "reason") });
/** An output to the route's next plugin; after the last one, to the route's targets. */
export const onward = () => new Output({ tag: "onward" });
/** An output straight to this broker or target set, which must be granted. */
export const target = (name) => new Output({ tag: "target", val: text(name, "target") });
/** An error of the configuration, to be thrown: `at` is a path into it. */
export const problem = (at, message) => Object.assign(new Error(message), { at });

/** Lines in the gateway's log. */
export const log = Object.fromEntries(
  ["debug", "info", "warn", "error"].map((level) => [level, (line) => write(level, String(line))]),
);

const QOS = ["at-most-once", "at-least-once", "exactly-once"];

/** The message that came in, but for the changes that are said. */
class Output {
  constructor(to) {
    this.to = to;
    this.changes = [];
  }

  #change(tag, val) {
    this.changes.push({ tag, val });
    return this;
  }

  topic(topic) {
    return this.#change("topic", text(topic, "topic"));
  }
  /** Bytes: a Uint8Array. */
  payload(bytes) {
    if (!(bytes instanceof Uint8Array)) throw new TypeError("payload wants a Uint8Array; there are text() and json() too");
    return this.#change("payload", bytes);
  }
  text(payload) {
    return this.payload(encode(text(payload, "text")));
  }
  json(value) {
    const written = JSON.stringify(value);
    if (written === undefined) throw new TypeError("json wants a value; undefined is none");
    return this.text(written);
  }
  qos(level) {
    if (QOS[level] === undefined) throw new TypeError("qos is 0, 1 or 2");
    return this.#change("qos", QOS[level]);
  }
  retain(retained = true) {
    return this.#change("retain", retained === true);
  }
  contentType(type) {
    return this.#change("content-type", text(type, "content type"));
  }
  responseTopic(topic) {
    return this.#change("response-topic", text(topic, "response topic"));
  }
  expiry(seconds) {
    return this.#change("message-expiry-seconds", seconds);
  }
  /** One more user property, behind those that are there. */
  userProperty(name, value) {
    return this.#change("user-property", [text(name, "name"), text(value, "value")]);
  }
  /** Without this: `every`, `content-type`, `response-topic`, `correlation-data`, `message-expiry`, `payload-is-utf8`, `user`. */
  remove(property) {
    return this.#change("remove", property);
  }
  /** A set of policy `balance` chooses its member by this. */
  key(key) {
    return this.#change("key", text(key, "key"));
  }
}

/** A message as it came. */
class Message {
  #parsed;

  constructor(message, source) {
    this.source = source;
    this.id = Number(message.id); // below 2^53
    this.topic = message.topic;
    this.payload = message.payload;
    this.qos = QOS.indexOf(message.qos);
    this.retain = message.retain;
    this.redelivered = message.redelivered;
    this.receivedMs = Number(message.receivedMs);
    this.properties = message.properties;
  }

  /** The payload as text; undefined if it is not UTF-8. */
  text() {
    return decode(this.payload);
  }
  /** The payload as JSON; undefined if it is none. Do not change what it returns: make a new one. */
  json() {
    if (this.#parsed === undefined) {
      const text = this.text();
      try {
        this.#parsed = { value: text === undefined ? undefined : JSON.parse(text) };
      } catch {
        this.#parsed = { value: undefined };
      }
    }
    return this.#parsed.value;
  }
  /** The first user property of this name. */
  userProperty(name) {
    return this.properties.user.find(([key]) => key === name)?.[1];
  }
}

/** What the gateway calls, of a rule with `decide` and perhaps `configure`. */
export function makeHandler(rule) {
  let config;
  return {
    configure(json) {
      try {
        const table = JSON.parse(json);
        config = rule.configure ? rule.configure(table) : table;
        return { tag: "accepted" };
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error);
        return { tag: "refused", val: [{ at: String(error?.at ?? ""), message }] };
      }
    },
    handle(source, messages) {
      return messages.map((message) => {
        // An exception costs its own message, and no start anew.
        try {
          return decision(rule.decide(new Message(message, source), config));
        } catch (error) {
          write("error", `${error}\n${error?.stack ?? ""}`);
          return reject(`exception: ${error}`);
        }
      });
    },
  };
}

function decision(returned) {
  if (returned instanceof Output) return { tag: "forward", val: [returned] };
  if (Array.isArray(returned) && returned.every((one) => one instanceof Output)) return { tag: "forward", val: returned };
  if (typeof returned?.tag === "string") return returned;
  throw new TypeError(`decide returned ${returned}: return pass(), drop(why), an output or a list of outputs`);
}

function text(value, what) {
  if (typeof value !== "string") throw new TypeError(`${what} wants text, not ${typeof value}`);
  return value;
}

function encode(text) {
  if (typeof TextEncoder === "function") return new TextEncoder().encode(text);
  const units = unescape(encodeURIComponent(text));
  const bytes = new Uint8Array(units.length);
  for (let at = 0; at < units.length; at++) bytes[at] = units.charCodeAt(at);
  return bytes;
}

function decode(bytes) {
  try {
    if (typeof TextDecoder === "function") return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    let units = "";
    for (let at = 0; at < bytes.length; at += 4096) units += String.fromCharCode(...bytes.subarray(at, at + 4096));
    return decodeURIComponent(escape(units));
  } catch {
    return undefined;
  }
}
