// What would become of a message, and why: without sending it.

import { useState } from "preact/hooks";
import { Command, Nothing } from "./parts.jsx";
import { ask } from "./store.js";

function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

export function Why({ layout }) {
  const sources = [...new Set(layout.routes.map((route) => route.from))].flatMap((name) => layout.sources.find((source) => source.name === name)?.brokers ?? [name]);
  const [sample, set] = useState({ broker: sources[0] ?? "", topic: "", payload: "", qos: 1, retain: false });
  const [told, setTold] = useState(null);
  const change = (key, value) => set((before) => ({ ...before, [key]: value }));
  const press = async (event) => {
    event.preventDefault();
    setTold({ lines: [[0, "…"]] });
    try {
      setTold(await ask("explain", { method: "POST", body: JSON.stringify(sample), headers: { "Content-Type": "application/json" } }));
    } catch (error) {
      setTold({ error: error.message });
    }
  };
  const last = async () => {
    try {
      const found = await ask(`next?broker=${encodeURIComponent(sample.broker)}&filter=${encodeURIComponent(sample.topic || "#")}`);
      set({ broker: sample.broker, topic: found.topic, payload: found.payload ?? "", qos: found.qos, retain: found.retain });
      setTold(null);
    } catch (error) {
      setTold({ error: error.message });
    }
  };
  return (
    <article>
      <h2>Why not?</h2>
      <p>What would become of a message, through the plugins that run, without sending it.</p>
      <form class="sample" onSubmit={press}>
        <label>
          From broker{" "}
          <select value={sample.broker} onChange={(event) => change("broker", event.target.value)}>
            {sources.map((name) => (
              <option key={name}>{name}</option>
            ))}
          </select>
        </label>
        <label>
          Topic <input required value={sample.topic} onInput={(event) => change("topic", event.target.value)} />
        </label>
        <label>
          Payload <textarea rows={3} value={sample.payload} onInput={(event) => change("payload", event.target.value)} />
        </label>
        <p>
          <button type="submit">Explain</button>{" "}
          <button type="button" onClick={last} title="waits for the next message on this topic and takes it">
            Take the next message on this topic
          </button>
        </p>
      </form>
      {!told && <Nothing>Nothing is asked yet.</Nothing>}
      {told?.error && <p class="bad">{told.error}</p>}
      {told?.lines && (
        <ol class="told">
          {told.lines.map(([depth, line], n) => (
            <li key={n} style={{ paddingLeft: `${depth * 1.4}rem` }}>
              {line}
            </li>
          ))}
        </ol>
      )}
      <Command>
        tidegate explain --config {layout.file} --broker {sample.broker} --topic {quoted(sample.topic)} --payload {quoted(sample.payload)}
      </Command>
    </article>
  );
}
