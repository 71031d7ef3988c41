/** What the keeper saves: before it asks, the answer's tokens, that the token before them is not needed any more, that all is lost. */
export type Save = 'intent' | 'tokens' | 'drop' | 'end';

/**
 * Where a process can be stopped for good in a refresh. The first ten are those that any gateway has; the others lie between them.
 * `loses`: a server that rotates without grace has used up the refresh token that is stored, and its successor is nowhere.
 */
export const POINTS = {
  'before the intent is stored': { at: 'intent before', loses: false },
  'after the intent is stored': { at: 'intent after', loses: false },
  'after the request is sent': { at: 'sent', loses: true },
  'after the headers of the answer': { at: 'headers', loses: true },
  'in the middle of the answer': { at: 'body', loses: true },
  'after the new tokens are written beside': { at: 'tokens written', loses: true },
  'after they are synced': { at: 'tokens synced', loses: true },
  'after they are renamed': { at: 'tokens renamed', loses: false },
  'after the folder is synced': { at: 'tokens folder', loses: false },
  'before the former token is dropped': { at: 'drop before', loses: false },
  'after the intent is written beside': { at: 'intent written', loses: false },
  'after the intent is renamed': { at: 'intent renamed', loses: false },
  'before the new tokens are stored': { at: 'tokens before', loses: true },
  'before the new tokens are used': { at: 'tokens after', loses: false },
  'after the drop is written beside': { at: 'drop written', loses: false },
  'after the drop is renamed': { at: 'drop renamed', loses: false },
  // Reached only by a grant that an earlier kill has lost.
  'before the loss is stored': { at: 'end before', loses: false },
  'after the loss is renamed': { at: 'end renamed', loses: false },
} as const;

export type Point = keyof typeof POINTS;
export type Place = (typeof POINTS)[Point]['at'];
export const TEN = [
  'before the intent is stored',
  'after the intent is stored',
  'after the request is sent',
  'after the headers of the answer',
  'in the middle of the answer',
  'after the new tokens are written beside',
  'after they are synced',
  'after they are renamed',
  'after the folder is synced',
  'before the former token is dropped',
] as const satisfies readonly Point[];

/** One life as its process is told of it. Without `stopAt` it runs until it is at rest. */
export interface Task {
  readonly life: number;
  readonly folder: string;
  readonly issuer: string;
  readonly stopAt?: Place;
}

/** What a process says of a life. */
export type Word =
  | { readonly life: number; readonly kind: 'reached' }
  | {
      readonly life: number;
      readonly kind: 'at rest';
      readonly state: string;
      readonly reason?: string;
      /** Did the resource take the last access token? */
      readonly works: boolean;
    }
  | { readonly life: number; readonly kind: 'said'; readonly line: string };
