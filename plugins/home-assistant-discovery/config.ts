// The plugin's configuration, checked.
import { problem } from "./tidegate.js";
import { fingerprint } from "./fingerprint.js";
import { QUANTITIES, type Quantity } from "./quantities.js";

export interface Config {
  /** Levels of the topics of sensors: a text, `+`, `{device}` or `{quantity}`. */
  levels: string[];
  prefix: string;
  field?: string;
  target?: string;
  expire_after?: number;
  max_sensors: number;
  /** After how long a sensor is announced anew. */
  again_ms: number;
  quantities: ReadonlyMap<string, Quantity>;
  /** Another one whenever sensors would be described otherwise. */
  fingerprint: string;
}

const KEYS = ["topic", "prefix", "field", "target", "expire_after", "max_sensors", "again_every", "quantities"];
const QUANTITY_KEYS = ["device_class", "unit", "state_class", "name"];
const STATE_CLASSES = ["measurement", "total", "total_increasing"];
const MAX_SENSORS = 4000;
const MAX_QUANTITIES = 256;

export function check(table: Record<string, unknown>): Config {
  known(table, "", KEYS);
  return {
    levels: levels(text(table, "topic", "sensors/{device}/{quantity}")),
    prefix: prefix(text(table, "prefix", "homeassistant")),
    field: field(optional(table, "field")),
    target: optional(table, "target"),
    expire_after: table.expire_after === undefined ? undefined : whole(table, "expire_after", 0, 1, 31_536_000),
    max_sensors: whole(table, "max_sensors", 2000, 1, MAX_SENSORS),
    again_ms: again(text(table, "again_every", "1d")),
    quantities: quantities(table.quantities),
    fingerprint: fingerprint(JSON.stringify([[...QUANTITIES], table])),
  };
}

function levels(pattern: string): string[] {
  const levels = pattern.split("/");
  for (const name of ["{device}", "{quantity}"]) {
    if (levels.filter((level) => level === name).length !== 1) throw problem("topic", `must have ${name} as one of its levels, once`);
  }
  const odd = levels.find((level) => /[#{}]|.\+|\+./.test(level) && level !== "{device}" && level !== "{quantity}");
  if (odd !== undefined) throw problem("topic", `\`${odd}\` is no level: a text, \`+\`, {device} or {quantity}`);
  return levels;
}

function prefix(prefix: string): string {
  if (/^\/|\/$|[#+\0]/.test(prefix)) throw problem("prefix", "must be the beginning of a topic, with no `/` at its ends, no `+` and no `#`");
  return prefix;
}

function field(field?: string): string | undefined {
  if (field !== undefined && !/^[A-Za-z0-9_-]+$/.test(field)) throw problem("field", "must be a name of letters, digits, `_` and `-`");
  return field;
}

function again(every: string): number {
  if (every === "never") return Infinity;
  const [, number, unit] = /^([1-9]\d{0,3})([mhd])$/.exec(every) ?? [];
  if (number === undefined || unit === undefined) throw problem("again_every", 'must be such as "30m", "12h", "7d", or "never"');
  return Number(number) * { m: 60_000, h: 3_600_000, d: 86_400_000 }[unit as "m" | "h" | "d"];
}

function quantities(value: unknown): ReadonlyMap<string, Quantity> {
  if (value === undefined) return QUANTITIES;
  const all = new Map(QUANTITIES);
  for (const [quantity, said] of Object.entries(table(value, "quantities"))) {
    const at = `quantities.${quantity}`;
    const of = table(said, at);
    known(of, `${at}.`, QUANTITY_KEYS);
    const own: Quantity = {};
    for (const key of QUANTITY_KEYS as (keyof Quantity)[]) own[key] = optional(of, key, `${at}.`);
    if (own.state_class !== undefined && !STATE_CLASSES.includes(own.state_class)) {
      throw problem(`${at}.state_class`, `must be one of ${STATE_CLASSES.join(", ")}`);
    }
    all.set(quantity, own);
  }
  if (all.size > MAX_QUANTITIES) throw problem("quantities", `are ${all.size} with those that are known already, at most ${MAX_QUANTITIES}`);
  return all;
}

function known(table: object, before: string, keys: string[]): void {
  for (const key of Object.keys(table)) {
    if (!keys.includes(key)) throw problem(before + key, `unknown key; there are ${keys.join(", ")}`);
  }
}

function table(value: unknown, at: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw problem(at, "must be a table");
  return value as Record<string, unknown>;
}

function optional(table: Record<string, unknown>, key: string, before = ""): string | undefined {
  const value = table[key];
  if (value === undefined) return undefined;
  if (typeof value !== "string" || value === "") throw problem(before + key, "must be text, and not empty");
  return value;
}

function text(table: Record<string, unknown>, key: string, otherwise: string): string {
  return optional(table, key) ?? otherwise;
}

function whole(table: Record<string, unknown>, key: string, otherwise: number, from: number, to: number): number {
  const value = table[key] ?? otherwise;
  if (!Number.isInteger(value) || (value as number) < from || (value as number) > to) {
    throw problem(key, `must be a whole number from ${from} to ${to}`);
  }
  return value as number;
}
