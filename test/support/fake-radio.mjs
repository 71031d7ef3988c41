// A radio process without a radio: it speaks the channel's messages, and fails in the way that its controller's address names.
// The real one's habits: the adapter is reported some time after the start, a link's number is never used twice, and an
// operation on a lost link is answered by `link_lost`.
import { Socket } from 'node:net';
import { createInterface } from 'node:readline';

const pipe = new Socket({ fd: 4, readable: true, writable: true });
let way = '';
const say = (message) => pipe.write(`${JSON.stringify(message)}\n`);
const CHARACTERISTICS = [
  { service: 'fff0', uuid: 'fff3', properties: ['read', 'writeWithoutResponse', 'write'] },
  { service: 'fff0', uuid: 'fff4', properties: ['notify'] },
];
let links = 0;

const ops = {
  start({ backend }) {
    way = backend.address;
    if (way === 'exits') process.exit(3);
    if (way === 'busy') for (;;);
    if (way.startsWith('says:')) say(JSON.parse(way.slice(5)));
    if (way === 'prints') {
      process.stdout.write('out \u001b[31mred\n');
      process.stderr.write(`${'x'.repeat(200_000)}\n`);
    }
    say({ is: 'adapter', state: 'poweredOn' });
    if (way === 'endless') {
      // One line that never ends, as fast as the pipe takes it.
      const more = () => pipe.write('x'.repeat(64 * 1024), more);
      more();
    }
    if (way === 'not-json') pipe.write('hello\n');
    if (way === 'deaf') {
      lines.pause();
      setInterval(() => say({ is: 'note', text: 'still here' }), 20);
    }
    if (way === 'notes') for (let i = 0; i < 500; i += 1) say({ is: 'note', text: `lamp ${i} is odd` });
    if (way === 'off' || way === 'stuck') {
      const code = way === 'off' ? 'adapter_off' : 'adapter_stuck';
      say({ is: 'dying', reason: `the adapter is ${way}`, code });
    }
    if (way === 'floods') for (let i = 0; i < 20_000; i += 1) say({ is: 'note', text: `${i}` });
    if (way === 'dies') say({ is: 'dying', reason: 'the controller closed its connection' });
  },
  ping({ id }) {
    if (way === 'grows') return say({ is: 'alive', id, rescans: 0, rss: 500 * 1024 * 1024 });
    if (way !== 'mute') say({ is: 'alive', id, rescans: 0, rss: 50 * 1024 * 1024 });
    return undefined;
  },
  listen({ id, on, only }) {
    say({ is: 'done', id });
    say({ is: 'note', text: `listen ${on} ${only ?? 'all'}` });
    if (on) {
      say({
        is: 'heard',
        address: 'be:ff:20:00:11:22',
        rssi: -60,
        connectable: true,
        localName: 'ELK-BLEDOM',
        serviceUuids: ['fff0'],
        manufacturerData: 'ffee01',
      });
    }
  },
  connect({ id, address }) {
    if (address.startsWith('de:ad')) return say({ is: 'failed', id, code: 'unreachable', message: 'nobody' });
    if (address.startsWith('51:0')) return undefined;
    links += 1;
    say({ is: 'linked', id, link: way === 'twice' ? 1 : links, characteristics: CHARACTERISTICS });
    return undefined;
  },
  cancel({ id, connect }) {
    say({ is: 'done', id });
    say({ is: 'failed', id: connect, code: 'unreachable', message: 'cancelled' });
  },
  write({ id, link, values }) {
    if (way === 'crashes-on-write') process.abort();
    if (way === 'hangs-on-write') return undefined;
    if (way === 'loses-on-write') return say({ is: 'gone', link, reason: 'out of reach' });
    if (way === 'answers-another-question') return say({ is: 'read', id, hex: '00' });
    for (const { hex, kind } of values) {
      say({ is: 'notified', link, at: 1, hex: `${hex}${kind === 'request' ? '01' : '02'}` });
    }
    return say({ is: 'done', id, at: undefined });
  },
  read({ id }) {
    say({ is: 'read', id, hex: '0102' });
  },
  subscribe({ id }) {
    say({ is: 'done', id });
  },
  disconnect({ id, link }) {
    say({ is: 'done', id });
    say({ is: 'gone', link, reason: 'given up' });
  },
  stop() {
    if (way !== 'stubborn') process.exit(0);
  },
};

const lines = createInterface({ input: pipe });
lines.on('line', (line) => {
  const message = JSON.parse(line);
  ops[message.op]?.(message);
});
lines.on('close', () => process.exit(0));
