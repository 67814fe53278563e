// The clients of the box's own broker: who is there, what they do, and sending one away.

import { useState } from "preact/hooks";
import { Command, Do, Facts, Nothing } from "./parts.jsx";
import { bytes, count, span, when } from "./format.js";
import { useFound } from "./store.js";

// So many are shown; who has more looks for some.
const SHOWN = 200;

const FOR_EVER_S = 4294967295;

function since(atMs) {
  return atMs ? span(Math.max(0, Date.now() - atMs) / 1000) : "–";
}

function kept(seconds) {
  if (seconds === 0) return "ends with its connection";
  return seconds === FOR_EVER_S ? "for ever" : `for ${span(seconds)}`;
}

function Client({ broker, id, layout, close }) {
  const found = useFound(`brokers/${broker}/client?id=${encodeURIComponent(id)}`);
  if (!found) return null;
  const { client, subscriptions, will_topic } = found;
  const path = `brokers/${broker}/client/disconnect?id=${encodeURIComponent(id)}`;
  return (
    <section class="client">
      <h4>
        Client <code>{id}</code>{" "}
        <button type="button" onClick={close}>
          Close
        </button>
      </h4>
      <Facts
        all={[
          ["User", client.username],
          ["Connected", client.connection && `from ${client.connection.address}, ${client.connection.transport}, MQTT ${client.connection.version}, since ${when(client.connection.since_ms)}`],
          ["Away", client.connection ? null : `since ${client.away_since_ms ? when(client.away_since_ms) : "the start"}`],
          ["Keep-alive", client.connection && (client.connection.keep_alive_s ? span(client.connection.keep_alive_s) : "none")],
          ["Session kept", kept(client.session_expiry_s)],
          ["Waits for it", `${count(client.queued)} messages, ${bytes(client.queued_bytes)}; ${count(client.in_flight)} under way`],
          ["From it", `${count(client.received)}, ${count(client.refused)} not taken`],
          ["To it", `${count(client.sent)}, ${count(client.dropped)} dropped`],
          ["Held up for being too fast", client.held_up ? `${count(client.held_up)} times` : null],
          ["Will", will_topic && <code>{will_topic}</code>],
          ["Subscribed to", subscriptions.map((one) => <code key={one.filter}>{`${one.filter} (${one.qos})  `}</code>)],
        ]}
      />
      {layout.takes_control && (
        <p>
          <Do what="Disconnect: it may come back" path={path} />{" "}
          <Do what="Forget: disconnect it, and keep nothing for it" path={`${path}&forget=true`} danger />
        </p>
      )}
      <Command>
        tidegate clients show {id} --broker {broker} --config {layout.file}
      </Command>
    </section>
  );
}

export function Clients({ broker, layout }) {
  const [text, setText] = useState("");
  const [shown, show] = useState(null);
  const query = text ? `&match=${encodeURIComponent(text)}` : "";
  const found = useFound(`brokers/${broker}/clients?limit=${SHOWN}${query}`);
  if (!found) return null;
  const more = found.count - found.clients.length;
  return (
    <>
      <h3>Clients</h3>
      <p>
        <label>
          Look for <input type="search" value={text} placeholder="identifier, user or address" onInput={(event) => setText(event.target.value)} />
        </label>
      </p>
      {found.clients.length === 0 && <Nothing>{text ? "None of them is so." : "No client is connected, and none has a session."}</Nothing>}
      {found.clients.length > 0 && (
        <table>
          <thead>
            <tr>
              <th>Client</th>
              <th>User</th>
              <th>Address</th>
              <th>For</th>
              <th class="number">Waits</th>
              <th class="number">From it</th>
              <th class="number">To it</th>
              <th class="number">Dropped</th>
            </tr>
          </thead>
          <tbody>
            {found.clients.map((client) => (
              <tr key={client.client_id}>
                <td>
                  <button type="button" class="link" onClick={() => show(client.client_id)}>
                    {client.client_id}
                  </button>
                </td>
                <td>{client.username}</td>
                <td>{client.connection?.address ?? "away"}</td>
                <td>{since(client.connection?.since_ms ?? client.away_since_ms)}</td>
                <td class="number">{count(client.queued)}</td>
                <td class="number">{count(client.received)}</td>
                <td class="number">{count(client.sent)}</td>
                <td class="number">{count(client.dropped)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {more > 0 && <Nothing>{count(more)} more: look for some of them.</Nothing>}
      {found.failed_logins.map((one) => (
        <p key={one.address} class="bad">
          {one.address}: {count(one.count)} wrong passwords, the last at {when(one.last_ms)}
        </p>
      ))}
      <Command>
        tidegate clients list --broker {broker} --config {layout.file}
      </Command>
      {shown !== null && <Client key={shown} broker={broker} id={shown} layout={layout} close={() => show(null)} />}
    </>
  );
}
