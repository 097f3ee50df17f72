import { fileURLToPath } from 'node:url';
import { ConfigError, readConfigFile } from '../config/load.js';
import { type UnknownKey, unknownKeys } from '../config/unknown-keys.js';
import { reloadOnHangUp } from '../logging/hang-up.js';
import { createStenoLogger } from '../logging/steno.js';
import { failedLoading, runProgram } from '../process/program.js';
import { Agent } from './agent.js';
import { type DeaConfig, deaConfigSchema, loadDeaConfig } from './config.js';
import { checkConfigFile } from './config-check/config-check.js';
import { handleSignals } from './signals.js';

/** Where the build puts the builder: `dist/builder`. */
const builderDirectory = fileURLToPath(new URL('../builder', import.meta.url));

interface LoadedConfig {
  path: string;
  config: DeaConfig;
  /** Ignored, as upstream does; but said, because they may be misspelt. */
  unknown: UnknownKey[];
}

void runProgram<LoadedConfig, Agent>({
  name: 'dea',
  summary: 'Runs a cell: stages apps and runs their instances, driven by a Cloud Controller over NATS.',
  details: `Signals: TERM, INT and QUIT stop all apps and exit; USR1 only withdraws the cell from placement;
USR2 evacuates it: apps run on until they were replaced elsewhere, then it exits.
HUP opens the log file anew and takes over the level that the configuration has now.
Every key of the configuration is explained in config/dea.yml.`,
  load: (path) => ({ path, config: loadDeaConfig(path), unknown: unknownKeys(readConfigFile(path), deaConfigSchema) }),
  check: checkConfigFile,
  // docs/protocol/dea.md §1.1: a file that cannot be read and one that is wrong are told apart.
  describeLoadError(error) {
    if (!(error instanceof ConfigError)) return failedLoading(error);
    const { message } = error;
    return {
      stdout: `Validation config failed with error ${message}\n`,
      stderr: `Encountered error: ${message}\n`,
    };
  },
  create({ path, config, unknown }) {
    const logger = createStenoLogger({ source: 'Dea', ...config.logging });
    reloadOnHangUp(logger, () => loadDeaConfig(path).logging.level);
    for (const { path, suggestion } of unknown) {
      logger.warn('config.key.unknown', { key: path, ...(suggestion !== undefined && { did_you_mean: suggestion }) });
    }
    return Agent.create({ config, logger, builderDirectory });
  },
  handleSignals,
});
