// A version that is tried beside a plugin, and what it decides otherwise.

import { Command, Do, Facts, Nothing } from "./parts.jsx";
import { count, ms, span } from "./format.js";

function Sample({ sample }) {
  return (
    <dl class="sample">
      <dt>came</dt>
      <dd>
        <code>{sample.came ?? "a timer"}</code>
      </dd>
      <dt>runs</dt>
      <dd>
        <code>{sample.one}</code>
      </dd>
      <dt>tried</dt>
      <dd>
        <code>{sample.other}</code>
      </dd>
    </dl>
  );
}

export function Candidate({ name, found, layout }) {
  const { candidate } = found;
  if (!candidate) return null;
  const runs = found.versions.at(-1)?.mean_us;
  const mean = candidate.mean_us === undefined ? null : ms(candidate.mean_us / 1000);
  return (
    <>
      <h3>Tried beside it, as a {candidate.mode}</h3>
      <Facts
        all={[
          ["Version", candidate.version],
          ["Configuration", <code>{JSON.stringify(candidate.config)}</code>],
          ["For", span((Date.now() - candidate.since_ms) / 1000)],
          ["Messages", count(candidate.messages)],
          ["Decided otherwise", candidate.mode === "shadow" ? count(candidate.differ) : null],
          ["Failed", count(candidate.failures)],
          ["Refused", count(candidate.rejects)],
          ["Not seen, for it was busy", candidate.missed ? count(candidate.missed) : null],
          ["A message", mean && (runs ? `${mean}, where the one that runs takes ${ms(runs / 1000)}` : mean)],
        ]}
      />
      {candidate.mode === "shadow" && candidate.differences.length === 0 && <Nothing>It decides as the one that runs.</Nothing>}
      {candidate.differences.length > 0 && (
        <table>
          <thead>
            <tr>
              <th class="number">Messages</th>
              <th>What differs</th>
              <th>The first of them</th>
            </tr>
          </thead>
          <tbody>
            {candidate.differences.map((one) => (
              <tr key={one.kind}>
                <td class="number">{count(one.count)}</td>
                <td>{one.kind}</td>
                <td>{one.samples[0] && <Sample sample={one.samples[0]} />}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {layout.takes_control && (
        <p>
          <Do what="Promote: it runs in the place of the other" path={`plugins/${name}/promote`} danger />{" "}
          <Do what="Abandon: try it no more" path={`plugins/${name}/abandon`} />
        </p>
      )}
      <Command>
        tidegate plugin diff {name} --config {layout.file}
      </Command>
    </>
  );
}
