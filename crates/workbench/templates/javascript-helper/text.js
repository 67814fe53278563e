// UTF-8 in both engines. QuickJS has no TextEncoder and no TextDecoder, and a loop in JavaScript takes 0.2 µs a byte there; by way
// of base64, which it has natively, it is 0.01.
const encoder = typeof TextEncoder === "function" ? new TextEncoder() : undefined;
const decoder = typeof TextDecoder === "function" ? new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }) : undefined;
const BEYOND_ASCII = /[\x80-\uffff]/;

/** Text as bytes. Half a surrogate pair becomes U+FFFD. */
export function encode(text) {
  if (encoder) return encoder.encode(text);
  return Uint8Array.fromBase64(btoa(BEYOND_ASCII.test(text) ? unescape(encodeURIComponent(text.toWellFormed())) : text));
}

/** Text into an array that has room for it; how many bytes. Undefined in an engine that cannot. */
export const encodeInto = encoder && ((text, bytes) => encoder.encodeInto(text, bytes).written);

/** JSON of more levels is none: an engine recurses for each, and would end for want of a stack. */
const LEVELS = 128;
const ALL_BUT_BRACKETS = /"(?:[^"\\]|\\.)*"|[^[\]{}"]+/gs;

/** Whether JSON has more levels than a plugin has a stack for. */
export function isDeep(text) {
  if (text.length <= LEVELS || text.split("[").length + text.split("{").length - 2 <= LEVELS) return false;
  let levels = 0;
  for (const bracket of text.replace(ALL_BUT_BRACKETS, "")) {
    levels += bracket === "[" || bracket === "{" ? 1 : -1;
    if (levels > LEVELS) return true;
  }
  return false;
}

/** Bytes as text; undefined if they are not UTF-8. */
export function decode(bytes) {
  try {
    if (decoder) return decoder.decode(bytes);
    const units = atob(bytes.toBase64());
    return BEYOND_ASCII.test(units) ? decodeURIComponent(escape(units)) : units;
  } catch {
    return undefined;
  }
}
