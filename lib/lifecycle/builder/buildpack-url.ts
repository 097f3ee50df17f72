import { posix } from 'node:path';
import { BuildpackFetchError } from './errors.js';

/** Where a custom buildpack comes from. */
export interface BuildpackUrl {
  kind: 'git' | 'zip';
  /** Without the fragment. */
  url: string;
  /** The fragment: branch, tag or commit. */
  ref?: string;
  /** Directory name for the buildpack: the last part of the path without its extension. */
  name: string;
}

/**
 * Takes a custom buildpack's URL apart: `https://host/ruby-buildpack.git#v1`, `git@host:me/ruby-buildpack`,
 * `https://host/ruby-buildpack.zip` (docs/protocol/dea.md §18).
 *
 * @throws BuildpackFetchError when git would not take it for a URL, or no directory can be named after it
 */
export function parseBuildpackUrl(text: string): BuildpackUrl {
  const [url = '', ...rest] = text.split('#');
  const ref = rest.join('#');
  const path = pathOf(url);
  const name = posix.basename(path, posix.extname(path));
  // What begins with a dash would be an option to git.
  if (name === '' || /^\.+$/.test(name) || url.startsWith('-') || ref.startsWith('-')) throw invalidUrl(text);
  const kind = /^https?:/i.test(url) && path.toLowerCase().endsWith('.zip') ? 'zip' : 'git';
  return { kind, url, name, ...(ref !== '' && { ref }) };
}

/** Takes user names and passwords out of every URL in a text. */
export function withoutCredentials(text: string): string {
  return text.replaceAll(/([a-z][a-z0-9+.-]*:\/\/)[^/\s'"`]*@/gi, '$1');
}

function pathOf(url: string): string {
  try {
    return decodeURIComponent(new URL(url).pathname).replace(/\/+$/, '');
  } catch {
    // `user@host:path`, as ssh has it.
    const path = /^[^/\s:]+:([^\s?]+)$/.exec(url)?.[1];
    if (path === undefined) throw invalidUrl(url);
    return path.replace(/\/+$/, '');
  }
}

function invalidUrl(text: string): BuildpackFetchError {
  return new BuildpackFetchError(`Invalid buildpack url (${withoutCredentials(text)})`);
}
