import type { JSONWebKeySet } from 'jose';
import { customFetch } from 'oauth4webapi';
import { asPorchlightError } from '../errors.ts';
import { type Expected, readKeys, verifyIdToken } from './id-token.ts';
import type { Identity } from './identity.ts';
import { ask, nonsense, type Reply, type Wire } from './wire.ts';

/** The keys that an authorization server publishes for its id_tokens, as they were when last needed. */
export class PublishedKeys {
  #keys: JSONWebKeySet | undefined;

  /** Whom an id_token names. The keys are fetched once more when it was signed by one that is new. */
  async identityOf(
    idToken: string,
    wire: Wire,
    jwks: string | undefined,
    expected: Expected,
  ): Promise<Reply<Identity>> {
    if (jwks === undefined)
      return { kind: 'nonsense', problem: nonsense('it publishes no keys to verify its id_token with') };
    const fresh = this.#keys === undefined;
    const keys = this.#keys === undefined ? await fetchKeys(wire, jwks) : answered(this.#keys);
    if (keys.kind !== 'answered') return keys;
    this.#keys = keys.value;
    try {
      const verdict = await verifyIdToken(idToken, keys.value, expected);
      if (verdict !== 'stale_keys') return answered(verdict);
    } catch (thrown) {
      // Keys of an earlier day may have been replaced under the same name.
      if (fresh) {
        this.#keys = undefined;
        return { kind: 'nonsense', problem: asPorchlightError(thrown, 'server_answer') };
      }
    }
    this.#keys = undefined;
    if (fresh) return { kind: 'nonsense', problem: nonsense('its id_token is signed by a key it does not publish') };
    return this.identityOf(idToken, wire, jwks, expected);
  }
}

const answered = <T>(value: T): Reply<T> => ({ kind: 'answered', value });

function fetchKeys(wire: Wire, url: string): Promise<Reply<JSONWebKeySet>> {
  const headers = { accept: 'application/json' };
  return ask(wire, 'keys', (send) => send[customFetch](url, { method: 'GET', headers }), readKeys);
}
