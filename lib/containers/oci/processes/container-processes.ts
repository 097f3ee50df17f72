import { randomUUID } from 'node:crypto';
import { errorData } from '../../../logging/logger.js';
import type { ProcessIdentity } from '../../../process/identity.js';
import { waitUntil } from '../../../process/wait.js';
import type { ProcessIO, ProcessSpec } from '../../engine.js';
import { ProcessIdInUseError } from '../../errors.js';
import { checkBindMounts, checkBindSources, checkLimits } from '../container-spec.js';
import type { StateFile } from '../container-state.js';
import { type Host, runtimeCommandOf } from '../host.js';
import { makePea, removePea } from '../peas/pea.js';
import { checkProcessSpec } from '../supervisor/process-spec.js';
import type { SupervisedProcess } from '../supervisor/supervised-process.js';
import type { SupervisedContainer } from '../supervisor/supervisor.js';
import { startProcess } from './process-start.js';

export interface ContainerProcessesOptions {
  host: Host;
  file: StateFile;
  /** The container's init. @throws when it is gone */
  init: () => ProcessIdentity;
  /** Called with the exit status of a process before anyone else learns it. */
  beforeExit: (exitStatus: number) => Promise<void>;
}

/** What conmon takes to report the end of a killed process, with room. */
const exitReportPatienceMs = 2_000;
/** How long the output of an ended process is kept after its exit status was delivered. */
const retentionMs = 60_000;
/** Exit statuses that are remembered beyond that. */
const maximumEndedProcesses = 1_000;

/** The processes of one container, peas among them, from their start until they are forgotten. */
export class ContainerProcesses {
  readonly #options: ContainerProcessesOptions;
  readonly #processes = new Map<string, SupervisedProcess>();
  readonly #startingIds = new Set<string>();
  /** Of processes whose files are just being removed, by their ids. */
  readonly #forgettings = new Map<string, Promise<void>>();
  /** Starts and removals of peas that are under way. */
  readonly #peaStarts = new Set<Promise<unknown>>();
  readonly #removals = new Set<Promise<void>>();
  #isEnding = false;

  constructor(options: ContainerProcessesOptions) {
    this.#options = options;
  }

  /** Ids of processes that have not ended. */
  get runningIds(): string[] {
    return [...this.#processes.values()].filter((process) => !process.hasEnded).map(({ id }) => id);
  }

  /** Joins the processes that an engine before this one started. */
  async adopt(): Promise<void> {
    for (const supervised of await this.#options.host.supervisor.adoptAll(this.#asSupervised())) {
      this.#processes.set(supervised.id, supervised);
    }
    for (const id of Object.keys(this.#options.file.state.peas)) {
      const supervised = this.#processes.get(id);
      if (supervised) this.#removeAfterExit(supervised);
      else await this.#forgetPea(id);
    }
  }

  /**
   * Starts a process; resolves once it was executed.
   *
   * @throws ExecutableNotFoundError, UnknownUserError, ProcessIdInUseError, InvalidSpecError
   */
  async run(spec: ProcessSpec, io: ProcessIO): Promise<SupervisedProcess> {
    checkProcessSpec(spec);
    const { activity, warmer } = this.#options.host;
    // Its namesake of before has left its id, and may not have left its place.
    if (spec.id !== undefined) await this.#forgettings.get(spec.id)?.catch(() => {});
    const id = this.#claim(spec.id ?? randomUUID());
    try {
      const start = () => (spec.image === undefined ? this.#start(id, spec, io) : this.#beginPea(id, spec, io));
      const supervised = await activity.during(() => warmer.during(start));
      this.#processes.set(id, supervised);
      return supervised;
    } finally {
      this.#startingIds.delete(id);
    }
  }

  /** A process whose files are still there. */
  find(id: string): SupervisedProcess | undefined {
    return this.#processes.get(id);
  }

  /** Removes the files of processes whose exit status was delivered a while ago. */
  async forgetDelivered(now: number): Promise<void> {
    const { host, file } = this.#options;
    for (const [id, supervised] of this.#processes) {
      if (supervised.deliveredAt === undefined || now - supervised.deliveredAt < retentionMs) continue;
      const exitStatus = await supervised.exited;
      await Promise.all(this.#removals);
      await file.update(({ endedProcesses, peas }) => {
        delete peas[id];
        endedProcesses[id] = exitStatus;
        const ids = Object.keys(endedProcesses);
        for (const oldest of ids.slice(0, ids.length - maximumEndedProcesses)) delete endedProcesses[oldest];
      });
      this.#processes.delete(id);
      await host.supervisor.forget(supervised);
    }
  }

  /** Makes the id of an ended process free and removes its files; nothing when it runs or is unknown. */
  async forget(id: string): Promise<void> {
    const supervised = this.#processes.get(id);
    if (!supervised?.hasEnded || this.#isEnding) return;
    this.#processes.delete(id);
    const forgetting = this.#removeForgotten(supervised).finally(() => this.#forgettings.delete(id));
    this.#forgettings.set(id, forgetting);
    await forgetting;
  }

  async #removeForgotten(supervised: SupervisedProcess): Promise<void> {
    const { host, file } = this.#options;
    await supervised.opened();
    await Promise.all(this.#removals);
    if (Object.hasOwn(file.state.peas, supervised.id)) {
      await file.update(({ peas }) => {
        delete peas[supervised.id];
      });
    }
    await host.supervisor.forget(supervised);
  }

  /** The processes are dead; resolves when their conmons have said so, within moments. */
  async exitsReported(): Promise<void> {
    const processes = [...this.#processes.values()];
    for (const supervised of processes) supervised.look();
    await waitUntil(() => processes.every((supervised) => supervised.hasEnded), { timeoutMs: exitReportPatienceMs });
  }

  /** What peas hold is given back with the container from now on. Resolves when none is being made or removed. */
  async beginEnding(): Promise<void> {
    this.#isEnding = true;
    await Promise.allSettled([...this.#peaStarts, ...this.#forgettings.values()]);
    await Promise.all(this.#removals);
  }

  /** Tells those who still wait, and removes all files; the processes must be dead. */
  async end(): Promise<void> {
    const { supervisor } = this.#options.host;
    await supervisor.endAll(this.#asSupervised());
    await Promise.all([...this.#processes.values()].map((supervised) => supervisor.forget(supervised)));
  }

  #claim(id: string): string {
    const isTaken =
      this.#processes.has(id) ||
      this.#startingIds.has(id) ||
      Object.hasOwn(this.#options.file.state.endedProcesses, id);
    if (isTaken) throw new ProcessIdInUseError(id);
    this.#startingIds.add(id);
    return id;
  }

  #start(id: string, spec: ProcessSpec, io: ProcessIO): Promise<SupervisedProcess> {
    const { host, file, init } = this.#options;
    const { state } = file;
    const container = this.#asSupervised();
    return startProcess({ host, state, container, init: init(), id, spec, io, env: state.env });
  }

  async #beginPea(id: string, spec: ProcessSpec, io: ProcessIO): Promise<SupervisedProcess> {
    const start = this.#startPea(id, spec, io);
    this.#peaStarts.add(start);
    try {
      return await start;
    } finally {
      this.#peaStarts.delete(start);
    }
  }

  /** Directory and environment are first those of its image; the container's environment is none of its business. */
  async #startPea(id: string, spec: ProcessSpec, io: ProcessIO): Promise<SupervisedProcess> {
    const { host, file } = this.#options;
    const { bindMounts = [], limits = {} } = spec;
    checkBindMounts(bindMounts);
    checkLimits(limits);
    await checkBindSources(bindMounts);
    // A container whose init is gone gets no peas.
    this.#options.init();
    const { init, env, workingDirectory } = await makePea(host, file, id, spec);
    try {
      const { state } = file;
      const container = this.#asSupervised();
      const dir = spec.dir || workingDirectory;
      const supervised = await startProcess({ host, state, container, init, id, spec: { ...spec, dir }, io, env });
      this.#removeAfterExit(supervised);
      return supervised;
    } catch (error) {
      await this.#forgetPea(id);
      throw error;
    }
  }

  #removeAfterExit({ id, exited }: SupervisedProcess): void {
    const { host, file } = this.#options;
    const remove = async () => {
      await exited.catch(() => {});
      if (this.#isEnding) return;
      const removal = removePea(host, file, id).catch((error: unknown) => {
        host.logger.warn('containers.pea.remove-failed', {
          handle: file.state.handle,
          process: id,
          ...errorData(error),
        });
      });
      this.#removals.add(removal);
      await removal;
      this.#removals.delete(removal);
    };
    void remove();
  }

  async #forgetPea(id: string): Promise<void> {
    const { host, file } = this.#options;
    await removePea(host, file, id);
    await file.update(({ peas }) => {
      delete peas[id];
    });
  }

  #asSupervised(): SupervisedContainer {
    const { host, file, beforeExit } = this.#options;
    const { state } = file;
    return {
      handle: state.handle,
      runtimeIdOf: (id) => state.peas[id]?.runtimeId,
      runtime: runtimeCommandOf(host, state),
      processesDirectory: host.layout.processes(state.handle),
      outputDirectory: host.layout.outputOf(state.handle),
      beforeExit,
    };
  }
}
