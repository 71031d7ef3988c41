import { RFC_9068 } from '../../token-profile.ts';
import type { Dialect } from './dialect.ts';

/** RFC 8628, RFC 6749, RFC 8414, RFC 7009 and RFC 7662 as they are written: nothing is rewritten. */
export const standard: Dialect = {
  id: 'standard',
  name: 'a server that keeps to the standards',
  rests: { documented: [], assumed: [], cannot: [] },
  request: (request) => request,
  answer: (answer) => answer,
  commandTokens: RFC_9068,
  keeps: [],
  home: 'userinfo',
};
