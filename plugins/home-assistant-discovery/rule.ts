// Tells Home Assistant of each sensor once: a retained message of its MQTT discovery, ahead of the sensor's own.
import { log, onward, pass, target, type Decided, type Message } from "./tidegate.js";
import * as state from "./state.js";
import { check, type Config } from "./config.js";
import { fingerprint } from "./fingerprint.js";

/** A longer topic is passed unseen, so that what is kept has a bound. */
const MAX_TOPIC = 200;
const KEPT = "sensor/";

/** What is kept of a sensor: the configuration it was announced by, and when, in milliseconds since the Unix epoch. */
interface Announced {
  as: string;
  at: number;
}

/** How many sensors the state has; counted when first asked for. */
let sensors: number | undefined;

export function configure(table: Record<string, unknown>): Config {
  return check(table);
}

export function decide(message: Message, config: Config): Decided {
  const topic = message.topic;
  const sensor = match(topic, config.levels);
  if (sensor === undefined || topic.length > MAX_TOPIC || !measures(message, config.field)) return pass();

  const key = KEPT + topic;
  const before = state.get<Announced>(key);
  if (before?.as === config.fingerprint && isRecent(before, message, config.again_ms)) return pass();
  if (before === undefined && !roomForOneMore(config.max_sensors, topic)) return pass();
  state.set(key, { as: config.fingerprint, at: message.receivedMs } satisfies Announced);
  const [device, quantity] = sensor;
  const to = config.target === undefined ? onward() : target(config.target);
  const at = `${config.prefix}/sensor/${slug(device)}/${slug(quantity)}/config`;
  return [to.topic(at).json(describe(topic, device, quantity, config)).retain().qos(1).remove("every").contentType("application/json"), onward()];
}

/** What a redelivered message said may have been lost on its way, and what a broker retained may be; saying it twice does no harm. */
function isRecent({ at }: Announced, message: Message, again_ms: number): boolean {
  // A clock set back makes it longer, by no more than that.
  return !message.redelivered && message.receivedMs - at < again_ms;
}

/** The device and the quantity of a topic, if it is a sensor's. */
function match(topic: string, levels: string[]): [string, string] | undefined {
  const of = topic.split("/");
  if (of.length !== levels.length) return undefined;
  // What `+` stands for belongs to the device: two sites may each have a `boiler`.
  const device: string[] = [];
  let quantity = "";
  for (const [at, level] of levels.entries()) {
    const is = of[at] ?? "";
    if (level === "{quantity}") quantity = is;
    else if (level === "{device}" || level === "+") device.push(is);
    else if (level !== is) return undefined;
  }
  return device.includes("") || quantity === "" ? undefined : [device.join("/"), quantity];
}

/** Whether the payload is a number, or has one in this field. */
function measures(message: Message, field: string | undefined): boolean {
  const value = message.json<any>();
  return typeof (field === undefined ? value : value?.[field]) === "number";
}

function describe(topic: string, device: string, quantity: string, config: Config): object {
  const { device_class, unit, state_class, name } = config.quantities.get(quantity) ?? { state_class: "measurement" };
  return {
    name: name ?? quantity,
    unique_id: `tidegate_${slug(device)}_${slug(quantity)}`,
    state_topic: topic,
    device_class,
    unit_of_measurement: unit,
    state_class,
    value_template: config.field && `{{ value_json['${config.field}'] }}`,
    expire_after: config.expire_after,
    device: { identifiers: [`tidegate_${slug(device)}`], name: device },
    origin: { name: "Tidegate" },
  };
}

function roomForOneMore(max: number, topic: string): boolean {
  sensors ??= state.keys(KEPT).length;
  if (sensors >= max) {
    log.warn(`${sensors} sensors are known, the most that max_sensors allows: ${topic} is not announced`);
    return false;
  }
  sensors += 1;
  return true;
}

/** As Home Assistant wants a part of a topic and of an identifier; two texts that look alike then stay two. */
function slug(text: string): string {
  const plain = text.replace(/[^A-Za-z0-9_-]/g, "_");
  return plain === text ? text : `${plain}_${fingerprint(text).slice(0, 8)}`;
}
