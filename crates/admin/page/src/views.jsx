// What was dropped, what is kept aside, what the log says.

import { useEffect, useState } from "preact/hooks";
import { clock, count, when } from "./format.js";
import { Command, Do, Nothing } from "./parts.jsx";
import { ask, at, store } from "./store.js";

// Asks for something again and again while it is looked at.
function useAsked(path, everyMs) {
  const [state, set] = useState({ body: null, error: null });
  const [again, setAgain] = useState(0);
  useEffect(() => {
    let gone = false;
    const look = async () => {
      try {
        const body = await ask(path);
        if (!gone) set({ body, error: null });
      } catch (error) {
        if (!gone) set((before) => ({ ...before, error: error.message }));
      }
    };
    look();
    const timer = setInterval(look, everyMs);
    return () => {
      gone = true;
      clearInterval(timer);
    };
  }, [path, everyMs, again]);
  return { ...state, again: () => setAgain((n) => n + 1) };
}

export function Dropped({ layout, route, reason }) {
  const { body, error } = useAsked("dropped", 2000);
  if (!body) return <Nothing>{error ?? "…"}</Nothing>;
  const shown = body.kept.filter((one) => (!route || one.route === route) && (!reason || one.reason === reason)).reverse();
  const reasons = [...new Set(body.kept.map((one) => `${one.route}/${one.reason}`))].sort();
  return (
    <article>
      <h2>Dropped</h2>
      <p>
        {count(body.total)} messages since the start. Of each reason of each route the last 25 are kept, and of many only some. What a plugin drops for a reason
        of its own is as it should be; what the gateway drops is explained in the documents.
      </p>
      {reasons.length > 1 && (
        <p class="chips">
          <a href={at("dropped")} class={route ? "" : "on"}>
            all
          </a>
          {reasons.map((one) => (
            <a key={one} href={at("dropped", ...one.split("/"))} class={one === `${route}/${reason}` ? "on" : ""}>
              {one.replace("/", ": ")}
            </a>
          ))}
        </p>
      )}
      {shown.length === 0 && <Nothing>Nothing {route ? "of that " : ""}has been dropped.</Nothing>}
      {shown.length > 0 && (
        <table>
          <thead>
            <tr>
              <th>Time</th>
              <th>Route</th>
              <th>Reason</th>
              <th>Topic</th>
            </tr>
          </thead>
          <tbody>
            {shown.map((one) => (
              <tr key={one.number}>
                <td>{when(one.at_ms)}</td>
                <td>
                  <a href={at("route", one.route)}>{one.route}</a>
                </td>
                <td>{one.reason}</td>
                <td class="topic">{one.topic ?? <em>not known any more</em>}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      <Command>tidegate dropped --config {layout.file}</Command>
    </article>
  );
}

function Payload({ number }) {
  const [found, set] = useState(null);
  const [hex, setHex] = useState(false);
  useEffect(() => {
    ask(`parked/${number}`).then(set, (error) => set({ error: error.message }));
  }, [number]);
  if (!found) return "…";
  if (found.error) return found.error;
  const raw = Uint8Array.from(atob(found.payload_base64), (c) => c.charCodeAt(0));
  const digits = [...raw].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
  return (
    <>
      <pre>{hex ? digits : found.payload}</pre>
      <button type="button" onClick={() => setHex(!hex)}>
        {hex ? "as text" : "as hex"}
      </button>
      {found.payload_bytes > raw.length && <small> the first {raw.length} of {count(found.payload_bytes)} bytes</small>}
    </>
  );
}

export function Parked({ layout }) {
  const { body, error, again } = useAsked("parked", 2000);
  const [open, setOpen] = useState(null);
  const [said, setSaid] = useState(null);
  if (!body) return <Nothing>{error ?? "…"}</Nothing>;
  const kinds = [...new Set(body.map((one) => one.kind))].sort();
  const all = async (of, method, path) => {
    setSaid("…");
    let done = 0;
    try {
      for (const one of of) {
        await ask(`parked/${one.number}${path}`, { method });
        done += 1;
      }
      setSaid(`${done} messages: done`);
    } catch (error) {
      setSaid(`${done} messages done, then: ${error.message}`);
    }
    again();
  };
  return (
    <article>
      <h2>Parked</h2>
      <p>Messages that a plugin could not decide, or that a target did not take. Nothing is lost: each is on disk until it is replayed or deleted.</p>
      {body.length === 0 && <Nothing>Nothing is parked.</Nothing>}
      {body.length > 0 && layout.takes_control && (
        <p>
          {kinds.map((kind) => {
            const of = body.filter((one) => one.kind === kind);
            return (
              <span key={kind} class="do">
                <button type="button" onClick={() => all(of, "POST", "/replay")}>
                  Replay {of.length} × {kind}
                </button>{" "}
                <button type="button" class="danger" onClick={() => confirm(`Delete ${of.length} messages?`) && all(of, "DELETE", "")}>
                  Delete {of.length} × {kind}
                </button>
              </span>
            );
          })}
          {said && <small role="status">{said}</small>}
        </p>
      )}
      {body.length > 0 && (
        <table>
          <thead>
            <tr>
              <th class="number">Number</th>
              <th>Received</th>
              <th>Route</th>
              <th>By</th>
              <th>Topic</th>
              <th>Why</th>
              <th />
            </tr>
          </thead>
          <tbody>
            {body.flatMap((one) => [
              <tr key={one.number}>
                <td class="number">{one.number}</td>
                <td>{when(one.received_ms)}</td>
                <td>
                  <a href={at("route", one.route)}>{one.route}</a>
                </td>
                <td>{one.plugin || one.target}</td>
                <td class="topic">{one.topic}</td>
                <td>
                  {one.kind}: {one.reason}
                </td>
                <td>
                  <button type="button" aria-expanded={open === one.number} onClick={() => setOpen(open === one.number ? null : one.number)}>
                    Payload
                  </button>{" "}
                  {layout.takes_control && (
                    <>
                      <Do what="Replay" path={`parked/${one.number}/replay`} done={again} /> <Do what="Delete" path={`parked/${one.number}`} method="DELETE" done={again} danger />
                    </>
                  )}
                </td>
              </tr>,
              open === one.number && (
                <tr key={`${one.number}p`}>
                  <td colSpan={7}>
                    <Payload number={one.number} />
                  </td>
                </tr>
              ),
            ])}
          </tbody>
        </table>
      )}
      <Command>
        tidegate parked list --config {layout.file}
      </Command>
    </article>
  );
}

export function Log({ layout }) {
  const [filter, setFilter] = useState("");
  const [level, setLevel] = useState("INFO");
  const levels = { ERROR: 0, WARN: 1, INFO: 2 };
  const words = (line) => `${line.message} ${Object.entries(line.fields).flat().join(" ")}`.toLowerCase();
  const shown = store.log.filter((line) => levels[line.level] <= levels[level] && words(line).includes(filter.toLowerCase())).reverse();
  return (
    <article>
      <h2>Log</h2>
      <p class="filter">
        <label>
          Show lines with <input type="search" value={filter} onInput={(event) => setFilter(event.target.value)} placeholder="a broker, a route, a plugin, a word" />
        </label>{" "}
        <label>
          from{" "}
          <select value={level} onChange={(event) => setLevel(event.target.value)}>
            <option value="INFO">information</option>
            <option value="WARN">warnings</option>
            <option value="ERROR">errors</option>
          </select>{" "}
          on
        </label>
      </p>
      {store.lostLines > 0 && <p class="bad">{count(store.lostLines)} lines came too fast and are missing here.</p>}
      {shown.length === 0 && <Nothing>No line.</Nothing>}
      <ol class="log">
        {shown.map((line) => (
          <li key={line.number} class={line.level.toLowerCase()}>
            <time>{clock(line.at_ms)}</time> <b>{line.level}</b> {line.message}{" "}
            {Object.entries(line.fields).map(([name, value]) => (
              <span key={name} class="field">
                {name}={["broker", "route", "plugin"].includes(name) ? <a href={at(name, value)}>{value}</a> : value}{" "}
              </span>
            ))}
          </li>
        ))}
      </ol>
      <Command>journalctl --unit tidegate --follow</Command>
    </article>
  );
}
