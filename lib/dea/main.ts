import { fileURLToPath } from 'node:url';
import { createStenoLogger } from '../logging/steno.js';
import { runProgram } from '../process/program.js';
import { Agent } from './agent.js';
import { type DeaConfig, loadDeaConfig } from './config.js';
import { handleSignals } from './signals.js';

/** Where the build puts the builder: `dist/builder`. */
const builderDirectory = fileURLToPath(new URL('../builder', import.meta.url));

await runProgram<DeaConfig, Agent>({
  name: 'dea',
  summary: 'Runs a cell: stages apps and runs their instances, driven by a Cloud Controller over NATS.',
  details: `Signals: TERM, INT and QUIT stop all apps and exit; USR1 only withdraws the cell from placement.
Every key of the configuration is explained in config/dea.yml.`,
  load: loadDeaConfig,
  create(config) {
    const logger = createStenoLogger({
      source: 'Dea',
      level: config.logging.level,
      ...(config.logging.file !== undefined && { file: config.logging.file }),
    });
    return Agent.create({ config, logger, builderDirectory });
  },
  handleSignals,
});
