import type { HouseConfig } from '../config/schema.ts';
import { type Finding, ok, warn } from './finding.ts';

/** Whose commands are obeyed. */
export function lookAtAccess({ access, mqtt, groups, lights }: HouseConfig): readonly Finding[] {
  const findings: Finding[] = [];
  const { audience, principals, unsigned } = access;
  if (audience === undefined) {
    findings.push(
      warn(
        'access',
        'access.audience is not set: no command with a token is obeyed.',
        'Set it to the audience that your authorization server puts into command tokens, such as https://porchlight.example/porch-pi.',
      ),
    );
  } else findings.push(ok('access', `tokens for ${audience}, from ${principals.join(', ')}`));
  if (unsigned === 'deny') return findings;
  const known = new Set([...lights, ...groups].map(({ id }) => id));
  const whom =
    unsigned === 'allow' ? 'every lamp' : unsigned.lights.filter((id) => known.has(id)).join(', ') || 'no lamp';
  const text = `Without a token, whoever may publish below ${mqtt.base_topic}/local/ commands ${whom}.`;
  const anonymous = mqtt.username === undefined && mqtt.cert === undefined;
  findings.push(
    anonymous
      ? warn(
          'access',
          `${text} This gateway itself needs no user name at the broker: then anybody may.`,
          'Let the broker ask for user names, with an ACL: config/mosquitto.acl.example',
        )
      : ok('access', `${text} The broker's ACL decides who that is.`),
  );
  return findings;
}

/** Home Assistant sends no tokens: its commands are obeyed only where `access.unsigned` says so. */
export function lookAtHomeAssistant({ access, mqtt }: HouseConfig, seen: boolean | undefined): readonly Finding[] {
  const check = 'home assistant';
  if (!mqtt.home_assistant.enabled || seen === undefined) return [];
  if (access.unsigned !== 'deny')
    return [ok(check, 'its commands (without tokens) are allowed, as access.unsigned says')];
  if (!seen)
    return [ok(check, 'nothing of it is seen at this broker; its commands would be refused (access.unsigned: deny)')];
  return [
    warn(
      check,
      'Something speaks its language at this broker, but its commands carry no token and are refused (access.unsigned: deny).',
      'To let it command: "access: {unsigned: allow}", or {lights: [...]} for some, and let only its broker user publish below ' +
        `${mqtt.base_topic}/local/ (config/mosquitto.acl.example).`,
    ),
  ];
}
