import type { Adapter, AdapterPayload } from 'oidc-provider';

/** What the demo's authorization server knows, kept in memory: gone when it stops. */
export class Memory {
  readonly #entries = new Map<string, { readonly payload: AdapterPayload; readonly until: number }>();

  /** oidc-provider's own in-memory store announces itself on the console; this one does not. */
  adapter(model: string): Adapter {
    const entries = this.#entries;
    const key = (id: string): string => `${model}:${id}`;
    const find = (id: string): AdapterPayload | undefined => {
      const entry = entries.get(key(id));
      return entry !== undefined && entry.until > Date.now() ? entry.payload : undefined;
    };
    const search = (matches: (payload: AdapterPayload) => boolean): AdapterPayload | undefined => {
      for (const [name, { payload, until }] of entries)
        if (name.startsWith(`${model}:`) && until > Date.now() && matches(payload)) return payload;
      return undefined;
    };
    return {
      upsert: async (id, payload, expiresIn) => {
        const until = expiresIn === undefined ? Number.POSITIVE_INFINITY : Date.now() + (expiresIn + 60) * 1000;
        entries.set(key(id), { payload, until });
      },
      find: async (id) => find(id),
      findByUserCode: async (code) => search((payload) => payload.userCode === code),
      findByUid: async (uid) => search((payload) => payload.uid === uid),
      consume: async (id) => {
        const payload = find(id);
        if (payload !== undefined) payload.consumed = Math.floor(Date.now() / 1000);
      },
      destroy: async (id) => {
        entries.delete(key(id));
      },
      revokeByGrantId: async (grantId) => {
        for (const [name, { payload }] of entries)
          if (name.startsWith(`${model}:`) && payload.grantId === grantId) entries.delete(name);
      },
    };
  }

  /** Forgets every grant and refresh token, as an owner does who removes a device in their account. */
  forgetGrants(): void {
    for (const name of this.#entries.keys())
      if (name.startsWith('Grant:') || name.startsWith('RefreshToken:')) this.#entries.delete(name);
  }
}
