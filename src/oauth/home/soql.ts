/** The owner's own record (Salesforce, Object Reference: User). Coordinates are null there until written or geocoded. */
export const OWNERS_RECORD =
  'SELECT Latitude, Longitude, GeocodeAccuracy, Street, City, State, PostalCode, Country, TimeZoneSidKey ' +
  "FROM User WHERE Id = '{user}'";

/** A release of 2024; a version of the REST API is served for at least three years after it appears, and in practice for ten. */
const API = 'v60.0';

/**
 * The address of a query: `GET {instance_url}/services/data/vNN.N/query?q=...` (Salesforce, REST API Developer Guide: Query).
 * `{user}` in the query becomes the user's id, escaped for the inside of a quoted text.
 */
export function queryUrl(instanceUrl: string, query: string, user: string): string {
  const soql = query.replaceAll('{user}', () => escapeSoql(user));
  return new URL(`/services/data/${API}/query?q=${encodeURIComponent(soql)}`, instanceUrl).href;
}

/** Text for the inside of a quoted SOQL string (Salesforce, SOQL and SOSL Reference: Reserved Characters). */
export function escapeSoql(text: string): string {
  return text.replace(/[\\']/g, (character) => `\\${character}`);
}

/** The user's id: the last segment of the identity URL `https://login.salesforce.com/id/ORG/USER`; undefined: it names nobody. */
export function userIn(identityUrl: string): string | undefined {
  const last = new URL(identityUrl).pathname.split('/').at(-1) ?? '';
  try {
    const user = decodeURIComponent(last);
    return /^[\x20-\x7e]{1,64}$/.test(user) ? user : undefined;
  } catch (thrown) {
    if (thrown instanceof URIError) return undefined;
    throw thrown;
  }
}
