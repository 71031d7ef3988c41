import { Message, sessionBus, Variant } from '@particle/dbus-next';
import { afterEach, describe, expect, it } from 'vitest';
import type { FakeBluez } from '../../support/bluez.ts';
import { dbusMissing } from '../../support/bluez-bus.ts';
import { frame } from '../../support/frame.ts';
import { bluetoothd, bus, ELK, endAll, heardOf, pause, radio, setUp, until } from './rig.ts';

const ON = Uint8Array.from(Buffer.from('7e0004f00001ff00ef', 'hex'));
const here = dbusMissing() === undefined;

afterEach(endAll);

describe.skipIf(!here)('what is not there', () => {
  it('no bus: the adapter is off, and found when bus and bluetoothd come', async () => {
    const on = await bus();
    await on.stop();
    const { client, states, notes } = radio(on.address);
    await until(() => client.adapter === 'poweredOff');
    expect(notes()).toContain('no system bus');
    await expect(client.connect(ELK, { timeoutMs: 1000 })).rejects.toMatchObject({ code: 'adapter_off' });
    await on.start();
    await until(() => notes().includes('bluetoothd is not running'));
    await bluetoothd(on);
    await until(() => client.adapter === 'poweredOn');
    expect(states).toEqual(['poweredOff', 'poweredOn']);
    expect(client.status().restarts).toBe(0);
  });

  it('no such adapter: off, and found when it is plugged in; lost again when it is unplugged', async () => {
    const on = await bus();
    const bluez = await bluetoothd(on);
    bluez.plug(false);
    const { client, notes } = radio(on.address);
    await until(() => client.adapter === 'poweredOff');
    expect(notes()).toContain('no adapter hci0');
    bluez.plug(true);
    await until(() => client.adapter === 'poweredOn');
    bluez.plug(false);
    await until(() => client.adapter === 'poweredOff');
  });

  it('a bus that does not let us speak to bluetoothd is named', async () => {
    const on = await bus({ denies: true });
    await bluetoothd(on);
    const { client, notes } = radio(on.address);
    await until(() => client.adapter === 'unauthorized');
    expect(notes()).toContain('does not let this user');
  });

  it('an adapter that its owner switched off stays off, and that is said', async () => {
    const on = await bus();
    const bluez = await bluetoothd(on, { powered: false });
    const { client, notes } = radio(on.address);
    await client.scan(true);
    await until(() => client.adapter === 'poweredOff');
    await pause(1500);
    expect(client.adapter).toBe('poweredOff');
    expect(bluez.calls.some((call) => /Set |StartDiscovery/.test(call))).toBe(false);
    expect(notes()).toContain('bluetoothctl power on');
    bluez.power(true);
    await until(() => client.adapter === 'poweredOn' && bluez.discovering.size === 1);
  });
});

describe.skipIf(!here)('what goes away and comes back', () => {
  it.each(['restarted', 'switched off and on'])(
    'bluetoothd or adapter %s: links lost, off, on, healed',
    async (how) => {
      const { bluez, elk, connect, client, states, heard } = await setUp();
      const link = await connect(ELK);
      elk.writeMs = 60_000;
      const writing = link.write(frame('fff3', ON, 'request')).catch((thrown: unknown) => thrown);
      await pause(50);
      if (how === 'restarted') bluez.stop();
      else bluez.power(false);
      expect(await writing).toMatchObject({ code: 'link_lost' });
      await until(() => link.gone.aborted && client.adapter === 'poweredOff');
      await expect(connect(ELK)).rejects.toMatchObject({ code: 'adapter_off' });
      elk.writeMs = 0;
      if (how === 'restarted') await bluez.start();
      else bluez.power(true);
      await until(() => client.adapter === 'poweredOn' && bluez.discovering.size === 1);
      heard.length = 0;
      await heardOf(bluez, elk, heard);
      await (await connect(ELK)).write(frame('fff3', ON, 'request'));
      expect(states).toEqual(['poweredOn', 'poweredOff', 'poweredOn']);
      expect(client.status().restarts).toBe(0);
    },
  );

  it('bluetoothd restarted within the blink of an eye: the old links are known to be lost', async () => {
    const { bluez, connect, client } = await setUp();
    const link = await connect(ELK);
    bluez.stop();
    await bluez.start();
    await until(() => link.gone.aborted);
    await until(() => client.adapter === 'poweredOn' && bluez.discovering.size === 1);
  });

  it('bluetoothd restarted under a connect: it fails, and the next one is served', async () => {
    const { bluez, elk, connect, client } = await setUp();
    elk.fault = { kind: 'out-of-range' };
    const connecting = connect(ELK).catch((thrown: unknown) => thrown);
    await until(() => elk.connecting.length === 1);
    bluez.stop();
    expect(await connecting).toMatchObject({ code: 'adapter_off' });
    elk.fault = undefined;
    await bluez.start();
    await until(() => client.adapter === 'poweredOn' && bluez.discovering.size === 1);
    const again = connect(ELK);
    await pause(100);
    bluez.advertise(elk);
    await again;
  });

  it('the bus itself: a fresh radio finds all again', async () => {
    const { bus: on, bluez, elk, connect, client } = await setUp();
    const link = await connect(ELK);
    await on.stop();
    await until(() => link.gone.aborted && client.status().restarts >= 1);
    bluez.stop();
    await on.start();
    await bluez.start();
    await until(() => client.adapter === 'poweredOn' && bluez.discovering.size === 1);
    bluez.advertise(elk);
    await connect(ELK);
  }, 15_000);

  it('a bluetoothd that hangs is off after some seconds, and on when it answers again', async () => {
    const { bluez, connect, client } = await setUp();
    const link = await connect(ELK);
    bluez.hung = true;
    await until(() => client.adapter === 'poweredOff', 15_000);
    expect(link.gone.aborted).toBe(true);
    bluez.hung = false;
    await until(() => client.adapter === 'poweredOn');
    expect(client.status().restarts).toBe(0);
  }, 25_000);
});

it.skipIf(!here)('an answer is not believed over the news that came right behind it', async () => {
  const on = await bus();
  const bluez = await bluetoothd(on, { powered: false });
  bluez.afterGetAll = () => bluez.power(true);
  const { client, states } = radio(on.address);
  await until(() => client.adapter === 'poweredOn');
  await pause(1200);
  expect(states).toEqual(['poweredOff', 'poweredOn']);
});

describe.skipIf(!here)('discovery', () => {
  it('is begun anew when bluetoothd ends it', async () => {
    const { bluez, pulses } = await setUp();
    bluez.endDiscovery();
    await until(() => bluez.discovering.size === 1);
    await until(() => (pulses.at(-1)?.rescans ?? 0) > 0);
  });

  it('is begun anew after silence', async () => {
    const on = await bus();
    const bluez = await bluetoothd(on);
    const { client, pulses } = radio(on.address, [ELK], 1000);
    await client.scan(true);
    await until(() => bluez.calls.filter((call) => call.includes('StartDiscovery')).length >= 2);
    expect(bluez.calls.some((call) => call.includes('StopDiscovery'))).toBe(true);
    await until(() => (pulses.at(-1)?.rescans ?? 0) > 0);
  });

  it('is begun anew now and then though adverts come: of who sounds as before, bluetoothd says nothing', async () => {
    const on = await bus();
    const bluez = await bluetoothd(on);
    const lamp = bluez.addLamp({ address: ELK, name: 'ELK-BLEDOM' });
    const { client, pulses } = radio(on.address, [ELK], 1000);
    await client.scan(true);
    const advertising = setInterval(() => bluez.advertise(lamp), 50);
    await until(() => bluez.calls.filter((call) => call.includes('StartDiscovery')).length >= 2);
    clearInterval(advertising);
    expect(pulses.at(-1)?.rescans).toBe(0);
  });

  it('is asked for again while it is refused', async () => {
    const on = await bus();
    const bluez = await bluetoothd(on);
    bluez.refusesDiscovery = { error: 'org.bluez.Error.Failed', text: 'Input/output error' };
    const { client, pulses } = radio(on.address);
    await client.scan(true);
    await until(() => (pulses.at(-1)?.rescans ?? 0) >= 2);
    bluez.refusesDiscovery = undefined;
    await until(() => bluez.discovering.size === 1);
    expect(client.status().restarts).toBe(0);
  });

  it('stops when nobody listens any more', async () => {
    const { bluez, client } = await setUp();
    await client.scan(false);
    await until(() => bluez.discovering.size === 0);
  });
});

const DEVICE = 'org.bluez.Device1';
const DEEP = new Variant('v', new Variant('v', new Variant('a(sv)', [['x', new Variant('s', 'y')]])));
/** What the documented type is not. */
const HOSTILE: readonly Variant[] = [
  new Variant('s', 'x'.repeat(100_000)),
  new Variant('i', -2_147_483_648),
  new Variant('d', -1e308),
  new Variant('b', true),
  new Variant('ay', Buffer.alloc(70_000)),
  new Variant(
    'as',
    Array.from({ length: 5000 }, (_, i) => `not-a-uuid-${i}`),
  ),
  new Variant('a{sv}', { toString: new Variant('s', 'y'), hasOwnProperty: new Variant('ay', Buffer.alloc(3)) }),
  new Variant('a{qv}', Object.fromEntries(Array.from({ length: 2000 }, (_, i) => [i, new Variant('s', 'z')]))),
  new Variant('t', 18_446_744_073_709_551_615n),
  DEEP,
];
const NAMES = [
  'RSSI',
  'Name',
  'UUIDs',
  'ManufacturerData',
  'ServiceData',
  'AddressType',
  'Connected',
  'ServicesResolved',
];

async function stillWorks(bluez: FakeBluez, parts: Awaited<ReturnType<typeof setUp>>): Promise<void> {
  const { heard, triones, client } = parts;
  await heardOf(bluez, triones, heard);
  expect(client.status().restarts).toBe(0);
}

describe.skipIf(!here)('values that are not what BlueZ documents', () => {
  it('of a device', async () => {
    const parts = await setUp();
    const { bluez, elk } = parts;
    for (const name of NAMES) for (const value of HOSTILE) bluez.claim(elk.path, DEVICE, { [name]: value });
    await stillWorks(bluez, parts);
  });

  it('of an adapter', async () => {
    const parts = await setUp();
    const { bluez } = parts;
    for (const name of ['Powered', 'Discovering', 'Address']) {
      for (const value of HOSTILE) {
        if (name === 'Address' || value.signature !== 'b') {
          bluez.claim(bluez.adapterPath, 'org.bluez.Adapter1', { [name]: value });
        }
      }
    }
    await pause(100);
    bluez.change(bluez.adapterPath, 'org.bluez.Adapter1', { Powered: new Variant('b', true) });
    await until(() => bluez.discovering.size === 1);
    await stillWorks(bluez, parts);
  });

  it('of a characteristic', async () => {
    const parts = await setUp();
    const { bluez, elk, connect } = parts;
    const link = await connect(ELK);
    const said: number[] = [];
    await link.subscribe('fff4', (bytes) => said.push(bytes.length));
    const path = bluez.characteristicPath(elk, 'fff4');
    for (const name of ['Value', 'MTU', 'Flags', 'UUID']) {
      for (const value of HOSTILE) bluez.claim(path, 'org.bluez.GattCharacteristic1', { [name]: value });
    }
    bluez.notify(elk, 'fff4', '0102');
    await until(() => said.includes(2));
    expect(said).toEqual([2]);
    await link.write(frame('fff3', ON, 'request'));
    await stillWorks(bluez, parts);
  });

  it('of a GATT tree: what is no characteristic is left out, what is too much as well', async () => {
    const many = Array.from({ length: 300 }, (_, i) => ({ uuid: (0x1000 + i).toString(16), flags: ['write'] }));
    const { connect } = await setUp({}, [
      {
        address: ELK,
        services: [
          { uuid: 'not a uuid', characteristics: [{ uuid: 'fff1', flags: ['write'] }] },
          { uuid: '1801', characteristics: [{ uuid: '2a05', flags: ['indicate'] }] },
          {
            uuid: 'fff0',
            characteristics: [
              { uuid: 'nonsense', flags: [] },
              { uuid: 'fff3', flags: ['write', 'x'.repeat(500)] },
              ...many,
            ],
          },
        ],
      },
      { address: 'c0:00:00:00:00:02' },
    ]);
    const link = await connect(ELK);
    expect(link.characteristics[0]).toEqual({ service: 'fff0', uuid: 'fff3', properties: ['write'] });
    expect(link.characteristics.length).toBeGreaterThan(60);
    expect(link.characteristics.length).toBeLessThanOrEqual(64);
  });

  it('of a signal: other shapes, other paths, other interfaces', async () => {
    const parts = await setUp();
    const { bluez, elk } = parts;
    const properties = 'org.freedesktop.DBus.Properties';
    const objects = 'org.freedesktop.DBus.ObjectManager';
    bluez.signal(elk.path, properties, 'PropertiesChanged', '', []);
    bluez.signal(elk.path, properties, 'PropertiesChanged', 's', [DEVICE]);
    bluez.signal(elk.path, properties, 'PropertiesChanged', 'uuu', [1, 2, 3]);
    bluez.signal(`${bluez.adapterPath}/dev_ZZ`, properties, 'PropertiesChanged', 'sa{sv}as', [DEVICE, {}, []]);
    bluez.signal('/', objects, 'InterfacesAdded', 'oas', [elk.path, ['x']]);
    bluez.signal('/', objects, 'InterfacesAdded', 's', ['nothing']);
    bluez.signal('/', objects, 'InterfacesRemoved', 'ou', [elk.path, 7]);
    bluez.signal(bluez.adapterPath, 'org.bluez.Elsewhere', 'Something', 'v', [DEEP]);
    await stillWorks(bluez, parts);
  });

  it('said by somebody else: not believed', async () => {
    const parts = await setUp();
    const { bluez, bus: on, elk, connect, client } = parts;
    const link = await connect(ELK);
    const stranger = sessionBus({ busAddress: on.address, authMethods: ['EXTERNAL'] });
    await new Promise<void>((resolve) => stranger.on('connect', () => resolve()));
    const [destination] = bluez.discovering;
    const say = (path: string, of: string, name: string): void => {
      const body = [of, { [name]: new Variant('b', false) }, []];
      const signal = Message.newSignal(path, 'org.freedesktop.DBus.Properties', 'PropertiesChanged', 'sa{sv}as', body);
      // Addressed to us, a signal needs no match.
      signal.destination = destination ?? '';
      stranger.send(signal);
    };
    say(bluez.adapterPath, 'org.bluez.Adapter1', 'Powered');
    say(elk.path, DEVICE, 'Connected');
    const owner = Message.newSignal('/org/freedesktop/DBus', 'org.freedesktop.DBus', 'NameOwnerChanged', 'sss', [
      'org.bluez',
      ':1.0',
      '',
    ]);
    owner.destination = destination ?? '';
    stranger.send(owner);
    await pause(200);
    expect([client.adapter, link.gone.aborted]).toEqual(['poweredOn', false]);
    stranger.disconnect();
    await stillWorks(bluez, parts);
  });

  it('of hundreds of strangers: told within bounds, and lamps are still heard', async () => {
    const parts = await setUp();
    const { bluez, client, heard } = parts;
    for (let i = 0; i < 800; i += 1) {
      const address = `da:00:00:00:${(i >> 8).toString(16).padStart(2, '0')}:${(i & 255).toString(16).padStart(2, '0')}`;
      bluez.advertise(bluez.addLamp({ address, name: `stranger ${i}`, manufacturerData: { 76: '10'.repeat(20) } }));
      if (i % 50 === 0) await pause(5);
    }
    await stillWorks(bluez, parts);
    expect(heard.every(({ address }) => !address.startsWith('da:'))).toBe(true);
    client.watch(undefined);
    await until(() => bluez.discovering.size === 1);
    for (const lamp of bluez.lamps.values()) bluez.advertise(lamp, { rssi: -33 });
    await until(() => heard.some(({ address }) => address.startsWith('da:')));
    await stillWorks(bluez, parts);
  });
});
