import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { Lock, type LockOptions } from '../../../lib/health-manager/locks/lock.js';
import { RedisLocks } from '../../../lib/health-manager/locks/redis-locks.js';
import { type Logger, silentLogger } from '../../../lib/logging/logger.js';
import { eventually } from '../../support/eventually.js';
import { type RedisServer, startRedis } from '../../support/redis.js';

const key = '{hm}:lock:listener';

describe('a lock in Redis', () => {
  let redis: RedisServer;
  let backend: RedisLocks;
  let locks: Lock[];

  beforeEach(async () => {
    redis = await startRedis();
    backend = new RedisLocks({ url: redis.url, logger: silentLogger, timeoutMs: 500 });
    await backend.start();
    locks = [];
  });

  afterEach(async () => {
    for (const lock of locks) await lock.release();
    await backend.stop();
    await redis.stop();
  });

  interface Holder {
    lock: Lock;
    lost: number;
    lines: string[];
  }

  function makeHolder(options: Partial<LockOptions> = {}): Holder {
    const holder: Holder = { lock: undefined as never, lost: 0, lines: [] };
    const note = (line: string) => void holder.lines.push(line);
    const logger: Logger = { ...silentLogger, info: note, warn: note, error: note };
    holder.lock = new Lock({
      component: 'listener',
      backend,
      logger,
      ttlMs: 3000,
      renewIntervalMs: 200,
      retryIntervalMs: 50,
      onLost: () => {
        holder.lost += 1;
      },
      ...options,
    });
    locks.push(holder.lock);
    return holder;
  }

  const acquire = ({ lock }: Holder) => lock.acquire(new AbortController().signal);

  it('38. is had by one at a time, and by the next as soon as it is given back', async () => {
    const [first, second] = [makeHolder(), makeHolder()];
    await acquire(first);
    const waiting = acquire(second);
    await eventually(() => second.lines.includes('listener.lock.acquiring-lock') || undefined);
    expect([first.lock.isHeld, second.lock.isHeld]).to.eql([true, false]);
    await first.lock.release();
    await waiting;
    expect([first.lock.isHeld, second.lock.isHeld]).to.eql([false, true]);
    expect(first.lines).to.eql([
      'listener.lock.acquiring-lock',
      'listener.lock.acquire-lock-succeeded',
      'listener.lock.releasing-lock',
    ]);
    expect([first.lost, second.lost]).to.eql([0, 0]);
  });

  it('is kept for longer than its time by a holder that lives', async () => {
    const holder = makeHolder({ ttlMs: 2500 });
    await acquire(holder);
    const begun = performance.now();
    await eventually(() => performance.now() - begun > 4000 || undefined);
    expect([holder.lock.isHeld, holder.lost]).to.eql([true, 0]);
    expect(await redis.client.pttl(key)).to.be.within(1, 2500);
  });

  it('38. is lost when it is deleted', async () => {
    const holder = makeHolder();
    await acquire(holder);
    await redis.client.del(key);
    await eventually(() => holder.lost > 0 || undefined);
    expect([holder.lock.isHeld, holder.lost, holder.lines.at(-1)]).to.eql([false, 1, 'listener.lock.lost-lock']);
  });

  it('is lost when another has it, and is left to the other', async () => {
    const holder = makeHolder();
    await acquire(holder);
    await redis.client.set(key, 'of another');
    await eventually(() => holder.lost > 0 || undefined);
    await holder.lock.release();
    expect(await redis.client.get(key)).to.equal('of another');
  });

  it('survives that Redis hangs for less than its time', async () => {
    const holder = makeHolder({ ttlMs: 8000 });
    await acquire(holder);
    redis.pause();
    await eventually(() => holder.lines.includes('listener.lock.renew-lock-failed') || undefined);
    redis.resume();
    const token = await redis.client.get(key);
    await eventually(async () => (await redis.client.pttl(key)) > 7500 || undefined);
    expect([holder.lock.isHeld, holder.lost]).to.eql([true, 0]);
    expect(await redis.client.get(key)).to.equal(token);
  });

  it('is lost when Redis is away until its time is over, and not before', async () => {
    const holder = makeHolder();
    await acquire(holder);
    const begun = performance.now();
    redis.pause();
    await eventually(() => holder.lost > 0 || undefined);
    expect(performance.now() - begun).to.be.greaterThan(2000);
    expect(holder.lock.isHeld).to.equal(false);
    redis.resume();
  });

  it('is waited for while Redis is away', async () => {
    await redis.kill();
    const holder = makeHolder();
    const waiting = acquire(holder);
    await eventually(() => holder.lines.includes('listener.lock.acquire-lock-failed') || undefined);
    await redis.restart();
    await waiting;
    expect(holder.lock.isHeld).to.equal(true);
  });

  it('is not waited for any more when that is given up', async () => {
    await redis.client.set(key, 'of another');
    const holder = makeHolder();
    const giveUp = new AbortController();
    const waiting = holder.lock.acquire(giveUp.signal);
    giveUp.abort(new Error('stopping'));
    const failure = await waiting.then(
      () => undefined,
      (error: Error) => error.message,
    );
    expect(failure).to.equal('stopping');
    expect(await redis.client.get(key)).to.equal('of another');
  });

  describe('between processes', () => {
    const program = fileURLToPath(new URL('../../support/lock-holder-child.ts', import.meta.url));
    let children: ChildProcess[];

    beforeEach(() => {
      children = [];
    });

    afterEach(async () => {
      for (const child of children) {
        if (child.exitCode !== null || child.signalCode !== null) continue;
        const exited = once(child, 'exit');
        child.kill('SIGKILL');
        await exited;
      }
    });

    function startHolder(ttlMs: number) {
      const child = fork(program, [redis.url, String(ttlMs)], { execArgv: ['--import', 'tsx'] });
      children.push(child);
      const said: string[] = [];
      child.on('message', (message) => said.push(String(message)));
      return {
        child,
        said,
        says: (text: string) => eventually(() => said.includes(text) || undefined, { what: text }),
      };
    }

    it('is taken over from a killed one when its time is over', async () => {
      const first = startHolder(3000);
      await first.says('acquired');
      const second = startHolder(3000);
      first.child.kill('SIGKILL');
      await second.says('acquired');
    });

    it('is known to be lost to a holder that was paused, before it orders anything', async () => {
      const first = startHolder(3000);
      await first.says('acquired');
      first.child.send('order');
      await first.says('may order');
      first.child.kill('SIGSTOP');
      const second = startHolder(3000);
      await second.says('acquired');
      first.child.send('order');
      first.child.kill('SIGCONT');
      await first.says('must not order');
      await first.says('lost');
      expect(first.said.filter((text) => text === 'may order')).to.have.lengthOf(1);
      expect(second.said).not.to.include('lost');
    });
  });
});
