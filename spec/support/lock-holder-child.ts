import { Lock } from '../../lib/health-manager/locks/lock.js';
import { RedisLocks } from '../../lib/health-manager/locks/redis-locks.js';
import { silentLogger } from '../../lib/logging/logger.js';

/** What a holder says to the spec that forked it. */
export type HolderMessage = 'acquired' | 'lost' | 'may order' | 'must not order';

/** A process that competes for a lock: `URL TTL_MS` on its command line; any message asks whether it may order now. */
const [url, ttlMs] = process.argv.slice(2);
const say = (message: HolderMessage) => void process.send?.(message);
const backend = new RedisLocks({ url: url!, logger: silentLogger });
const lock = new Lock({
  component: 'analyzer',
  backend,
  logger: silentLogger,
  ttlMs: Number(ttlMs),
  renewIntervalMs: Number(ttlMs) / 3,
  retryIntervalMs: 50,
  onLost: () => say('lost'),
});

process.on('message', () => say(lock.isHeld ? 'may order' : 'must not order'));
process.on('disconnect', () => process.exit());
await backend.start();
await lock.acquire(new AbortController().signal);
say('acquired');
