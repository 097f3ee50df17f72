import type { Logger } from '../logging/logger.js';
import type { DeaConfig } from './config.js';
import type { Heartbeat } from './heartbeat.js';
import type { InstanceManager } from './instances/instance-manager.js';
import type { InstanceRegistry } from './instances/instance-registry.js';
import type { InstanceState } from './messages.js';
import type { StagingRegistry } from './staging/staging-registry.js';

/** Between two passes, each of which ends with a heartbeat. */
const passPeriodMs = 5_000;
/** How soon after its last instance and staging task an evacuation ends. */
const lookPeriodMs = 250;

/** States that nobody has to take over from any more. */
const finalStates: readonly InstanceState[] = ['STOPPING', 'STOPPED', 'CRASHED'];

/** What an evacuation's end is decided by. */
export interface EvacuationProgress {
  states: InstanceState[];
  stagingTasks: number;
  elapsedMs: number;
  bailOutMs: number;
}

/**
 * Why the agent may shut down now; undefined while it has to wait (docs/protocol/dea.md §16.1). Crashed instances do
 * not hold it up: their replacements are the health manager's business already.
 */
export function evacuationEnd(progress: EvacuationProgress): 'drained' | 'bail-out' | undefined {
  const { states, stagingTasks, elapsedMs, bailOutMs } = progress;
  if (stagingTasks === 0 && states.every((state) => finalStates.includes(state))) return 'drained';
  return elapsedMs >= bailOutMs ? 'bail-out' : undefined;
}

/**
 * Seconds that an evacuation lasts at most. Agents of 2013 waited for `evacuation_delay_secs`, whatever happened: the
 * drain scripts that such a file comes with expect the end by then.
 */
export function bailOutSeconds(config: DeaConfig): number {
  return config.evacuation_bail_out_time_in_seconds ?? config.evacuation_delay_secs ?? 600;
}

export interface EvacuationOptions {
  bailOutMs: number;
  instances: InstanceRegistry;
  manager: InstanceManager;
  stagingTasks: StagingRegistry;
  heartbeat: Heartbeat;
  /** Milliseconds of a clock that nobody sets. */
  monotonicClock: () => number;
  /** Called once, when nothing holds the agent any more. */
  onEnd(): void;
  logger: Logger;
}

/**
 * Moves an agent's instances elsewhere (docs/protocol/dea.md §16.1): they run on as EVACUATING, with their routes, and
 * are reported every five seconds, so that the health manager has replacements started and then these stopped.
 *
 *   (running) --start--> passes --drained, bail-out--> onEnd
 *                           `--stop-------------------> (nothing)
 */
export class Evacuation {
  private startedAtMs: number | undefined;
  private timers: NodeJS.Timeout[] = [];
  private passes = 0;

  constructor(private readonly options: EvacuationOptions) {}

  /** Idempotent. */
  start(): void {
    if (this.startedAtMs !== undefined) return;
    this.startedAtMs = this.options.monotonicClock();
    this.timers = [setInterval(() => this.pass(), passPeriodMs), setInterval(() => this.look(), lookPeriodMs)];
    this.pass();
  }

  /** Ends it without its end being told. Idempotent. */
  stop(): void {
    for (const timer of this.timers) clearInterval(timer);
    this.timers = [];
  }

  /** Later passes find only what came up in between: instances that the first one missed are a fault. */
  private pass(): void {
    const { instances, manager, heartbeat, logger } = this.options;
    this.passes += 1;
    const isFirst = this.passes === 1;
    for (const instance of instances.all()) {
      if (!manager.evacuateInstance(instance) || isFirst) continue;
      logger.error('evacuation.instance.late', { instance: instance.id });
    }
    heartbeat.send();
    logger.info(`Evacuating (first time: ${isFirst}; can shutdown: ${this.end !== undefined})`);
  }

  private look(): void {
    const { end } = this;
    if (end === undefined) return;
    this.stop();
    this.options.logger.info('evacuation.ended', { reason: end });
    this.options.onEnd();
  }

  private get end(): 'drained' | 'bail-out' | undefined {
    const { instances, stagingTasks, monotonicClock, bailOutMs } = this.options;
    return evacuationEnd({
      states: instances.all().map(({ state }) => state),
      stagingTasks: stagingTasks.all().length,
      elapsedMs: monotonicClock() - this.startedAtMs!,
      bailOutMs,
    });
  }
}
