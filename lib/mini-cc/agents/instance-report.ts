import { type App, indexRange, isRunnable } from '../apps/app.js';
import { ApiError } from '../errors.js';
import { type CrashEntry, crashesOf, flappingIndices, runningCount } from '../health/app-health.js';
import type { HealthClient } from '../health/health-client.js';
import type { AppState, FindDropletMessage, FoundInstance } from '../messages.js';
import { stagingApiError } from '../staging/staging-reply.js';
import type { AppEvent, EventStore } from '../store/event-store.js';
import type { DeaClient } from './dea-client.js';

export interface InstanceReportOptions {
  deas: DeaClient;
  health: HealthClient;
  /** Crashes that make an index a flapping one. */
  flappingCrashCount: number;
  events: EventStore;
  /** Milliseconds since 1970. */
  now: () => number;
}

/** One index as `/instances` shows it; `since` in seconds. `details` and `exit_status` say why one is CRASHED. */
export interface InstanceEntry {
  state: string;
  since: number;
  details?: string;
  exit_status?: number | null;
  debug_ip: null;
  debug_port: null;
  console_ip: null;
  console_port: null;
}

/** One index as `/stats` shows it. */
export type StatsEntry =
  | { state: string; since: number; stats: Record<string, unknown> }
  | { state: string; since: number };

type Crash = Pick<InstanceEntry, 'since' | 'details' | 'exit_status'>;

/** Which part of `/instances/:x/files` is an index, and what else is an instance's id (§4.3). */
const indexPattern = /^\+?\d+$/;
const instanceIdPattern = /^[0-9a-zA-Z]+$/;

/**
 * What agents, the health manager and the record of crashes tell of an app's instances (docs/protocol/legacy-cc.md §4.3,
 * §8).
 */
export class InstanceReport {
  constructor(private readonly options: InstanceReportOptions) {}

  /**
   * Every index from 0 to the wished number, DOWN when nobody knows of it. Agents are not waited for to tell of an index
   * that the health manager calls flapping.
   * @throws ApiError the staging's, NotStaged or InstancesError
   */
  async instances(app: App): Promise<Record<string, InstanceEntry>> {
    requireInstances(app);
    const crashes = this.lastCrashes(app);
    const health = await this.healthOf(app);
    const flapping = health ? flappingIndices(health, this.options.flappingCrashCount) : new Map<number, number>();
    const found = await this.find(app, { states: ['STARTING', 'RUNNING', 'CRASHED'] }, (index) => !flapping.has(index));
    return this.perIndex(app, (index) => {
      const instance = found.get(index);
      const crash = crashes.get(index);
      const flappingSince = flapping.get(index);
      if (instance && instance.state !== 'CRASHED') return entry(instance.state, instance.state_timestamp);
      if (flappingSince !== undefined) return { ...crash, ...entry('FLAPPING', flappingSince) };
      if (instance) return { ...entry('CRASHED', instance.state_timestamp), ...crash };
      if (crash) return { ...entry('CRASHED', crash.since), ...crash };
      return entry('DOWN', this.nowSeconds());
    });
  }

  /** @throws ApiError AppStoppedStatsError; a staging's error or NotStaged */
  async stats(app: App): Promise<Record<string, StatsEntry>> {
    if (app.state === 'STOPPED') throw new ApiError('AppStoppedStatsError', app.name);
    requireInstances(app);
    const found = await this.find(app, { states: ['STARTING', 'RUNNING', 'CRASHED'], include_stats: true });
    return this.perIndex(app, (index) => {
      const instance = found.get(index);
      if (!instance) return { state: 'DOWN', since: this.nowSeconds() };
      const { state, state_timestamp: since, stats } = instance;
      return state === 'RUNNING' && stats ? { state, since, stats } : { state, since };
    });
  }

  /**
   * How many indices of each app run, by guid: as the health manager knows it, else as agents tell. Apps of which that
   * cannot be said are not among them.
   */
  async runningInstances(apps: App[]): Promise<Map<string, number>> {
    const runnable = apps.filter(isRunnable);
    const states = await this.options.health.states(runnable);
    const counts = await Promise.all(
      runnable.map(async (app): Promise<[string, number]> => {
        const state = states.get(app.guid);
        const known = state && runningCount(state, app.instances);
        return [app.guid, known ?? (await this.countByAgents(app))];
      }),
    );
    return new Map(counts);
  }

  /** The crashed instances of the app's current version: as the health manager knows them, else as agents tell. */
  async crashes(app: App): Promise<CrashEntry[]> {
    const health = await this.healthOf(app);
    if (health?.instance_heartbeats) return crashesOf(health);
    const query: FindDropletMessage = { droplet: app.guid, version: app.version, states: ['CRASHED'] };
    const found = await this.options.deas.findAll(query);
    return found.map(({ instance, state_timestamp: since }) => ({ instance, since }));
  }

  /**
   * Signed URL of a file or directory of an instance.
   * @param which index or instance id, as in the request's path
   * @param path null for the root
   * @throws ApiError FileError
   */
  async fileUrl(app: App, which: string, path: string | null): Promise<string> {
    if (app.state === 'STOPPED') throw fileError(app, which, path, 'as the app is in stopped state');
    if (app.diego) throw fileError(app, which, path, 'as the app runs on Diego, which gives no access to files');
    const found = await this.options.deas.findInstance({ droplet: app.guid, path, ...this.filter(app, which, path) });
    if (!found?.file_uri_v2) throw fileError(app, which, path, 'as the instance is not found');
    return found.file_uri_v2;
  }

  private filter(app: App, which: string, path: string | null): Omit<FindDropletMessage, 'droplet' | 'path'> {
    if (indexPattern.test(which)) {
      const index = Number(which);
      if (index >= app.instances) throw fileError(app, which, path, 'as the instance is out of range');
      return { states: ['RUNNING', 'STARTING'], indices: [index], version: app.version };
    }
    if (!instanceIdPattern.test(which)) throw fileError(app, which, path, 'as the instance id is malformed');
    return { states: ['STARTING', 'RUNNING', 'CRASHED'], instance_ids: [which] };
  }

  private async healthOf(app: App): Promise<AppState | undefined> {
    return (await this.options.health.states([app])).get(app.guid);
  }

  private async countByAgents(app: App): Promise<number> {
    const found = await this.find(app, { states: ['STARTING', 'RUNNING', 'CRASHED'] });
    return [...found.values()].filter(({ state }) => state === 'RUNNING').length;
  }

  private find(
    app: App,
    message: Omit<FindDropletMessage, 'droplet' | 'version'>,
    isExpected: (index: number) => boolean = () => true,
  ): Promise<Map<number, FoundInstance>> {
    const query: FindDropletMessage = { droplet: app.guid, version: app.version, ...message };
    return this.options.deas.findInstances(query, indexRange(0, app.instances).filter(isExpected));
  }

  /** The last crash of each index in the app's current version. */
  private lastCrashes(app: App): Map<number, Crash> {
    const crashes = new Map<number, Crash>();
    for (const event of this.options.events.list(app.guid)) {
      const { index, version } = event.metadata;
      if (event.type !== 'app.crash' || version !== app.version) continue;
      if (typeof index === 'number' && !crashes.has(index)) crashes.set(index, crashOf(event));
    }
    return crashes;
  }

  private perIndex<Entry>(app: App, describe: (index: number) => Entry): Record<string, Entry> {
    return Object.fromEntries(indexRange(0, app.instances).map((index) => [String(index), describe(index)]));
  }

  private nowSeconds(): number {
    return this.options.now() / 1000;
  }
}

function entry(state: string, since: number): InstanceEntry {
  return { state, since, debug_ip: null, debug_port: null, console_ip: null, console_port: null };
}

function crashOf({ timestamp, metadata }: AppEvent): Crash {
  const { exit_description: description, exit_status: status } = metadata;
  return {
    since: Date.parse(timestamp) / 1000,
    ...(typeof description === 'string' && { details: description }),
    exit_status: typeof status === 'number' ? status : null,
  };
}

function fileError(app: App, which: string, path: string | null, reason: string): ApiError {
  return new ApiError(
    'FileError',
    `Request failed for app: ${app.name}, instance: ${which} and path: ${path ?? '/'} ${reason}.`,
  );
}

/** @throws ApiError when the app's instances cannot be asked for, as docs/protocol/legacy-cc.md §8 orders the cases */
export function requireInstances(app: App): void {
  if (app.package_state === 'FAILED') {
    throw stagingApiError(app.staging_failed_reason ?? 'StagingError', app.staging_failed_description);
  }
  if (app.package_state === 'PENDING') throw new ApiError('NotStaged');
  if (app.state === 'STOPPED') {
    throw new ApiError('InstancesError', `Request failed for app: ${app.name} as the app is in stopped state.`);
  }
}
