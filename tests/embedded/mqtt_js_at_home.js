// mqtt.js at home on a broker: every check prints its name when it holds, and the first that does not ends the script.
//
// Arguments: port, transport (tcp or ws), version (3.1.1 or 5).

'use strict';

const assert = require('node:assert');
const mqtt = require('mqtt');

const [port, transport, version] = process.argv.slice(2);
const v5 = version === '5';
const PATIENCE_MS = 20_000;

/** A client whose messages are a queue. */
class Client {
  constructor(mqtt) {
    this.mqtt = mqtt;
    this.messages = [];
    this.waiting = [];
    mqtt.on('message', (topic, payload, packet) => {
      const message = { topic, payload, qos: packet.qos, retain: packet.retain, properties: packet.properties };
      if (this.waiting.length) this.waiting.shift()(message);
      else this.messages.push(message);
    });
  }

  async subscribe(topic, qos) {
    const granted = await this.mqtt.subscribeAsync(topic, { qos });
    // mqtt.js asks for a filter once; a second time it says nothing.
    assert.deepStrictEqual(granted.map((one) => one.qos), [qos]);
  }

  /** Returns when it is written (QoS 0) or acknowledged. */
  async publish(topic, payload, options = { qos: 1 }) {
    await this.mqtt.publishAsync(topic, payload, options);
  }

  next() {
    if (this.messages.length) return this.messages.shift();
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('no message came')), PATIENCE_MS);
      this.waiting.push((message) => {
        clearTimeout(timer);
        resolve(message);
      });
    });
  }

  async close() {
    await this.mqtt.endAsync();
  }

  /** Closes the socket without a word. */
  vanish() {
    this.mqtt.options.reconnectPeriod = 0;
    this.mqtt.stream.destroy();
  }
}

/** Connects, and checks whether the broker had the session. */
function connect(name, { clean = true, will, had = false } = {}) {
  const url = transport === 'ws' ? `ws://127.0.0.1:${port}/mqtt` : `mqtt://127.0.0.1:${port}`;
  const options = {
    clientId: `mqttjs-${transport}-${version}-${name}`,
    protocolVersion: v5 ? 5 : 4,
    clean,
    will,
    reconnectPeriod: 0,
    connectTimeout: PATIENCE_MS,
    properties: v5 ? { sessionExpiryInterval: clean ? 0 : 300 } : undefined,
  };
  return new Promise((resolve, reject) => {
    const client = new Client(mqtt.connect(url, options));
    client.mqtt.once('connect', (packet) => {
      if (packet.sessionPresent === had) resolve(client);
      else reject(new Error(`${name}: session present: ${packet.sessionPresent}`));
    });
    client.mqtt.once('error', reject);
  });
}

async function every_qos() {
  const [sub, pub] = [await connect('sub'), await connect('pub')];
  for (const granted of [0, 1, 2]) await sub.subscribe(`lab/${granted}/+`, granted);
  const payload = Buffer.alloc(25_600, 'tide');
  for (const granted of [0, 1, 2]) {
    for (const qos of [0, 1, 2]) {
      const topic = `lab/${granted}/${qos}`;
      await pub.publish(topic, payload, { qos });
      const came = await sub.next();
      assert.deepStrictEqual([came.topic, came.qos], [topic, Math.min(granted, qos)]);
      assert(came.payload.equals(payload));
    }
  }
  await sub.close();
  await pub.close();
}

async function retained() {
  const pub = await connect('pub');
  await pub.publish('lab/retained', 'kept', { qos: 1, retain: true });
  const sub = await connect('sub');
  await sub.subscribe('lab/retained', 1);
  const came = await sub.next();
  assert.deepStrictEqual([came.payload.toString(), came.retain], ['kept', true]);
  await pub.publish('lab/retained', '', { qos: 1, retain: true });
  assert.strictEqual((await sub.next()).payload.length, 0);
  const late = await connect('late');
  await late.subscribe('lab/+', 1);
  await pub.publish('lab/next', 'x');
  assert.strictEqual((await late.next()).topic, 'lab/next', 'what was cleared does not come');
  for (const client of [pub, sub, late]) await client.close();
}

async function will() {
  const sub = await connect('sub');
  await sub.subscribe('lab/will', 2);
  const polite = await connect('polite', { will: { topic: 'lab/will', payload: Buffer.from('polite'), qos: 1 } });
  await polite.close();
  const lost = await connect('lost', { will: { topic: 'lab/will', payload: Buffer.from('lost'), qos: 1 } });
  lost.vanish();
  const came = await sub.next();
  assert.deepStrictEqual([came.payload.toString(), came.qos], ['lost', 1]);
  await sub.close();
}

async function shared() {
  const members = [await connect('one'), await connect('two')];
  const pub = await connect('pub');
  for (const member of members) await member.subscribe('$share/group/lab/shared', 1);
  for (let n = 0; n < 20; n++) await pub.publish('lab/shared', String(n));
  for (const member of members) await member.subscribe('lab/end', 1);
  await pub.publish('lab/end', '');
  const came = [];
  for (const member of members) {
    const before = came.length;
    for (let message = await member.next(); message.topic !== 'lab/end'; message = await member.next()) {
      came.push(Number(message.payload));
    }
    assert(came.length > before, 'every member has a share');
  }
  assert.deepStrictEqual(came.sort((a, b) => a - b), [...Array(20).keys()]);
  for (const client of [pub, ...members]) await client.close();
}

async function session() {
  const [pub, sub] = [await connect('pub'), await connect('kept', { clean: false })];
  await sub.subscribe('lab/session', 2);
  await sub.close();
  for (let n = 0; n < 9; n++) await pub.publish('lab/session', String(n), { qos: n < 5 ? 1 : 2 });
  const again = await connect('kept', { clean: false, had: true });
  for (let n = 0; n < 9; n++) assert.strictEqual((await again.next()).payload.toString(), String(n));
  await again.close();
  await (await connect('kept')).close();
  await pub.close();
}

async function properties() {
  if (!v5) return;
  const [sub, pub] = [await connect('sub'), await connect('pub')];
  await sub.subscribe('lab/properties', 1);
  const said = {
    contentType: 'text/plain',
    responseTopic: 'lab/answers',
    correlationData: Buffer.from('66'),
    payloadFormatIndicator: true,
    userProperties: { a: ['b', 'c'] },
  };
  await pub.publish('lab/properties', 'x', { qos: 1, properties: said });
  const { properties } = await sub.next();
  for (const name of ['contentType', 'responseTopic', 'correlationData', 'payloadFormatIndicator']) {
    assert.deepStrictEqual(properties[name], said[name]);
  }
  assert.deepStrictEqual([...properties.userProperties.a], ['b', 'c']);
  await sub.close();
  await pub.close();
}

async function office() {
  const client = await connect('device');
  await client.subscribe('cmd/#', 1);
  const came = await client.next();
  assert.deepStrictEqual([came.topic, came.payload.toString()], ['cmd/go', 'now']);
  for (const qos of [0, 1, 2]) await client.publish(`dev/${qos}`, 'to the office', { qos });
  await client.close();
}

async function main() {
  for (const check of [every_qos, retained, will, shared, session, properties, office]) {
    await check();
    console.log(check.name);
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
