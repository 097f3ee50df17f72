import type { Container, Limits, NetOutRule } from '../../engine.js';
import { ExhaustedError } from '../../errors.js';
import { WardenError } from '../errors.js';
import type { InfoFields, Request, RequestName, ResponseFields } from '../protocol/messages.js';
import type { WardenContainer } from './container.js';
import { copyIn, copyOut } from './copies.js';
import { readDiskLimits, writeDiskLimits } from './disk-limits.js';
import { memoryLimitOf } from './info.js';
import type { Job } from './job.js';
import { readNetOut } from './net-out.js';

/** What a request may ask of its server. */
export interface RequestServer {
  create(request: Request<'Create'>): Promise<WardenContainer>;
  handles(): string[];
  /** Work that goes on after its response; a failure is logged, and `stop` waits for it. */
  inBackground(what: string, work: Promise<void>): void;
  /** Aborted when the server stops. */
  readonly signal: AbortSignal;
  /** Undefined when disk limits are disabled. */
  readonly diskLimits: { bytes: number; inodes: number } | undefined;
}

/** What a request may ask of the connection that it came on. */
export interface RequestPeer {
  /** Aborted when the client has gone, or must go. */
  readonly signal: AbortSignal;
  /** Sends a response that is not the last one; resolves when more may be sent. */
  send<Name extends RequestName>(type: Name, fields: ResponseFields<Name>): Promise<void>;
}

/** Where a request comes from, and whom it asks. */
export interface RequestContext {
  server: RequestServer;
  peer: RequestPeer;
}

type ServerHandler<Name extends RequestName> = (
  request: Request<Name>,
  context: RequestContext,
) => Promise<ResponseFields<Name>>;
type ContainerHandler<Name extends RequestName> = (
  request: Request<Name>,
  container: WardenContainer,
  context: RequestContext,
) => Promise<ResponseFields<Name>>;

/** What answers the requests of one type. */
export type RequestHandler =
  | { namesContainer: false; handle(request: unknown, context: RequestContext): Promise<object> }
  | {
      namesContainer: true;
      handle(request: unknown, container: WardenContainer, context: RequestContext): Promise<object>;
    };

/** Each handler must be given requests of its own type, as the codec decodes them. */
export function handlerOf(type: RequestName): RequestHandler {
  // The tables are checked name by name; that a name goes with its request is beyond the compiler.
  const handlers = { ...serverRequests, ...containerRequests } as Record<string, unknown>;
  return { namesContainer: !Object.hasOwn(serverRequests, type), handle: handlers[type] } as RequestHandler;
}

/** Requests that name no container. */
const serverRequests: { [Name in 'Create' | 'List' | 'Ping' | 'Echo']: ServerHandler<Name> } = {
  Create: async (request, { server }) => ({ handle: (await server.create(request)).handle }),
  List: async (_request, { server }) => ({ handles: server.handles() }),
  Ping: async () => ({}),
  Echo: async ({ message }) => ({ message }),
};

/** Requests that name a container, with the states that they are allowed in (docs/protocol/containers.md §1.4). */
const containerRequests: { [Name in Exclude<RequestName, keyof typeof serverRequests>]: ContainerHandler<Name> } = {
  async Stop({ background, kill }, container, { server }) {
    container.expectState('active', 'stopped');
    const stopping = container.stop({ kill });
    if (background) server.inBackground('stop', stopping);
    else await stopping;
    return {};
  },
  async Destroy(_request, container) {
    await container.destroy();
    return {};
  },
  Info(_request, container) {
    container.expectState('active', 'stopped');
    return container.info();
  },
  async Spawn(request, container) {
    return { jobId: (await container.spawn(request)).id };
  },
  async Link({ jobId }, container, { peer }) {
    return link(container, container.job(jobId), peer);
  },
  async Run(request, container, { server, peer }) {
    const job = await container.spawn(request);
    try {
      return await link(container, job, peer);
    } catch (error) {
      // Nobody else knows of it.
      server.inBackground(
        'forget-job',
        unlessAborted(job.exitStatus(), server.signal).then(() => container.removeJob(job)),
      );
      throw error;
    }
  },
  async Stream({ jobId }, container, { peer }) {
    const job = container.job(jobId);
    for await (const { name, data } of job.output(peer.signal)) await peer.send('Stream', { name, data });
    const exitStatus = await unlessAborted(job.exitStatus(), peer.signal);
    const info = await container.infoForLink();
    await container.removeJob(job);
    return { exitStatus, ...withInfo(info) };
  },
  async NetIn({ hostPort, containerPort }, container) {
    container.expectState('active');
    for (const [field, port] of Object.entries({ host_port: hostPort, container_port: containerPort })) {
      if (port !== undefined && port > 65_535) throw new WardenError(`${field}: ${port} is no port`);
    }
    return mapPort(container.engineContainer, {
      ...(hostPort && { hostPort }),
      ...(containerPort && { containerPort }),
    });
  },
  async NetOut(request, container) {
    container.expectState('active');
    const rule: NetOutRule = readNetOut(request);
    await container.engineContainer.netOut([rule]);
    return {};
  },
  async CopyIn({ srcPath, dstPath }, container) {
    container.expectState('active');
    await copyIn(container.engineContainer, srcPath, dstPath);
    return {};
  },
  async CopyOut({ srcPath, dstPath, owner }, container) {
    container.expectState('active', 'stopped');
    await copyOut(container.engineContainer, srcPath, dstPath, owner);
    return {};
  },
  async LimitMemory({ limitInBytes }, container) {
    const { memoryBytes } = await changeLimits(
      container,
      limitInBytes === undefined ? undefined : { memoryBytes: Math.min(limitInBytes, Number.MAX_SAFE_INTEGER) },
    );
    if (memoryBytes !== undefined) return { limitInBytes: memoryBytes };
    return { limitInBytes: memoryLimitOf((await container.engineContainer.metrics()).memory) };
  },
  async LimitCpu({ limitInShares }, container) {
    const { cpuShares } = await changeLimits(
      container,
      limitInShares === undefined ? undefined : { cpuShares: limitInShares },
    );
    return { limitInShares: cpuShares ?? defaultCpuShares };
  },
  async LimitBandwidth({ rate, burst }, container) {
    await changeLimits(container, { bandwidth: { rate, burst } });
    return { rate, burst };
  },
  async LimitDisk(request, container, { server }) {
    container.expectState('active', 'stopped');
    if (!server.diskLimits) return {};
    const { bytes, inodes } = readDiskLimits(request);
    // 0 asks for no limit, which is what a container has that nobody limited.
    const disk = {
      ...(bytes !== undefined && { bytes: bytes || server.diskLimits.bytes }),
      ...(inodes !== undefined && { inodes: inodes || server.diskLimits.inodes }),
    };
    const limits = await changeLimits(container, Object.keys(disk).length > 0 ? { disk } : undefined);
    return writeDiskLimits(limits.disk ?? {});
  },
};

/** What the kernel gives a group that nobody has given shares. */
const defaultCpuShares = 1024;

/** Every one who waits gets the answer; it is removed with the first that is delivered. */
async function link(container: WardenContainer, job: Job, peer: RequestPeer): Promise<ResponseFields<'Link'>> {
  const { exitStatus, stdout, stderr } = await unlessAborted(job.result(), peer.signal);
  const info = await container.infoForLink();
  await container.removeJob(job);
  return { exitStatus, stdout, stderr, ...withInfo(info) };
}

function withInfo(info: InfoFields | undefined): { info?: InfoFields } {
  return info ? { info } : {};
}

async function mapPort(container: Container, request: { hostPort?: number; containerPort?: number }) {
  try {
    return await container.netIn(request);
  } catch (error) {
    if (error instanceof ExhaustedError) throw new WardenError('no port available', { cause: error });
    throw error;
  }
}

async function changeLimits(container: WardenContainer, limits: Limits | undefined): Promise<Limits> {
  container.expectState('active', 'stopped');
  if (limits) await container.engineContainer.limit(limits);
  return container.engineContainer.limits();
}

/** @throws the reason of the abort */
function unlessAborted<Value>(promise: Promise<Value>, signal: AbortSignal): Promise<Value> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) return abort();
    signal.addEventListener('abort', abort);
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}
