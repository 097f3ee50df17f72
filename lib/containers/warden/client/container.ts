import { randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import type { Logger } from '../../../logging/logger.js';
import { waitUntil } from '../../../process/wait.js';
import type {
  Container,
  ContainerEvent,
  ContainerInfo,
  ContainerMetrics,
  ContainerProcess,
  Limits,
  NetOutRule,
  PortMapping,
  ProcessIO,
  ProcessSignal,
  ProcessSpec,
  Properties,
  StopOptions,
} from '../../engine.js';
import {
  ExecutableNotFoundError,
  ProcessIdInUseError,
  UnknownProcessError,
  UnknownPropertyError,
} from '../../errors.js';
import { checkLimits } from '../../oci/container-spec.js';
import { GraceTimer } from '../../oci/grace-timer.js';
import { checkProcessSpec } from '../../oci/supervisor/process-spec.js';
import { WardenError } from '../errors.js';
import type { RequestFields, RequestName, Response } from '../protocol/messages.js';
import { requestOnce } from './connection.js';
import { jobScript, mergeEnvironments, notFoundStatus, preparationScript, quote } from './job-script.js';
import { type JobSocketPlaces, RemoteProcess } from './remote-process.js';
import {
  expectJob,
  expectLimits,
  netOutRequests,
  readInfo,
  readMetrics,
  type WardenUser,
  wardenUser,
} from './requests.js';
import type { ContainerRecord, ProcessRecord } from './state-file.js';
import { Transfers } from './transfers.js';

export interface RemoteContainerOptions {
  handle: string;
  record: ContainerRecord;
  socketPath: string;
  scratchDirectory: string;
  /** Remembers how far outputs were given to anyone; made when needed. */
  cursorDirectory: string;
  externalIp: string;
  /** Resolves when the record is on the disk. */
  save: () => Promise<void>;
  /** Info by the connection that all containers are held by. */
  askInfo: (handle: string) => Promise<Response<'Info'>>;
  onGraceTimeElapsed: () => void;
  logger: Logger;
}

const outOfMemory: ContainerEvent = 'out of memory';
/** Warden's own time between TERM and KILL. */
const wardenStopGraceMs = 10_000;
/** Input up to here goes with the script. */
const longestInlineInput = 256 * 1024;
/** How long a process that has ended can be joined for its output. */
const retentionMs = 60_000;
const exitReportPatienceMs = 2_000;
/** Shells that every container of Warden has: nothing must be looked for. */
const certainExecutables = new Set(['/bin/bash', 'bash', '/bin/sh', 'sh']);

/** A container of a Warden server; what Warden cannot keep, the record does. */
export class RemoteContainer implements Container {
  readonly handle: string;
  readonly #options: RemoteContainerOptions;
  readonly #record: ContainerRecord;
  readonly #graceTimer: GraceTimer;
  readonly #processes = new Map<string, RemoteProcess>();
  readonly #startingIds = new Set<string>();
  readonly #listeners = new Set<(event: ContainerEvent) => void>();
  readonly #transfers: Transfers;
  #toldEvents = 0;

  constructor(options: RemoteContainerOptions) {
    const { handle, socketPath, scratchDirectory } = options;
    this.handle = handle;
    this.#options = options;
    this.#record = options.record;
    this.#graceTimer = new GraceTimer(options.onGraceTimeElapsed);
    this.#graceTimer.setPeriod(this.#record.graceTimeMs);
    this.#transfers = new Transfers({
      socketPath,
      handle,
      scratchDirectory,
      runAsRoot: async (script) => {
        const { exitStatus, stderr } = await this.#runScript(script, 'root');
        if (exitStatus !== 0) throw new Error(`${handle}: ${stderr?.toString().trim() || `exit status ${exitStatus}`}`);
      },
    });
    for (const [id, process] of Object.entries(this.#record.processes)) {
      if (process.exitStatus === undefined) this.#processes.set(id, this.#follow(id, process));
    }
  }

  run(spec: ProcessSpec, io: ProcessIO = {}): Promise<ContainerProcess> {
    return this.#use(async () => {
      checkProcessSpec(spec);
      expectJob(spec);
      const user = wardenUser(spec.user);
      const id = this.#claimProcessId(spec.id ?? randomUUID());
      try {
        await this.#prepare(spec, user);
        const record = await this.#spawn(spec, user, io);
        this.#record.processes[id] = record;
        const process = this.#follow(id, record);
        this.#processes.set(id, process);
        await this.#options.save();
        return this.#attach(process, io);
      } finally {
        this.#startingIds.delete(id);
      }
    });
  }

  attach(processId: string, io: ProcessIO = {}): Promise<ContainerProcess> {
    return this.#use(async () => {
      const process = this.#processes.get(processId);
      if (process) return this.#attach(process, io);
      const exitStatus = this.#record.processes[processId]?.exitStatus;
      if (exitStatus === undefined) throw new UnknownProcessError(processId);
      return endedProcess(processId, exitStatus);
    });
  }

  streamIn({ path, user, tar }: { path: string; user?: string; tar: Readable }): Promise<void> {
    return this.#use(async () => this.#transfers.streamIn(path, wardenUser(user), tar));
  }

  streamOut({ path, user }: { path: string; user?: string }): Promise<Readable> {
    return this.#use(async () => this.#transfers.streamOut(path, wardenUser(user)));
  }

  netIn(request: { hostPort?: number; containerPort?: number } = {}): Promise<PortMapping> {
    return this.#use(async () => {
      const { hostPort, containerPort } = await this.#request('NetIn', request);
      const mapping = { hostPort, containerPort };
      this.#record.mappedPorts.push(mapping);
      await this.#options.save();
      return { ...mapping };
    });
  }

  /** One after the other: when one is refused, those before it hold. */
  netOut(rules: NetOutRule[]): Promise<void> {
    return this.#use(async () => {
      for (const request of rules.flatMap(netOutRequests)) await this.#request('NetOut', request);
    });
  }

  limit(limits: Limits): Promise<void> {
    return this.#use(async () => {
      checkLimits(limits);
      expectLimits(limits);
      const { memoryBytes, disk, cpuShares, bandwidth } = limits;
      if (memoryBytes !== undefined) await this.#request('LimitMemory', { limitInBytes: memoryBytes });
      if (disk) {
        const { bytes, inodes } = disk;
        await this.#request('LimitDisk', {
          ...(bytes !== undefined && { byte: bytes }),
          ...(inodes !== undefined && { inode: inodes }),
        });
      }
      if (cpuShares !== undefined) await this.#request('LimitCpu', { limitInShares: cpuShares });
      if (bandwidth) await this.#request('LimitBandwidth', bandwidth);
      const before = this.#record.limits;
      this.#record.limits = { ...before, ...limits, ...(disk && { disk: { ...before.disk, ...disk } }) };
      await this.#options.save();
    });
  }

  limits(): Promise<Limits> {
    return this.#use(async () => structuredClone(this.#record.limits));
  }

  info(): Promise<ContainerInfo> {
    return this.#use(async () => {
      const info = await this.#options.askInfo(this.handle);
      return readInfo(info, {
        externalIp: this.#options.externalIp,
        processIds: [...this.#processes.values()].filter(({ hasEnded }) => !hasEnded).map(({ id }) => id),
        properties: { ...this.#record.properties },
        mappedPorts: this.#record.mappedPorts.map((mapping) => ({ ...mapping })),
      });
    });
  }

  metrics(): Promise<ContainerMetrics> {
    return this.#use(async () => {
      const info = await this.#options.askInfo(this.handle);
      return readMetrics(info, Math.max(0, Date.now() - this.#record.createdAt));
    });
  }

  properties(): Promise<Properties> {
    return this.#use(async () => ({ ...this.#record.properties }));
  }

  setProperty(name: string, value: string): Promise<void> {
    return this.#use(() => {
      this.#record.properties[name] = value;
      return this.#options.save();
    });
  }

  removeProperty(name: string): Promise<void> {
    return this.#use(() => {
      if (!Object.hasOwn(this.#record.properties, name)) throw new UnknownPropertyError(name);
      delete this.#record.properties[name];
      return this.#options.save();
    });
  }

  setGraceTime(graceTimeMs: number): Promise<void> {
    return this.#use(async () => {
      this.#record.graceTimeMs = graceTimeMs;
      await this.#options.save();
      this.#graceTimer.setPeriod(graceTimeMs);
    });
  }

  stop({ kill = false, graceTimeMs = wardenStopGraceMs }: StopOptions = {}): Promise<void> {
    return this.#use(async () => {
      // Warden's own grace time cannot be chosen: another one is waited for here, before the kill.
      const isOwnGrace = !kill && graceTimeMs !== wardenStopGraceMs;
      if (isOwnGrace) await this.#terminate(graceTimeMs);
      await this.#request('Stop', { kill: kill || isOwnGrace });
      await this.#exitsReported(exitReportPatienceMs);
    });
  }

  onEvent(listener: (event: ContainerEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Whether somebody wants to hear of events. */
  get hasListeners(): boolean {
    return this.#listeners.size > 0;
  }

  /** Whether the container has every given property with that value. */
  matches(filter: Properties): boolean {
    return Object.entries(filter).every(([name, value]) => this.#record.properties[name] === value);
  }

  /** Tells listeners what they were not told yet. */
  noteEvents(events: readonly string[]): void {
    const memoryKills = events.filter((event) => event === outOfMemory).length;
    for (; this.#toldEvents < memoryKills; this.#toldEvents += 1) {
      for (const listener of this.#listeners) listener(outOfMemory);
    }
  }

  /** Forgets the output of processes whose exit status was delivered a while ago. */
  forgetDeliveredProcesses(now = Date.now()): void {
    for (const [id, { deliveredAt }] of this.#processes) {
      if (deliveredAt !== undefined && now - deliveredAt >= retentionMs) this.#processes.delete(id);
    }
  }

  /** Ends everything in it and removes it. */
  async destroy(): Promise<void> {
    this.#graceTimer.stop();
    await this.#request('Stop', { kill: true }).catch((error: unknown) => {
      // Whatever state it is in, it is to go.
      if (!(error instanceof WardenError)) throw error;
    });
    await this.#exitsReported(exitReportPatienceMs);
    await this.#request('Destroy', {});
    this.retire();
  }

  /** The container is gone; its processes hear from Warden how they ended. */
  retire(): void {
    this.#graceTimer.stop();
  }

  /** Gives up timers and connections; the container lives on. Idempotent. */
  letGo(): void {
    this.#graceTimer.stop();
    for (const process of this.#processes.values()) process.release();
  }

  async #use<Result>(work: () => Promise<Result>): Promise<Result> {
    const release = this.#graceTimer.hold();
    try {
      return await work();
    } finally {
      release();
    }
  }

  #request<Name extends RequestName>(type: Name, fields: Omit<RequestFields<Name>, 'handle'>): Promise<Response<Name>> {
    return requestOnce(this.#options.socketPath, type, { ...fields, handle: this.handle } as RequestFields<Name>);
  }

  #runScript(script: string, user: WardenUser): Promise<Response<'Run'>> {
    return this.#request('Run', { script: Buffer.from(script), privileged: user === 'root' });
  }

  #claimProcessId(id: string): string {
    if (this.#startingIds.has(id) || Object.hasOwn(this.#record.processes, id)) throw new ProcessIdInUseError(id);
    this.#startingIds.add(id);
    return id;
  }

  /** Warden starts whatever it is told, and says only afterwards that it could not: so it is looked for before. */
  async #prepare({ path, dir, env = [] }: ProcessSpec, user: WardenUser): Promise<void> {
    if (!dir && certainExecutables.has(path)) return;
    const given = mergeEnvironments(this.#record.env, env);
    const script = preparationScript({ path, user, env: given, ...(dir && { dir }) });
    const { exitStatus, stderr } = await this.#runScript(script, 'root');
    if (exitStatus === 0) return;
    if (exitStatus === notFoundStatus) throw new ExecutableNotFoundError(`${path}: executable file not found in $PATH`);
    throw new WardenError(stderr?.toString().trim() || `cannot prepare for ${path}: exit status ${exitStatus}`);
  }

  async #spawn(spec: ProcessSpec, user: WardenUser, io: ProcessIO): Promise<ProcessRecord> {
    const token = randomUUID();
    const { dir, discardOutput = false, endlessOutput = false } = spec;
    const readsSockets = endlessOutput && !discardOutput;
    const { maxPids } = this.#record.limits;
    // Warden limits no processes of a container, but the kernel can those of a user.
    const rlimits = { ...(maxPids !== undefined && user === 'vcap' && { nproc: maxPids }), ...spec.rlimits };
    const script = jobScript({
      path: spec.path,
      args: spec.args ?? [],
      env: mergeEnvironments(this.#record.env, spec.env ?? []),
      pidFile: pidFileOf(token),
      stdin: await this.#input(io.stdin),
      ...(dir && { dir }),
    });
    const { jobId } = await this.#request('Spawn', {
      script,
      privileged: user === 'root',
      rlimits,
      discardOutput: discardOutput || readsSockets,
    });
    if (readsSockets) await mkdir(this.#options.cursorDirectory, { recursive: true, mode: 0o700 });
    return { jobId, discardOutput: discardOutput || readsSockets, token, ...(readsSockets && { readsSockets }) };
  }

  /** Warden takes all input at once: a stream is read to its end first. */
  async #input(stdin: ProcessIO['stdin']): Promise<{ bytes: Buffer } | { file: string } | undefined> {
    if (stdin === undefined) return undefined;
    const bytes = stdin instanceof Readable ? undefined : Buffer.from(stdin as string);
    if (bytes && bytes.length <= longestInlineInput) return { bytes };
    return { file: await this.#transfers.storeInput(bytes ? Readable.from([bytes]) : (stdin as Readable)) };
  }

  #follow(id: string, record: ProcessRecord): RemoteProcess {
    return new RemoteProcess({
      id,
      socketPath: this.#options.socketPath,
      handle: this.handle,
      jobId: record.jobId,
      discardOutput: record.discardOutput,
      ...(record.readsSockets && { sockets: this.#socketsOf(id, record) }),
      beforeExit: async ({ exitStatus, info }) => {
        if (info) this.noteEvents(info.events);
        record.exitStatus = exitStatus;
        await this.#options.save();
      },
      sendSignal: (signal) => this.#signal(record, signal),
    });
  }

  #socketsOf(id: string, { token }: ProcessRecord): JobSocketPlaces {
    return {
      jobsDirectory: async () => {
        const { containerPath } = await this.#options.askInfo(this.handle);
        return join(containerPath ?? '', 'jobs');
      },
      cursorFile: (output) => join(this.#options.cursorDirectory, `${token}.${output}`),
      onMissing: () => {
        this.#options.logger.warn('containers.warden.no-job-sockets', { handle: this.handle, process: id });
      },
    };
  }

  /** Whoever waits for a process refers to its container. */
  #attach(process: RemoteProcess, io: ProcessIO): ContainerProcess {
    const attached = process.attach(io);
    return { ...attached, wait: () => this.#use(() => attached.wait()) };
  }

  async #signal({ token }: ProcessRecord, signal: ProcessSignal): Promise<void> {
    const pidFile = quote(pidFileOf(token));
    const name = signal === 'kill' ? 'KILL' : 'TERM';
    // Right after its start the script may not have come to its first line yet.
    const script = `for i in {1..100}; do [ -s ${pidFile} ] && break; sleep 0.02; done; kill -${name} "$(cat ${pidFile})"`;
    await this.#runScript(script, 'root');
  }

  /** TERM to everything but init; resolves when our processes have ended, or the time is up. */
  async #terminate(graceTimeMs: number): Promise<void> {
    await this.#runScript('kill -TERM -1', 'root').catch((error: unknown) => {
      // Stopped already.
      if (!(error instanceof WardenError)) throw error;
    });
    await this.#exitsReported(graceTimeMs);
  }

  async #exitsReported(timeoutMs: number): Promise<void> {
    await waitUntil(() => [...this.#processes.values()].every(({ hasEnded }) => hasEnded), { timeoutMs });
  }
}

function pidFileOf(token: string): string {
  return `/tmp/.isthmus-${token}.pid`;
}

/** A process of which only the exit status is left. */
function endedProcess(id: string, exitStatus: number): ContainerProcess {
  return { id, wait: async () => exitStatus, signal: async () => {}, resize: async () => {} };
}
