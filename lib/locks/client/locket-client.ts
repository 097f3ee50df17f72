import { randomUUID } from 'node:crypto';
import { isIP } from 'node:net';
import { checkServerIdentity, createSecureContext, type PeerCertificate } from 'node:tls';
import {
  ChannelCredentials,
  Client,
  type ClientOptions,
  Metadata,
  type MethodDefinition,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import { type Identity, tlsAmongComponents } from '../../http/internal-tls.js';
import {
  type CallOptions,
  type Grant,
  LockCollision,
  type Locks,
  LocksUnavailable,
  type Resource,
  type ResourceType,
} from '../lock-store.js';
import { typeCodes, type WireResource } from '../wire/messages.js';
import { fenceKey, locketService, requestIdKey, toWire, typeOf } from '../wire/service.js';

export interface LocketClientOptions {
  /** `host:port`. */
  address: string;
  identity: Identity;
  /** Name that the server's certificate must carry. @default the host */
  serverName?: string;
  /** Limit of a call, in milliseconds, waiting for the connection included. @default 10000 */
  timeoutMs?: number;
  /** Silence after which the server is pinged, in milliseconds; 0: never. @default 10000 */
  keepaliveTimeMs?: number;
  /** A ping that is not answered within it ends the connection, in milliseconds. @default 22000 */
  keepaliveTimeoutMs?: number;
}

/** The Locket refuses what is asked for; asking again is of no use. */
export class LocketRefusal extends Error {
  override readonly name = 'LocketRefusal';

  /** @param code of gRPC */
  constructor(
    readonly code: status,
    text: string,
    options?: ErrorOptions,
  ) {
    super(text, options);
  }
}

/** The request is wrong, or the server cannot do such a thing. */
const refusals: ReadonlySet<status> = new Set([
  status.INVALID_ARGUMENT,
  status.NOT_FOUND,
  status.UNIMPLEMENTED,
  status.RESOURCE_EXHAUSTED,
]);

const reconnectMs = { first: 100, longest: 2000 };
/** A thousand cells with the longest values are more than the library's own limit. */
const longestAnswerBytes = 64 * 1024 * 1024;

/**
 * Locks of a Locket, upstream's or ours (docs/protocol/edge.md §6.1). It connects at the first call, and anew when the
 * connection is lost.
 */
export class LocketClient implements Locks {
  readonly #client: Client;

  constructor(private readonly options: LocketClientOptions) {
    const { address, identity } = options;
    const name = options.serverName ?? hostOf(address);
    const context = createSecureContext({ ...tlsAmongComponents, ...identity });
    const credentials = ChannelCredentials.createFromSecureContext(context, {
      checkServerIdentity: (_asked, certificate) => checkServerIdentity(name, certificate as PeerCertificate),
    });
    this.#client = new Client(address, credentials, channelOptions(options, name));
  }

  /** Idempotent; ends calls that are under way. */
  async stop(): Promise<void> {
    this.#client.close();
  }

  /** @throws RangeError when the ttl is no whole number of seconds, also LocketRefusal */
  async acquire(resource: Resource, ttlMs: number, options?: CallOptions): Promise<Grant> {
    const ttlInSeconds = ttlMs / 1000;
    if (!Number.isSafeInteger(ttlInSeconds)) throw new RangeError(`ttl: ${ttlMs} ms are no whole seconds`);
    const request = { resource: toWire(resource), ttlInSeconds: BigInt(ttlInSeconds) };
    const { trailer } = await this.#call(locketService.Lock, request, resource.key, options);
    return { token: tokenIn(trailer) };
  }

  /** @throws also LocketRefusal */
  async release(key: string, owner: string, options?: CallOptions): Promise<void> {
    const resource: WireResource = { key, owner, value: '', type: '', typeCode: typeCodes.unknown };
    try {
      await this.#call(locketService.Release, { resource }, key, options);
    } catch (error) {
      // Old servers say so of a key that nobody has.
      if (!isNotFound(error)) throw error;
    }
  }

  /** @throws also LocketRefusal */
  async fetch(key: string, options?: CallOptions): Promise<Resource | undefined> {
    try {
      const { response } = await this.#call(locketService.Fetch, { key }, key, options);
      return response.resource && fromWire(response.resource);
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  /** @throws also LocketRefusal */
  async list(type: ResourceType, options?: CallOptions): Promise<Resource[]> {
    const request = { type, typeCode: typeCodes[type] };
    const { response } = await this.#call(locketService.FetchAll, request, '', options);
    return response.resources.map(fromWire).filter((resource) => resource !== undefined);
  }

  async #call<Request, Response>(
    method: MethodDefinition<Request, Response>,
    request: Request,
    key: string,
    { timeoutMs = this.options.timeoutMs ?? 10_000, requestId = randomUUID() }: CallOptions = {},
  ): Promise<{ response: Response; trailer: Metadata }> {
    const metadata = new Metadata({ waitForReady: true });
    metadata.set(requestIdKey, requestId);
    const { path, requestSerialize, responseDeserialize } = method;
    const deadline = Date.now() + timeoutMs;
    try {
      return await new Promise((resolve, reject) => {
        let response: Response | undefined;
        const call = this.#client.makeUnaryRequest<Request, Response>(
          path,
          requestSerialize,
          responseDeserialize,
          request,
          metadata,
          { deadline },
          (error, answer) => {
            if (error) reject(error);
            response = answer;
          },
        );
        // It comes last, with the trailer.
        call.on('status', ({ metadata: trailer }) => resolve({ response: response as Response, trailer }));
      });
    } catch (error) {
      throw named(error as ServiceError, key, requestId);
    }
  }
}

function hostOf(address: string): string {
  return address.replace(/:\d+$/, '').replace(/^\[|\]$/g, '');
}

function channelOptions(
  { address, keepaliveTimeMs = 10_000, keepaliveTimeoutMs = 22_000 }: LocketClientOptions,
  name: string,
): ClientOptions {
  return {
    // TLS has no way to ask for an address.
    'grpc.ssl_target_name_override': isIP(name) ? 'localhost' : name,
    'grpc.default_authority': address,
    'grpc.initial_reconnect_backoff_ms': reconnectMs.first,
    'grpc.max_reconnect_backoff_ms': reconnectMs.longest,
    'grpc.max_receive_message_length': longestAnswerBytes,
    // What components say to each other goes through no proxy, and needs no service configuration from DNS.
    'grpc.enable_http_proxy': 0,
    'grpc.service_config_disable_resolution': 1,
    // Closing this client closes its connection.
    'grpc.use_local_subchannel_pool': 1,
    ...(keepaliveTimeMs > 0 && {
      'grpc.keepalive_time_ms': keepaliveTimeMs,
      'grpc.keepalive_timeout_ms': keepaliveTimeoutMs,
    }),
  };
}

/** Upstream's servers have none. */
function tokenIn(trailer: Metadata): number | undefined {
  const [text] = trailer.get(fenceKey);
  const token = Number(text);
  return typeof text === 'string' && Number.isSafeInteger(token) && token > 0 ? token : undefined;
}

function fromWire(wire: WireResource): Resource | undefined {
  const type = typeOf(wire);
  const { key, owner, value } = wire;
  return type && { key, owner, value, type };
}

function isNotFound(error: unknown): boolean {
  return error instanceof LocketRefusal && error.code === status.NOT_FOUND;
}

function named(error: ServiceError, key: string, requestId: string): Error {
  if (error.code === status.ALREADY_EXISTS) return new LockCollision(key);
  const text = `Locket: ${error.details || error.message} (request ${requestId})`;
  if (refusals.has(error.code)) return new LocketRefusal(error.code, text, { cause: error });
  return new LocksUnavailable(text, { cause: error });
}
