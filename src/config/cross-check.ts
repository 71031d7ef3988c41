import { asPorchlightError } from '../errors.ts';
import { pinned } from '../families/index.ts';
import { likely } from '../lights/spelling.ts';
import type { Path } from './document.ts';
import { asksForNotYet, NOT_YET } from './not-yet.ts';
import { type Problem, valueAt } from './problem.ts';
import { BROKER_SCHEMES, isLoopback } from './values.ts';

/**
 * What no single key can know: ids are unique, names exist, keys fit each other. Works on the values as written, so that a
 * mistake in one place does not hide another elsewhere, nor cause a second complaint about what only follows from it.
 */
export function crossCheck(file: unknown): {
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
} {
  const check = new CrossCheck(file);
  check.notYet();
  check.uniqueness();
  check.references();
  check.models();
  check.authorization();
  check.broker();
  check.radio();
  check.access();
  return check;
}

class CrossCheck {
  readonly problems: Problem[] = [];
  readonly warnings: Problem[] = [];
  readonly #file: unknown;

  constructor(file: unknown) {
    this.#file = file;
  }

  notYet(): void {
    for (const entry of NOT_YET) {
      const value = this.#at(...entry.path);
      if (asksForNotYet(entry, value)) {
        const what = typeof value === 'string' && entry.values ? value : 'this';
        const message = `${what} is not part of this version yet`;
        if (entry.warns)
          this.warnings.push({ path: entry.path, at: 'key', message: `${message}, and is not carried out` });
        else this.#wrong(entry.path, message);
      }
    }
  }

  uniqueness(): void {
    const ids = new Map<string, string>();
    const addresses = new Map<string, string>();
    for (const section of ['lights', 'groups', 'scenes', 'schedules']) {
      // Schedules have no topics: their ids only need to differ among themselves.
      if (section === 'schedules') ids.clear();
      this.#list(section).forEach((_, index) => {
        const id = this.#at(section, index, 'id');
        if (typeof id === 'string') {
          const first = ids.get(id);
          if (first !== undefined) this.#wrong([section, index, 'id'], `is used already by ${first}`);
          else ids.set(id, `${section}[${index}]`);
        }
        const address = this.#at(section, index, 'address');
        if (section === 'lights' && typeof address === 'string') {
          const plain = address.toLowerCase().replaceAll('-', ':');
          const first = addresses.get(plain);
          if (first !== undefined) this.#wrong([section, index, 'address'], `is the address of ${first} already`);
          else addresses.set(plain, `${section}[${index}]`);
        }
      });
    }
  }

  models(): void {
    this.#list('lights').forEach((_, index) => {
      const model = this.#at('lights', index, 'model');
      if (typeof model !== 'string') return;
      try {
        pinned(model);
      } catch (thrown) {
        const { message, hint } = asPorchlightError(thrown);
        this.#wrong(['lights', index, 'model'], `${message} ${hint}`);
      }
    });
  }

  references(): void {
    const lights = this.#ids('lights');
    const groups = this.#ids('groups');
    const targets = new Set([...lights, ...groups]);
    this.#list('groups').forEach((_, index) => {
      const path = ['groups', index, 'lights'];
      const seen = new Set<unknown>();
      this.#list(...path).forEach((light, member) => {
        if (seen.has(light)) this.#wrong([...path, member], 'is named twice');
        seen.add(light);
        if (typeof light === 'string' && groups.has(light)) {
          this.#wrong([...path, member], 'is a group; a group may hold lights only');
        } else this.#mustExist(light, lights, 'light', [...path, member]);
      });
    });
    for (const section of ['scenes', 'schedules']) {
      this.#list(section).forEach((_, index) => {
        const set = this.#at(section, index, 'set');
        if (typeof set !== 'object' || set === null || Array.isArray(set)) return;
        for (const target of Object.keys(set)) {
          this.#mustExist(target, targets, 'light or group', [section, index, 'set', target], 'key');
        }
      });
    }
    this.#list('access', 'policy').forEach((_, index) => {
      this.#policyPrincipals(index);
      this.#list('access', 'policy', index, 'lights').forEach((target, member) => {
        this.#mustExist(target, targets, 'light or group', ['access', 'policy', index, 'lights', member]);
      });
    });
    this.#list('access', 'unsigned', 'lights').forEach((target, index) => {
      this.#mustExist(target, targets, 'light or group', ['access', 'unsigned', 'lights', index]);
    });
  }

  authorization(): void {
    const secret = ['client_secret', 'client_secret_file'].find((key) => this.#at('authorization', key) != null);
    this.#notBoth('authorization', 'client_secret', 'client_secret_file');
    this.#notBoth('authorization', 'client_key', 'client_key_file');
    const method = this.#at('authorization', 'client_authentication') ?? 'none';
    const grant = this.#at('authorization', 'grant') ?? 'device_code';
    if (grant === 'client_credentials' && method === 'none') {
      this.#wrong(
        ['authorization', 'grant'],
        'client_credentials needs client_authentication: without it anybody could be this client',
      );
    }
    const subject = this.#at('authorization', 'assertion', 'subject') ?? this.#at('authorization', 'owner');
    if (grant === 'jwt_bearer' && subject == null) {
      this.#wrong(['authorization', 'grant'], 'jwt_bearer needs assertion.subject (or owner): on whose behalf');
    }
    const key = ['client_key', 'client_key_file'].find((name) => this.#at('authorization', name) != null);
    if (key !== undefined && method !== 'private_key_jwt' && grant !== 'jwt_bearer') {
      this.#warn(['authorization', key], 'is not used: nothing is signed with it (private_key_jwt, jwt_bearer)');
    }
    const scopes = this.#at('authorization', 'scopes');
    const approved =
      grant === 'device_code' && !['github', 'salesforce'].includes(String(this.#at('authorization', 'dialect')));
    if (approved && Array.isArray(scopes) && !scopes.includes('openid')) {
      const path = ['authorization', 'scopes'];
      const message = 'lacks openid: the server then does not say who approved';
      if (this.#at('authorization', 'owner') != null) this.#wrong(path, `${message}, so it can never be the owner`);
      else this.#warn(path, `${message}, so nobody is the owner and anybody may approve anew`);
    }
    if (secret !== undefined && method === 'none') {
      this.#warn(['authorization', secret], 'is not used: client_authentication is none');
    }
  }

  broker(): void {
    this.#notBoth('mqtt', 'password', 'password_file');
    if (this.#at('mqtt', 'password') === 'access_token' && this.#at('authorization', 'resource') == null) {
      this.#wrong(['mqtt', 'password'], 'access_token needs authorization.resource: what the token is for');
    }
    if (this.#at('mqtt', 'password') === 'access_token' && this.#at('authorization', 'dpop') === 'required') {
      this.#wrong(
        ['mqtt', 'password'],
        'access_token does not go with dpop: required: a broker takes no proof of a key',
      );
    }
    for (const [one, other] of [
      ['cert_file', 'key_file'],
      ['key_file', 'cert_file'],
    ] as const) {
      if (this.#at('mqtt', one) != null && this.#at('mqtt', other) == null)
        this.#wrong(['mqtt', one], `needs mqtt.${other}`);
    }
    const written = this.#at('mqtt', 'url') ?? 'mqtt://localhost:1883';
    if (typeof written !== 'string' || !URL.canParse(written)) return;
    const url = new URL(written);
    if (!BROKER_SCHEMES.some((scheme) => scheme === url.protocol) || url.username !== '' || url.password !== '') return;
    if (url.protocol === 'mqtts:' || url.protocol === 'wss:') return;
    for (const key of ['ca_file', 'cert_file', 'key_file']) {
      if (this.#at('mqtt', key) != null)
        this.#warn(['mqtt', key], `is not used: mqtt.url is ${url.protocol}//, not encrypted`);
    }
    if (url.hostname === '' || isLoopback(url.hostname)) return;
    if (this.#at('mqtt', 'allow_insecure') === true) {
      this.#warn(['mqtt', 'url'], 'is not encrypted: whoever listens on the network can read and forge commands');
    } else {
      this.#wrong(
        ['mqtt', 'url'],
        'is not encrypted and not on this machine; use mqtts or wss, or allow_insecure: true',
      );
    }
  }

  radio(): void {
    const backend = this.#at('bluetooth', 'backend');
    const h4 = this.#at('bluetooth', 'h4');
    if (backend === 'h4' && h4 == null)
      this.#wrong(['bluetooth', 'backend'], 'h4 needs bluetooth.h4: where the controller listens');
    if (h4 != null && backend !== 'h4') this.#warn(['bluetooth', 'h4'], 'is not used: bluetooth.backend is not h4');
  }

  access(): void {
    if (this.#at('access', 'audience') == null) {
      this.#warn(['access', 'audience'], 'is missing: no command token is accepted');
    }
    const principals = this.#at('access', 'principals');
    const issuer = this.#at('access', 'issuer');
    if (issuer != null && issuer !== this.#at('authorization', 'issuer')) {
      if (!Array.isArray(principals) || principals.includes('owner')) {
        this.#warn(
          ['access', 'issuer'],
          'is not the server that names the owner: "owner" is nobody among its tokens, so name its subjects or clients in access.principals',
        );
      }
    }
    if (Array.isArray(principals) && principals.length === 0) {
      this.#warn(['access', 'principals'], 'is empty: nobody may command with a token');
    }
  }

  /** Rows that can never say anything: whom they are for does not come that way. */
  #policyPrincipals(index: number): void {
    const known = this.#at('access', 'principals') ?? ['owner'];
    this.#list('access', 'policy', index, 'principals').forEach((name, member) => {
      const path = ['access', 'policy', index, 'principals', member];
      if (name === 'local') this.#warn(path, 'is not used: whoever may use the socket is an administrator');
      else if (name === 'broker') {
        if ((this.#at('access', 'unsigned') ?? 'deny') === 'deny')
          this.#warn(path, 'is not used: access.unsigned is deny, so the local tree commands nothing');
      } else if (Array.isArray(known) && !known.includes(name)) {
        this.#warn(path, 'is not among access.principals, so it can only be the client of one who is');
      }
    });
  }

  #notBoth(section: string, one: string, other: string): void {
    if (this.#at(section, one) != null && this.#at(section, other) != null) {
      this.#wrong([section, other], `cannot be given together with ${one}`, 'key');
    }
  }

  #mustExist(name: unknown, known: ReadonlySet<string>, kind: string, path: Path, at: 'key' | 'value' = 'value'): void {
    if (typeof name !== 'string' || known.has(name)) return;
    const meant = likely(name, known);
    this.#wrong(path, `no ${kind} has this id${meant === undefined ? '' : `; did you mean ${meant}?`}`, at);
  }

  #ids(section: string): ReadonlySet<string> {
    const ids = this.#list(section).map((_, index) => this.#at(section, index, 'id'));
    return new Set(ids.filter((id) => typeof id === 'string'));
  }

  #list(...path: Path): readonly unknown[] {
    const value = this.#at(...path);
    return Array.isArray(value) ? value : [];
  }

  #at(...path: Path): unknown {
    return valueAt(this.#file, path);
  }

  #wrong(path: Path, message: string, at: 'key' | 'value' = 'value'): void {
    this.problems.push({ path, at, message });
  }

  #warn(path: Path, message: string): void {
    this.warnings.push({ path, at: 'value', message });
  }
}
