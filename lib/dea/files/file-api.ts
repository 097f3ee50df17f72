import { EntityNotFoundError } from '../../files/held-place.js';
import type { Wanted } from '../../files/recent-directories.js';
import { errorData, type Logger } from '../../logging/logger.js';
import type { FileRoot, FileRoots } from './file-roots.js';
import { FileLocator, type LocatedFile, letGo, NotAccessibleError } from './located-file.js';
import { RequestVerifier, type Verification } from './signed-url.js';

export interface FileApiOptions {
  roots: FileRoots;
  /** Key of the signed URLs. */
  key: string;
  /** Milliseconds since the epoch. */
  clock: () => number;
  logger: Logger;
}

/** An HTTP answer as the file API gives it. */
export interface FileApiAnswer {
  status: number;
  headers: Record<string, string>;
  body: string;
}

/**
 * Tells the directory server that the path in the answer is free of symbolic links, so that one found in it later was
 * put there to lead the server astray.
 */
export const resolvedPathHeader = 'X-Resolved-Path';

/** A request to the file API ends with this answer. */
class Refusal extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

const verificationErrors = {
  'invalid-timestamp': [400, 'timestamp is invalid'],
  future: [400, 'timestamp is invalid'],
  'invalid-hmac': [401, 'Invalid HMAC'],
  expired: [400, 'Url expired'],
} as const;

/**
 * Tells the directory server which file of the host a signed URL is for (docs/protocol/dea.md §20.3). Paths are
 * resolved as the container's own processes see them; none leaves the served root.
 */
export class FileApi {
  private readonly locator = new FileLocator();

  private readonly verifier: RequestVerifier;

  constructor(private readonly options: FileApiOptions) {
    this.verifier = new RequestVerifier(options.key);
  }

  /** @param url raw path and query of the request */
  async answer(method: string, url: string): Promise<FileApiAnswer> {
    const found = await this.find(method, url, 'place');
    if (!('path' in found)) return found;
    letGo(found);
    const answer = jsonAnswer(200, { instance_path: found.path });
    return { ...answer, headers: { ...answer.headers, [resolvedPathHeader]: 'true' } };
  }

  /** Finds the file for a directory server in this process, which lets it go; or gives the answer that refuses it. */
  async find(method: string, url: string, wanted: Wanted): Promise<LocatedFile | FileApiAnswer> {
    const [urlPath = '', query = ''] = splitOnce(url, '?');
    const resource = resourceOf(urlPath);
    if (!resource) {
      return { status: 404, headers: { 'Content-Type': 'text/plain', 'X-Cascade': 'pass' }, body: '404 Not Found' };
    }
    if (method !== 'GET' && method !== 'HEAD') {
      const answer = jsonAnswer(405, { error: '405 Not Allowed' });
      return { ...answer, headers: { ...answer.headers, Allow: 'OPTIONS, GET, HEAD' } };
    }
    try {
      const nowSeconds = Math.floor(this.options.clock() / 1000);
      const path = verifiedPath(this.verifier.verify(url, urlPath, query, nowSeconds));
      const root = this.rootOf(resource);
      if (path.includes('\0')) throw new Refusal(400, 'path is invalid');
      return await this.locator.locate(root, path, wanted);
    } catch (error) {
      if (error instanceof Refusal) return jsonAnswer(error.status, { error: error.message });
      if (error instanceof EntityNotFoundError) return jsonAnswer(404, { error: 'Entity not found' });
      if (error instanceof NotAccessibleError) return jsonAnswer(403, { error: 'Not accessible' });
      this.options.logger.error('file-api.request.failed', errorData(error));
      return { status: 500, headers: { 'Content-Type': 'text/plain' }, body: 'Internal server error' };
    }
  }

  /** Holds nothing any more. Idempotent. */
  release(): void {
    this.locator.release();
  }

  private rootOf({ kind, id }: Resource): Extract<FileRoot, { state: 'ok' }> {
    const { roots } = this.options;
    const [root, title] =
      kind === 'instance'
        ? ([roots.instanceRoot(id), 'instance'] as const)
        : ([roots.stagingRoot(id), 'staging task'] as const);
    if (root.state === 'unknown') throw new Refusal(404, `Unknown ${title}`);
    if (root.state === 'unavailable') throw new Refusal(503, `${title[0]!.toUpperCase()}${title.slice(1)} unavailable`);
    return root;
  }
}

interface Resource {
  kind: 'instance' | 'staging';
  id: string;
}

/** `/instance_paths/<id>` or `/staging_tasks/<id>/file_path`, with or without `/` or `.json` behind. */
function resourceOf(urlPath: string): Resource | undefined {
  const path = urlPath.replace(/(?:\/|\.json)$/, '');
  const instance = /^\/instance_paths\/([^/]+)$/.exec(path)?.[1];
  if (instance !== undefined) return { kind: 'instance', id: percentDecoded(instance) };
  const task = /^\/staging_tasks\/([^/]+)\/file_path$/.exec(path)?.[1];
  return task === undefined ? undefined : { kind: 'staging', id: percentDecoded(task) };
}

function verifiedPath(verification: Verification): string {
  if (verification.result === 'ok') return verification.path;
  if (verification.result === 'missing') {
    throw new Refusal(400, verification.names.map((name) => `${name} is missing`).join(', '));
  }
  const [status, message] = verificationErrors[verification.result];
  throw new Refusal(status, message);
}

function jsonAnswer(status: number, body: object): FileApiAnswer {
  return { status, headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) };
}

function splitOnce(text: string, separator: string): [string, string] {
  const index = text.indexOf(separator);
  return index < 0 ? [text, ''] : [text.slice(0, index), text.slice(index + 1)];
}

function percentDecoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
