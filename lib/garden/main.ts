import { checkHost, isUsable } from '../containers/oci/host-check.js';
import { createStenoLogger } from '../logging/steno.js';
import { runProgram } from '../process/program.js';
import { Garden } from './garden.js';
import { formatFindings } from './host-table.js';
import { loadSettings, type ServerSettings } from './settings.js';
import { handleSignals } from './signals.js';

void runProgram<ServerSettings, Garden>({
  name: 'garden',
  summary: 'Runs containers for clients of the Garden API and of the Warden protocol.',
  details: `Signals: TERM, INT and QUIT stop the server; USR2 lets Warden clients finish what they have asked for first.
Containers and their processes live on.
Every key of the configuration is explained in config/garden.yml. The file of a Warden is understood, too.`,
  load: loadSettings,
  async probe({ engine }) {
    const findings = await checkHost(engine);
    return { text: formatFindings(findings), isFit: isUsable(findings) };
  },
  create(settings) {
    return Garden.create({ settings, logger: createStenoLogger({ source: 'Garden', ...settings.logging }) });
  },
  handleSignals,
});
