// Fahrenheit becomes Celsius; what is hotter than `above` goes to the target `alarms` as well.
import { drop, onward, problem, target } from "./tidegate.js";

/** Checks the `config` table of the plugin and returns what `decide` needs of it. */
export function configure({ field = "temp", above = 50, ...others }) {
  for (const key of Object.keys(others)) throw problem(key, "unknown key; there are `field` and `above`");
  if (typeof above !== "number") throw problem("above", "must be a number, in degrees Celsius");
  return { field, above };
}

/** From a message to a decision: `pass()`, `drop(why)`, `reject(why)`, `retry(why)`, an output or a list of outputs. */
export function decide(message, { field, above }) {
  const reading = message.json();
  if (!Number.isFinite(reading?.[field])) return drop("no such field");
  const celsius = Math.round(((reading[field] - 32) * 50) / 9) / 10;
  const converted = onward().json({ ...reading, [field]: celsius });
  if (celsius <= above) return converted;
  const alarm = target("alarms").topic(`alarm/${message.topic}`).text(`${celsius}`);
  return [converted, alarm.userProperty("above", `${above}`)];
}
