// One thing, with all that is known of it.

import { Clients } from "./clients.jsx";
import { Command, Curve, Do, Facts, Nothing } from "./parts.jsx";
import { state, waiting } from "./picture.jsx";
import { at, store, useFound } from "./store.js";
import { Candidate } from "./trial.jsx";
import { bytes, count, ms, rate, span } from "./format.js";

function Link({ to, name }) {
  return <a href={at(to, name)}>{name}</a>;
}

// A broker, a set or a source by its name.
export function Named({ layout, name }) {
  const kind = layout.sets.some((set) => set.name === name)
    ? "set"
    : layout.sources.some((source) => source.name === name)
      ? "source"
      : "broker";
  return <Link to={kind} name={name} />;
}

function List({ of }) {
  return of.flatMap((one, n) => (n ? [", ", one] : [one]));
}

function Problems({ all }) {
  if (!all.length) return null;
  return (
    <ul class="problems">
      {all.map((problem) => (
        <li key={problem}>{problem}</li>
      ))}
    </ul>
  );
}

export function Waiting({ status, layout, target }) {
  const queues = status.queues.filter((queue) => queue.target === target && queue.messages > 0);
  const all = waiting(status, target);
  return (
    <>
      <h3>Waiting for it</h3>
      {queues.length === 0 && <Nothing>Nothing waits.</Nothing>}
      {queues.length > 0 && (
        <table>
          <thead>
            <tr>
              <th>Priority</th>
              <th class="number">Messages</th>
              <th class="number">Size</th>
              <th class="number">Oldest</th>
              <th class="number">Of the quota</th>
            </tr>
          </thead>
          <tbody>
            {queues.map((queue) => (
              <tr key={queue.priority}>
                <td>{queue.priority}</td>
                <td class="number">{count(queue.messages)}</td>
                <td class="number">{bytes(queue.bytes)}</td>
                <td class="number">{span(queue.oldest_s)}</td>
                <td class="number">{queue.used === null ? "–" : `${(queue.used * 100).toFixed(1)} %`}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {all.messages > 0 && layout.takes_control && (
        <p>
          <Do what="Discard all that waits" path={`waiting/${target}/discard`} danger />
        </p>
      )}
      <Command>tidegate spool status --config {layout.file}</Command>
    </>
  );
}

// The last connections to a broker, and what it was asked to send.
function LinkDetails({ name, generation, connects }) {
  const found = useFound(`brokers/${name}`, [generation, connects]);
  if (!found || (!found.connections.length && !found.subscriptions.length)) return null;
  return (
    <>
      {found.subscriptions.length > 0 && (
        <>
          <h3>Subscriptions</h3>
          <table>
            <thead>
              <tr>
                <th>Filter</th>
                <th class="number">QoS</th>
                <th>Granted</th>
              </tr>
            </thead>
            <tbody>
              {found.subscriptions.map((one) => (
                <tr key={one.filter} class={one.problem ? "bad" : ""}>
                  <td>
                    <code>{one.filter}</code>
                  </td>
                  <td class="number">{one.qos}</td>
                  <td>{one.problem ?? "yes"}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </>
      )}
      {found.connections.length > 0 && (
        <>
          <h3>Last connections</h3>
          <table>
            <thead>
              <tr>
                <th>Since</th>
                <th>For</th>
                <th>Spoken</th>
                <th>Session</th>
                <th>Why it ended</th>
              </tr>
            </thead>
            <tbody>
              {[...found.connections].reverse().map((one) => (
                <tr key={one.since_ms}>
                  <td>{new Date(one.since_ms).toLocaleString()}</td>
                  <td>{span(((one.ended_ms ?? Date.now()) - one.since_ms) / 1000)}</td>
                  <td>{one.version}</td>
                  <td>{one.session_present ? "taken up" : "new"}</td>
                  <td>{one.ended_ms === null ? "it stands" : one.why}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </>
      )}
    </>
  );
}

export function Broker({ status, layout, name }) {
  const broker = status.brokers.find((broker) => broker.name === name);
  const plan = layout.brokers.find((broker) => broker.name === name);
  if (!broker || !plan) return <Nothing>There is no broker {name}.</Nothing>;
  const routes = layout.routes.filter(
    (route) => route.from === name || route.to.some((to) => to.name === name) || route.plugins.some((plugin) => plugin.sends_to.includes(name)),
  );
  const groups = [...layout.sets.filter((set) => set.members.includes(name)), ...layout.sources.filter((source) => source.brokers.includes(name))];
  return (
    <article>
      <h2>
        Broker {name} <span class={`state ${state(broker)}`}>{state(broker) === "up" ? "up" : state(broker) === "away" ? "away" : "up, with trouble"}</span>
      </h2>
      <Problems all={[...(broker.error && !broker.up ? [broker.error] : []), ...broker.problems]} />
      <Facts
        all={[
          [plan.kind === "embedded" ? "Listens at" : "Address", plan.urls.join(", ")],
          ["Encrypted", plan.kind === "embedded" ? null : plan.tls ? "TLS" : "no"],
          ["User name", plan.username],
          ["Client id", plan.client_id],
          ["Spoken", broker.version === "embedded" ? "own broker" : broker.version && `MQTT ${broker.version} (asked for: ${plan.version ?? "–"})`],
          ["Session kept", plan.session_expiry_s === null ? null : plan.session_expiry_s === 0 ? "no" : span(plan.session_expiry_s)],
          ["Connections so far", plan.kind === "embedded" ? null : count(broker.connects)],
          ["Sessions it had forgotten", plan.kind === "embedded" ? null : count(broker.sessions_lost)],
          ["Clients", broker.clients],
          ["From it", `${rate(broker.rates?.received)}, ${count(broker.received)} in all, ${bytes(broker.bytes_in)}`],
          ["To it", `${rate(broker.rates?.delivered)}, ${count(broker.sent)} in all, ${bytes(broker.bytes_out)}`],
          ["That no route wanted", broker.unrouted ? count(broker.unrouted) : null],
          ["Slowest answer of late", broker.slowest_s === null ? null : span(broker.slowest_s)],
          ["In memory for it", broker.queued ? `${count(broker.queued)} messages` : null],
          ["Known of it", broker.notes.join("; ")],
          ["Routes", routes.length ? <List of={routes.map((route) => <Link to="route" name={route.name} />)} /> : null],
          ["Member of", groups.length ? <List of={groups.map((group) => <Named layout={layout} name={group.name} />)} /> : null],
        ]}
      />
      {layout.takes_control && (
        <p>
          {broker.paused ? (
            <Do what="Go on" path={`brokers/${name}/resume`} />
          ) : (
            <Do what="Pause: send nothing more to it" path={`brokers/${name}/pause`} />
          )}
        </p>
      )}
      <Command>
        tidegate {broker.paused ? "resume" : "pause"} {name} --config {layout.file}
      </Command>
      {plan.kind !== "embedded" && <LinkDetails name={name} connects={broker.connects} generation={status.gateway.generation} />}
      {plan.kind === "embedded" && <Clients broker={name} layout={layout} />}
      <Waiting status={status} layout={layout} target={name} />
    </article>
  );
}

export function Group({ status, layout, name }) {
  const set = status.sets.find((set) => set.name === name);
  const source = status.sources.find((source) => source.name === name);
  const plan = [...layout.sets, ...layout.sources].find((one) => one.name === name);
  if (!plan) return <Nothing>There is no set or source {name}.</Nothing>;
  return (
    <article>
      <h2>
        {set ? "Target set" : "Source"} {name} <small>{plan.policy}</small>
      </h2>
      {(set ?? source)?.down && <Problems all={["none of its brokers is there"]} />}
      <table>
        <thead>
          <tr>
            <th>Broker</th>
            <th>State</th>
            <th class="number">{set ? "Its share" : "Subscribed"}</th>
          </tr>
        </thead>
        <tbody>
          {(set ? set.members.map((member) => member.broker) : plan.brokers).map((broker) => {
            const known = status.brokers.find((one) => one.name === broker);
            const member = set?.members.find((member) => member.broker === broker);
            return (
              <tr key={broker}>
                <td>
                  <Link to="broker" name={broker} />
                </td>
                <td>
                  {known ? state(known) : "–"}
                  {member?.is_out && ", given up until it has been well for a while"}
                  {member && member.relieved_to < 1 && `, strained: gets ${Math.round(member.relieved_to * 100)} % of its part`}
                </td>
                <td class="number">{member ? `${Math.round(member.share * 100)} %` : source?.subscribed.includes(broker) ? "yes" : "no"}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
      <p>Changes so far: {(set ?? source)?.changes ?? 0}</p>
      {set && <Waiting status={status} layout={layout} target={name} />}
    </article>
  );
}

export function Route({ status, layout, name }) {
  const route = status.routes.find((route) => route.name === name);
  const plan = layout.routes.find((route) => route.name === name);
  if (!route || !plan) return <Nothing>There is no route {name}.</Nothing>;
  const curve = store.curves.get(name) ?? [];
  const drops = Object.entries(route.drops).sort(([, a], [, b]) => b - a);
  const { account } = route;
  return (
    <article>
      <h2>Route {name}</h2>
      <Problems
        all={[
          ...(route.looping ? ["in a loop over another gateway: what comes again is dropped"] : []),
          ...(route.waiting ? ["its plugins are being compiled: what comes waits"] : []),
        ]}
      />
      <div class="curves">
        <Curve values={curve.map((one) => one.received)} label={`received ${rate(route.rates?.received)}`} />
        <Curve values={curve.map((one) => one.delivered)} label={`delivered ${rate(route.rates?.delivered)}`} />
        <Curve values={curve.map((one) => one.dropped)} label={`dropped ${rate(route.rates?.dropped)}`} bad />
      </div>
      <Facts
        all={[
          ["From", <Named layout={layout} name={plan.from} />],
          ["Topics", <code>{plan.topics.join("  ")}</code>],
          ["Plugins", plan.plugins.length ? <List of={plan.plugins.map((plugin) => <Link to="plugin" name={plugin.name} />)} /> : "none"],
          ["To", <List of={plan.to.map((to) => [<Named layout={layout} name={to.name} />, to.required ? "" : " (the source does not wait for it)"])} />],
          ["Topic of what goes on", plan.remaps ? "changed by remap" : null],
          ["Acknowledged to the source", plan.ack === "spooled" ? "once it is on disk" : "once it is delivered"],
          ["From receipt to delivery", `half within ${ms(route.p50_ms)}, 99 in a hundred within ${ms(route.p99_ms)}`],
        ]}
      />
      <p>
        <a href={at("tap", name)}>Look at its messages</a>
      </p>
      <h3>Every message accounted for</h3>
      <Facts
        all={[
          ["Received", count(account.received)],
          ["Replayed", account.replayed ? count(account.replayed) : null],
          ["Made on a tick", account.ticked ? count(account.ticked) : null],
          ["Found at the start", account.recovered ? count(account.recovered) : null],
          ["Copies", account.copies ? count(account.copies) : null],
          ["Delivered", count(account.delivered)],
          ["Dropped", count(account.dropped)],
          ["Parked", count(account.parked)],
          ["Under way", count(account.in_flight)],
        ]}
      />
      {drops.length > 0 && (
        <>
          <h3>Dropped</h3>
          <table>
            <thead>
              <tr>
                <th>Reason</th>
                <th class="number">Messages</th>
              </tr>
            </thead>
            <tbody>
              {drops.map(([reason, messages]) => (
                <tr key={reason}>
                  <td>
                    <a href={at("dropped", name, reason)}>{reason}</a>
                  </td>
                  <td class="number">{count(messages)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </>
      )}
      {route.plugins.length > 0 && (
        <>
          <h3>Its plugins, in order</h3>
          <table>
            <thead>
              <tr>
                <th>Plugin</th>
                <th>Version</th>
                <th class="number">Passed</th>
                <th class="number">Changed</th>
                <th class="number">Dropped</th>
                <th class="number">Failures</th>
                <th class="number">A message</th>
                <th class="number">Memory</th>
              </tr>
            </thead>
            <tbody>
              {route.plugins.map((plugin) => (
                <tr key={plugin.name} class={plugin.failures ? "bad" : ""}>
                  <td>
                    <Link to="plugin" name={plugin.name} />
                  </td>
                  <td>
                    <code>{plugin.version}</code>
                  </td>
                  <td class="number">{count(plugin.outcomes.passed)}</td>
                  <td class="number">{count(plugin.outcomes.changed)}</td>
                  <td class="number">{count(plugin.outcomes.dropped)}</td>
                  <td class="number">
                    {count(plugin.failures)}
                    {plugin.is_open && ", not asked now"}
                  </td>
                  <td class="number">{plugin.mean_us === null ? "–" : ms(plugin.mean_us / 1000)}</td>
                  <td class="number">{bytes(plugin.memory_bytes)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </>
      )}
      <Command>tidegate status --config {layout.file} --route {name}</Command>
    </article>
  );
}

// What a plugin remembers, and the versions of it that have run: asked for while somebody looks.
function PluginDetails({ name, generation, layout }) {
  const found = useFound(`plugins/${name}`, [generation]);
  if (!found) return null;
  return (
    <>
      <Candidate name={name} found={found} layout={layout} />
      <h3>Versions</h3>
      {found.rolled_back && <p>Rolled back: the configuration says otherwise, and is followed again once it, or the component, is another one.</p>}
      <table>
        <thead>
          <tr>
            <th class="number">Number</th>
            <th>Version</th>
            <th>Since</th>
            <th>Ran for</th>
            <th class="number">Messages</th>
            <th class="number">Failures</th>
            <th class="number">A message</th>
            <th>Configuration</th>
            {layout.takes_control && <th />}
          </tr>
        </thead>
        <tbody>
          {[...found.versions].reverse().map((one) => (
            <tr key={one.number}>
              <td class="number">{one.number}</td>
              <td>
                <code>{one.version}</code>
              </td>
              <td>
                {new Date(one.since_ms).toLocaleString()}
                {one.came === "rollback" && ", by a rollback"}
                {one.came === "promoted" && ", by a trial"}
              </td>
              <td>{one.until_ms === undefined ? "it runs" : span((one.until_ms - one.since_ms) / 1000)}</td>
              <td class="number">{count(one.messages)}</td>
              <td class="number">{count(one.failures)}</td>
              <td class="number">{one.mean_us === undefined ? "–" : ms(one.mean_us / 1000)}</td>
              <td>
                <code>{JSON.stringify(one.config)}</code>
              </td>
              {layout.takes_control && (
                <td>{one.until_ms !== undefined && <Do what="Roll back to it" path={`plugins/${name}/rollback?to=%23${one.number}`} danger />}</td>
              )}
            </tr>
          ))}
        </tbody>
      </table>
      <Command>
        tidegate plugin versions {name} --config {layout.file}
      </Command>
      <h3>What it remembers</h3>
      {found.state_keys === 0 && <Nothing>Nothing.</Nothing>}
      {found.state_keys > 0 && (
        <>
          <table>
            <thead>
              <tr>
                <th>Key</th>
                <th class="number">Size</th>
              </tr>
            </thead>
            <tbody>
              {found.state.map((one) => (
                <tr key={one.key}>
                  <td>
                    <code>{one.key}</code>
                  </td>
                  <td class="number">{bytes(one.bytes)}</td>
                </tr>
              ))}
            </tbody>
          </table>
          <p>
            {count(found.state_keys)} keys, {bytes(found.state_bytes)}
            {found.state_keys > found.state.length && `; the first ${found.state.length} are shown`}
            {found.state_version && `; as its version ${found.state_version} writes it`}
          </p>
        </>
      )}
      <Command>
        tidegate plugin state list {name} --config {layout.file}
      </Command>
    </>
  );
}

// What it wanted and was not given, of all routes.
const REFUSED = { foreign_target: "a target that it may not send to", foreign_topic: "a topic that it may not choose" };

function refused(uses) {
  const of = (kind) => uses.reduce((sum, use) => sum + (use.faults[kind] ?? 0), 0);
  return Object.entries(REFUSED)
    .filter(([kind]) => of(kind) > 0)
    .map(([kind, words]) => `${words}: ${count(of(kind))} times`)
    .join("; ");
}

export function Plugin({ status, layout, name }) {
  const plan = layout.plugins.find((plugin) => plugin.name === name);
  if (!plan) return <Nothing>There is no plugin {name}.</Nothing>;
  const uses = status.routes.flatMap((route) => route.plugins.filter((plugin) => plugin.name === name).map((plugin) => ({ route: route.name, ...plugin })));
  return (
    <article>
      <h2>Plugin {name}</h2>
      <Facts
        all={[
          ["Component", <code>{plan.path}</code>],
          ["May send to", plan.targets.join(", ") || "no target by itself"],
          ["May choose topics", plan.topics.join("  ") || "none"],
          ["May remember", plan.state ? "yes" : "no"],
          ["Asked for, and did not get", refused(uses)],
        ]}
      />
      <h3>In routes</h3>
      <table>
        <thead>
          <tr>
            <th>Route</th>
            <th>Version</th>
            <th class="number">Failures</th>
            <th>Faults</th>
            <th class="number">Memory</th>
          </tr>
        </thead>
        <tbody>
          {uses.map((use) => (
            <tr key={use.route} class={use.failures ? "bad" : ""}>
              <td>
                <Link to="route" name={use.route} />
              </td>
              <td>
                <code>{use.version}</code>
              </td>
              <td class="number">{count(use.failures)}</td>
              <td>
                {Object.entries(use.faults)
                  .map(([kind, messages]) => `${kind} ${messages}`)
                  .join(", ")}
              </td>
              <td class="number">{bytes(use.memory_bytes)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <h3>Configuration</h3>
      <pre>{JSON.stringify(plan.config, null, 2)}</pre>
      <Command>tidegate plugin inspect {plan.path}</Command>
      <PluginDetails name={name} generation={status.gateway.generation} layout={layout} />
    </article>
  );
}
