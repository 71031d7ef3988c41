/** The number of letters to change, add, drop or swap with a neighbour to make `a` into `b` (optimal string alignment). */
export function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let best = Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + (same ? 0 : 1));
      if (a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) best = Math.min(best, (before[j - 2] ?? 0) + 1);
      next.push(best);
    }
    before = row;
    row = next;
  }
  return row[b.length] ?? 0;
}

/** The word that was probably meant, if one is near enough: a third of its letters may be wrong. Case and `-` for `_` do not count. */
export function likely(written: string, words: Iterable<string>): string | undefined {
  if (written.length > 64) return undefined;
  const plain = (word: string): string => word.toLowerCase().replaceAll('-', '_');
  let best: { readonly word: string; readonly distance: number } | undefined;
  for (const word of words) {
    const distance = editDistance(plain(written), plain(word));
    const bound = Math.max(1, Math.floor(Math.max(word.length, written.length) / 3));
    if (distance <= bound && distance < word.length && (best === undefined || distance < best.distance)) {
      best = { word, distance };
    }
  }
  return best?.word;
}
