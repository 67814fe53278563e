// The configuration: the file, checked as one types, what saving it would change, and saving it.

import { useEffect, useRef, useState } from "preact/hooks";
import { Command, Nothing } from "./parts.jsx";
import { ask, token } from "./store.js";

const QUIET_MS = 500;

function Changes({ checked }) {
  const lines = [
    ...checked.waiting.map((one) => [one.is_bad ? "bad" : "", `${one.messages} messages that wait for ${one.target}: ${one.fate}`]),
    ...checked.changes.map((change) => ["", change]),
    ...checked.next_start.map((change) => ["", change]),
  ];
  if (!lines.length) return <Nothing>Saving it would change nothing.</Nothing>;
  return (
    <>
      <h3>Saving it would change</h3>
      <ul>
        {lines.map(([kind, line]) => (
          <li key={line} class={kind}>
            {line}
          </li>
        ))}
      </ul>
    </>
  );
}

export function Configuration({ layout }) {
  const [found, setFound] = useState(null);
  const [text, setText] = useState("");
  const [checked, setChecked] = useState(null);
  const [said, setSaid] = useState(null);
  const gutter = useRef(null);
  const editor = useRef(null);
  const mayApply = layout.takes_control && token() && found?.may_save;
  const load = async () => {
    try {
      const body = await ask("configuration");
      setFound(body);
      setText(body.text);
      setChecked(null);
    } catch (error) {
      setSaid(error.message);
    }
  };
  useEffect(() => {
    load();
  }, []);
  useEffect(() => {
    if (!found || !token() || text === found.text) return setChecked(null);
    let gone = false;
    const timer = setTimeout(async () => {
      try {
        const body = await ask("configuration/check", { method: "POST", body: text });
        if (!gone) setChecked(body);
      } catch (error) {
        if (!gone) setSaid(error.message);
      }
    }, QUIET_MS);
    return () => {
      gone = true;
      clearTimeout(timer);
    };
  }, [text, found]);
  const save = async (path, options) => {
    setSaid("…");
    try {
      const body = await ask(path, options);
      setSaid(body.applied ? "It is saved, and runs." : `It is saved, and: ${body.reasons.join("; ")}`);
      await load();
    } catch (error) {
      if (error.body?.problems) setChecked(error.body);
      setSaid(error.body?.problems ? "It is not saved: it would be refused." : error.message);
    }
  };
  if (!found) return <Nothing>{said ?? "…"}</Nothing>;
  const lines = text.split("\n");
  const worst = (line) => {
    const of = (checked?.problems ?? []).filter((problem) => problem.line === line);
    return of.some((problem) => problem.is_error) ? "bad" : of.length ? "warn" : "";
  };
  const go = (problem) => {
    const area = editor.current;
    const from = lines.slice(0, problem.line - 1).reduce((sum, line) => sum + line.length + 1, 0) + problem.column - 1;
    area.focus();
    area.setSelectionRange(from, from + 1);
    area.scrollTop = (problem.line - 5) * 18;
  };
  return (
    <article>
      <h2>Configuration</h2>
      <p>
        <code>{found.file}</code> {found.runs ? "is what runs." : <span class="bad">is not all of what runs.</span>}{" "}
        {!layout.takes_control && "It is to be looked at here: `control` of [admin] is off, or it has no `token`."}
        {layout.takes_control && !token() && "Unlock the page to change it."}
        {layout.takes_control && token() && !found.may_save && <span class="bad">The gateway may not save it; the command below does, run as a user who may.</span>}
      </p>
      <div class="editor">
        <div class="gutter">
          <pre ref={gutter} aria-hidden="true">
            {lines.map((_, n) => (
              <span key={n} class={worst(n + 1)}>
                {n + 1}
                {"\n"}
              </span>
            ))}
          </pre>
        </div>
        <textarea
          ref={editor}
          aria-label="Configuration"
          spellcheck={false}
          readOnly={!layout.takes_control || !token()}
          wrap="off"
          rows={Math.min(30, lines.length + 1)}
          value={text}
          onInput={(event) => {
            setText(event.target.value);
            setSaid(null);
          }}
          onScroll={(event) => {
            gutter.current.scrollTop = event.target.scrollTop;
          }}
        />
      </div>
      {checked?.problems.length > 0 && (
        <ul class="found">
          {checked.problems.map((problem) => (
            <li key={`${problem.line}:${problem.column}:${problem.what}`} class={problem.is_error ? "bad" : ""}>
              <button type="button" onClick={() => go(problem)}>
                line {problem.line}
              </button>{" "}
              {problem.is_error ? "" : "warning: "}
              {problem.what}; {problem.hint}
            </li>
          ))}
        </ul>
      )}
      {checked && !checked.is_refused && <Changes checked={checked} />}
      {layout.takes_control && token() && (
        <p>
          <button type="button" disabled={!mayApply || text === found.text || !checked || checked.is_refused} onClick={() => save("configuration", { method: "PUT", body: text, headers: { "If-Match": `"${found.digest}"` } })}>
            Apply
          </button>{" "}
          <button type="button" disabled={text === found.text} onClick={() => setText(found.text)}>
            As it was
          </button>{" "}
          <button type="button" class="danger" disabled={!found.may_undo || !found.may_save} onClick={() => save("configuration/undo", { method: "POST" })}>
            Undo what was applied last
          </button>
        </p>
      )}
      {said && (
        <p role="status">
          <small>{said}</small>
        </p>
      )}
      <Command>tidegate apply NEW.toml --config {layout.file}</Command>
    </article>
  );
}
