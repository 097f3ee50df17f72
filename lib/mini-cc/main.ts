import { readConfigFile } from '../config/load.js';
import { describeUnknownKey, type UnknownKey, unknownKeys, warnOfUnknownKeys } from '../config/unknown-keys.js';
import { createStenoLogger } from '../logging/steno.js';
import { runProgram } from '../process/program.js';
import { loadMiniCcConfig, type MiniCcConfig, miniCcConfigSchema } from './config.js';
import { MiniCc } from './mini-cc.js';

interface LoadedConfig {
  config: MiniCcConfig;
  unknown: UnknownKey[];
}

void runProgram<LoadedConfig>({
  name: 'mini-cc',
  summary: 'Runs a miniature Cloud Controller for legacy agents, for development and tests.',
  details: 'Every key of the configuration is explained in config/mini-cc.yml. bin/isthmus is its command line.',
  load: (path) => ({
    config: loadMiniCcConfig(path),
    unknown: unknownKeys(readConfigFile(path), miniCcConfigSchema),
  }),
  probe: async ({ unknown }) => ({
    text: unknown.map((key) => `${describeUnknownKey(key)}\n`).join(''),
    isFit: true,
  }),
  create({ config, unknown }) {
    const { level, file } = config.logging;
    const logger = createStenoLogger({ source: 'MiniCc', level, ...(file !== undefined && { file }) });
    warnOfUnknownKeys(unknown, logger);
    return MiniCc.create({ config, logger });
  },
});
