// Writes the payload in capitals.
import { log } from "tidegate:gateway/log@0.1.0";

export const handler = {
  configure(config) {
    const unknown = Object.keys(JSON.parse(config || "{}"));
    if (unknown.length > 0) throw unknown.map((key) => ({ at: key, message: "unknown key" }));
    log("info", "configured");
  },

  handle(source, messages) {
    return messages.map((message) => ({ tag: "ok", val: decide(message) }));
  },
};

function decide(message) {
  const payload = new TextEncoder().encode(new TextDecoder().decode(message.payload).toUpperCase());
  return { tag: "forward", val: [{ to: { tag: "onward" }, payload }] };
}
