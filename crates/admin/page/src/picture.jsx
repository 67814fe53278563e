// Home: brokers left and right, routes between, lines as thick as their rate.

import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { count, rate, span } from "./format.js";
import { at } from "./store.js";
import { Nothing } from "./parts.jsx";

const ROUTES_SHOWN = 60;

// What is wrong with a broker, in a word, if anything.
export function state(broker) {
  if (!broker.up) return "away";
  return broker.ready ? "up" : "trouble";
}

function Dot({ is }) {
  return <i class={`dot ${is}`} title={is} />;
}

// Everything that waits for a target, over all priorities.
export function waiting(status, target) {
  const queues = status.queues.filter((queue) => queue.target === target && queue.messages > 0);
  const sum = (key) => queues.reduce((all, queue) => all + queue[key], 0);
  return {
    messages: sum("messages"),
    bytes: sum("bytes"),
    oldest: Math.max(0, ...queues.map((queue) => queue.oldest_s)),
    used: Math.max(0, ...queues.map((queue) => queue.used ?? 0)),
  };
}

function Waits({ status, target }) {
  const { messages, oldest, used } = waiting(status, target);
  if (!messages) return null;
  return (
    <p class={oldest > 10 ? "waits bad" : "waits"}>
      {count(messages)} wait, the oldest {span(oldest)}
      {used >= 0.01 && `, ${Math.round(used * 100)} % of the quota`}
    </p>
  );
}

function BrokerBox({ status, name, side }) {
  const broker = status.brokers.find((broker) => broker.name === name);
  if (!broker) return null;
  const flow = side === "from" ? rate(broker.rates?.received) : rate(broker.rates?.delivered);
  return (
    <a class={`box ${state(broker)}`} href={at("broker", name)} data-at={`${side}:${name}`}>
      <h3>
        <Dot is={state(broker)} /> {name} <small>{broker.version === "embedded" ? "own broker" : broker.up && `MQTT ${broker.version}`}</small>
      </h3>
      <p>
        {broker.up ? `${flow} ${side === "from" ? "in" : "out"}` : (broker.error ?? "away")}
        {broker.clients !== null && broker.clients !== undefined && `, ${broker.clients} clients`}
      </p>
      {side === "to" && <Waits status={status} target={name} />}
    </a>
  );
}

function GroupBox({ status, layout, name, side }) {
  const set = status.sets.find((set) => set.name === name);
  const source = status.sources.find((source) => source.name === name);
  const policy = [...layout.sets, ...layout.sources].find((one) => one.name === name)?.policy;
  const members = set
    ? set.members.map((member) => [member.broker, member.share > 0 && !member.is_out, member.share])
    : (layout.sources.find((one) => one.name === name)?.brokers ?? []).map((broker) => [
        broker,
        source?.subscribed.includes(broker),
      ]);
  return (
    <a class={`box ${(set ?? source)?.down ? "away" : "up"}`} href={at(set ? "set" : "source", name)} data-at={`${side}:${name}`}>
      <h3>
        {name} <small>{policy}</small>
      </h3>
      <ul>
        {members.map(([broker, active, share]) => {
          const known = status.brokers.find((one) => one.name === broker);
          return (
            <li key={broker}>
              <Dot is={known ? state(known) : "away"} /> {active ? "▸" : " "} {broker}{" "}
              {policy === "balance" && share !== undefined && <small>{Math.round(share * 100)} %</small>}
              {known && !known.up && <small> {known.error}</small>}
            </li>
          );
        })}
      </ul>
      <Waits status={status} target={name} />
    </a>
  );
}

function RouteBox({ route, plan }) {
  const plugins = plan?.plugins.map((plugin) => plugin.name) ?? [];
  const ill = route.plugins.some((plugin) => plugin.is_open);
  const lost = route.rates?.dropped > 0;
  return (
    <a class={`box route ${route.looping || ill ? "trouble" : "up"}`} href={at("route", route.name)} data-at={`route:${route.name}`}>
      <h3>
        {route.name} <small>{plan?.topics.join(" ")}</small>
      </h3>
      <p>
        {plugins.length > 0 && <span class="plugins">{plugins.join(" ▸ ")} · </span>}
        {rate(route.rates?.received)} → {rate(route.rates?.delivered)}
        {lost && <span class="lost"> · {rate(route.rates.dropped)} dropped</span>}
        {route.account.parked > 0 && <span class="bad"> · {count(route.account.parked)} parked so far</span>}
        {route.waiting && <span class="bad"> · its plugins are being compiled</span>}
        {route.looping && <span class="bad"> · in a loop</span>}
      </p>
    </a>
  );
}

function Lines({ picture, lines }) {
  const [drawn, set] = useState({ paths: [], width: 0, height: 0 });
  useLayoutEffect(() => {
    const root = picture.current;
    if (!root) return;
    const draw = () => {
      const frame = root.getBoundingClientRect();
      const places = new Map();
      for (const box of root.querySelectorAll("[data-at]")) {
        const { left, right, top, height } = box.getBoundingClientRect();
        places.set(box.dataset.at, { left: left - frame.left, right: right - frame.left, y: top - frame.top + height / 2 });
      }
      const most = Math.max(1, ...lines.map((line) => line.rate));
      const paths = lines.flatMap(({ from, to, rate, bad }) => {
        const [a, b] = [places.get(from), places.get(to)];
        if (!a || !b || b.left <= a.right) return [];
        const half = (b.left - a.right) / 2;
        const width = rate > 0 ? 1.5 + (8.5 * Math.log1p(rate)) / Math.log1p(most) : 1;
        const d = `M${a.right} ${a.y}C${a.right + half} ${a.y} ${b.left - half} ${b.y} ${b.left} ${b.y}`;
        return [{ d, width, still: rate === 0, bad }];
      });
      const next = { paths, width: frame.width, height: frame.height };
      set((before) => (JSON.stringify(before) === JSON.stringify(next) ? before : next));
    };
    draw();
    addEventListener("resize", draw);
    return () => removeEventListener("resize", draw);
  });
  return (
    <svg class="lines" width={drawn.width} height={drawn.height} aria-hidden="true">
      {drawn.paths.map(({ d, width, still, bad }, n) => (
        <path key={n} d={d} stroke-width={width} class={bad ? "bad" : still ? "still" : ""} />
      ))}
    </svg>
  );
}

export function Picture({ status, layout }) {
  const picture = useRef(null);
  const [filter, setFilter] = useState("");
  const plans = new Map(layout.routes.map((route) => [route.name, route]));
  const matches = (route) => {
    const plan = plans.get(route.name);
    const words = [route.name, plan?.from, ...(plan?.topics ?? []), ...(plan?.to ?? []).map((to) => to.name)].join(" ");
    return words.toLowerCase().includes(filter.toLowerCase());
  };
  const found = status.routes.filter(matches);
  // Those that carry the most, in the order of the file.
  const busiest = [...found].sort((a, b) => (b.rates?.received ?? 0) - (a.rates?.received ?? 0)).slice(0, ROUTES_SHOWN);
  const shown = found.length > ROUTES_SHOWN ? found.filter((route) => busiest.includes(route)) : found;
  const targets = (plan) => new Set([...plan.to.map((to) => to.name), ...plan.plugins.flatMap((plugin) => plugin.sends_to)]);
  const ends = (of) => [...new Set(shown.flatMap((route) => (plans.get(route.name) ? [...of(plans.get(route.name))] : [])))];
  const [from, to] = [ends((plan) => [plan.from]), ends(targets)];
  const isGroup = (name) => layout.sets.some((set) => set.name === name) || layout.sources.some((source) => source.name === name);
  const isAway = (name) => {
    const broker = status.brokers.find((broker) => broker.name === name);
    return broker ? !broker.up : [...status.sets, ...status.sources].find((one) => one.name === name)?.down;
  };
  const lines = shown.flatMap((route) => {
    const plan = plans.get(route.name);
    if (!plan) return [];
    const name = `route:${route.name}`;
    return [
      { from: `from:${plan.from}`, to: name, rate: route.rates?.received ?? 0, bad: isAway(plan.from) },
      ...[...targets(plan)].map((target) => ({
        from: name,
        to: `to:${target}`,
        rate: route.rates?.delivered ?? 0,
        bad: isAway(target) || waiting(status, target).oldest > 10,
      })),
    ];
  });
  const unused = status.brokers.filter(
    ({ name }) =>
      !from.includes(name) &&
      !to.includes(name) &&
      ![...layout.sets.flatMap((set) => set.members), ...layout.sources.flatMap((source) => source.brokers)].includes(name),
  );
  const box = (name, side) =>
    isGroup(name) ? (
      <GroupBox key={name} status={status} layout={layout} name={name} side={side} />
    ) : (
      <BrokerBox key={name} status={status} name={name} side={side} />
    );
  return (
    <>
      {status.routes.length > 8 && (
        <p class="filter">
          <label>
            Show routes with <input type="search" value={filter} onInput={(event) => setFilter(event.target.value)} />
          </label>{" "}
          {shown.length < status.routes.length &&
            `${shown.length} of ${status.routes.length}${found.length > shown.length ? ", those that carry the most" : ""}`}
        </p>
      )}
      <div class="picture" ref={picture}>
        <Lines picture={picture} lines={lines} />
        <section aria-label="Where messages come from">
          <h2>From</h2>
          {from.map((name) => box(name, "from"))}
        </section>
        <section aria-label="Routes">
          <h2>Routes</h2>
          {shown.map((route) => (
            <RouteBox key={route.name} route={route} plan={plans.get(route.name)} />
          ))}
          {shown.length === 0 && <Nothing>No route {filter ? `with "${filter}"` : "is configured"}.</Nothing>}
        </section>
        <section aria-label="Where messages go">
          <h2>To</h2>
          {to.map((name) => box(name, "to"))}
        </section>
      </div>
      {unused.length > 0 && !filter && (
        <section class="unused">
          <h2>Brokers of no route that is shown</h2>
          {unused.map(({ name }) => box(name, "from"))}
        </section>
      )}
    </>
  );
}
