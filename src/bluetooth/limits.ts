/** The longest attribute value there is (Core specification, Vol 3, Part F, 3.2.9). */
export const LONGEST_VALUE = 512;
/** No lamp that we know has a third of this. */
export const MOST_CHARACTERISTICS = 64;
/** The longest name there is, in characters at most its 248 octets (Vol 3, Part C, 3.2.2). */
export const LONGEST_NAME = 248;
/** Service UUIDs and service data that are kept of one advertisement. */
export const MOST_UUIDS = 32;
export const MOST_SERVICE_DATA = 16;
/** Values of one write request between gateway and radio; a change of a lamp is two or three. */
export const MOST_VALUES = 16;
/** Bytes of one message of the radio, as JSON: the longest that it has reason to send is 64 characteristics, some 30 KB. */
export const LONGEST_MESSAGE = 64 * 1024;
