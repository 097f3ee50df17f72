import { expect } from 'chai';
import type { InstanceHeartbeat } from '../../../../lib/health-manager/records.js';
import { RedisStore } from '../../../../lib/health-manager/store/redis/redis-store.js';
import { silentLogger } from '../../../../lib/logging/logger.js';
import { instance, received } from '../../../support/health-records.js';
import { type RedisServer, startRedis } from '../../../support/redis.js';
import { storeTimes } from '../store-contract.js';

describe('what an analysis reads from Redis', () => {
  let redis: RedisServer;
  let listener: RedisStore;
  let analyzer: RedisStore;

  before(async () => {
    redis = await startRedis();
  });

  after(() => redis.stop());

  beforeEach(async () => {
    await redis.client.flushall();
    listener = await open();
    analyzer = await open();
  });

  afterEach(async () => {
    await listener.stop();
    await analyzer.stop();
  });

  async function open(): Promise<RedisStore> {
    const store = new RedisStore({ times: storeTimes, url: redis.url, logger: silentLogger });
    await store.start();
    return store;
  }

  const entry = (guid: string, changes: Partial<InstanceHeartbeat> = {}) =>
    instance(0, 'RUNNING', { instance: guid, app: `app-of-${guid}`, ...changes });
  const list = (dea: string, ...guids: string[]) =>
    received(
      dea,
      guids.map((guid) => entry(guid)),
    );

  async function seen(): Promise<string[]> {
    const found: string[] = [];
    await analyzer.forEachApp(({ app, instances }) => {
      for (const { instance: guid, dea, state } of instances.values()) found.push(`${app} ${guid} ${dea} ${state}`);
    });
    return found.sort();
  }

  /** How often Redis was asked for one field of a hash, as scripts do for every instance that they read. */
  async function reads(): Promise<number> {
    return Number(/cmdstat_hget:calls=(\d+)/.exec(await redis.client.info('commandstats'))?.[1] ?? 0);
  }

  const many = Array.from({ length: 200 }, (_, dea) => list(`dea-${dea}`, ...guidsOf(dea)));

  function guidsOf(dea: number): string[] {
    return Array.from({ length: 50 }, (_, place) => `g${dea}-${place}`);
  }

  it('is all of it the first time, and then what has changed, with a part of the rest', async () => {
    await listener.saveHeartbeats(many);
    expect(await seen()).to.have.lengthOf(10_000);
    await listener.saveHeartbeats([list('dea-7', 'new')]);
    const before = await reads();
    const found = await seen();
    expect((await reads()) - before).to.be.lessThan(200 + 25 * 50);
    expect(found)
      .to.have.lengthOf(10_000 - 49)
      .and.to.include('app-of-new new dea-7 RUNNING');
  });

  it('follows states, agents that take over and hand back, and agents that fall silent', async () => {
    const state = (name: string) => received('dea-a', [entry('g', { state: name })]);
    const stations: [() => Promise<unknown>, string[]][] = [
      [() => listener.saveHeartbeats([state('STARTING')]), ['app-of-g g dea-a STARTING']],
      [() => listener.saveHeartbeats([state('RUNNING')]), ['app-of-g g dea-a RUNNING']],
      [
        () => listener.saveHeartbeats([list('dea-b', 'g', 'h')]),
        ['app-of-g g dea-b RUNNING', 'app-of-h h dea-b RUNNING'],
      ],
      [() => listener.saveHeartbeats([list('dea-a', 'g')]), ['app-of-g g dea-a RUNNING', 'app-of-h h dea-b RUNNING']],
      [() => redis.client.zadd('{hm}:v1:deas', 1, 'dea-a'), ['app-of-h h dea-b RUNNING']],
      [() => listener.saveHeartbeats([list('dea-b')]), []],
    ];
    for (const [happens, expected] of stations) {
      await happens();
      expect(await seen()).to.eql(expected);
    }
  });

  it('moves an instance to its new version', async () => {
    await listener.saveHeartbeats([received('dea-a', [entry('g', { version: 'one' })])]);
    await seen();
    await listener.saveHeartbeats([received('dea-a', [entry('g', { version: 'two' })])]);
    const versions: string[] = [];
    await analyzer.forEachApp(({ version }) => void versions.push(version));
    expect(versions).to.eql(['two']);
  });

  it('misses no instance that goes from agent to agent all the time', async () => {
    await listener.saveHeartbeats(many);
    let isReading = true;
    const moving = (async () => {
      for (let round = 0; isReading; round += 1) {
        // From the agent that beat last, which is read late, to the one that has been silent longest, which is read early.
        const [from, to] = [round % many.length, (round + 1) % many.length];
        await listener.saveHeartbeats([list(`dea-${to}`, ...guidsOf(to), 'a', 'b', 'c')]);
        await listener.saveHeartbeats([list(`dea-${from}`, ...guidsOf(from))]);
      }
    })();
    try {
      while (!(await seen()).some((line) => line.startsWith('app-of-c ')));
      for (let round = 0; round < 20; round += 1) {
        // Every other round by one who has read nothing yet, and so takes long.
        if (round % 2 === 0) {
          await analyzer.stop();
          analyzer = await open();
        }
        const found = new Set((await seen()).map((line) => line.split(' ')[1]));
        expect(found.size).to.equal(10_003);
      }
    } finally {
      isReading = false;
      await moving;
    }
  });

  it('shows several who ask at once the whole', async () => {
    await listener.saveHeartbeats(many);
    const found = await Promise.all([seen(), seen(), seen()]);
    expect(found.map(({ length }) => length)).to.eql([10_000, 10_000, 10_000]);
  });

  it('is what an emptied Redis has, when it has lost all', async () => {
    await listener.saveHeartbeats(many);
    await seen();
    await redis.client.flushall();
    expect(await seen()).to.eql([]);
    await listener.saveHeartbeats([list('dea-a', 'g')]);
    expect(await seen()).to.eql(['app-of-g g dea-a RUNNING']);
  });
});
