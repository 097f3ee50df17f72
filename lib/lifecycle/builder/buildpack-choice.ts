/** Which buildpack builds the app. */
export type BuildpackChoice =
  /** The one at a URL of the user's. */
  | { kind: 'custom'; url: string }
  /** The one whose directory has this name; it is not asked. */
  | { kind: 'named'; key: string }
  /** The first that detects the app. */
  | { kind: 'detect' };

/** What a staging message may say about the buildpack; an empty text says nothing. */
export interface BuildpackWishes {
  buildpack?: string | null | undefined;
  buildpack_git_url?: string | null | undefined;
  buildpack_key?: string | null | undefined;
}

/** A URL wins over a key, a key over detection (docs/protocol/dea.md §18). */
export function chooseBuildpack(wishes: BuildpackWishes): BuildpackChoice {
  const url = wishes.buildpack?.trim() || wishes.buildpack_git_url?.trim();
  if (url) return { kind: 'custom', url };
  return wishes.buildpack_key ? { kind: 'named', key: wishes.buildpack_key } : { kind: 'detect' };
}
