import { stripUserinfo } from '../../../http/url.js';
import { InvalidSpecError } from '../../errors.js';

/** What an image is made from, as its URI says (docs/protocol/containers.md §3.1). */
export type ImageReference =
  /** A directory or tar file on the host. */
  | { kind: 'path'; path: string }
  /** A directory that is used as it is, without a layer above. */
  | { kind: 'raw'; path: string }
  /** An OCI image layout on the host; without a tag it must hold one image. */
  | { kind: 'layout'; path: string; tag?: string }
  | RegistryReference
  | PreloadedReference;

export interface RegistryReference {
  kind: 'registry';
  /** `host` or `host:port`. */
  registry: string;
  repository: string;
  /** `:tag` or `@sha256:...`. */
  version: string;
}

/** A layer that is fetched, over an image that lies on the host. */
export interface PreloadedReference {
  kind: 'preloaded';
  /** Directory or tar file. */
  path: string;
  layer: {
    url: URL;
    /** Directory of the image under which the layer is unpacked. */
    directory: string;
    /** Lower-case hexadecimal SHA-256 of what the URL answers. */
    sha256: string;
  };
}

const repositoryPattern = /^[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*)*$/;
const registryPattern = /^[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::\d{1,5})?$/;
const tagPattern = /^\w[\w.-]{0,127}$/;
const digestPattern = /^sha256:[0-9a-f]{64}$/;
/** Where names without a user are kept in the registry that everybody means. */
const officialPrefix = 'library/';
export const officialRegistry = 'registry-1.docker.io';

/**
 * Reads the URI of an image.
 *
 * @param defaultRegistry that of `docker:///...`
 * @throws InvalidSpecError naming `rootfs` and what is wrong with it
 */
export function parseImageReference(uri: string, defaultRegistry = officialRegistry): ImageReference {
  if (uri.includes('\0')) throw invalid(uri, 'must not contain NUL');
  if (uri.startsWith('/')) return { kind: 'path', path: uri };
  const scheme = /^([a-z][a-z+]*):/.exec(uri)?.[1];
  const rest = uri.slice((scheme?.length ?? 0) + 1);
  switch (scheme) {
    case 'docker':
      return parseRegistry(uri, rest, defaultRegistry);
    case 'oci':
      return parseLayout(uri, rest);
    case 'raw':
      return { kind: 'raw', path: hostPath(uri, rest) };
    case 'preloaded+layer':
      return parsePreloaded(uri, rest);
    case 'preloaded':
      throw invalid(uri, 'names a root file system that only the executor knows');
    default:
      throw invalid(uri, 'must be an absolute path or the URI of an image');
  }
}

function parseRegistry(uri: string, rest: string, defaultRegistry: string): RegistryReference {
  const match = /^\/\/([^/]*)\/([^#]+?)(?:#(.+))?$/.exec(rest);
  if (!match) throw invalid(uri, 'must be docker://[host[:port]]/repository[#tag]');
  const [, host = '', path = '', fragment] = match;
  const registry = host === '' ? defaultRegistry : host;
  const [, named = '', digest] = /^([^@]*)(?:@(.*))?$/.exec(path) ?? [];
  if (!registryPattern.test(registry)) throw invalid(uri, `${JSON.stringify(registry)} is no registry`);
  const isOfficial = registry === officialRegistry && !named.includes('/');
  const repository = isOfficial ? `${officialPrefix}${named}` : named;
  if (!repositoryPattern.test(repository)) throw invalid(uri, `${JSON.stringify(named)} is no repository`);
  const version = digest ?? fragment ?? 'latest';
  if (digestPattern.test(version)) return { kind: 'registry', registry, repository, version: `@${version}` };
  if (digest !== undefined) throw invalid(uri, `${JSON.stringify(digest)} is no digest`);
  if (!tagPattern.test(version)) throw invalid(uri, `${JSON.stringify(version)} is no tag`);
  return { kind: 'registry', registry, repository, version: `:${version}` };
}

/** A colon after the last slash separates the tag. */
function parseLayout(uri: string, rest: string): ImageReference {
  const path = hostPath(uri, rest);
  const match = /^(.*\/[^/]*):([^/:]+)$/.exec(path);
  if (!match) return { kind: 'layout', path };
  const [, directory = '', tag = ''] = match;
  return { kind: 'layout', path: directory, tag };
}

/** `//` and an empty host may stand before the path. */
function hostPath(uri: string, rest: string): string {
  const path = rest.startsWith('//') ? rest.slice(2) : rest;
  if (!path.startsWith('/')) throw invalid(uri, 'needs an absolute path');
  return path;
}

function parsePreloaded(uri: string, rest: string): PreloadedReference {
  const question = rest.indexOf('?');
  if (question < 0) throw invalid(uri, 'needs the parameters layer, layer_path and layer_digest');
  const path = decode(uri, hostPath(uri, rest.slice(0, question)));
  const parameters = new URLSearchParams(rest.slice(question + 1));
  const parameter = (name: string) => {
    const value = parameters.get(name);
    if (value === null || value === '') throw invalid(uri, `needs the parameter ${name}`);
    return value;
  };
  const location = parameter('layer');
  const url = URL.canParse(location) ? new URL(location) : undefined;
  if (!url || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw invalid(uri, 'the parameter layer must be an HTTP URL');
  }
  const sha256 = parameter('layer_digest')
    .replace(/^sha256:/, '')
    .toLowerCase();
  if (!/^[0-9a-f]{64}$/.test(sha256)) throw invalid(uri, 'the parameter layer_digest must be a SHA-256');
  const directory = parameter('layer_path');
  if (directory.split('/').includes('..')) throw invalid(uri, 'the parameter layer_path leaves the image');
  return { kind: 'preloaded', path, layer: { url, directory, sha256 } };
}

function decode(uri: string, text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw invalid(uri, 'has a damaged percent sign');
  }
}

function invalid(uri: string, problem: string): InvalidSpecError {
  return new InvalidSpecError(`rootfs: ${JSON.stringify(stripUserinfo(uri))} ${problem}`);
}
