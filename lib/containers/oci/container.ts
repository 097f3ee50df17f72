import type { Readable } from 'node:stream';
import { isRunning, type ProcessIdentity } from '../../process/identity.js';
import { Turnstile } from '../../process/turnstile.js';
import { waitUntil } from '../../process/wait.js';
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
  ProcessSpec,
  Properties,
  StopOptions,
} from '../engine.js';
import { UnknownHandleError, UnknownProcessError, UnknownPropertyError } from '../errors.js';
import { checkLimits } from './container-spec.js';
import type { ContainerState, StateFile } from './container-state.js';
import { GraceTimer } from './grace-timer.js';
import type { Host } from './host.js';
import { collectMetrics } from './metrics.js';
import type { NetworkLease } from './ports.js';
import { ContainerProcesses } from './processes/container-processes.js';
import { endProcesses } from './removal.js';
import { setAttributes } from './streams/stream-in-attributes.js';
import { tellAttributes } from './streams/stream-out-attributes.js';
import type { SupervisedProcess } from './supervisor/supervised-process.js';

export interface OciContainerOptions {
  host: Host;
  file: StateFile;
  /** Called when the grace time has passed without a reference. */
  onGraceTimeElapsed: () => void;
}

const outOfMemory: ContainerEvent = 'out of memory';
/** Exit status of a process that was killed with SIGKILL, as by the memory limit. */
const killedStatus = 137;
const defaultStopGraceMs = 10_000;
const signalIntervalMs = 1_000;
const killPatienceMs = 10_000;
/** A container of the `oci` engine; the state file is its memory, the host's collaborators are its hands. */
export class OciContainer implements Container {
  readonly handle: string;
  readonly #host: Host;
  readonly #file: StateFile;
  readonly #graceTimer: GraceTimer;
  readonly #processes: ContainerProcesses;
  readonly #listeners = new Set<(event: ContainerEvent) => void>();
  /** Changes of a lease build on the lease before: one at a time. */
  readonly #leaseChanges = new Turnstile(1);
  #isEnding = false;

  constructor(options: OciContainerOptions) {
    this.handle = options.file.state.handle;
    this.#host = options.host;
    this.#file = options.file;
    this.#processes = new ContainerProcesses({
      host: options.host,
      file: options.file,
      init: () => this.#init,
      beforeExit: async (exitStatus) => {
        if (exitStatus === killedStatus && !this.#isEnding) await this.checkMemoryKills();
      },
    });
    this.#graceTimer = new GraceTimer(options.onGraceTimeElapsed);
    this.#graceTimer.setPeriod(this.#state.graceTimeMs);
  }

  get state(): Readonly<ContainerState> {
    return this.#file.state;
  }

  /** True from the beginning of `end` on: the container is not to be found any more. */
  get isEnding(): boolean {
    return this.#isEnding;
  }

  /** Joins the processes that an engine before this one started. */
  adoptProcesses(): Promise<void> {
    return this.#processes.adopt();
  }

  /** Gives up timers; the container lives on. Idempotent. */
  letGo(): void {
    this.#graceTimer.stop();
  }

  run(spec: ProcessSpec, io: ProcessIO = {}): Promise<ContainerProcess> {
    return this.#use(async () => this.#attach(await this.#processes.run(spec, io), io));
  }

  attach(processId: string, io: ProcessIO = {}): Promise<ContainerProcess> {
    return this.#use(async () => {
      const supervised = this.#processes.find(processId);
      if (supervised) return this.#attach(supervised, io);
      const exitStatus = this.#state.endedProcesses[processId];
      if (exitStatus === undefined) throw new UnknownProcessError(processId);
      return endedProcess(processId, exitStatus);
    });
  }

  streamIn(options: { path: string; user?: string; tar: Readable }): Promise<void> {
    return this.#use(() =>
      this.#host.streams.in(this.#init, options, (request) => setAttributes(this.#host, this.#state, request)),
    );
  }

  streamOut(options: { path: string; user?: string }): Promise<Readable> {
    return this.#use(async () => {
      const tar = await this.#host.streams.out(this.#init, options, (request) =>
        tellAttributes(this.#host, this.#state, request),
      );
      tar.once('close', this.#graceTimer.hold());
      return tar;
    });
  }

  netIn(request: { hostPort?: number; containerPort?: number } = {}): Promise<PortMapping> {
    return this.#use(async () => {
      const lease = await this.#changeNetwork((network) => this.#host.network.netIn(network, request));
      return lease.mappedPorts.at(-1)!;
    });
  }

  netOut(rules: NetOutRule[]): Promise<void> {
    return this.#use(async () => {
      await this.#changeNetwork((network) => this.#host.network.netOut(network, rules));
    });
  }

  limit(limits: Limits): Promise<void> {
    return this.#use(() => this.#leaseChanges.pass(() => this.#applyLimits(limits)));
  }

  limits(): Promise<Limits> {
    return this.#use(async () => structuredClone(this.#state.limits));
  }

  info(): Promise<ContainerInfo> {
    return this.#use(() => this.inspect());
  }

  /** As `info`, but whoever looks at many containers does not refer to any: the grace time runs on. */
  async inspect(): Promise<ContainerInfo> {
    const { phase, events, properties } = this.#state;
    const network = this.#network;
    return {
      state: phase === 'stopped' ? 'stopped' : 'active',
      events: [...events],
      hostIp: network.hostIp,
      containerIp: network.containerIp,
      externalIp: network.externalIp,
      containerPath: this.#file.directory,
      processIds: this.#processes.runningIds,
      properties: { ...properties },
      mappedPorts: network.mappedPorts.map((mapping) => ({ ...mapping })),
    };
  }

  metrics(): Promise<ContainerMetrics> {
    return this.#use(() => this.measure());
  }

  /** As `metrics`, and the grace time runs on. */
  async measure(): Promise<ContainerMetrics> {
    const { volume, createdAt, limits } = this.#state;
    const { cpuShares } = limits;
    return collectMetrics(this.#host, { cgroup: this.handle, volume, network: this.#network, createdAt, cpuShares });
  }

  /** Whether it has a pea of this process id that has not ended. */
  hasPea(processId: string): boolean {
    return this.#state.peas[processId]?.volume !== undefined;
  }

  /** What a pea alone uses; where it shares the container's limits, the container's own figures include it. */
  async measurePea(processId: string): Promise<ContainerMetrics> {
    const pea = this.#state.peas[processId];
    if (pea === undefined) throw new UnknownHandleError(processId);
    const { cgroup, volume } = pea;
    return collectMetrics(this.#host, { cgroup, volume, network: this.#network, createdAt: this.#state.createdAt });
  }

  properties(): Promise<Properties> {
    return this.#use(async () => ({ ...this.#state.properties }));
  }

  setProperty(name: string, value: string): Promise<void> {
    return this.#use(() =>
      this.#file.update((state) => {
        state.properties[name] = value;
      }),
    );
  }

  removeProperty(name: string): Promise<void> {
    return this.#use(() => {
      if (!Object.hasOwn(this.#state.properties, name)) throw new UnknownPropertyError(name);
      return this.#file.update((state) => {
        delete state.properties[name];
      });
    });
  }

  setGraceTime(graceTimeMs: number): Promise<void> {
    return this.#use(async () => {
      await this.#file.update((state) => {
        state.graceTimeMs = graceTimeMs;
      });
      this.#graceTimer.setPeriod(graceTimeMs);
    });
  }

  stop(options: StopOptions = {}): Promise<void> {
    return this.#use(async () => {
      await this.#file.update((state) => {
        if (state.phase === 'active') state.phase = 'stopped';
      });
      const hasEnded = options.kill !== true && (await this.#terminate(options.graceTimeMs ?? defaultStopGraceMs));
      if (!hasEnded) await this.#killAll();
      await this.#processes.exitsReported();
    });
  }

  onEvent(listener: (event: ContainerEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Whether the container has every given property with that value. */
  matches(filter: Properties): boolean {
    return Object.entries(filter).every(([name, value]) => this.#state.properties[name] === value);
  }

  /**
   * Kills everything in the container and tells those who wait; from the call on nobody finds it. What it holds is
   * left to be released.
   */
  async end(): Promise<void> {
    this.#isEnding = true;
    this.#graceTimer.stop();
    await this.#file.update((state) => {
      state.phase = 'destroying';
    });
    await this.#processes.beginEnding();
    try {
      await endProcesses(this.#host, this.#state);
    } catch (error) {
      // It stays listed, so that its destruction can be asked for again.
      this.#isEnding = false;
      throw error;
    }
    await this.#processes.exitsReported();
    // A change of the network that was under way must not come after its release.
    await this.#leaseChanges.pass(async () => {});
    await this.#processes.end();
    await this.#file.close();
  }

  /** Takes note of kills by memory limits since the last look. Reads a file, and one per pea. */
  async checkMemoryKills(): Promise<void> {
    const groups = [
      { cgroup: this.handle, counter: this.#state },
      ...Object.values(this.#state.peas).map((pea) => ({ cgroup: pea.cgroup, counter: pea })),
    ];
    const kills = await Promise.all(groups.map(({ cgroup }) => this.#host.cgroups.oomKills(cgroup)));
    let fresh = 0;
    for (const [index, { counter }] of groups.entries()) {
      fresh += Math.max(0, kills[index]! - counter.oomKillsSeen);
      counter.oomKillsSeen = Math.max(kills[index]!, counter.oomKillsSeen);
    }
    if (fresh === 0) return;
    const recorded = this.#file.update((state) => {
      state.events.push(...Array.from({ length: fresh }, () => outOfMemory));
    });
    for (let kill = 0; kill < fresh; kill += 1) {
      for (const listener of this.#listeners) listener(outOfMemory);
    }
    await recorded;
  }

  /** Removes the files of processes whose exit status was delivered a while ago. */
  forgetDeliveredProcesses(now = Date.now()): Promise<void> {
    return this.#processes.forgetDelivered(now);
  }

  get #state(): ContainerState {
    return this.#file.state;
  }

  get #init(): ProcessIdentity {
    const { init } = this.#state;
    if (!init || !isRunning(init)) throw new Error(`the init process of container ${this.handle} is gone`);
    return init;
  }

  get #network(): NetworkLease {
    const { network } = this.#state;
    if (!network) throw new Error(`container ${this.handle} has no network`);
    return network;
  }

  /** Every verb of the port passes here: a container that is ending is not found, one that is used is not reaped. */
  async #use<Result>(work: () => Promise<Result>): Promise<Result> {
    if (this.#isEnding) throw new UnknownHandleError(this.handle);
    const release = this.#graceTimer.hold();
    try {
      return await work();
    } finally {
      release();
    }
  }

  /** Whoever waits for a process refers to its container. */
  #attach(supervised: SupervisedProcess, io: ProcessIO): ContainerProcess {
    const process = supervised.attach(io);
    return {
      ...process,
      forget: () => this.#processes.forget(supervised.id),
      wait: async (options) => {
        const release = this.#graceTimer.hold();
        try {
          return await process.wait(options);
        } finally {
          release();
        }
      },
    };
  }

  #changeNetwork(change: (network: NetworkLease) => Promise<NetworkLease>): Promise<NetworkLease> {
    return this.#leaseChanges.pass(async () => {
      const network = await change(this.#network);
      await this.#file.update((state) => {
        state.network = network;
      });
      return network;
    });
  }

  async #applyLimits(limits: Limits): Promise<void> {
    checkLimits(limits);
    const { volumes, network, cgroups } = this.#host;
    const { disk, bandwidth, ...processLimits } = limits;
    if (Object.keys(processLimits).length > 0) await cgroups.limit(this.handle, processLimits);
    const volume = disk && this.#state.volume ? await volumes.resize(this.#state.volume, disk) : this.#state.volume;
    if (bandwidth) await network.limitBandwidth(this.#network, bandwidth);
    await this.#file.update((state) => {
      if (volume) state.volume = volume;
      state.limits = { ...state.limits, ...limits, ...(disk && { disk: { ...state.limits.disk, ...disk } }) };
    });
  }

  /** Those of the container and of peas that have limits of their own, as handles. */
  get #groups(): string[] {
    const ofPeas = Object.values(this.#state.peas).map(({ cgroup }) => cgroup);
    return [this.handle, ...ofPeas.filter((cgroup) => !cgroup.startsWith(`${this.handle}/`))];
  }

  async #othersThanInit(): Promise<number[]> {
    const init = this.#state.init?.pid;
    const pids = await Promise.all(this.#groups.map((group) => this.#host.cgroups.processes(group)));
    return pids.flat().filter((pid) => pid !== init);
  }

  async #signalAll(signal: NodeJS.Signals): Promise<void> {
    const { init } = this.#state;
    await Promise.all(this.#groups.map((group) => this.#host.cgroups.signalAll(group, signal, init ? [init.pid] : [])));
  }

  /** TERM, again every second for those that came since; false when some are left after the grace time. */
  async #terminate(graceTimeMs: number): Promise<boolean> {
    let signalledAt = Number.NEGATIVE_INFINITY;
    const haveEnded = async () => {
      if ((await this.#othersThanInit()).length === 0) return true;
      if (performance.now() - signalledAt >= signalIntervalMs) {
        await this.#signalAll('SIGTERM');
        signalledAt = performance.now();
      }
      return false;
    };
    return waitUntil(haveEnded, { timeoutMs: graceTimeMs, firstPauseMs: 5 });
  }

  async #killAll(): Promise<void> {
    const haveEnded = async () => {
      if ((await this.#othersThanInit()).length === 0) return true;
      await this.#signalAll('SIGKILL');
      return false;
    };
    await waitUntil(haveEnded, { timeoutMs: killPatienceMs, firstPauseMs: 5 });
  }
}

/** A process of which only the exit status is left. */
function endedProcess(id: string, exitStatus: number): ContainerProcess {
  return {
    id,
    wait: async () => exitStatus,
    signal: async () => {},
    resize: async () => {},
  };
}
