import { randomInt } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { type DatabaseOptions, openDatabase } from '../../lib/database/database.js';
import { LocketClient } from '../../lib/locks/client/locket-client.js';
import type { Grant, LockStore } from '../../lib/locks/lock-store.js';
import { RedisLockStore } from '../../lib/locks/redis/redis-store.js';
import { LockRunner } from '../../lib/locks/runners/lock-runner.js';
import { SqlLockStore } from '../../lib/locks/sql/sql-store.js';
import type { LockTables } from '../../lib/locks/sql/tables.js';
import { silentLogger } from '../../lib/logging/logger.js';
import { eventually } from '../support/eventually.js';
import { makeIdentity, type RunningLocket, startLocket, type TestIdentity } from '../support/locket.js';
import { mariadb } from '../support/mariadb.js';
import { freeTcpPort } from '../support/nats.js';
import { postgres } from '../support/postgres.js';
import { startRedis } from '../support/redis.js';
import { ScriptedLocks } from '../support/scripted-locks.js';
import { startSentinel } from '../support/sentinel.js';

const seconds = Number(process.env.CHAOS_SECONDS ?? 4);
const clients = process.env.CHAOS_SECONDS === undefined ? 20 : 100;
const ttlMs = 1000;

/** A client that competes; killing it makes it fall silent while it still believes that it has the lock. */
interface Contender {
  runner: LockRunner;
  locks: ScriptedLocks;
  stop(): Promise<void>;
}

/**
 * Many clients race for one lock (docs/protocol/edge.md §9, checks 39 and 40). All are in this process, so that one clock
 * tells who believes to have it: never may two at a time.
 */
class Race {
  readonly #contenders = new Set<Contender>();
  readonly #silent = new Set<Contender>();
  readonly tokens: number[] = [];
  readonly faults: string[] = [];
  #owners = 0;
  #holder: Contender | undefined;
  #watch: NodeJS.Timeout | undefined;

  constructor(private readonly newLocks: () => { locks: ScriptedLocks; stop(): Promise<void> }) {}

  start(count: number): void {
    for (let index = 0; index < count; index += 1) this.#enter();
    this.#watch = setInterval(() => this.#look(), 2);
  }

  /** Whoever has the lock falls silent, as if it were killed, and another enters. */
  killHolder(): void {
    const holder = this.#holder;
    if (!holder?.runner.isValid()) return;
    holder.locks.instead = () => new Promise<Grant>(() => {});
    this.#contenders.delete(holder);
    this.#silent.add(holder);
    this.#enter();
  }

  get holder(): Contender | undefined {
    return [...this.#contenders].find(({ runner }) => runner.isValid());
  }

  async stop(): Promise<void> {
    clearInterval(this.#watch);
    const all = [...this.#contenders, ...this.#silent];
    this.#contenders.clear();
    await Promise.all(all.map((contender) => contender.stop()));
  }

  #enter(): void {
    this.#owners += 1;
    const { locks, stop } = this.newLocks();
    const runner = new LockRunner({
      locks,
      key: 'raced-for',
      owner: `owner-${this.#owners}`,
      ttlMs,
      retryIntervalMs: 100,
      logger: silentLogger,
      onLost: () => this.#leave(contender),
    });
    const contender: Contender = {
      runner,
      locks,
      async stop() {
        await runner.stop();
        await stop();
      },
    };
    this.#contenders.add(contender);
    runner.start();
    void runner.whenHeld().then(
      () => this.#hold(contender),
      () => {},
    );
  }

  #hold(contender: Contender): void {
    this.#look();
    this.#holder = contender;
    const { token } = contender.runner;
    if (token === undefined) return;
    if (token <= (this.tokens.at(-1) ?? 0)) this.faults.push(`token ${token} after ${this.tokens.at(-1)}`);
    this.tokens.push(token);
  }

  /** A process that has lost the lock ends, and its supervisor starts another. */
  #leave(contender: Contender): void {
    if (!this.#contenders.delete(contender)) return;
    this.#silent.add(contender);
    this.#enter();
  }

  #look(): void {
    const holders = [...this.#contenders, ...this.#silent].filter(({ runner }) => runner.isValid());
    if (holders.length > 1) this.faults.push(`${holders.length} holders: ${holders.map(({ runner }) => runner.token)}`);
  }
}

describe('a race for one lock', function () {
  this.timeout((seconds + 90) * 1000);
  let identity: TestIdentity;
  const cleanups: (() => Promise<unknown>)[] = [];

  before(() => {
    identity = makeIdentity();
  });

  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });

  after(() => identity.remove());

  /** Two Lockets on stores that share what they keep; each can be killed and started again. */
  async function twoLockets(newStore: () => Promise<LockStore>) {
    const ports = [await freeTcpPort(), await freeTcpPort()];
    const lockets: (RunningLocket | undefined)[] = [];
    const start = async (index: number) => {
      lockets[index] = await startLocket({ identity, store: await newStore(), port: ports[index]! });
    };
    const stop = async (index: number) => {
      await lockets[index]?.stop();
      lockets[index] = undefined;
    };
    await Promise.all([start(0), start(1)]);
    cleanups.push(async () => Promise.all([stop(0), stop(1)]));
    return { ports, restart: (index: number) => stop(index).then(() => start(index)) };
  }

  function raceOver(ports: number[]): Race {
    let turn = 0;
    const race = new Race(() => {
      turn += 1;
      const client = new LocketClient({ address: `127.0.0.1:${ports[turn % ports.length]}`, identity });
      return { locks: new ScriptedLocks(client), stop: () => client.stop() };
    });
    cleanups.push(() => race.stop());
    return race;
  }

  async function killAtRandom(race: Race, restart: (index: number) => Promise<void>): Promise<void> {
    const end = performance.now() + seconds * 1000;
    let nextKill = 0;
    let restarting = Promise.resolve();
    await eventually(
      () => {
        const now = performance.now();
        if (now < nextKill) return undefined;
        nextKill = now + randomInt(200, 1500);
        if (randomInt(3) > 0) race.killHolder();
        else restarting = restarting.then(() => restart(randomInt(2)));
        return now >= end ? true : undefined;
      },
      { timeoutMs: (seconds + 30) * 1000 },
    );
    await restarting;
  }

  async function expectFair(race: Race): Promise<void> {
    await eventually(() => race.holder, { what: 'a last holder' });
    expect(race.faults).to.deep.equal([]);
    expect(race.tokens.length).to.be.greaterThan(1);
  }

  const databases = {
    SQLite: async (): Promise<DatabaseOptions> => {
      const directory = await mkdtemp(join(tmpdir(), 'locks-'));
      cleanups.push(() => rm(directory, { recursive: true }));
      return { driver: 'sqlite3', connectionString: join(directory, 'locks.db') };
    },
    MariaDB: async (): Promise<DatabaseOptions> => ({
      driver: 'mysql',
      connectionString: await (await mariadb()).createDatabase(),
    }),
    PostgreSQL: async (): Promise<DatabaseOptions> => ({
      driver: 'postgres',
      connectionString: await (await postgres()).createDatabase(),
    }),
  };

  for (const [name, create] of Object.entries(databases)) {
    it(`never has two winners on ${name}, however many holders and Lockets are killed`, async () => {
      const options = await create();
      const { ports, restart } = await twoLockets(async () => {
        const database = await openDatabase<LockTables>(options);
        const store = new SqlLockStore({ database, sweepIntervalMs: 200 });
        const stop = store.stop.bind(store);
        return Object.assign(store, { stop: () => stop().then(() => database.stop()) });
      });
      const race = raceOver(ports);
      race.start(clients);
      await killAtRandom(race, restart);
      await expectFair(race);
    });
  }

  it('never has two winners on Redis, however many holders and Lockets are killed', async () => {
    const redis = await startRedis();
    cleanups.push(() => redis.stop());
    const { ports, restart } = await twoLockets(
      async () => new RedisLockStore({ server: redis.url, quarantineMs: ttlMs, sweepIntervalMs: 200 }),
    );
    const race = raceOver(ports);
    race.start(clients);
    await killAtRandom(race, restart);
    await expectFair(race);
  });

  it('has one winner, and soon another, when the primary of Redis is killed', async () => {
    const primary = await startRedis();
    cleanups.push(() => primary.stop());
    const settings = { replicaof: `127.0.0.1 ${primary.port}`, 'repl-diskless-sync-delay': '0' };
    const replicas = await Promise.all([startRedis({ settings }), startRedis({ settings })]);
    for (const replica of replicas) cleanups.push(() => replica.stop());
    const sentinel = await startSentinel({ name: 'locket', primaryPort: primary.port, replicas: replicas.length });
    cleanups.push(() => sentinel.stop());
    const server = { sentinels: [{ host: '127.0.0.1', port: sentinel.port }], name: 'locket' };
    const { ports } = await twoLockets(
      async () =>
        new RedisLockStore({
          server,
          quarantineMs: ttlMs,
          confirmingReplicas: 1,
          timeoutMs: 500,
          sweepIntervalMs: 200,
        }),
    );
    const race = raceOver(ports);
    race.start(clients);
    await eventually(() => race.holder, { what: 'a first holder' });
    const before = race.tokens.length;
    await primary.kill();
    await eventually(() => (race.tokens.length > before ? race.holder : undefined), {
      what: 'a new holder',
      timeoutMs: 45_000,
    });
    expect(race.faults).to.deep.equal([]);
  });
});
