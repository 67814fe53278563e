// The types of state.js.

/** The value of a key, kept as JSON; `otherwise` if there is none. Nothing checks that it is a `T`. */
export function get<T>(key: string): T | undefined;
export function get<T>(key: string, otherwise: T): T;
/** Keeps a value as JSON. */
export function set(key: string, value: unknown): void;
/** The bytes of a key; undefined if there are none. */
export function getBytes(key: string): Uint8Array | undefined;
export function setBytes(key: string, bytes: Uint8Array): void;
/** The keys that begin with this, all if with nothing. */
export function keys(prefix?: string): string[];
declare function forget(key: string): void;
export { forget as delete };
