import type { IncomingMessage, ServerResponse } from 'node:http';
import { EntityNotFoundError, NotServableError, type ServedEntry } from '../../files/held-place.js';
import { hasCredentials } from '../../http/basic-auth.js';
import { HttpListener } from '../../http/listener.js';
import type { Credentials } from '../../http/url.js';
import { errorData, type Logger } from '../../logging/logger.js';
import { Turnstile } from '../../process/turnstile.js';
import { ClientGoneError, partBuffers } from './chunk-writer.js';
import { ContentTypes } from './content-type.js';
import { respondWithFile } from './file-response.js';
import type { FileRoot, FileRoots } from './file-roots.js';
import { listDirectory, parallelListings } from './listing.js';
import { locateFile, NotAccessibleError } from './located-file.js';

export interface FirstDirectoryServerOptions {
  /** Address to listen on. */
  host: string;
  /** 0 lets the system choose. */
  port: number;
  /** User and password that the Cloud Controller learns from find responses. */
  credentials: readonly [user: string, password: string];
  roots: FileRoots;
  logger: Logger;
}

/** Where instances begin in its paths, and in `file_uri`. */
export const firstInstancesPath = '/instances';

/** All that the root of an instance shows. */
const shownAtRoot = ['app', 'logs', 'tomcat'];

/**
 * Directory server, version 1, of Cloud Controllers until December 2013 (docs/protocol/dea.md §22.2): files of
 * instances at `/instances/<instance id>/<path>`, for those who have the credentials.
 */
export class FirstDirectoryServer {
  private readonly listener: HttpListener;
  private readonly credentials: Credentials;
  private readonly listings = new Turnstile(parallelListings);
  private readonly parts = partBuffers();
  private contentTypes = new ContentTypes();

  constructor(private readonly options: FirstDirectoryServerOptions) {
    const { host, port } = options;
    const [user, password] = options.credentials;
    this.credentials = { user, password };
    this.listener = new HttpListener({ host, port, handle: (request, response) => this.handle(request, response) });
  }

  /** @throws when the port is taken */
  async start(): Promise<void> {
    this.contentTypes = await ContentTypes.load();
    await this.listener.start();
  }

  /** Idempotent; cuts what is being served. */
  stop(): Promise<void> {
    return this.listener.stop();
  }

  /** The port that was bound. */
  get port(): number {
    return this.listener.port;
  }

  private async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      if (!hasCredentials(request.headers.authorization, this.credentials)) {
        response.writeHead(401, { 'WWW-Authenticate': 'Basic realm=""', 'Content-Length': 0 }).end();
      } else if (request.method !== 'GET' && request.method !== 'HEAD') {
        answerText(response, 405, 'Method Not Allowed\n', { Allow: 'GET, HEAD' });
      } else await this.serve(request, response);
    } catch (error) {
      this.answerError(error, response);
    }
  }

  private async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { contentTypes, parts } = this;
    const { instanceId, path } = resourceOf(request.url ?? '/');
    const root = this.options.roots.instanceRoot(instanceId);
    if (root.state !== 'ok') throw new EntityNotFoundError(instanceId);
    const entry = await openAsSpelled(root, path);
    try {
      if (entry.kind === 'file') {
        await respondWithFile({ request, response, path, file: entry, contentTypes, parts });
        return;
      }
      const isShown = path === '' ? (name: string) => shownAtRoot.includes(name) : undefined;
      const listing = await this.listings.pass(() => listDirectory(entry.handle, isShown));
      // Lines are separated here, not ended.
      const body = listing.subarray(0, Math.max(0, listing.length - 1));
      response.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Length': body.length }).end(body);
    } finally {
      await entry.handle.close();
    }
  }

  private answerError(error: unknown, response: ServerResponse): void {
    if (response.headersSent || error instanceof ClientGoneError) response.destroy();
    else if (error instanceof EntityNotFoundError) {
      answerText(response, 404, 'Entity not found.\n', { 'X-Cascade': 'pass' });
    } else if (error instanceof NotAccessibleError || error instanceof NotServableError) {
      answerText(response, 403, 'Not accessible\n');
    } else {
      this.options.logger.warn('directory-server-v1.request.failed', errorData(error));
      answerText(response, 500, 'Internal server error\n');
    }
  }
}

/** @throws EntityNotFoundError, NotAccessibleError also for a path with symbolic links in it */
async function openAsSpelled(root: Extract<FileRoot, { state: 'ok' }>, path: string): Promise<ServedEntry> {
  const walk = await locateFile(root, path);
  try {
    if (walk.hasFollowedLinks) throw new NotAccessibleError();
    return await walk.place.open();
  } finally {
    walk.close();
  }
}

/** @throws EntityNotFoundError, NotAccessibleError */
function resourceOf(url: string): { instanceId: string; path: string } {
  const path = decoded(url.replace(/[?#].*$/s, ''));
  const [begin, first, instanceId = '', ...components] = path.split('/');
  if (`${begin}/${first}` !== firstInstancesPath || instanceId === '') throw new EntityNotFoundError(path);
  if (components.includes('..') || /\/(startup|stop)\/?$/.test(path)) throw new NotAccessibleError();
  const below = components.filter((component) => component !== '' && component !== '.');
  // A slash at the end says that it must be a directory.
  const ending = below.length > 0 && components.at(-1) === '' ? '/' : '';
  return { instanceId, path: below.join('/') + ending };
}

function decoded(text: string): string {
  try {
    const path = decodeURIComponent(text);
    if (!path.includes('\0')) return path;
  } catch {
    // No file has such a name.
  }
  throw new EntityNotFoundError(text);
}

function answerText(
  response: ServerResponse,
  status: number,
  text: string,
  headers: Record<string, string> = {},
): void {
  response
    .writeHead(status, { 'Content-Type': 'text/plain', ...headers, 'Content-Length': Buffer.byteLength(text) })
    .end(text);
}
