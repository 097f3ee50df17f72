import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { basicAuthorization } from '../../lib/http/url.js';
import { bodyOf, type HttpServer, startHttpServer } from './http-server.js';
import { internalCredentials } from './mini-cc.js';
import type { Message } from './peer.js';

export type LrpState = 'STARTING' | 'RUNNING' | 'CRASHED' | 'DOWN' | 'UNKNOWN';

/** A process as the played Diego has it. */
export interface PlayedProcess {
  message: Message;
  /** Of all its instances. */
  state: LrpState;
}

export interface BridgeRequest {
  method: string;
  path: string;
  authorization: string | undefined;
  contentType: string | undefined;
  body: Message | undefined;
}

/** Status and body in the place of the usual answer. */
export type Refusal = (request: BridgeRequest) => { status: number; body?: string } | undefined;

/**
 * A CC-bridge with a Diego behind it, which runs nothing: nsync, stager and tps on one port. Written from
 * docs/protocol/cc-bridge.md on Node's HTTP server alone, so that it shares no code with what it checks.
 */
export class PlayedBridge {
  /** What is desired, by process guid. */
  readonly processes = new Map<string, PlayedProcess>();
  readonly requests: BridgeRequest[] = [];
  /** State of the instances of processes that are desired anew. */
  startsAs: LrpState = 'RUNNING';
  refuse: Refusal = () => undefined;

  private constructor(private readonly server: HttpServer) {}

  static async start(): Promise<PlayedBridge> {
    let bridge: PlayedBridge | undefined;
    const server = await startHttpServer((request, response) => bridge!.handle(request, response));
    bridge = new PlayedBridge(server);
    return bridge;
  }

  get url(): string {
    return this.server.url;
  }

  /** The section of a Cloud Controller's configuration. */
  get config() {
    return { diego_nsync_url: this.url, diego_stager_url: this.url, diego_tps_url: this.url };
  }

  stop(): Promise<void> {
    return this.server.stop();
  }

  /** Requests that came, as `PUT /v1/apps/...`. */
  get lines(): string[] {
    return this.requests.map(({ method, path }) => `${method} ${path}`);
  }

  /** Bodies of requests of a method to paths that begin so, oldest first. */
  bodies(method: string, path: string): Message[] {
    return this.requests
      .filter((request) => request.method === method && request.path.startsWith(path))
      .map(({ body }) => body!);
  }

  /** Guid of the staging that was asked for last. */
  get lastStaging(): string {
    const { path } = this.requests.findLast(
      ({ method, path: at }) => method === 'PUT' && at.startsWith('/v1/staging/'),
    )!;
    return path.slice('/v1/staging/'.length);
  }

  /** Has all instances of all processes run. */
  runAll(): void {
    for (const process of this.processes.values()) process.state = 'RUNNING';
  }

  /** Indices that run of an app, in whatever version. */
  runningIndices(appGuid: string): Set<number> {
    const running = [...this.processes].filter(([guid, { state }]) => guid.startsWith(appGuid) && state === 'RUNNING');
    return new Set(running.flatMap(([, { message }]) => indices(message)));
  }

  /** One pass of nsync's bulker, in pages of `batchSize`. */
  async sync(controllerUrl: string, batchSize = 2): Promise<void> {
    const gone = new Set(this.processes.keys());
    const changed: string[] = [];
    for (let token: Message = {}; ; ) {
      const query = `batch_size=${batchSize}&format=fingerprint&token=${encodeURIComponent(JSON.stringify(token))}`;
      const page = await askController(controllerUrl, 'GET', `/internal/bulk/apps?${query}`);
      for (const { process_guid: guid, etag } of page.body.fingerprints) {
        gone.delete(guid);
        if (this.processes.get(guid)?.message.etag !== etag) changed.push(guid);
      }
      if (page.body.fingerprints.length < batchSize) break;
      token = page.body.token;
    }
    const { body } = await askController(controllerUrl, 'POST', '/internal/bulk/apps', changed);
    for (const message of body as unknown as Message[]) this.desire(message);
    for (const guid of gone) this.processes.delete(guid);
  }

  private desire(message: Message): void {
    const state = this.processes.get(message.process_guid)?.state ?? this.startsAs;
    this.processes.set(message.process_guid, { message, state });
  }

  private async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const text = (await bodyOf(request)).toString();
    const asked: BridgeRequest = {
      method: request.method!,
      path: request.url!,
      authorization: request.headers.authorization,
      contentType: request.headers['content-type'],
      body: text === '' ? undefined : JSON.parse(text),
    };
    this.requests.push(asked);
    const { status, body = '' } = this.refuse(asked) ?? this.answer(asked);
    response.writeHead(status, { 'Content-Type': 'application/json' }).end(body);
  }

  private answer({ method, path, body }: BridgeRequest): { status: number; body?: string } {
    const [, , kind, guid = '', rest] = path.split('/');
    switch (`${method} ${kind}${rest === undefined ? '' : `/${rest}`}`) {
      case 'PUT apps':
        if (body?.process_guid !== guid) return { status: 400 };
        this.desire(body);
        return { status: 202 };
      case 'DELETE apps':
        return { status: this.processes.delete(guid) ? 202 : 404 };
      case 'DELETE apps/index':
        return { status: this.processes.has(guid) ? 202 : 404 };
      case 'POST tasks':
      case 'DELETE tasks':
      case 'PUT staging':
      case 'DELETE staging':
        return { status: 202 };
      case 'GET actual_lrps':
        return { status: 200, body: JSON.stringify(this.lrps(guid, false)) };
      case 'GET actual_lrps/stats':
        return { status: 200, body: JSON.stringify(this.lrps(guid, true)) };
      default:
        return { status: 404 };
    }
  }

  private lrps(guid: string, withStats: boolean): Message[] {
    const process = this.processes.get(guid);
    if (!process) return [];
    return indices(process.message).map((index) => ({
      process_guid: guid,
      instance_guid: randomUUID(),
      index,
      state: process.state,
      since: 1_464_739_200,
      uptime: 3600,
      net_info: { address: '10.0.16.4', ports: [{ container_port: 8080, host_port: 60_012 }] },
      ...(withStats && {
        host: '10.0.16.4',
        port: 60_012,
        stats: { time: '2016-06-01T00:00:00.123456789Z', cpu: 0.04, mem: 104_857_600, disk: 52_428_800 },
      }),
    }));
  }
}

/** A request of the bridge to a Cloud Controller's internal API. */
export async function askController(
  url: string,
  method: string,
  path: string,
  body?: unknown,
  authorization = basicAuthorization(internalCredentials),
): Promise<{ status: number; body: Message }> {
  const response = await fetch(`${url}${path}`, {
    method,
    headers: { Authorization: authorization, 'Content-Type': 'application/json' },
    ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  return { status: response.status, body: (await response.json()) as Message };
}

function indices(message: Message): number[] {
  return Array.from({ length: message.num_instances }, (_, index) => index);
}
