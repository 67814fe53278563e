// What Home Assistant calls the quantities that sensors measure: https://www.home-assistant.io/integrations/sensor/#device-class

export interface Quantity {
  device_class?: string;
  unit?: string;
  state_class?: string;
  /** What is shown; the quantity's own name if nothing is said. */
  name?: string;
}

const measured = (device_class: string, unit: string): Quantity => ({ device_class, unit, state_class: "measurement" });
const counted = (device_class: string, unit: string): Quantity => ({ device_class, unit, state_class: "total_increasing" });

export const QUANTITIES: ReadonlyMap<string, Quantity> = new Map([
  ["temperature", measured("temperature", "°C")],
  ["humidity", measured("humidity", "%")],
  ["pressure", measured("atmospheric_pressure", "hPa")],
  ["battery", measured("battery", "%")],
  ["voltage", measured("voltage", "V")],
  ["current", measured("current", "A")],
  ["power", measured("power", "W")],
  ["energy", counted("energy", "kWh")],
  ["illuminance", measured("illuminance", "lx")],
  ["co2", measured("carbon_dioxide", "ppm")],
  ["pm25", measured("pm25", "µg/m³")],
  ["pm10", measured("pm10", "µg/m³")],
  ["moisture", measured("moisture", "%")],
  ["rssi", measured("signal_strength", "dBm")],
  ["wind_speed", measured("wind_speed", "m/s")],
  ["rain", counted("precipitation", "mm")],
  ["water", counted("water", "m³")],
  ["gas", counted("gas", "m³")],
]);
