// What several views are made of.

import { useState } from "preact/hooks";
import { ask } from "./store.js";

// The command that says the same in a terminal.
export function Command({ children }) {
  return (
    <p class="command">
      In a terminal: <code>{children}</code>
    </p>
  );
}

export function Facts({ all }) {
  const rows = all.filter(([, value]) => value !== undefined && value !== null && value !== "");
  return (
    <dl class="facts">
      {rows.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

// A curve of the last minutes: values of one kind, the oldest first.
export function Curve({ values, label, bad }) {
  const [width, height] = [300, 44];
  const most = Math.max(...values, 1e-9);
  const x = (n) => (values.length < 2 ? width : (n * width) / (values.length - 1));
  const y = (value) => height - 2 - ((height - 6) * value) / most;
  const line = values.map((value, n) => `${n ? "L" : "M"}${x(n).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  return (
    <figure class={bad ? "curve bad" : "curve"}>
      <svg viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="none" role="img" aria-label={label}>
        {values.length > 1 && <path d={line} />}
      </svg>
      <figcaption>{label}</figcaption>
    </figure>
  );
}

// Does something when it is pressed, and says what came of it.
export function Do({ what, path, method = "POST", done, danger, body }) {
  const [state, set] = useState(null);
  const press = async () => {
    set("…");
    try {
      const answer = await ask(path, { method, body });
      set(answer.message ?? "done");
      done?.();
    } catch (error) {
      set(error.message);
    }
  };
  return (
    <span class="do">
      <button type="button" class={danger ? "danger" : ""} onClick={press} disabled={state === "…"}>
        {what}
      </button>
      {state && (
        <small role="status" class="said">
          {state}
        </small>
      )}
    </span>
  );
}

export function Nothing({ children }) {
  return <p class="nothing">{children}</p>;
}
