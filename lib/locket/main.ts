import { readConfigFile } from '../config/load.js';
import { type UnknownKey, unknownKeys, warnOfUnknownKeys } from '../config/unknown-keys.js';
import { reloadOnHangUp } from '../logging/hang-up.js';
import { createStenoLogger } from '../logging/steno.js';
import { runProgram } from '../process/program.js';
import { type LocketConfig, loadLocketConfig, locketConfigSchema } from './config.js';
import { checkConfigFile } from './config-check.js';
import { Locket } from './locket.js';

interface LoadedConfig {
  path: string;
  config: LocketConfig;
  /** Ignored, as upstream does; but said, because they may be misspelt. */
  unknown: UnknownKey[];
}

void runProgram<LoadedConfig, Locket>({
  name: 'locket',
  summary: 'Keeps locks and presences for the components of Diego, over gRPC with mutual TLS.',
  details: `Signals: TERM, INT and QUIT stop it; what is held stays held. HUP opens the log file anew and takes over the level
that the configuration has now.
With --check it also looks at its certificates and ports, and opens its store.
Several may run on one database or Redis; with data_directory there is one.
Every key of the configuration is explained in config/locket.yml. Upstream's JSON files load as they are.`,
  load: (path) => ({
    path,
    config: loadLocketConfig(path),
    unknown: unknownKeys(readConfigFile(path), locketConfigSchema),
  }),
  check: checkConfigFile,
  create({ path, config, unknown }) {
    const { log_level: level, log_file: file } = config;
    const logger = createStenoLogger({ source: 'locket', level, ...(file !== undefined && { file }) });
    reloadOnHangUp(logger, () => loadLocketConfig(path).log_level);
    warnOfUnknownKeys(unknown, logger);
    if (config.loggregator) logger.warn('config.key.unused', { key: 'loggregator', instead: 'dropsonde_port' });
    const onFailure = (error: Error) => {
      logger.fatal('locket.failed', { error: error.message });
      process.exit(1);
    };
    return Locket.create({ config, onFailure, logger });
  },
});
