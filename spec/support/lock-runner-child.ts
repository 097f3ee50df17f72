import { readIdentity } from '../../lib/http/internal-tls.js';
import { LocketClient } from '../../lib/locks/client/locket-client.js';
import { LockRunner } from '../../lib/locks/runners/lock-runner.js';
import { silentLogger } from '../../lib/logging/logger.js';

/** What a holder says to the spec that forked it: that it did something guarded, with its token, or why it must not. */
export interface RunnerMessage {
  wrote?: number;
  lost?: string;
}

/**
 * A component as the rules want it (docs/protocol/edge.md §8.2): `PORT CA_FILE CERT_FILE KEY_FILE OWNER TTL_MS` on its
 * command line. It does something guarded again and again while it has the lock.
 */
const [port, caFile, certFile, keyFile, owner, ttlMs] = process.argv.slice(2) as [
  ...[string, string, string, string, string, string],
];
const say = (message: RunnerMessage, then = () => {}) => void process.send?.(message, undefined, undefined, then);
const client = new LocketClient({
  address: `127.0.0.1:${port}`,
  identity: readIdentity({ caFile, certFile, keyFile }),
});
const runner = new LockRunner({
  locks: client,
  key: 'guarded',
  owner,
  ttlMs: Number(ttlMs),
  retryIntervalMs: 100,
  logger: silentLogger,
  onLost: (lost) => say({ lost }, () => process.exit(1)),
});

async function end(): Promise<void> {
  clearInterval(work);
  await runner.stop();
  await client.stop();
  process.exit(0);
}

runner.start();
const work = setInterval(() => {
  if (runner.isValid()) say({ wrote: runner.token! });
}, 20);
process.on('SIGTERM', () => void end());
process.on('disconnect', () => process.exit());
