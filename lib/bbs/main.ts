import { createStenoLogger } from '../logging/steno.js';
import { runProgram } from '../process/program.js';
import { Bbs } from './bbs.js';
import { type BbsConfig, loadBbsConfig } from './config.js';

/** The lock or the database is lost: a supervisor starts it again, and it waits for the lock. */
const lostStatus = 1;

void runProgram<BbsConfig, Bbs>({
  name: 'bbs',
  summary: "Diego's bulletin board: the wanted and the actual state of all LRPs and tasks.",
  details: `The keys of the configuration are those of upstream's bbs.json; config/bbs.yml explains them.
http://<health_address>/ready tells whether the API answers, /metrics has figures.
USR2 brings about a convergence pass at once.`,
  load: loadBbsConfig,
  create(config) {
    const bbs = new Bbs({
      config,
      onFatal: () => process.exit(lostStatus),
      logger: createStenoLogger({
        source: 'bbs',
        level: config.log_level === '' ? 'info' : config.log_level,
        ...(config.log_file !== undefined && { file: config.log_file }),
      }),
    });
    process.on('SIGUSR2', () => void bbs.converge());
    return bbs;
  },
});
