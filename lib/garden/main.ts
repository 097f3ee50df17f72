import { checkHost, isUsable } from '../containers/oci/host-check.js';
import { createStenoLogger } from '../logging/steno.js';
import { runProgram } from '../process/program.js';
import { type GardenConfig, loadGardenConfig } from './config.js';
import { engineOptions } from './engine-options.js';
import { Garden } from './garden.js';
import { formatFindings } from './host-table.js';

await runProgram<GardenConfig, Garden>({
  name: 'garden',
  summary: 'Runs containers for clients of the Garden API and of the Warden protocol.',
  details: `Signals: TERM, INT and QUIT stop the server; containers and their processes live on.
Every key of the configuration is explained in config/garden.yml.`,
  load: loadGardenConfig,
  async probe(config) {
    const findings = await checkHost(engineOptions(config));
    return { text: formatFindings(findings), isFit: isUsable(findings) };
  },
  create(config) {
    const { level, file } = config.logging;
    const logger = createStenoLogger({ source: 'Garden', level, ...(file !== undefined && { file }) });
    return Garden.create({ config, logger });
  },
});
