import type { Socket } from 'node:net';
import { errorData, type Logger } from '../../../logging/logger.js';
import type { Container, ContainerEngine, ContainerSpec, RlimitSpec } from '../../engine.js';
import { ExhaustedError, UnknownHandleError } from '../../errors.js';
import { UnknownContainerError, WardenError } from '../errors.js';
import { decodeRequest, type Envelope, encodeResponse, InvalidMessageError } from '../protocol/codec.js';
import type { Request, RequestName, ResponseFields } from '../protocol/messages.js';
import { Connection } from './connection.js';
import { type ContainerSettings, WardenContainer } from './container.js';
import { ContainerIds } from './container-id.js';
import { type ContainerRecord, formatRecord, ownProperty, parseRecord, recordProperty } from './container-record.js';
import { isContainerAddressIn, readCreation } from './creation.js';
import { Registry } from './registry.js';
import { handlerOf, type RequestServer } from './requests.js';
import { SocketListener } from './socket-listener.js';

export interface WardenServerOptions {
  /** Started; it outlives the server, and only containers that this server made are touched. */
  engine: ContainerEngine;
  /** UNIX socket to listen on. */
  socketPath: string;
  /** Permission bits of the socket: whoever may write to it is root. @default 0o660 */
  mode?: number;
  /** Number of the group that the socket belongs to. @default that of this process */
  group?: number;
  /** Of containers that ask for none; null: they are never reaped. @default 300000 */
  graceTimeMs?: number | null;
  /** Directory that containers are made from which name no root file system. */
  defaultRootfs: string;
  /** Most bytes of a job's output, both streams together. @default 10485760 */
  jobOutputLimit?: number;
  /** Of every job, unless its request says otherwise. @default none */
  rlimits?: RlimitSpec;
  /**
   * What a container may write as long as nobody limits it, and what a LimitDisk of 0 gives; null: disk limits are
   * disabled, and LimitDisk answers without any. @default 2 GiB, 200000 inodes
   */
  diskLimits?: { bytes: number; inodes: number } | null;
  /** Networks that every container may reach although the engine denies them. @default none */
  allowNetworks?: string[];
  /** Socket that the lines of jobs with a `log_tag` go to. @default none */
  syslogSocket?: string;
  /** `LANG` of jobs. @default that of the server, or `en_US.UTF-8` */
  language?: string;
  /** Longest request that is accepted. @default 16 MiB */
  maximumRequestBytes?: number;
  logger: Logger;
}

const defaultMode = 0o660;
const defaultGraceTimeMs = 300_000;
const defaultOutputLimit = 10 * 1024 * 1024;
const defaultDiskLimits = { bytes: 2 * 1024 * 1024 * 1024, inodes: 200_000 };
const defaultMaximumRequestBytes = 16 * 1024 * 1024;
const longestHandle = 1024;

/**
 * A Warden server over a UNIX socket (docs/protocol/containers.md, part 1). Containers and their jobs outlive it; what
 * it must remember of them lies in properties of the engine's containers.
 */
export class WardenServer implements RequestServer {
  readonly diskLimits: { bytes: number; inodes: number } | undefined;
  readonly #options: WardenServerOptions;
  readonly #logger: Logger;
  readonly #settings: ContainerSettings;
  readonly #registry = new Registry();
  readonly #ids = new ContainerIds(Date.now());
  readonly #connections = new Set<Connection>();
  readonly #background = new Set<Promise<void>>();
  readonly #listener: SocketListener;
  readonly #abort = new AbortController();
  #lastJobId = 0;

  private constructor(options: WardenServerOptions) {
    const { engine, diskLimits = defaultDiskLimits, logger } = options;
    this.#options = options;
    this.#logger = logger;
    this.diskLimits = diskLimits ?? undefined;
    this.#settings = {
      engine,
      outputLimitBytes: options.jobOutputLimit ?? defaultOutputLimit,
      syslogSocket: options.syslogSocket,
      hasDiskLimits: diskLimits !== null,
      language: options.language ?? process.env.LANG ?? 'en_US.UTF-8',
      rlimits: options.rlimits ?? {},
      logger,
    };
    this.#listener = new SocketListener({
      place: { path: options.socketPath, mode: options.mode ?? defaultMode, group: options.group },
      onConnection: (socket) => this.#accept(socket),
    });
  }

  static create(options: WardenServerOptions): WardenServer {
    return new WardenServer(options);
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Takes up the containers that a server before it made, and listens. */
  async start(): Promise<void> {
    await this.#recover();
    await this.#listener.start();
    for (const container of this.#registry.containers) container.graceTimer.start();
  }

  /**
   * Lets clients go: those that are idle or only wait at once, others after the request at hand. Resolves when all have
   * gone. Containers and jobs go on.
   */
  async drain(): Promise<void> {
    this.#listener.stop();
    const connections = [...this.#connections];
    for (const connection of connections) connection.drain();
    await Promise.all(connections.map(({ closed }) => closed));
  }

  /** Cuts all connections, and lets go of what the server holds; containers and jobs go on. Idempotent. */
  async stop(): Promise<void> {
    this.#abort.abort(new Error('the server stops'));
    this.#listener.stop();
    const connections = [...this.#connections];
    for (const connection of connections) connection.cut();
    await Promise.all(connections.map(({ closed }) => closed));
    await Promise.all(this.#background);
    await Promise.all(this.#registry.containers.map((container) => container.release()));
  }

  /** Of clients, at this moment. */
  get connectionCount(): number {
    return this.#connections.size;
  }

  handles(): string[] {
    return this.#registry.handles;
  }

  inBackground(what: string, work: Promise<void>): void {
    const task = work
      .catch((error: unknown) => {
        if (!this.signal.aborted)
          this.#logger.error('containers.warden.background-failed', { what, ...errorData(error) });
      })
      .finally(() => this.#background.delete(task));
    this.#background.add(task);
  }

  async create(request: Request<'Create'>): Promise<WardenContainer> {
    const id = this.#ids.next();
    const handle = request.handle || id;
    if (handle.includes('/') || handle.includes('\0') || handle.length > longestHandle) {
      throw new WardenError(`handle: ${JSON.stringify(handle.slice(0, 100))} must not contain "/"`);
    }
    return this.#registry.making(handle, async () => {
      const { defaultRootfs: rootfs, allowNetworks = [] } = this.#options;
      const spec = await readCreation(request, { rootfs, allowNetworks, diskLimits: this.diskLimits });
      const graceTimeMs = request.graceTime === undefined ? this.#defaultGraceTimeMs : request.graceTime * 1000;
      const record: ContainerRecord = {
        handle,
        ...(graceTimeMs !== undefined && { graceTimeMs }),
        events: [],
        lastJobId: 0,
        jobs: {},
      };
      const container = await this.#createContainer(id, spec, record, request.network);
      this.#logger.info('containers.warden.created', { handle, id });
      return this.#adopt(container, record, 'active');
    });
  }

  get #defaultGraceTimeMs(): number | undefined {
    const { graceTimeMs = defaultGraceTimeMs } = this.#options;
    return graceTimeMs ?? undefined;
  }

  async #createContainer(
    id: string,
    spec: ContainerSpec,
    record: ContainerRecord,
    network: string | undefined,
  ): Promise<Container> {
    const { engine } = this.#options;
    const properties = { [ownProperty.name]: ownProperty.value, [recordProperty]: formatRecord(record) };
    let container: Container;
    try {
      container = await engine.create({ ...spec, handle: id, properties });
    } catch (cause) {
      if (!(cause instanceof ExhaustedError)) throw cause;
      throw new WardenError(networkRefusal(network), { cause });
    }
    if (!network || isContainerAddressIn(network, (await container.info()).containerIp)) return container;
    await engine.destroy(id);
    throw new WardenError(networkRefusal(network));
  }

  #adopt(container: Container, record: ContainerRecord, state: 'active' | 'stopped'): WardenContainer {
    const adopted: WardenContainer = new WardenContainer({
      settings: this.#settings,
      container,
      record,
      state,
      nextJobId: () => {
        this.#lastJobId += 1;
        return this.#lastJobId;
      },
      onGraceTimeElapsed: () => {
        this.#logger.info('containers.warden.grace-time-elapsed', { handle: record.handle });
        this.inBackground('reap', adopted.destroy());
      },
      onGone: () => this.#registry.remove(adopted),
    });
    return adopted;
  }

  async #recover(): Promise<void> {
    const containers = await this.#options.engine.list({ [ownProperty.name]: ownProperty.value });
    await Promise.all(
      containers.map((container) =>
        this.#takeUp(container).catch((error: unknown) => {
          // One that cannot be understood must not keep the others from being served.
          this.#logger.error('containers.warden.not-recovered', { id: container.handle, ...errorData(error) });
        }),
      ),
    );
    this.#logger.info('containers.warden.recovered', { count: containers.length });
  }

  async #takeUp(container: Container): Promise<void> {
    const { properties, state } = await container.info();
    const record = parseRecord(properties[recordProperty]);
    this.#lastJobId = Math.max(this.#lastJobId, record.lastJobId);
    const adopted = this.#adopt(container, record, state);
    this.#registry.add(adopted);
    await adopted.adoptJobs();
  }

  #accept(socket: Socket): void {
    const connection = new Connection({
      socket,
      maximumRequestBytes: this.#options.maximumRequestBytes ?? defaultMaximumRequestBytes,
      answer: (request, from) => this.#answer(request, from),
      logger: this.#logger,
    });
    this.#connections.add(connection);
    // A new client may be about to use any of them (docs/protocol/containers.md §1.4).
    for (const container of this.#registry.containers) container.graceTimer.refer(connection);
    void connection.closed.then(() => {
      this.#connections.delete(connection);
      for (const container of this.#registry.containers) container.graceTimer.release(connection);
    });
  }

  async #answer({ type, content }: Envelope, connection: Connection): Promise<Buffer> {
    try {
      if (type === 'Error') throw new WardenError(`Unknown request: ${type}`);
      const response = await this.#handle(type, content, connection);
      return encodeResponse(type, response as ResponseFields<typeof type>);
    } catch (error) {
      if (connection.signal.aborted) throw error;
      return encodeResponse('Error', { message: this.#explain(type, error) });
    }
  }

  async #handle(type: RequestName, content: Buffer, peer: Connection): Promise<object> {
    const context = { server: this, peer };
    const request = decodeRequest(type, content);
    const handler = handlerOf(type);
    if (!handler.namesContainer) {
      const response = await handler.handle(request, context);
      if (type === 'Create') this.#refer(peer, (response as ResponseFields<'Create'>).handle);
      return response;
    }
    const container = this.#registry.find((request as { handle: string }).handle);
    container.graceTimer.refer(peer);
    try {
      return await handler.handle(request, container, context);
    } catch (error) {
      if (!(error instanceof UnknownHandleError)) throw error;
      // Destroyed by other means than this server.
      await container.release();
      this.#registry.remove(container);
      throw new UnknownContainerError();
    }
  }

  #refer(connection: Connection, handle: string): void {
    // It may be gone by now, which is for the next request to find out.
    if (this.#registry.handles.includes(handle)) this.#registry.find(handle).graceTimer.refer(connection);
  }

  #explain(type: RequestName | 'Error', error: unknown): string {
    const message = error instanceof Error ? error.message : String(error);
    const isExpected = error instanceof WardenError || error instanceof InvalidMessageError;
    this.#logger[isExpected ? 'info' : 'warn']('containers.warden.request-failed', { type, ...errorData(error) });
    return message;
  }
}

function networkRefusal(network: string | undefined): string {
  return network ? `Could not acquire network: ${network}` : 'Could not acquire network';
}
