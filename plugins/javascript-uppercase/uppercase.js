// Writes the payload in capitals.
import { log } from "tidegate:gateway/log@1.0.0";

export const handler = {
  configure(config) {
    const unknown = Object.keys(JSON.parse(config));
    if (unknown.length > 0) return { tag: "refused", val: unknown.map((key) => ({ at: key, message: "unknown key" })) };
    log("info", "configured");
    return { tag: "accepted" };
  },

  handle(source, messages) {
    return messages.map(decide);
  },
};

function decide(message) {
  const payload = new TextEncoder().encode(new TextDecoder().decode(message.payload).toUpperCase());
  return { tag: "forward", val: [{ to: { tag: "onward" }, changes: [{ tag: "payload", val: payload }] }] };
}
