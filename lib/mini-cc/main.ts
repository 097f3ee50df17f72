import { createStenoLogger } from '../logging/steno.js';
import { runProgram } from '../process/program.js';
import { loadMiniCcConfig, type MiniCcConfig } from './config.js';
import { MiniCc } from './mini-cc.js';

void runProgram<MiniCcConfig>({
  name: 'mini-cc',
  summary: 'Runs a miniature Cloud Controller for legacy agents, for development and tests.',
  details: 'Every key of the configuration is explained in config/mini-cc.yml. bin/isthmus is its command line.',
  load: loadMiniCcConfig,
  create(config) {
    const { level, file } = config.logging;
    const logger = createStenoLogger({ source: 'MiniCc', level, ...(file !== undefined && { file }) });
    return MiniCc.create({ config, logger });
  },
});
