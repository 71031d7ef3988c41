// The baseline: the smallest thing that does the same job without judging anything. One process: mqtt.js, JSON.parse, one
// noble write without response, one state published. Arguments: broker URL, H4 port, base topic, lamp addresses.
import { EventEmitter } from 'node:events';
import { createRequire } from 'node:module';
import net from 'node:net';
import mqtt from 'mqtt';

const [url, h4Port, base, ...addresses] = process.argv.slice(2);
const require = createRequire(import.meta.url);

/** noble's driver seam over TCP: whole HCI packets in, whole HCI packets out. */
class H4Socket extends EventEmitter {
  #socket;
  #rest = Buffer.alloc(0);
  bindRaw() {
    return 0;
  }
  bindUser() {
    return 0;
  }
  setFilter() {
    // A filter belongs to the kernel's socket; here everything is ours.
  }
  isDevUp() {
    return true;
  }
  start() {
    this.#socket = net.connect({ port: Number(h4Port), host: '127.0.0.1', noDelay: true });
    this.#socket.on('data', (chunk) => this.#take(chunk));
  }
  stop() {
    this.#socket.destroy();
  }
  write(packet) {
    this.#socket.write(packet);
  }
  #take(chunk) {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    for (;;) {
      const length = this.#length();
      if (length === undefined || this.#rest.length < length) return;
      const packet = this.#rest.subarray(0, length);
      this.#rest = this.#rest.subarray(length);
      this.emit('data', packet);
    }
  }
  #length() {
    if (this.#rest[0] === 0x04) return this.#rest.length < 3 ? undefined : 3 + this.#rest[2];
    return this.#rest.length < 5 ? undefined : 5 + this.#rest.readUInt16LE(3);
  }
}

const driver = require.resolve('@stoprocent/bluetooth-hci-socket', {
  paths: [require.resolve('@stoprocent/noble')],
});
require.cache[driver] = { id: driver, filename: driver, loaded: true, exports: { loadDriver: () => H4Socket } };
const noble = require('@stoprocent/noble/lib/resolve-bindings')('hci', { hciDriver: 'h4' });

// The broker first, as in the daemon: being subscribed waits for no radio.
const lamps = [];
const client = mqtt.connect(url, { protocolVersion: 5, reconnectPeriod: 0 });
client.on('connect', () => {
  client.stream.setNoDelay(true);
  client.subscribe(`${base}/+/set`, { qos: 1 }, () =>
    client.publish(`${base}/ready`, 'online', { qos: 1, retain: true }),
  );
});
client.on('message', (topic, payload) => {
  const id = topic.split('/')[1];
  const change = JSON.parse(payload.toString());
  const { r, g, b } = change.color;
  const frame = Buffer.from([0x7e, 0x00, 0x05, 0x03, r, g, b, 0x00, 0xef]);
  const lamp = lamps[Number(id.slice(4))];
  lamp.writeAsync(frame, true).catch((error) => process.stderr.write(`${error}\n`));
  client.publish(`${base}/${id}/state`, JSON.stringify({ state: 'ON', color: change.color }), { qos: 1 });
});
process.on('SIGTERM', () => process.exit(0));

await noble.waitForPoweredOnAsync();
await noble.startScanningAsync([], true);
const found = new Map();
await new Promise((resolve) => {
  noble.on('discover', (peripheral) => {
    if (addresses.includes(peripheral.address)) found.set(peripheral.address, peripheral);
    if (found.size === addresses.length) resolve();
  });
});
await noble.stopScanningAsync();
for (const address of addresses) {
  const peripheral = found.get(address);
  await peripheral.connectAsync({ timeout: 600 });
  const { characteristics } = await peripheral.discoverAllServicesAndCharacteristicsAsync();
  lamps.push(characteristics.find((each) => each.uuid === 'fff3'));
}
