import type { BuildpackCache } from '../../cell/buildpack-cache.js';
import type { DropletCache } from '../../cell/droplet-cache.js';
import type { Ledger } from '../../cell/ledger.js';
import type { ContainerEngine } from '../../containers/engine.js';
import type { Logger } from '../../logging/logger.js';
import type { DeaConfig } from '../config.js';
import type { AppLog } from '../logs/app-log.js';
import type { JobOutputs } from '../logs/job-output.js';
import type { StagingResult } from '../messages.js';

/** What a staging task works with; shared by all tasks of the agent. */
export interface StagingContext {
  config: DeaConfig;
  engine: ContainerEngine;
  ledger: Ledger;
  droplets: DropletCache;
  buildpacks: BuildpackCache;
  /** Directory that workspaces are made in. */
  stagingDirectory: string;
  /** Directory of the unpacked admin buildpacks. */
  adminBuildpacksDirectory: string;
  /** Host directory of the builder with its own Node.js. */
  builderDirectory: string;
  appLog: AppLog;
  outputs: JobOutputs;
  logger: Logger;
  /** Keys of the admin buildpacks that running tasks were given. */
  buildpackKeysInUse(): string[];
  /** Signed URL of the task's log, which grows while it runs. */
  logUrl(taskId: string): string;
  /** The task's process was started: time for a snapshot. */
  onChange(): void;
}

/** Where the answers of a task go (docs/protocol/dea.md §5.8). */
export interface StagingReplies {
  /** #1: set-up is done, or failed with `error`. */
  setUp(error: string | null, logUrl: string): void;
  /** #2 */
  completed(result: StagingResult): void;
  /** 2' */
  stopped(): void;
}
