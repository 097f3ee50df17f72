import { randomBytes } from 'node:crypto';
import type { Wanted } from '../../files/recent-directories.js';
import { HttpListener } from '../../http/listener.js';
import type { Logger } from '../../logging/logger.js';
import { type AgentAnswer, DirectoryServer } from './directory-server.js';
import { FileApi } from './file-api.js';
import type { FileRoots } from './file-roots.js';
import { FirstDirectoryServer, firstInstancesPath } from './first-directory-server.js';
import type { LocatedFile } from './located-file.js';
import { signedUrl } from './signed-url.js';

export interface FileServerOptions {
  /**
   * Where users' requests arrive, by way of the router; port 0 lets the system choose. An external one is a process of
   * its own, `bin/dir-server`: only its port is told then.
   */
  directoryServer: { host: string; port: number; isExternal?: boolean | undefined };
  /** The first version of it; undefined: it is not served. `shownHost` is where peers are told to find it. */
  firstDirectoryServer?: { host: string; port: number; shownHost: string } | undefined;
  /** Port of the file API on the loopback, for a directory server of its own process. */
  fileApi: { port: number };
  /** Host name of the directory server within the domain, 32 hexadecimal digits. */
  hostUuid: string;
  /** Key of the signed URLs, 32 characters. */
  key: string;
  domain: string;
  /** Port of the routers when it is not the protocol's own. */
  urlPort?: number | undefined;
  /** Of the signed URLs: `http` or `https`. */
  protocol: string;
  roots: FileRoots;
  /** Milliseconds without a change after which a tail is cut. */
  streamingTimeoutMs: number;
  /** Milliseconds since the epoch. */
  clock: () => number;
  logger: Logger;
}

/** Where the first directory server is, and who may use it. */
export interface FirstDirectory {
  uri: string;
  port: number;
  credentials: readonly [user: string, password: string];
}

/** The log that a staging task writes while it runs, as a path of its container. */
const defaultStagingLogPath = '/tmp/staged/logs/staging_task.log';

/**
 * File access of the agent (docs/protocol/dea.md §20): makes the signed URLs, serves them by a directory server in
 * this process, and answers the file API for a directory server in another one.
 */
export class FileServer {
  private readonly fileApi: FileApi;
  private readonly directoryServer: DirectoryServer;
  private readonly fileApiListener: HttpListener;
  private readonly firstDirectoryServer: FirstDirectoryServer | undefined;
  private readonly firstCredentials = [randomWord(), randomWord()] as const;

  private constructor(private readonly options: FileServerOptions) {
    const { directoryServer, firstDirectoryServer, fileApi, roots, key, clock, streamingTimeoutMs, logger } = options;
    this.fileApi = new FileApi({ roots, key, clock, logger });
    this.directoryServer = new DirectoryServer({
      host: directoryServer.host,
      port: directoryServer.port,
      streamingTimeoutMs,
      logger,
      lookUp: (url, wanted) => this.lookUp(url, wanted),
    });
    this.firstDirectoryServer =
      firstDirectoryServer &&
      new FirstDirectoryServer({ ...firstDirectoryServer, credentials: this.firstCredentials, roots, logger });
    this.fileApiListener = new HttpListener({
      host: '127.0.0.1',
      port: fileApi.port,
      handle: async (request, response) => {
        const { status, headers, body } = await this.fileApi.answer(request.method ?? 'GET', request.url ?? '/');
        response.writeHead(status, { ...headers, 'Content-Length': Buffer.byteLength(body) }).end(body);
      },
    });
  }

  static create(options: FileServerOptions): FileServer {
    return new FileServer(options);
  }

  /** @throws when a port is taken; nothing listens then */
  async start(): Promise<void> {
    try {
      if (!this.options.directoryServer.isExternal) await this.directoryServer.start();
      await this.firstDirectoryServer?.start();
      await this.fileApiListener.start();
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /** Idempotent; cuts what is being served. */
  async stop(): Promise<void> {
    await Promise.all([this.directoryServer.stop(), this.firstDirectoryServer?.stop(), this.fileApiListener.stop()]);
    this.fileApi.release();
  }

  /** The port that the directory server is bound to. */
  get directoryServerPort(): number {
    const { isExternal, port } = this.options.directoryServer;
    return isExternal ? port : this.directoryServer.port;
  }

  /** The port that the file API is bound to. */
  get fileApiPort(): number {
    return this.fileApiListener.port;
  }

  /**
   * What find responses tell of the first directory server (docs/protocol/dea.md §22.2); undefined when it is not
   * served. Instances are at `<uri>/<instance id>/`.
   */
  get firstDirectory(): FirstDirectory | undefined {
    if (!this.firstDirectoryServer || !this.options.firstDirectoryServer) return undefined;
    const { shownHost } = this.options.firstDirectoryServer;
    const { port } = this.firstDirectoryServer;
    return { uri: `http://${shownHost}:${port}${firstInstancesPath}`, port, credentials: this.firstCredentials };
  }

  /** URL of a file of an instance, good for an hour; a null path is the root of its files. */
  instanceFileUrl(instanceId: string, path: string | null): string {
    return this.signedUrl(`/instance_paths/${encodeURIComponent(instanceId)}`, path);
  }

  /** URL of a staging task's log, good for an hour. */
  stagingLogUrl(taskId: string, path = defaultStagingLogPath): string {
    return this.signedUrl(`/staging_tasks/${encodeURIComponent(taskId)}/file_path`, path);
  }

  private signedUrl(urlPath: string, filePath: string | null): string {
    const { protocol, hostUuid, domain, urlPort, key, clock } = this.options;
    const host = `${hostUuid}.${domain}${urlPort === undefined ? '' : `:${urlPort}`}`;
    return signedUrl({ protocol, host, key, urlPath, filePath, timestamp: Math.floor(clock() / 1000) });
  }

  private async lookUp(url: string, wanted: Wanted): Promise<AgentAnswer | LocatedFile> {
    const found = await this.fileApi.find('GET', url, wanted);
    if ('path' in found) return found;
    const body = Buffer.from(found.body);
    const headers = Object.entries({ ...found.headers, 'Content-Length': String(body.length) }).flat();
    return { status: found.status, headers, body };
  }
}

function randomWord(): string {
  return randomBytes(16).toString('hex');
}
