import * as z from 'zod';
import { ACTIONS } from '../lights/actions.ts';
import { parseSpan } from './hours.ts';
import { ALL_ACTIONS, type Rule, setOf } from './rules.ts';

/** The type (RFC 9396 section 2) of the details that this gateway understands. */
export const DETAILS_TYPE = 'porchlight';

/** How far a token's `authorization_details` narrow it: to what these rules allow together. */
export interface Narrowing {
  readonly rules: readonly Rule[];
  /** Why some of the details allow nothing, in words for people. None of them repeats the token. */
  readonly ignored: readonly string[];
}

type Detail = Readonly<Record<string, unknown>>;

const Texts = z.array(z.string());
const Span = z.string().transform((text, context) => {
  const span = parseSpan(text);
  if (span !== undefined) return span;
  context.addIssue({ code: 'custom' });
  return z.NEVER;
});
const MEMBERS = {
  type: z.literal(DETAILS_TYPE),
  locations: Texts.optional(),
  lights: Texts.optional(),
  actions: z.array(z.enum(ACTIONS)).optional(),
  hours: z.array(Span).optional(),
};
const Members = z.object(MEMBERS);

/**
 * Reads the details of type `porchlight`: `{type, locations?, lights?, actions?, hours?}`. Several add up; those of other types are
 * for others. What is not understood in full allows nothing, for it may be a limit: RFC 9396 section 5 asks servers for the same.
 * An empty list allows nothing. `locations`, where it is there, must name `audience`. `lampsOf` gives the lamps of a lamp's or
 * group's name. Undefined: there are none of that type, so the token is not narrowed.
 */
export function narrowingOf(
  details: readonly Detail[],
  audience: string | undefined,
  lampsOf: (name: string) => readonly string[] | undefined,
): Narrowing | undefined {
  const ours = details.filter(({ type }) => type === DETAILS_TYPE);
  if (ours.length === 0) return undefined;
  const rules: Rule[] = [];
  const ignored: string[] = [];
  for (const detail of ours) {
    const rule = ruleOf(detail, audience, lampsOf);
    if (typeof rule === 'string') ignored.push(rule);
    else rules.push(rule);
  }
  return { rules, ignored };
}

function ruleOf(
  detail: Detail,
  audience: string | undefined,
  lampsOf: (name: string) => readonly string[] | undefined,
): Rule | string {
  if (!Object.keys(detail).every((name) => Object.hasOwn(MEMBERS, name))) {
    return 'it has a member that this gateway does not know';
  }
  const parsed = Members.safeParse(detail);
  if (!parsed.success) return `its "${String(parsed.error.issues[0]?.path[0])}" is not understood`;
  const { locations, lights, actions, hours } = parsed.data;
  if (locations !== undefined && !locations.some((location) => location === audience)) {
    return 'its "locations" do not name this gateway';
  }
  return {
    lights: lights === undefined ? undefined : new Set(lights.flatMap((name) => lampsOf(name) ?? [])),
    actions: actions === undefined ? ALL_ACTIONS : setOf(actions),
    hours,
  };
}
