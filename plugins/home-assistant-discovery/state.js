// The durable state of the plugin: `import * as state from "./state.js"`. Only worlds with `stateful` in their name have it, and the
// gateway must grant it (`grants = { state = true }`). What a call writes takes effect together with its decisions, or not at all.
import * as durable from "tidegate:gateway/state@1.0.0";
import { decode, encode } from "./text.js";

/** The value of a key, kept as JSON; `otherwise` if there is none. */
export function get(key, otherwise = undefined) {
  const bytes = durable.get(key);
  if (bytes == null) return otherwise;
  try {
    return JSON.parse(decode(bytes) ?? "");
  } catch {
    throw new TypeError(`the state of ${key} is no JSON; getBytes() reads it, delete() forgets it`);
  }
}

/** Keeps a value as JSON. */
export function set(key, value) {
  const text = JSON.stringify(value);
  if (text === undefined) throw new TypeError(`the state of ${key} wants a value; delete() forgets it`);
  durable.set(key, encode(text));
}

/** The bytes of a key; undefined if there are none. */
export const getBytes = (key) => durable.get(key) ?? undefined;

/** Keeps bytes: a Uint8Array. */
export function setBytes(key, bytes) {
  if (!(bytes instanceof Uint8Array)) throw new TypeError("setBytes wants a Uint8Array; there is set() too");
  durable.set(key, bytes);
}

/** The keys that begin with this, all if with nothing. */
export const keys = (prefix = "") => durable.keys(prefix);

const forget = (key) => durable.delete(key);
export { forget as delete };
