import { readConfigFile } from '../config/load.js';
import { type UnknownKey, unknownKeys } from '../config/unknown-keys.js';
import { reloadOnHangUp } from '../logging/hang-up.js';
import { createStenoLogger } from '../logging/steno.js';
import { runProgram } from '../process/program.js';
import { Bbs } from './bbs.js';
import { type BbsConfig, bbsConfigSchema, loadBbsConfig, unusedKeys } from './config.js';
import { checkConfigFile } from './config-check/config-check.js';

interface LoadedConfig {
  path: string;
  config: BbsConfig;
  /** Ignored, as upstream does; but said, because they may be misspelt. */
  unknown: UnknownKey[];
}

/** The lock or the database is lost: a supervisor starts it again, and it waits for the lock. */
const lostStatus = 1;

void runProgram<LoadedConfig, Bbs>({
  name: 'bbs',
  summary: "Diego's bulletin board: the wanted and the actual state of all LRPs and tasks.",
  details: `The keys of the configuration are those of upstream's bbs.json; config/bbs.yml explains them.
http://<health_address>/ready tells whether the API answers, /metrics has figures.
Signals: TERM, INT and QUIT stop it. USR2 brings about a convergence pass at once. HUP opens the log file anew and takes
over the level that the configuration has now.
With --check it also looks at certificates, ports and peers, and whether it could take the database with these
encryption keys. It changes nothing.`,
  load: (path) => ({
    path,
    config: loadBbsConfig(path),
    unknown: unknownKeys(readConfigFile(path), bbsConfigSchema),
  }),
  check: checkConfigFile,
  create({ path, config, unknown }) {
    const { log_file: file } = config;
    const logger = createStenoLogger({ source: 'bbs', level: config.log_level, ...(file !== undefined && { file }) });
    reloadOnHangUp(logger, () => loadBbsConfig(path).log_level);
    for (const { path: key, suggestion } of unknown) {
      logger.warn('config.key.unknown', { key, ...(suggestion !== undefined && { did_you_mean: suggestion }) });
    }
    const unused = unusedKeys(config);
    if (unused.length > 0) logger.info('config.keys.unused', { keys: unused });
    const onFatal = (reason: string) => {
      // The log may be in a file, where nobody looks who has just started it.
      process.stderr.write(`Encountered error: ${reason}\n`);
      process.exit(lostStatus);
    };
    const bbs = new Bbs({ config, onFatal, logger });
    process.on('SIGUSR2', () => void bbs.converge());
    return bbs;
  },
});
