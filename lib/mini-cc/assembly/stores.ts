import { join } from 'node:path';
import type { Logger } from '../../logging/logger.js';
import { Blobstore } from '../blobs/blobstore.js';
import { installBuiltInBuildpacks } from '../blobs/built-in-buildpacks.js';
import type { MiniCcConfig } from '../config.js';
import { controllerLine } from '../logs/controller-lines.js';
import { RecentLogs } from '../logs/recent-logs.js';
import { AppStore } from '../store/app-store.js';
import { BuildpackStore } from '../store/buildpack-store.js';
import { openDatabase } from '../store/database.js';
import { EventStore } from '../store/event-store.js';
import { HandOverStore } from '../store/hand-over-store.js';
import { JobStore } from '../store/job-store.js';
import { TaskStore } from '../store/task-store.js';
import type { Releases } from './releases.js';
import { byteLimits } from './settings.js';

/** What is kept: in the database, in the blobstore, and, of logs, in memory. */
export interface Stores {
  apps: AppStore;
  handOverStore: HandOverStore;
  taskStore: TaskStore;
  events: EventStore;
  buildpacks: BuildpackStore;
  jobs: JobStore;
  blobs: Blobstore;
  logs: RecentLogs;
}

export interface StoresOptions {
  config: MiniCcConfig;
  directory: string;
  logger: Logger;
  /** Milliseconds since 1970. */
  now: () => number;
  releases: Releases;
}

/** @throws when the directory cannot be used, or a buildpack of the configuration is none */
export async function openStores({ config, directory, logger, now, releases }: StoresOptions): Promise<Stores> {
  const database = openDatabase(join(directory, 'mini-cc.db'));
  releases.add(() => void database.close());
  const logs = new RecentLogs({ linesPerApp: config.loggregator.kept_lines });
  const events = new EventStore(database, now, (event) => {
    const line = controllerLine(event);
    if (line) logs.add(event.app_guid, line);
  });
  const jobs = new JobStore({ database, logger, now });
  jobs.start();
  releases.add(() => jobs.stop());
  const blobs = new Blobstore(join(directory, 'blobs'));
  await blobs.start();
  const buildpacks = new BuildpackStore(database, now);
  const { buildpack: maximumBytes } = byteLimits(config);
  await installBuiltInBuildpacks(config.buildpacks, { buildpacks, blobs, maximumBytes, logger });
  const apps = new AppStore(database, now);
  const handOverStore = new HandOverStore(database, now);
  const taskStore = new TaskStore(database, now);
  return { apps, handOverStore, taskStore, events, buildpacks, jobs, blobs, logs };
}
