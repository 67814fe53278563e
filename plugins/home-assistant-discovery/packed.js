// The block of bytes that a batch of messages comes as, and the one that its decisions go as: docs/plugins/packed.md of Tidegate.
import { decode, encode, encodeInto, isDeep } from "./text.js";

const FIRST_BYTES = 4096;
/** A buffer larger than this is not kept from one call to the next. */
const KEPT_BYTES = 256 * 1024;
/** Of UTF-8, for a unit of UTF-16. */
const MOST_BYTES_A_UNIT = 3;
const TWO_TO_32 = 4294967296;
const NO_PROPERTIES = Object.freeze({ payloadIsUtf8: false, user: Object.freeze([]) });

/** A message as it came. What is not asked for is not decoded. */
export class Message {
  // Not `#private`: those cost StarlingMonkey half a microsecond each.
  constructor(source, block, at) {
    this.source = source;
    this._block = block;
    this._at = at;
    this._payloadAt = block.after(at + 17);
    this._payloadEnd = block.after(this._payloadAt);
    this._topic = undefined;
    this._properties = undefined;
    this._json = undefined;
  }

  /** Below 2^53, and of no other message of this route. */
  get id() {
    return this._block.u64(this._at);
  }
  /** When the gateway received it, in milliseconds since the Unix epoch. */
  get receivedMs() {
    return this._block.u64(this._at + 8);
  }
  get qos() {
    return this._flags & 3;
  }
  get retain() {
    return (this._flags & 4) !== 0;
  }
  /** True when an earlier call with this message may have happened. */
  get redelivered() {
    return (this._flags & 8) !== 0;
  }
  get topic() {
    return (this._topic ??= this._block.text(this._at + 17));
  }
  /** Bytes: a Uint8Array. */
  get payload() {
    return this._block.slice(this._payloadAt);
  }
  /** `contentType`, `responseTopic`, `correlationData`, `messageExpirySeconds`, undefined if absent; `payloadIsUtf8`, `user`. */
  get properties() {
    return (this._properties ??= this._flags & 16 ? readProperties(this._block, this._payloadEnd) : NO_PROPERTIES);
  }
  /** The payload as text; undefined if it is not UTF-8. */
  text() {
    return decode(this.payload);
  }
  /** The payload as JSON; undefined if it is none, or has more than 128 levels. Do not change what it returns: make a new one. */
  json() {
    if (this._json === undefined) {
      const text = this.text();
      try {
        this._json = { value: text === undefined || isDeep(text) ? undefined : JSON.parse(text) };
      } catch {
        this._json = { value: undefined };
      }
    }
    return this._json.value;
  }
  /** The first user property of this name. */
  userProperty(name) {
    return this.properties.user.find(([key]) => key === name)?.[1];
  }

  get _flags() {
    return this._block.bytes[this._at + 16];
  }
  /** Where the next one begins. */
  static end(message) {
    return message._flags & 16 ? afterProperties(message._block, message._payloadEnd) : message._payloadEnd;
  }
}

/** Bytes to be read. */
export class Block {
  constructor(bytes) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
  u32(at) {
    return this.view.getUint32(at, true);
  }
  u64(at) {
    return this.view.getUint32(at, true) + this.view.getUint32(at + 4, true) * TWO_TO_32;
  }
  /** Where what has its length before it ends. */
  after(at) {
    return at + 4 + this.view.getUint32(at, true);
  }
  slice(at) {
    return this.bytes.subarray(at + 4, this.after(at));
  }
  text(at) {
    return decode(this.slice(at));
  }
}

function readProperties(block, at) {
  const present = block.bytes[at++];
  const next = (bit, read) => {
    if (!(present & bit)) return undefined;
    const start = at;
    at = bit === 8 ? at + 4 : block.after(at);
    return read(start);
  };
  const text = (from) => block.text(from);
  const properties = {
    contentType: next(1, text),
    responseTopic: next(2, text),
    correlationData: next(4, (from) => block.slice(from)),
    messageExpirySeconds: next(8, (from) => block.u32(from)),
    payloadIsUtf8: (present & 16) !== 0,
    user: [],
  };
  let count = block.u32(at);
  for (at += 4; count > 0; count--) {
    const value = block.after(at);
    properties.user.push([block.text(at), block.text(value)]);
    at = block.after(value);
  }
  return properties;
}

function afterProperties(block, at) {
  const present = block.bytes[at++];
  for (const bit of [1, 2, 4]) if (present & bit) at = block.after(at);
  if (present & 8) at += 4;
  let texts = 2 * block.u32(at);
  for (at += 4; texts > 0; texts--) at = block.after(at);
  return at;
}

/** Bytes to be written, into one buffer that grows. */
export class Writer {
  constructor() {
    this._use(FIRST_BYTES, []);
    /** Where the next byte goes; set back, what came after is forgotten. */
    this.end = 0;
  }

  _room(bytes) {
    if (this.end + bytes <= this._bytes.length) return;
    this._use(Math.max(2 * this._bytes.length, this.end + bytes), this._bytes);
  }
  _use(length, old) {
    this._bytes = new Uint8Array(length);
    this._bytes.set(old);
    this._view = new DataView(this._bytes.buffer);
  }
  u8(number) {
    this._room(1);
    this._bytes[this.end++] = number;
  }
  u32(number) {
    this._room(4);
    this._view.setUint32(this.end, number, true);
    this.end += 4;
  }
  u64(number) {
    this.u32(number % TWO_TO_32);
    this.u32(Math.floor(number / TWO_TO_32));
  }
  f64(number) {
    this._room(8);
    this._view.setFloat64(this.end, number, true);
    this.end += 8;
  }
  /** Bytes or text, with the length before it. */
  sized(value) {
    if (encodeInto && typeof value === "string") {
      this._room(4 + MOST_BYTES_A_UNIT * value.length);
      const length = encodeInto(value, this._bytes.subarray(this.end + 4));
      this._view.setUint32(this.end, length, true);
      this.end += 4 + length;
      return;
    }
    const bytes = typeof value === "string" ? encode(value) : value;
    this._room(4 + bytes.length);
    this._view.setUint32(this.end, bytes.length, true);
    this._bytes.set(bytes, this.end + 4);
    this.end += 4 + bytes.length;
  }
  /** What was written; the next is written from the beginning. */
  take() {
    const written = this._bytes.slice(0, this.end);
    this.end = 0;
    if (this._bytes.length > KEPT_BYTES) this._use(FIRST_BYTES, []);
    return written;
  }
}
