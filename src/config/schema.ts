import * as z from 'zod';
import { audit, bluetooth, clock, group, home, light, log, scene, schedule, web } from './house-sections.ts';
import { access, authorization, gateway, mqtt } from './network-sections.ts';
import { list } from './values.ts';

/**
 * Every key of the configuration, declared once: type, default, a sentence, and an example where there is no default.
 * The parsed configuration, its errors, the JSON Schema and `config/porchlight.example.yaml` all come from here. The sections are in
 * `network-sections.ts` and `house-sections.ts`.
 */
export const SCHEMA = z
  .strictObject({
    gateway: gateway.prefault({}).meta({ description: 'This gateway.' }),
    authorization: authorization
      .optional()
      .meta({ description: 'Being authorized: this gateway as an OAuth client. "porchlight run" needs it.' }),
    access: access.prefault({}).meta({ description: 'Authorizing others: whose commands are obeyed.' }),
    mqtt: mqtt.prefault({}).meta({ description: 'The MQTT broker.' }),
    bluetooth: bluetooth.prefault({}).meta({ description: 'The radio: how lamps are reached, and how many at once.' }),
    clock: clock.prefault({}).meta({ description: 'The clock, by which tokens are judged.' }),
    lights: list(light, 256)
      .prefault([])
      .meta({ description: 'The lamps; "porchlight scan" shows what is in the air.' }),
    groups: list(group, 128).prefault([]).meta({ description: 'Lights that are commanded together.' }),
    scenes: list(scene, 128).prefault([]).meta({ description: 'Several changes under one name.' }),
    home: home
      .optional()
      .meta({ description: 'Where the lamps are. Default: the home location that the owner let the gateway read.' }),
    schedules: list(schedule, 256).prefault([]).meta({ description: 'Changes at a time of day.' }),
    audit: audit.prefault({}).meta({ description: 'The audit trail: who commanded what, and what was decided.' }),
    web: web.prefault({}).meta({ description: 'The local page.' }),
    log: log.prefault({}).meta({ description: 'The log, one JSON object a line on standard error.' }),
  })
  .meta({ title: 'Porchlight', description: 'The configuration of a Porchlight gateway.' });

type Parsed = z.output<typeof SCHEMA>;
/** Text that is there once the configuration is loaded: given, or its default. */
type Named<T extends { readonly id: string }> = DeepReadonly<Omit<T, 'name'>> & { readonly name: string };
type DeepReadonly<T> = T extends readonly (infer E)[]
  ? readonly DeepReadonly<E>[]
  : T extends object
    ? // An optional key that is absent is absent: zod's `| undefined` goes.
      { readonly [K in keyof T]: DeepReadonly<Exclude<T[K], undefined>> }
    : T;

/** Being authorized. Durations are milliseconds; the secret is read from wherever it was. */
export type AuthorizationConfig = DeepReadonly<
  Omit<NonNullable<Parsed['authorization']>, 'client_secret_file' | 'client_key_file'>
>;

export type AccessConfig = DeepReadonly<Parsed['access']>;

/** The broker. `ca`, `cert` and `key` are the PEM texts of the files; `password` may be the word `ACCESS_TOKEN`. */
export type MqttConfig = DeepReadonly<Omit<Parsed['mqtt'], 'password_file' | 'ca_file' | 'cert_file' | 'key_file'>> & {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
};
export type BluetoothConfig = DeepReadonly<Parsed['bluetooth']>;
export type LightConfig = Named<Parsed['lights'][number]>;
export type GroupConfig = Named<Parsed['groups'][number]>;
export type SceneConfig = Named<Parsed['scenes'][number]>;

/** A configuration that can drive lamps, but perhaps not the daemon: `authorization` may be absent and no secret was read. */
export interface HouseConfig
  extends DeepReadonly<Pick<Parsed, 'clock' | 'home' | 'schedules' | 'audit' | 'web' | 'log' | 'bluetooth'>> {
  readonly gateway: { readonly id: string; readonly state_directory: string };
  readonly authorization?: AuthorizationConfig;
  readonly access: AccessConfig;
  readonly mqtt: MqttConfig;
  readonly lights: readonly LightConfig[];
  readonly groups: readonly GroupConfig[];
  readonly scenes: readonly SceneConfig[];
}

/** The configuration of the daemon: names as in the file, every default filled in, durations in milliseconds. */
export interface Config extends HouseConfig {
  readonly authorization: AuthorizationConfig;
  readonly access: AccessConfig & { readonly issuer: string };
}

/** The word that means "connect with the gateway's own access token". A password read from a file never is this word. */
export const ACCESS_TOKEN = 'access_token';
