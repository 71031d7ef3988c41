// A lamp of the Triones family as a Bluetooth peripheral of its own: bleno on a controller that it alone owns (HCI user channel).
// Its frames are those of madhead/saberlight, protocols/Triones/protocol.md; nothing of Porchlight is in here.
//
//   BLENO_HCI_DEVICE_ID=1 HCI_CHANNEL_USER=1 node lamp.js
//
// It says what befalls it as JSON lines on standard output, and takes words on standard input:
//   press HEX    somebody uses its remote control: it now shows what this 12-byte status says, and notifies it
//   vanish       its power is cut: it is silent, and its link ends by supervision timeout
//   return       it has power again
import { createInterface } from 'node:readline';
import bleno from '@stoprocent/bleno';

const NAME = 'Triones:F30200000152C';
/** An advertising interval of a mains-powered lamp is some 100 ms; btvirt reports one advert for each time it is switched on. */
const ADVERTISE_MS = 500;
const REMOTE_FEATURES = 0x2016; // LE Read Remote Features: Core specification 5.4, volume 4, part E, section 7.8.21
const REMOTE_PARAMETERS_REPLY = 0x2020; // LE Remote Connection Parameter Request Reply: section 7.8.31
const UNKNOWN_CONNECTION = 0x02; // volume 1, part F
const CONNECTION_TIMEOUT = 0x08;

const say = (event, more = {}) => process.stdout.write(`${JSON.stringify({ event, ...more })}\n`);
const hci = bleno._bindings._hci;

/** Powered off, a static red. 66 model power mode ? speed R G B W version 99. */
let status = Buffer.from('661524412000ff0000000699', 'hex');
let powered = true;
let connection; // { handle, timeoutMs }
let notify;

function obey(bytes) {
  const next = Buffer.from(status);
  const frame = bytes.toString('hex');
  const show = (mode, colors = []) => {
    next[3] = mode;
    next.set(colors, 6);
  };
  if (frame === 'cc2333') next[2] = 0x23;
  else if (frame === 'cc2433') next[2] = 0x24;
  else if (/^56.{8}f0aa$/.test(frame)) show(0x41, [...bytes.subarray(1, 4), 0]);
  else if (/^56.{8}0faa$/.test(frame)) show(0x41, [0, 0, 0, bytes[4]]);
  else if (/^bb.{4}44$/.test(frame)) show(bytes[1]);
  else if (frame === 'ef0177') setImmediate(() => notify?.(status));
  else say('nonsense', { bytes: frame });
  status = next;
}

const control = new bleno.Characteristic({
  uuid: 'ffd9',
  properties: ['writeWithoutResponse'],
  onWriteRequest(_handle, bytes, _offset, _withoutResponse, answer) {
    say('write', { bytes: bytes.toString('hex') });
    obey(bytes);
    answer(bleno.Characteristic.RESULT_SUCCESS);
  },
});
const report = new bleno.Characteristic({
  uuid: 'ffd4',
  properties: ['notify'],
  onSubscribe(_handle, _size, update) {
    notify = update;
    say('subscribed');
  },
  onUnsubscribe() {
    notify = undefined;
  },
});
const services = [
  new bleno.PrimaryService({ uuid: 'ffd0', characteristics: [report] }),
  new bleno.PrimaryService({ uuid: 'ffd5', characteristics: [control] }),
];

/** Flags (LE only, general discoverable) and the complete local name. */
const advertisement = Buffer.concat([Buffer.from([2, 0x01, 0x06, NAME.length + 1, 0x09]), Buffer.from(NAME, 'latin1')]);

bleno.on('stateChange', (state) => {
  say('adapter', { state });
  if (state === 'poweredOn') bleno.setServices(services, () => bleno.startAdvertisingWithEIRData(advertisement));
});
bleno.on('advertisingStart', (error) => {
  if (error) return say('error', { error: String(error) });
  bleno._bindings._advertising = false; // from here on the timer below advertises; bleno would go on while it is connected
  say('ready', { address: bleno.address });
});

// As such lamps do, it holds one link and is not seen while it has it.
hci.on('leConnComplete', (failed, handle, _role, _type, address, _interval, _latency, supervisionTimeout) => {
  if (failed) return;
  connection = { handle, timeoutMs: supervisionTimeout };
  say('connected', { address, supervisionTimeout });
});
hci.on('leConnUpdateComplete', (failed, handle, _interval, _latency, supervisionTimeout) => {
  if (failed || handle !== connection?.handle) return;
  connection.timeoutMs = supervisionTimeout;
  say('updated', { supervisionTimeout });
});
hci.on('disconnComplete', (handle, reason) => {
  if (handle !== connection?.handle) return;
  connection = undefined;
  notify = undefined;
  say('disconnected', { reason });
});

// The controller of btvirt drops both ends of a link when either side is reset, and tells nobody. A real one would miss its
// peer and report it after the supervision timeout: the lamp asks after its link, and gives itself that report.
let missedSince;
hci._socket.on('data', (data) => {
  const isStatus = data[0] === 0x04 && data[1] === 0x0f && data.readUInt16LE(5) === REMOTE_FEATURES;
  if (!isStatus || connection === undefined) return;
  if (data[3] !== UNKNOWN_CONNECTION) {
    missedSince = undefined;
    return;
  }
  missedSince ??= performance.now();
  if (performance.now() - missedSince < connection.timeoutMs) return;
  missedSince = undefined;
  hci.onSocketData(
    Buffer.from([0x04, 0x05, 4, 0, connection.handle & 0xff, connection.handle >> 8, CONNECTION_TIMEOUT]),
  );
});
// btvirt asks the host about other connection parameters even where the host has masked that event, as bleno does; a real
// controller then decides by itself. LE Remote Connection Parameter Request (section 7.7.65.6): whatever is asked for is fine.
hci._socket.on('data', (data) => {
  if (data[0] !== 0x04 || data[1] !== 0x3e || data[3] !== 0x06) return;
  const command = Buffer.from([
    0x01,
    REMOTE_PARAMETERS_REPLY & 0xff,
    REMOTE_PARAMETERS_REPLY >> 8,
    14,
    ...Array(14).fill(0),
  ]);
  data.copy(command, 4, 4, 14); // handle, both intervals, latency, timeout; the last four bytes are the length of an event
  hci._socket.write(command);
});
function askAfterLink() {
  const command = Buffer.from([0x01, REMOTE_FEATURES & 0xff, REMOTE_FEATURES >> 8, 2, 0, 0]);
  command.writeUInt16LE(connection.handle, 4);
  hci._socket.write(command);
}

setInterval(() => {
  if (connection !== undefined) {
    askAfterLink();
  } else if (hci._state === 'poweredOn') {
    hci.setAdvertiseEnable(false);
    if (powered) hci.setAdvertiseEnable(true);
  }
}, ADVERTISE_MS);

createInterface({ input: process.stdin }).on('line', (line) => {
  const [word, argument = ''] = line.split(' ');
  if (word === 'press') {
    status = Buffer.from(argument, 'hex');
    notify?.(status);
  } else if (word === 'vanish') {
    powered = false;
    hci.setAdvertiseEnable(false);
    // The reason travels to the other side of btvirt's link, where it is what a supervision timeout looks like.
    if (connection !== undefined) hci.disconnect(connection.handle, CONNECTION_TIMEOUT);
    say('vanished');
  } else if (word === 'return') {
    powered = true;
  } else {
    say('error', { error: `unknown word: ${word}` });
  }
});
process.stdin.on('end', () => process.exit(0));
