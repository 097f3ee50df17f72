import { FileServer } from '../lib/dea/files/file-server.js';
import { silentLogger } from '../lib/logging/logger.js';

/** Serves the directory in its first argument, and says on which port; ends with its standard input. */
const root = process.argv[2]!;
const server = FileServer.create({
  directoryServer: { host: '127.0.0.1', port: 0 },
  fileApi: { port: 0 },
  hostUuid: 'files',
  key: process.argv[3]!,
  domain: 'example.com',
  protocol: 'http',
  roots: {
    instanceRoot: () => ({ state: 'ok', root: `${root}/home/vcap`, containerRoot: root }),
    stagingRoot: () => ({ state: 'unknown' }),
  },
  streamingTimeoutMs: 600_000,
  clock: Date.now,
  logger: silentLogger,
});
await server.start();
process.stdout.write(`${server.directoryServerPort}\n`);
process.stdin.on('end', () => void server.stop()).resume();
