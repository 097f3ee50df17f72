import {
  type InstanceEntry,
  type InstanceReport,
  requireInstances,
  type StatsEntry,
} from '../agents/instance-report.js';
import type { LrpInstanceEntry, LrpReport, LrpStatsEntry } from '../diego/lrp-report.js';
import { ApiError } from '../errors.js';
import type { CrashEntry } from '../health/app-health.js';
import type { App } from './app.js';

/** What is told of an app's instances by those who run them: cells and health manager, or Diego. */
export class InstanceReports {
  constructor(
    private readonly cells: InstanceReport,
    private readonly diego: LrpReport,
  ) {}

  /** @throws ApiError the staging's, NotStaged, InstancesError or InstancesUnavailable */
  async instances(app: App): Promise<Record<string, InstanceEntry | LrpInstanceEntry>> {
    if (!app.diego) return this.cells.instances(app);
    requireInstances(app);
    return this.diego.instances(app);
  }

  /**
   * @param authorization the user's own
   * @throws ApiError AppStoppedStatsError, StatsUnavailable; a staging's error or NotStaged
   */
  async stats(app: App, authorization: string | undefined): Promise<Record<string, StatsEntry | LrpStatsEntry>> {
    if (!app.diego) return this.cells.stats(app);
    if (app.state === 'STOPPED') throw new ApiError('AppStoppedStatsError', app.name);
    requireInstances(app);
    return this.diego.stats(app, authorization);
  }

  /** How many indices of each app run, by guid; apps of which that cannot be said are not among them, or have -1. */
  async runningInstances(apps: App[]): Promise<Map<string, number>> {
    const started = apps.filter(({ diego, state }) => diego && state === 'STARTED');
    const [onCells, onDiego] = await Promise.all([
      this.cells.runningInstances(apps.filter(({ diego }) => !diego)),
      Promise.all(started.map(async (app) => [app.guid, await this.diego.runningCount(app)] as const)),
    ]);
    return new Map([...onCells, ...onDiego]);
  }

  /** @throws ApiError InstancesUnavailable of Diego */
  crashes(app: App): Promise<CrashEntry[]> {
    return app.diego ? this.diego.crashes(app) : this.cells.crashes(app);
  }

  /** Signed URL of a file or directory of an instance. @throws ApiError FileError, always for an app on Diego */
  fileUrl(app: App, which: string, path: string | null): Promise<string> {
    return this.cells.fileUrl(app, which, path);
  }
}
