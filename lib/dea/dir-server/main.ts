import { reloadOnHangUp } from '../../logging/hang-up.js';
import { createStenoLogger } from '../../logging/steno.js';
import { runProgram } from '../../process/program.js';
import { DirectoryServer } from '../files/directory-server.js';
import { askAgent } from './agent-lookup.js';
import { type DirServerConfig, loadDirServerConfig } from './config.js';

void runProgram<DirServerConfig & { path: string }>({
  name: 'dir-server',
  summary: 'Serves the files of instances and staging tasks that an agent on this machine vouches for.',
  details: `Reads only the section directory_server of the agent's configuration file. The agent serves these files
itself, on the same port: give it another v2_port when this program is to do it.`,
  // What supervisors know of the original program.
  failureStatus: 2,
  load: (path) => ({ path, ...loadDirServerConfig(path) }),
  create({ path, address, v2_port, file_api_port, streaming_timeout, logging }) {
    const logger = createStenoLogger({ source: 'directory_server', format: 'gosteno', ...logging });
    reloadOnHangUp(logger, () => loadDirServerConfig(path).logging.level);
    return new DirectoryServer({
      host: address,
      port: v2_port,
      streamingTimeoutMs: streaming_timeout * 1000,
      lookUp: (url) => askAgent(url, { port: file_api_port }),
      logger,
    });
  },
});
