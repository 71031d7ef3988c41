/** Node's, undici's and OpenSSL's codes, as the end of a sentence about the server. */
const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'refuses the connection',
  ECONNRESET: 'broke the connection',
  UND_ERR_SOCKET: 'broke the connection',
  ENOTFOUND: 'has a name that nobody knows',
  EAI_AGAIN: 'could not be looked up (no name server)',
  ENETUNREACH: 'cannot be reached (no network)',
  EHOSTUNREACH: 'cannot be reached (no way to it)',
  ETIMEDOUT: 'did not answer in time',
  UND_ERR_CONNECT_TIMEOUT: 'did not answer in time',
  CERT_HAS_EXPIRED: 'shows an expired certificate (or the clock here is wrong)',
  CERT_NOT_YET_VALID: 'shows a certificate that is not valid yet (or the clock here is wrong)',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'shows a certificate that nobody vouches for',
  SELF_SIGNED_CERT_IN_CHAIN: 'shows a certificate of an authority that is not trusted here',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'shows a certificate of an authority that is not trusted here',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'shows a certificate of an authority that is not trusted here',
  ERR_TLS_CERT_ALTNAME_INVALID: 'shows a certificate of another host',
  EPROTO: 'does not speak TLS there, or not as it should',
  ERR_SSL_WRONG_VERSION_NUMBER: 'does not speak TLS there',
  ERR_SSL_PACKET_LENGTH_TOO_LONG: 'does not speak TLS there',
  UND_ERR_HEADERS_OVERFLOW: 'sends more headers than an answer has',
  UND_ERR_HEADERS_TIMEOUT: 'did not answer in time',
  UND_ERR_BODY_TIMEOUT: 'did not answer in time',
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: 'broke off its answer',
  UND_ERR_RESPONSE: 'sends an answer that can not be read',
  Z_BUF_ERROR: 'broke off its answer',
  Z_DATA_ERROR: 'sends an answer that can not be unpacked',
};

/** undici says only "fetch failed"; the reason is in the cause (or in the causes of an AggregateError). */
export function networkReason(thrown: unknown): string {
  for (let error: unknown = thrown, depth = 0; error instanceof Error && depth < 5; depth += 1) {
    const code: unknown = 'code' in error ? error.code : undefined;
    // llhttp has a code of this kind for each way to break HTTP (nodejs/llhttp), Brotli one for each way to break its format.
    const family = /^(HPE_|ERR_?_ERROR_FORMAT)/.test(String(code)) ? 'UND_ERR_RESPONSE' : code;
    const reason = typeof family === 'string' ? REASONS[family] : undefined;
    if (reason !== undefined) return reason;
    error = error instanceof AggregateError ? error.errors[0] : error.cause;
  }
  return 'cannot be reached';
}
