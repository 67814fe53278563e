// Messages on their way, as they go.

import { useEffect, useRef, useState } from "preact/hooks";
import { count, ms } from "./format.js";
import { Command, Nothing } from "./parts.jsx";
import { at, readEvents } from "./store.js";

const KEPT_MAX = 300;

function time(atMs) {
  const at = new Date(atMs);
  return `${at.toLocaleTimeString("en-GB")}.${String(at.getMilliseconds()).padStart(3, "0")}`;
}

// What stands before and behind the part in which two texts differ.
function difference(before, after) {
  if (before === undefined || after === undefined || before === after) return null;
  let from = 0;
  while (from < before.length && from < after.length && before[from] === after[from]) from += 1;
  let back = 0;
  while (back < before.length - from && back < after.length - from && before.at(-1 - back) === after.at(-1 - back)) back += 1;
  return [after.slice(0, from), after.slice(from, after.length - back), after.slice(after.length - back)];
}

function Changed({ before, text }) {
  const parts = difference(before, text);
  if (!parts) return text;
  return (
    <>
      {parts[0]}
      <mark>{parts[1]}</mark>
      {parts[2]}
    </>
  );
}

function Message({ message, before }) {
  const payload = message.payload ?? (message.payload_base64 ? "(not text)" : undefined);
  return (
    <span class="message">
      <code>
        <Changed before={before?.topic} text={message.topic} />
      </code>{" "}
      <small>
        QoS {message.qos}
        {message.retain && ", retained"}
      </small>{" "}
      {payload === undefined ? (
        <small>{count(message.payload_bytes)} bytes</small>
      ) : (
        <code class="payload">
          <Changed before={before?.payload} text={payload} />
        </code>
      )}
    </span>
  );
}

function Way({ way }) {
  const { ending } = way;
  const bad = ending.how === "parked" || ending.how === "unrouted" || (ending.how === "dropped" && !ending.by_plugin);
  return (
    <li class={bad ? "bad" : ""}>
      <div>
        <time>{time(way.at_ms)}</time> <a href={at("broker", way.broker)}>{way.broker}</a> ▸ {way.route ? <a href={at("route", way.route)}>{way.route}</a> : "no route"}{" "}
        <Message message={way.came} />
      </div>
      {way.said.map((said, n) => (
        <div key={n} class="step">
          <a href={at("plugin", said.plugin)}>{said.plugin}</a>: {said.words}
          {said.made.map((made, m) => (
            <div key={m} class="step">
              <Message message={made} before={way.came} />
            </div>
          ))}
        </div>
      ))}
      {way.out.map((out, n) => (
        <div key={n} class="step">
          ▸ <b>{out.targets.join(", ")}</b> <Message message={out.message} before={way.came} /> {way.took_ms > 0 && <small>{ms(way.took_ms)}</small>}
        </div>
      ))}
      {ending.how === "dropped" && (
        <div class="step">
          {ending.by_plugin ? "dropped by its plugin" : "dropped by the gateway"}: {ending.reason}
        </div>
      )}
      {ending.how === "parked" && (
        <div class="step">
          <a href={at("parked")}>parked</a>: {ending.plugin}: {ending.kind}: {ending.reason}
        </div>
      )}
      {ending.how === "unrouted" && <div class="step">no route wants it</div>}
      {ending.how === "held_back" && <div class="step">held back for a moment, to see whether its route is in a loop</div>}
    </li>
  );
}

function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

export function Tap({ layout, name }) {
  const [wish, setWish] = useState({ filter: "#", route: name ?? "", contains: "", only: "", payloads: false });
  const [running, setRunning] = useState(false);
  const [ways, setWays] = useState([]);
  const [said, setSaid] = useState(null);
  const kept = useRef([]);
  useEffect(() => {
    if (!running) return;
    const controller = new AbortController();
    const query = Object.entries(wish)
      .filter(([, value]) => value)
      .map(([key, value]) => `${key}=${encodeURIComponent(value)}`)
      .join("&");
    kept.current = [];
    setWays([]);
    setSaid("looking…");
    let missed = 0;
    readEvents(`tap?${query}`, controller.signal, (kind, data) => {
      if (kind === "way") {
        kept.current = [JSON.parse(data), ...kept.current].slice(0, KEPT_MAX);
        setSaid(missed ? `${count(missed)} came too fast for this page` : null);
      } else if (kind === "looking") setSaid("looking now");
      else if (kind === "missed") missed += Number(data);
    })
      .then(() => setSaid("the gateway has ended"))
      .catch((error) => !controller.signal.aborted && setSaid(error.message))
      .finally(() => !controller.signal.aborted && setRunning(false));
    const timer = setInterval(() => setWays(kept.current), 250);
    return () => {
      clearInterval(timer);
      controller.abort();
      setWays(kept.current);
    };
  }, [running]);
  const input = (key, more) => (
    <input {...more} value={wish[key]} disabled={running} onInput={(event) => setWish((before) => ({ ...before, [key]: event.target.value }))} />
  );
  const options = [
    wish.route && ` --route ${wish.route}`,
    wish.contains && ` --contains ${quoted(wish.contains)}`,
    wish.only && ` --${wish.only}`,
    !wish.payloads && " --no-payloads",
  ];
  return (
    <article>
      <h2>Tap</h2>
      <form
        class="filter"
        onSubmit={(event) => {
          event.preventDefault();
          setRunning(!running);
        }}
      >
        <label>Topics {input("filter", { size: 16 })}</label>{" "}
        <label>
          route{" "}
          <select value={wish.route} disabled={running} onChange={(event) => setWish((before) => ({ ...before, route: event.target.value }))}>
            <option value="">all</option>
            {layout.routes.map((route) => (
              <option key={route.name}>{route.name}</option>
            ))}
          </select>
        </label>{" "}
        <label>payload with {input("contains", { type: "search", size: 10 })}</label>{" "}
        <label>
          show{" "}
          <select value={wish.only} disabled={running} onChange={(event) => setWish((before) => ({ ...before, only: event.target.value }))}>
            <option value="">all</option>
            <option value="dropped">only what does not go on</option>
            <option value="failed">only what ends badly</option>
          </select>
        </label>{" "}
        <label>
          <input type="checkbox" checked={wish.payloads} disabled={running} onChange={(event) => setWish((before) => ({ ...before, payloads: event.target.checked }))} /> payloads
        </label>{" "}
        <button type="submit">{running ? "Stop" : "Look"}</button>
      </form>
      <p>
        <small role="status">
          {said ?? (ways.length ? `${ways.length} shown.` : "")} At most 50 messages a second are looked at, wherever more go by. Nothing is stored, and messages wait for nobody who looks.
        </small>
      </p>
      {ways.length === 0 && !running && <Nothing>Nothing is looked at yet.</Nothing>}
      <ol class="log ways">
        {ways.map((way) => (
          <Way key={way.number} way={way} />
        ))}
      </ol>
      <Command>
        tidegate tap --config {layout.file} {quoted(wish.filter || "#")}
        {options.filter(Boolean).join("")}
      </Command>
    </article>
  );
}
