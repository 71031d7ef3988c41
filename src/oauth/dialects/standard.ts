import type { Dialect } from './dialect.ts';

/** RFC 8628, RFC 6749, RFC 8414 and RFC 7009 as they are written: nothing is rewritten. */
export const standard: Dialect = {
  id: 'standard',
  request: (request) => request,
  answer: (answer) => answer,
};
