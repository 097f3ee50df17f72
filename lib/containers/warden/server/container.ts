import { CoalescedWrite } from '../../../files/coalesced-write.js';
import { errorData, type Logger } from '../../../logging/logger.js';
import type { Container, ContainerEngine, RlimitSpec } from '../../engine.js';
import { UnknownHandleError } from '../../errors.js';
import { UnknownJobError, type WardenState, WrongStateError } from '../errors.js';
import type { InfoFields } from '../protocol/messages.js';
import { type ContainerRecord, formatRecord, type JobRecord, recordProperty } from './container-record.js';
import { GraceTimer } from './grace-timer.js';
import { describeContainer } from './info.js';
import { Job, jobIdOf } from './job.js';

/** What is the same for all containers of a server. */
export interface ContainerSettings {
  engine: ContainerEngine;
  outputLimitBytes: number;
  syslogSocket: string | undefined;
  hasDiskLimits: boolean;
  /** `LANG` of every job. */
  language: string;
  rlimits: RlimitSpec;
  logger: Logger;
}

export interface WardenContainerOptions {
  settings: ContainerSettings;
  container: Container;
  record: ContainerRecord;
  state: WardenState;
  /** The next job id of the server. */
  nextJobId: () => number;
  /** Nobody referred to it for its grace time. */
  onGraceTimeElapsed: () => void;
  /** The container of the engine is gone. */
  onGone: () => void;
}

export interface ScriptRequest {
  script: Buffer;
  privileged: boolean;
  rlimits?: RlimitSpec;
  discardOutput: boolean;
  logTag?: string;
}

const outputExceeded = 'command exceeded maximum output';

/**
 * A container as Warden's clients see it (docs/protocol/containers.md §1.4).
 *
 *     active ------ stop, out of memory -----> stopped
 *        |                                        |
 *        +-- destroy --> destroyed <-- destroy ---+     found until everything of it is gone
 */
export class WardenContainer {
  readonly handle: string;
  /** The engine's handle of it. */
  readonly id: string;
  readonly engineContainer: Container;
  readonly graceTimer: GraceTimer;
  readonly #options: WardenContainerOptions;
  readonly #record: ContainerRecord;
  readonly #jobs = new Map<number, Job>();
  readonly #writing: CoalescedWrite;
  readonly #stopListening: () => void;
  #state: WardenState;
  /** What links get that were pending when it was destroyed. */
  #obituary: InfoFields | undefined;
  #destruction: Promise<void> | undefined;

  constructor(options: WardenContainerOptions) {
    const { container, record } = options;
    this.handle = record.handle;
    this.id = container.handle;
    this.engineContainer = container;
    this.#options = options;
    this.#record = record;
    this.#state = options.state;
    this.#writing = new CoalescedWrite(() => container.setProperty(recordProperty, formatRecord(record)));
    this.graceTimer = new GraceTimer({ graceTimeMs: record.graceTimeMs, onElapsed: options.onGraceTimeElapsed });
    this.#stopListening = container.onEvent(() => this.#memoryExceeded());
  }

  get state(): WardenState {
    return this.#state;
  }

  /** @throws WrongStateError */
  expectState(...allowed: WardenState[]): void {
    if (!allowed.includes(this.#state)) throw new WrongStateError(allowed, this.#state);
  }

  /** Joins the jobs that a server before this one started; those that are gone are forgotten. */
  async adoptJobs(): Promise<void> {
    for (const [idText, record] of Object.entries(this.#record.jobs)) {
      const id = Number(idText);
      const job = this.#makeJob(id, record);
      try {
        await job.adopt(this.engineContainer);
        this.#jobs.set(id, job);
      } catch (error) {
        this.#logger.warn('containers.warden.job-lost', { handle: this.handle, job: id, ...errorData(error) });
        delete this.#record.jobs[idText];
      }
    }
    // Its memory limit may have been hit while nobody looked.
    if (this.#state === 'active' && (await this.engineContainer.info()).events.length > 0) this.#memoryExceeded();
  }

  async spawn(request: ScriptRequest): Promise<Job> {
    this.expectState('active');
    const id = this.#options.nextJobId();
    const record: JobRecord = {
      discardOutput: request.discardOutput,
      hasExceededOutput: false,
      ...(request.logTag !== undefined && { logTag: request.logTag }),
    };
    this.#record.lastJobId = id;
    this.#record.jobs[id] = record;
    // On the disk first: a job that runs and is not known could never be linked.
    await this.#writing.save();
    const job = this.#makeJob(id, record);
    try {
      const { language, rlimits } = this.#options.settings;
      await job.start(this.engineContainer, request.script, {
        path: '/bin/bash',
        user: request.privileged ? 'root' : 'vcap',
        env: [`LANG=${language}`],
        rlimits: { ...rlimits, ...request.rlimits },
      });
    } catch (error) {
      await job.release();
      await this.#forget(id);
      throw error;
    }
    this.#jobs.set(id, job);
    return job;
  }

  /** @throws UnknownJobError */
  job(id: number): Job {
    const job = this.#jobs.get(id);
    if (!job) throw new UnknownJobError();
    return job;
  }

  /** Its result was delivered; from now on it is unknown. */
  async removeJob(job: Job): Promise<void> {
    if (!this.#jobs.delete(job.id)) return;
    await job.release();
    if (this.#state !== 'destroyed') await this.#forget(job.id);
  }

  async info(): Promise<InfoFields> {
    const { settings } = this.#options;
    const [info, metrics, limits] = await Promise.all([
      this.engineContainer.info(),
      this.engineContainer.metrics(),
      this.engineContainer.limits(),
    ]);
    return describeContainer({
      state: this.#state,
      events: this.#record.events,
      jobIds: info.processIds.flatMap((processId) => jobIdOf(processId) ?? []),
      info,
      metrics,
      limits,
      hasDiskLimits: settings.hasDiskLimits,
    });
  }

  /** What those get who waited for a job; nothing when even the last of it is gone. */
  async infoForLink(): Promise<InfoFields | undefined> {
    if (this.#state === 'destroyed') return this.#obituary;
    return this.info().catch(() => this.#obituary);
  }

  /** Resolves when all jobs have ended. On a stopped container nothing happens. */
  async stop(options: { kill?: boolean } = {}): Promise<void> {
    if (this.#state !== 'active') return;
    this.#state = 'stopped';
    await this.engineContainer.stop(options);
  }

  /** Stops it and gives back all that it holds. May be asked for again after a failure. */
  destroy(): Promise<void> {
    this.#destruction ??= this.#destroy().catch((error: unknown) => {
      this.#destruction = undefined;
      throw error;
    });
    return this.#destruction;
  }

  /** Lets go of what the server holds for it; the container lives on. Idempotent. */
  async release(): Promise<void> {
    this.graceTimer.stop();
    this.#stopListening();
    await Promise.all([...this.#jobs.values()].map((job) => job.release()));
  }

  get #logger(): Logger {
    return this.#options.settings.logger;
  }

  async #destroy(): Promise<void> {
    this.graceTimer.stop();
    this.#obituary ??= await this.info().catch(() => undefined);
    const wasActive = this.#state === 'active';
    this.#state = 'destroyed';
    try {
      if (wasActive) await this.engineContainer.stop();
      await this.#options.settings.engine.destroy(this.id);
    } catch (error) {
      // Somebody else was faster.
      if (!(error instanceof UnknownHandleError)) throw error;
    }
    await this.release();
    this.#options.onGone();
  }

  #memoryExceeded(): void {
    if (this.#state !== 'active') return;
    this.#logger.info('containers.warden.out-of-memory', { handle: this.handle });
    this.stop().catch((error: unknown) => {
      this.#logger.error('containers.warden.stop-failed', { handle: this.handle, ...errorData(error) });
    });
  }

  #makeJob(id: number, record: JobRecord): Job {
    const { outputLimitBytes, syslogSocket, logger } = this.#options.settings;
    const onOutputExceeded = () => {
      if (!this.#record.events.includes(outputExceeded)) this.#record.events.push(outputExceeded);
      this.#saveSoon();
    };
    const onEnded = () => this.#saveSoon();
    return new Job({ id, record, outputLimitBytes, syslogSocket, onOutputExceeded, onEnded, logger });
  }

  #saveSoon(): void {
    this.#writing.save().catch((error: unknown) => {
      if (error instanceof UnknownHandleError) return;
      this.#logger.warn('containers.warden.record-failed', { handle: this.handle, ...errorData(error) });
    });
  }

  async #forget(id: number): Promise<void> {
    delete this.#record.jobs[id];
    await this.#writing.save().catch((error: unknown) => {
      if (!(error instanceof UnknownHandleError)) throw error;
    });
  }
}
