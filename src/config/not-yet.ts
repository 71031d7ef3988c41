/** What the configuration has a place for and this version does not do. A later version deletes its line here. */
export interface NotYet {
  readonly path: readonly string[];
  /** The values that are not done yet; absent: any value but null and an empty list. */
  readonly values?: readonly string[];
  /** Nothing becomes less safe without it, so the daemon may run and say that it does not do this. */
  readonly warns?: true;
}

export const NOT_YET: readonly NotYet[] = [
  { path: ['authorization', 'grant'], values: ['authorization_code', 'saml2_bearer'] },
  { path: ['schedules'], warns: true },
  { path: ['web', 'listen'], warns: true },
];

/** True when this value, found at `entry.path`, asks for what is not done yet. */
export function asksForNotYet(entry: NotYet, value: unknown): boolean {
  if (entry.values !== undefined) return entry.values.some((one) => one === value);
  return value !== null && value !== undefined && !(Array.isArray(value) && value.length === 0);
}
