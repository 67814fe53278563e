// The types of tidegate.js.

/** A message as it came. What is not asked for is not decoded. */
export interface Message {
  /** The broker it came from, by its configured name. */
  readonly source: string;
  /** Below 2^53, and of no other message of this route. */
  readonly id: number;
  /** When the gateway received it, in milliseconds since the Unix epoch. */
  readonly receivedMs: number;
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
  /** True when an earlier call with this message may have happened. */
  readonly redelivered: boolean;
  readonly properties: Properties;
  /** The payload as text; undefined if it is not UTF-8. */
  text(): string | undefined;
  /** The payload as JSON; undefined if it is none. Nothing checks that it is a `T`. Do not change it: make a new one. */
  json<T = unknown>(): T | undefined;
  /** The first user property of this name. */
  userProperty(name: string): string | undefined;
}

/** MQTT 5 properties; undefined for what is absent. */
export interface Properties {
  readonly contentType?: string;
  readonly responseTopic?: string;
  readonly correlationData?: Uint8Array;
  readonly messageExpirySeconds?: number;
  readonly payloadIsUtf8: boolean;
  /** Names and values in the order received; a name may occur more than once. */
  readonly user: readonly (readonly [string, string])[];
}

/** Of a message, without outputs. */
export interface Decision {
  readonly kind: number;
  readonly reason?: string;
}

export type Property = "every" | "content-type" | "response-topic" | "correlation-data" | "message-expiry" | "payload-is-utf8" | "user";

/** The message that came in, but for the changes that are said; of a tick, an empty one. */
export interface Output {
  topic(topic: string): Output;
  payload(bytes: Uint8Array): Output;
  /** A payload of text. */
  text(payload: string): Output;
  /** A payload of JSON. */
  json(value: unknown): Output;
  qos(level: 0 | 1 | 2): Output;
  /** True if nothing is said. */
  retain(retained?: boolean): Output;
  contentType(type: string): Output;
  responseTopic(topic: string): Output;
  correlationData(data: Uint8Array): Output;
  /** Seconds: a whole number from 1 to 4294967295. */
  expiry(seconds: number): Output;
  payloadIsUtf8(isUtf8?: boolean): Output;
  /** One more user property, behind those that are there. */
  userProperty(name: string, value: string): Output;
  /** Without this property; `user` is all user properties, `every` all of them and the others too. */
  remove(property: Property): Output;
  /** A set of policy `balance` chooses its member by this. */
  key(key: string): Output;
}

/** What `decide` returns. */
export type Decided = Decision | Output | readonly Output[];

/** Onward, unchanged. */
export function pass(): Decision;
/** Nowhere, for this reason; counted under it, so let there be few. */
export function drop(reason: string): Decision;
/** It will never be decided: the route's `on_failure`. */
export function reject(reason: string): Decision;
/** Not now: try again later. */
export function retry(reason: string): Decision;
/** An output to the route's next plugin; after the last one, to the route's targets. */
export function onward(): Output;
/** An output straight to this broker or target set, which must be granted. */
export function target(name: string): Output;
/** An error of the configuration, to be thrown: `at` is a path into it. */
export function problem(at: string, message: string): Error & { at: string };

/** Lines in the gateway's log. */
export const log: Record<"debug" | "info" | "warn" | "error", (line: unknown) => void>;

/** What `rule.ts` exports: `decide`, and perhaps the others. */
export interface Rule<Config> {
  configure?(table: Record<string, unknown>): Config;
  decide(message: Message, config: Config): Decided;
  /** In worlds with `timed` in their name, at the interval set in the route. */
  tick?(nowMs: number, config: Config): Output | readonly Output[];
}

/** What the gateway calls. */
export function join<Config>(rule: Rule<Config>): { handler: object; packed: object; timer: object };
