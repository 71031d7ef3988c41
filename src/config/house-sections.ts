import * as z from 'zod';
import {
  bluetoothAddress,
  change,
  choice,
  duration,
  h4Address,
  id,
  list,
  number,
  text,
  timeZone,
  wholeNumber,
} from './values.ts';

/** The sections about the radio, the lamps and the house; put together in `schema.ts`. */

export const bluetooth = z.strictObject({
  backend: choice(['hci', 'dbus', 'h4', 'virtual']).default('hci').meta({
    description:
      'How lamps are reached: hci (an adapter of this machine), dbus (the same through bluetoothd: slower, but without any capability), h4 (a controller elsewhere), virtual (lamps made of software).',
  }),
  adapter: z
    .string('expected an adapter such as hci0')
    .regex(/^hci\d{1,3}$/, 'expected an adapter such as hci0')
    .default('hci0')
    .meta({ description: 'Which adapter of this machine is used (backends hci and dbus).' }),
  h4: h4Address().optional().meta({
    description: 'A Bluetooth controller that speaks H4: tcp://host:port or unix:/path (backend h4).',
    example: 'tcp://127.0.0.1:9000',
  }),
  max_connections: wholeNumber(1, 32)
    .default(5)
    .meta({ description: 'How many lamps are connected at once; many adapters hold few.' }),
  idle_disconnect: duration('0s', '24h')
    .prefault('120s')
    .meta({ description: 'A lamp that is not used for this long is let go, so that a phone app can reach it.' }),
  virtual: z
    .strictObject({
      lights: wholeNumber(0, 64).default(5).meta({ description: 'How many virtual lamps there are.' }),
      connection_interval: duration('0ms', '4s')
        .prefault('15ms')
        .meta({ description: 'How often a virtual link exchanges packets, as a real one would.' }),
    })
    .prefault({})
    .meta({ description: 'The lamps made of software (backend virtual).' }),
});

export const clock = z.strictObject({
  trust: choice(['auto', 'system']).default('auto').meta({
    description:
      'When the clock may judge tokens: auto waits until it is synchronised or battery-backed; system always trusts it (for containers).',
  }),
});

const name = (example: string) =>
  text(100).optional().meta({ description: 'The name that people see. Default: the id.', example });

export const light = z.strictObject({
  id: id().meta({ description: 'The name in topics.', example: 'porch' }),
  name: name('Porch'),
  room: text(100).optional().meta({ description: 'The room or area; Home Assistant proposes it.', example: 'Outside' }),
  address: bluetoothAddress().meta({
    description: 'The Bluetooth address, as "porchlight scan" shows it.',
    example: 'be:ff:20:00:11:22',
  }),
  model: text(64).optional().meta({ description: 'Pins the model. Default: found by itself.', example: 'ELK-BLEDOB' }),
});

export const group = z.strictObject({
  id: id().meta({ description: 'The name in topics.', example: 'evening' }),
  name: name('Evening lights'),
  lights: list(id(), 256)
    .min(1, 'expected at least one light')
    .meta({ description: 'The lights in it.', example: ['porch'] }),
});

const changes = () =>
  z
    .record(z.string(), change(), 'expected lights and their changes, such as {porch: {state: ON}}')
    .refine((set) => Object.keys(set).length > 0, 'expected at least one light')
    .meta({
      description: 'The lights or groups and what becomes of each, written like a command.',
      example: { porch: { state: 'ON', brightness: 40 } },
    });

export const scene = z.strictObject({
  id: id().meta({ description: 'The name in topics.', example: 'movie' }),
  name: name('Movie'),
  set: changes(),
});

export const home = z.strictObject({
  latitude: number(-90, 90).meta({ description: 'Degrees north of the equator.', example: 52.52 }),
  longitude: number(-180, 180).meta({ description: 'Degrees east of Greenwich.', example: 13.41 }),
  time_zone: timeZone().optional().meta({
    description: "Default: that of the owner's account, else that of this machine.",
    example: 'Europe/Berlin',
  }),
});

export const schedule = z.strictObject({
  id: id().meta({ description: 'The name in the log.', example: 'late' }),
  cron: text(100).meta({
    description: 'When: minute, hour, day of month, month, day of week.',
    example: '30 23 * * *',
  }),
  set: changes(),
});

export const audit = z.strictObject({
  max_megabytes: wholeNumber(1, 1000)
    .default(20)
    .meta({ description: 'How much of the disk the trail may take; its oldest part makes room.' }),
});

export const web = z.strictObject({
  listen: text(260).optional().meta({ description: 'Where the local page is served.', example: '127.0.0.1:8470' }),
});

export const log = z.strictObject({
  level: choice(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'])
    .default('info')
    .meta({ description: 'How much is logged.' }),
});
