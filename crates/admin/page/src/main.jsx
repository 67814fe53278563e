// The page of a running gateway.

import { render } from "preact";
import { useState } from "preact/hooks";
import { Configuration } from "./configuration.jsx";
import { Broker, Group, Plugin, Route } from "./details.jsx";
import { bytes, clock, count, span, when } from "./format.js";
import { Nothing } from "./parts.jsx";
import { Picture } from "./picture.jsx";
import { at, restart, setToken, token, useAddress, useStore } from "./store.js";
import "./style.css";
import { Tap } from "./tap.jsx";
import { Dropped, Log, Parked } from "./views.jsx";
import { Why } from "./why.jsx";

const VIEWS = [
  ["", "Overview"],
  ["dropped", "Dropped"],
  ["parked", "Parked"],
  ["tap", "Tap"],
  ["why", "Why not?"],
  ["configuration", "Configuration"],
  ["log", "Log"],
];

function Token({ wanted }) {
  const [open, setOpen] = useState(wanted);
  const [value, set] = useState("");
  if (token() && !wanted) {
    return (
      <button type="button" onClick={() => setToken("")}>
        Forget the token
      </button>
    );
  }
  if (!open && !wanted) {
    return (
      <button type="button" onClick={() => setOpen(true)}>
        Unlock
      </button>
    );
  }
  return (
    <form
      class="token"
      onSubmit={(event) => {
        event.preventDefault();
        setToken(value);
        setOpen(false);
      }}
    >
      <label>
        Token <input type="password" autocomplete="off" value={value} onInput={(event) => set(event.target.value)} />
      </label>{" "}
      <button type="submit">Show it</button>
    </form>
  );
}

function Head({ status, layout, link, since, view }) {
  const { gateway, reload, totals } = status;
  const came = totals.received + totals.replayed + totals.ticked + totals.recovered + totals.copies;
  const balanced = came === totals.delivered + totals.dropped + totals.parked + totals.in_flight;
  return (
    <header>
      <div class="top">
        <h1>
          <a href="#/">tidegate</a> {gateway.name}
        </h1>
        <nav aria-label="Views">
          {VIEWS.map(([name, title]) => (
            <a key={name} href={at(name)} aria-current={view === name ? "page" : undefined}>
              {title}
              {name === "parked" && status.parked > 0 && <b class="badge">{count(status.parked)}</b>}
            </a>
          ))}
        </nav>
        {layout?.takes_control && <Token />}
      </div>
      {link !== "live" && (
        <p class="bar bad" role="alert">
          The gateway is not heard since {clock(since)}: what is below is what was last known.
        </p>
      )}
      {reload.is_refused && (
        <div class="bar bad" role="alert">
          <b>The file was refused at {when(reload.refused_at_ms)}; what ran before keeps running:</b>
          <ul>
            {reload.reasons.map((reason) => (
              <li key={reason}>{reason}</li>
            ))}
          </ul>
        </div>
      )}
      {status.problems.length > 0 && (
        <ul class={status.ready ? "bar" : "bar bad"}>
          {status.problems.map((problem) => (
            <li key={problem}>{problem}</li>
          ))}
        </ul>
      )}
      <p class="facts-line">
        version {gateway.version} · up {span((gateway.now_ms - gateway.started_at_ms) / 1000)} · {count(totals.received)} in, {count(totals.delivered)} out, {count(totals.dropped)} dropped,{" "}
        {count(status.waiting)} waiting, {count(status.parked)} parked · every message accounted for: {balanced ? "yes" : "NO"} · memory {bytes(status.process.memory_bytes)} · disk{" "}
        {status.disk.state} ·{" "}
        {reload.is_refused
          ? "the file on disk is not what runs"
          : reload.next_start.length
            ? `waits for the next start: ${reload.next_start.join("; ")}`
            : `what runs is the file on disk${reload.applied ? `, applied at ${when(reload.applied_at_ms)}` : ""}`}
      </p>
    </header>
  );
}

function Page() {
  const { status, layout, link, since } = useStore();
  const [view = "", name, more] = useAddress();
  if (link === "token") {
    return (
      <main>
        <h1>tidegate</h1>
        <p>This gateway is looked at with a token: `token` or `read_token` of [admin].</p>
        <Token wanted />
      </main>
    );
  }
  if (!status || !layout) return <Nothing>{link === "lost" ? "The gateway does not answer." : "…"}</Nothing>;
  const all = { status, layout, name };
  const shown = {
    "": () => <Picture {...all} />,
    broker: () => <Broker {...all} />,
    set: () => <Group {...all} />,
    source: () => <Group {...all} />,
    route: () => <Route {...all} />,
    plugin: () => <Plugin {...all} />,
    dropped: () => <Dropped layout={layout} route={name} reason={more} />,
    parked: () => <Parked layout={layout} />,
    tap: () => <Tap layout={layout} name={name} />,
    why: () => <Why layout={layout} />,
    configuration: () => <Configuration key={token()} layout={layout} />,
    log: () => <Log layout={layout} />,
  }[view];
  return (
    <>
      <Head status={status} layout={layout} link={link} since={since} view={view} />
      <main>{shown ? shown() : <Nothing>There is no such view.</Nothing>}</main>
    </>
  );
}

restart();
render(<Page />, document.getElementById("page"));
