// mqtt.js says who it is by SCRAM, and says it again: "in" when it is let in and knows the broker, "again" for each further time,
// "refused CODE" when it is not let in.
//
// Arguments: port, method (SCRAM-SHA-256 or SCRAM-SHA-512), user, password.

'use strict';

const assert = require('node:assert');
const crypto = require('node:crypto');
const mqtt = require('mqtt');

const [port, method, user, password] = process.argv.slice(2);
const hash = method === 'SCRAM-SHA-256' ? 'sha256' : 'sha512';
const AGAIN = 3;

const hmac = (key, text) => crypto.createHmac(hash, key).update(text).digest();

/** The client's side of RFC 5802. */
class Scram {
  constructor() {
    this.bare = `n=${user},r=${crypto.randomBytes(18).toString('base64')}`;
  }

  first() {
    return Buffer.from(`n,,${this.bare}`);
  }

  last(asked) {
    const [nonce, salt, rounds] = asked.split(',').map((part) => part.slice(2));
    const length = hash === 'sha256' ? 32 : 64;
    const salted = crypto.pbkdf2Sync(password, Buffer.from(salt, 'base64'), Number(rounds), length, hash);
    const clientKey = hmac(salted, 'Client Key');
    const signed = `${this.bare},${asked},c=biws,r=${nonce}`;
    const signature = hmac(crypto.createHash(hash).update(clientKey).digest(), signed);
    const proof = clientKey.map((byte, at) => byte ^ signature[at]).toString('base64');
    this.expected = `v=${hmac(hmac(salted, 'Server Key'), signed).toString('base64')}`;
    return Buffer.from(`c=biws,r=${nonce},p=${proof}`);
  }
}

const properties = (authenticationData) => ({ authenticationMethod: method, authenticationData });
let scram = new Scram();
const client = mqtt.connect(`mqtt://127.0.0.1:${port}`, {
  protocolVersion: 5,
  clientId: `js-${user}`,
  reconnectPeriod: 0,
  properties: properties(scram.first()),
});
let times = 0;

client.handleAuth = (packet, callback) => {
  const said = packet.properties.authenticationData.toString();
  if (packet.reasonCode === 0) {
    assert.strictEqual(said, scram.expected);
    console.log('again');
    callback();
    again();
    return;
  }
  callback(null, { cmd: 'auth', reasonCode: 24, properties: properties(scram.last(said)) });
};

function again() {
  if (times === AGAIN) {
    client.end();
    return;
  }
  times += 1;
  scram = new Scram();
  client._sendPacket({ cmd: 'auth', reasonCode: 25, properties: properties(scram.first()) });
}

client.on('connect', (connack) => {
  assert.strictEqual(connack.properties.authenticationData.toString(), scram.expected);
  console.log('in');
  again();
});
client.on('error', (error) => {
  console.log(`refused ${error.code}`);
  client.end(true);
});
