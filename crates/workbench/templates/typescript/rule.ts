// Fahrenheit becomes Celsius; what is hotter than `above` goes to the target `alarms` as well.
import { drop, onward, problem, target, type Decided, type Message } from "./tidegate.js";

interface Config {
  field: string;
  above: number;
}

/** Checks the `config` table of the plugin and returns what `decide` needs of it. */
export function configure({ field = "temp", above = 50, ...others }: Record<string, unknown>): Config {
  for (const key of Object.keys(others)) throw problem(key, "unknown key; there are `field` and `above`");
  if (typeof field !== "string") throw problem("field", "must be text: the name of a field");
  if (typeof above !== "number") throw problem("above", "must be a number, in degrees Celsius");
  return { field, above };
}

/** From a message to a decision: `pass()`, `drop(why)`, `reject(why)`, `retry(why)`, an output or a list of outputs. */
export function decide(message: Message, { field, above }: Config): Decided {
  const reading = message.json<Record<string, unknown> | null>();
  const value = reading?.[field];
  if (typeof value !== "number" || !Number.isFinite(value)) return drop("no such field");
  const celsius = Math.round(((value - 32) * 50) / 9) / 10;
  const converted = onward().json({ ...reading, [field]: celsius });
  if (celsius <= above) return converted;
  const alarm = target("alarms").topic(`alarm/${message.topic}`).text(`${celsius}`);
  return [converted, alarm.userProperty("above", `${above}`)];
}
