import { type App, indexRange } from '../apps/app.js';
import { ApiError, type ApiErrorName } from '../errors.js';
import type { CrashEntry } from '../health/app-health.js';
import { processGuid } from './guids.js';
import type { Lrp } from './messages.js';
import { type TpsClient, TpsUnavailableError } from './tps-client.js';

/** One index as `/instances` shows it; seconds. Nothing is known of one that is DOWN because nobody tells of it. */
export interface LrpInstanceEntry {
  state: string;
  uptime: number;
  since?: number;
  details?: string;
}

/** One index as `/stats` shows it. */
export type LrpStatsEntry =
  | { state: string; uptime: number }
  | { state: string; details?: string; stats: Record<string, unknown> };

const bytesPerMegabyte = 1024 * 1024;

/** What tps tells of an app's instances on Diego (docs/protocol/legacy-cc.md §9.4). */
export class LrpReport {
  /** @param now milliseconds since 1970 */
  constructor(
    private readonly tps: TpsClient,
    private readonly now: () => number,
  ) {}

  /** Every index from 0 to the wished number. @throws ApiError InstancesUnavailable */
  async instances(app: App): Promise<Record<string, LrpInstanceEntry>> {
    const lrps = await orUnavailable('InstancesUnavailable', this.tps.instances(processGuid(app)));
    return perIndex(app, lrps, ({ state, since, uptime, details }) => ({ state, since, uptime, ...told(details) }));
  }

  /** @param authorization the user's own @throws ApiError StatsUnavailable */
  async stats(app: App, authorization: string | undefined): Promise<Record<string, LrpStatsEntry>> {
    const lrps = await orUnavailable('StatsUnavailable', this.tps.stats(processGuid(app), authorization));
    return perIndex<LrpStatsEntry>(app, lrps, (lrp) => ({
      state: lrp.state,
      ...told(lrp.details),
      stats: {
        name: app.name,
        uris: app.routes,
        host: lrp.host ?? '',
        port: lrp.port ?? 0,
        uptime: lrp.uptime,
        mem_quota: app.memory * bytesPerMegabyte,
        disk_quota: app.disk_quota * bytesPerMegabyte,
        fds_quota: app.file_descriptors,
        usage: {
          time: lrp.stats?.time ?? new Date(this.now()).toISOString(),
          cpu: lrp.stats?.cpu ?? 0,
          mem: lrp.stats?.mem ?? 0,
          disk: lrp.stats?.disk ?? 0,
        },
      },
    }));
  }

  /** How many of the wished indices run or start; -1 when tps does not say. */
  async runningCount(app: App): Promise<number> {
    try {
      const lrps = await this.tps.instances(processGuid(app));
      const live = wished(app, lrps).filter(({ state }) => state === 'RUNNING' || state === 'STARTING');
      return new Set(live.map(({ index }) => index)).size;
    } catch (error) {
      if (!(error instanceof TpsUnavailableError)) throw error;
      return -1;
    }
  }

  /** The crashed instances of the wished indices. @throws ApiError InstancesUnavailable */
  async crashes(app: App): Promise<(CrashEntry & { uptime: number })[]> {
    const lrps = await orUnavailable('InstancesUnavailable', this.tps.instances(processGuid(app)));
    const crashed = wished(app, lrps).filter(({ state }) => state === 'CRASHED');
    return crashed.map(({ instance_guid: instance, since }) => ({ instance, uptime: 0, since }));
  }
}

function perIndex<Entry>(
  app: App,
  lrps: Lrp[],
  describe: (lrp: Lrp) => Entry,
): Record<string, Entry | { state: string; uptime: number }> {
  const byIndex = new Map(wished(app, lrps).map((lrp) => [lrp.index, lrp]));
  return Object.fromEntries(
    indexRange(0, app.instances).map((index) => {
      const lrp = byIndex.get(index);
      return [String(index), lrp ? describe(lrp) : { state: 'DOWN', uptime: 0 }];
    }),
  );
}

function wished({ instances }: App, lrps: Lrp[]): Lrp[] {
  return lrps.filter(({ index }) => index < instances);
}

function told(details: string | null | undefined): { details?: string } {
  return details ? { details } : {};
}

async function orUnavailable<Result>(name: ApiErrorName, asked: Promise<Result>): Promise<Result> {
  try {
    return await asked;
  } catch (error) {
    if (!(error instanceof TpsUnavailableError)) throw error;
    throw new ApiError(name, error.message, { cause: error });
  }
}
