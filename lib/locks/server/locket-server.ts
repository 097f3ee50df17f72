import { randomUUID } from 'node:crypto';
import {
  type handleUnaryCall,
  logVerbosity,
  Metadata,
  type MethodDefinition,
  Server,
  type ServerUnaryCall,
  type StatusObject,
  setLogVerbosity,
  status,
} from '@grpc/grpc-js';
import type { AllowedClients } from '../../config/allowed-clients.js';
import { isAllowed, subjectOf } from '../../http/certificate-subject.js';
import type { Identity } from '../../http/internal-tls.js';
import { errorData, type Logger, silentLogger } from '../../logging/logger.js';
import { LockCollision, type LockStore } from '../lock-store.js';
import type {
  Empty,
  FetchAllRequest,
  FetchAllResponse,
  FetchRequest,
  FetchResponse,
  LockRequest,
  ReleaseRequest,
} from '../wire/messages.js';
import { errorTexts, fenceKey, locketService, type MethodName, requestIdKey, toWire } from '../wire/service.js';
import { MutualTls } from './mutual-tls.js';
import {
  RequestError,
  readFetchAllRequest,
  readFetchRequest,
  readLockRequest,
  readReleaseRequest,
} from './requests.js';

/** Hears of each call, for the figures. */
export interface CallObserver {
  started(method: MethodName): void;
  /** Of every call that was started, once. A collision is a success. */
  ended(method: MethodName, outcome: 'succeeded' | 'failed' | 'cancelled', durationMs: number): void;
}

export interface LocketServerOptions {
  /** Started and stopped by its owner, around the server. */
  store: LockStore;
  /** Address to listen on. */
  host: string;
  /** 0 lets the system choose. */
  port: number;
  identity: Identity;
  /** Absent: whoever has a certificate of the authority. */
  allowedClients?: AllowedClients | undefined;
  /** Limit of what the store does for a call, in milliseconds. @default 10000 */
  operationTimeoutMs?: number;
  observer?: CallObserver;
  /** @default silent */
  logger?: Logger;
}

/** Connections of clients that do not leave are cut after it. */
const graceMs = 2000;
/** More than any client's name for a request has. */
const longestRequestId = 200;

type Work<Request, Response> = (
  request: Request,
  logger: Logger,
) => Promise<{ response: Response; trailer?: Metadata }>;

const collided = new RequestError(status.ALREADY_EXISTS, errorTexts.lockCollision);

/** The gRPC service `models.Locket` over a store, with mutual TLS (docs/protocol/edge.md §6.1). */
export class LocketServer {
  readonly #server = new Server({
    // Peers of all ages send pings as often as they like.
    'grpc.keepalive_time_ms': 60_000,
    'grpc.keepalive_timeout_ms': 20_000,
  });
  readonly #logger: Logger;
  #port: number | undefined;
  #stopping: Promise<void> | undefined;

  constructor(private readonly options: LocketServerOptions) {
    this.#logger = options.logger ?? silentLogger;
    // Its errors come back to whoever caused them; printed they only stand between the lines of the log.
    setLogVerbosity(logVerbosity.NONE);
    this.#serve('Lock', locketService.Lock, (request, logger) => this.#lock(request, logger));
    this.#serve('Release', locketService.Release, (request, logger) => this.#release(request, logger));
    this.#serve('Fetch', locketService.Fetch, (request) => this.#fetch(request));
    this.#serve('FetchAll', locketService.FetchAll, (request) => this.#fetchAll(request));
  }

  /** @throws when the address is taken, or the identity is none */
  async start(): Promise<void> {
    const { host, port, identity } = this.options;
    const address = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
    this.#port = await new Promise<number>((resolve, reject) => {
      this.#server.bindAsync(address, new MutualTls(identity), (error, bound) => {
        if (error) reject(new Error(`cannot listen on ${address}: ${error.message}`, { cause: error }));
        else resolve(bound);
      });
    });
  }

  /** The port that was bound. @throws unless the server was started */
  get port(): number {
    if (this.#port === undefined) throw new Error('not listening');
    return this.#port;
  }

  /** Lets calls end that are under way. Idempotent. */
  stop(): Promise<void> {
    this.#stopping ??= new Promise<void>((resolve) => {
      const timer = setTimeout(() => this.#server.forceShutdown(), graceMs);
      this.#server.tryShutdown(() => {
        clearTimeout(timer);
        resolve();
      });
    });
    return this.#stopping;
  }

  async #lock(request: LockRequest, logger: Logger): Promise<{ response: Empty; trailer: Metadata }> {
    const { resource, ttlMs } = readLockRequest(request);
    const { key, owner, type } = resource;
    const { token, index } = await this.options.store.acquire(resource, ttlMs);
    if (index === 1) logger.info('locket.lock.acquired', { key, owner, type, token });
    else logger.debug('locket.lock.renewed', { key, owner, type, token });
    const trailer = new Metadata();
    trailer.set(fenceKey, String(token));
    return { response: {}, trailer };
  }

  async #release(request: ReleaseRequest, logger: Logger): Promise<{ response: Empty }> {
    const { key, owner } = readReleaseRequest(request);
    await this.options.store.release(key, owner);
    logger.info('locket.release.released', { key, owner });
    return { response: {} };
  }

  async #fetch(request: FetchRequest): Promise<{ response: FetchResponse }> {
    const key = readFetchRequest(request);
    const resource = key === undefined ? undefined : await this.options.store.fetch(key);
    if (!resource) throw new RequestError(status.NOT_FOUND, errorTexts.resourceNotFound);
    return { response: { resource: toWire(resource) } };
  }

  async #fetchAll(request: FetchAllRequest): Promise<{ response: FetchAllResponse }> {
    const resources = await this.options.store.list(readFetchAllRequest(request));
    return { response: { resources: resources.map(toWire) } };
  }

  #serve<Request, Response>(
    method: MethodName,
    definition: MethodDefinition<Request, Response>,
    work: Work<Request, Response>,
  ): void {
    const { requestDeserialize: decode } = definition;
    // Decoded by us: the library would not say what is wrong with a message.
    const taking: MethodDefinition<Buffer, Response> = {
      ...definition,
      requestSerialize: (bytes) => bytes,
      requestDeserialize: (bytes) => bytes,
    };
    this.#server.addService({ [method]: taking }, { [method]: this.#handle(method, decode, work) });
  }

  #handle<Request, Response>(
    method: MethodName,
    decode: (bytes: Buffer) => Request,
    work: Work<Request, Response>,
  ): handleUnaryCall<Buffer, Response> {
    return async (call, answer) => {
      const asked = performance.now();
      const logger = this.#logger.child({ request: method, request_uuid: requestIdOf(call) });
      this.options.observer?.started(method);
      let outcome: 'succeeded' | 'failed' = 'succeeded';
      try {
        this.#admit(call, logger);
        const request = readable(() => decode(call.request));
        const { response, trailer } = await this.#limited(work(request, logger));
        answer(null, response, trailer);
      } catch (error) {
        const refusal = refusalOf(error);
        if (refusal !== collided) outcome = 'failed';
        if (refusal.code === status.UNKNOWN) logger.error('locket.request-failed', errorData(error));
        else logger.debug('locket.request-refused', { error: (error as Error).message });
        answer({ code: refusal.code, details: refusal.message } satisfies Partial<StatusObject>);
      }
      this.options.observer?.ended(method, call.cancelled ? 'cancelled' : outcome, performance.now() - asked);
    };
  }

  /** @throws RequestError when the client's certificate has none of the names that may ask */
  #admit(call: ServerUnaryCall<unknown, unknown>, logger: Logger): void {
    const { allowedClients: allowed } = this.options;
    if (!allowed) return;
    const subject = subjectOf(call.getAuthContext()?.sslPeerCertificate);
    if (isAllowed(subject, allowed)) return;
    const { commonNames, organizationalUnits } = subject;
    logger.warn('locket.client.not-allowed', {
      remote_address: call.getPeer(),
      common_names: commonNames,
      organizational_units: organizationalUnits,
    });
    throw new RequestError(status.PERMISSION_DENIED, 'this certificate may not ask here');
  }

  async #limited<Result>(work: Promise<Result>): Promise<Result> {
    const { operationTimeoutMs = 10_000 } = this.options;
    let timer: NodeJS.Timeout | undefined;
    const limit = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new Error(`no answer within ${operationTimeoutMs} ms`)), operationTimeoutMs);
    });
    try {
      return await Promise.race([work, limit]);
    } finally {
      clearTimeout(timer);
    }
  }
}

/** @throws RequestError as Go's servers answer to bytes that are no message */
function readable<Request>(decode: () => Request): Request {
  try {
    return decode();
  } catch (error) {
    throw new RequestError(status.INTERNAL, `the request cannot be read: ${(error as Error).message}`);
  }
}

/** What the client is told of an error; of those that nobody expects it gets the text, as upstream does. */
function refusalOf(error: unknown): RequestError {
  if (error instanceof RequestError) return error;
  if (error instanceof LockCollision) return collided;
  return new RequestError(status.UNKNOWN, error instanceof Error ? error.message : String(error));
}

function requestIdOf({ metadata }: ServerUnaryCall<unknown, unknown>): string {
  const [given] = metadata.get(requestIdKey);
  return typeof given === 'string' ? given.slice(0, longestRequestId) : randomUUID();
}
