import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import { connect, type NatsConnection } from 'nats';
import { StateFile } from '../../lib/health-manager/store/memory/state-file.js';
import { type BulkCloudController, startBulkCloudController } from '../support/bulk-cloud-controller.js';
import { eventually } from '../support/eventually.js';
import { HealthManagerProgram } from '../support/health-manager-program.js';
import { type NatsServer, startNats } from '../support/nats.js';
import { PlayedPlatform } from '../support/played-platform.js';
import { type RedisServer, startRedis } from '../support/redis.js';

/** In each of the two trials: fifty in all. `npm run chaos` kills more often. */
const leastKills = 25;
const kills = Number(process.env.CHAOS_ROUNDS ?? leastKills);
const seconds = Number(process.env.CHAOS_SECONDS ?? 300);

/** A heartbeat is a second, and nearly nothing is waited for; crashes are counted for ever, and never backed off from. */
const impatient = {
  heartbeat_ttl_in_heartbeats: 6,
  actual_freshness_ttl_in_heartbeats: 2,
  grace_period_in_heartbeats: 1,
  number_of_crashes_before_backoff_begins: 1_000_000,
  starting_backoff_delay_in_heartbeats: 1,
  maximum_backoff_delay_in_heartbeats: 1000,
};

interface TrialParts {
  nats: NatsServer;
  connection: NatsConnection;
  controller: BulkCloudController;
  program: HealthManagerProgram;
  platform: PlayedPlatform;
}

/** One platform and one health manager that is killed, and where its store is another process, that too. */
abstract class Trial {
  readonly killed: Record<string, number> = {};
  private readonly seen = new Map<string, number>();
  private isOver = false;

  constructor(protected readonly parts: TrialParts) {}

  get platform(): PlayedPlatform {
    return this.parts.platform;
  }

  /** What is kept of crashes, by app. */
  protected abstract crashCounts(): Promise<Map<string, number>>;

  /** Kills something, and brings it back if nobody else does. */
  protected abstract killSomething(count: number): Promise<void>;

  /** Kills as often as there is time for. */
  async run(): Promise<void> {
    this.platform.start();
    const supervising = this.supervise();
    try {
      await this.untilFirstOrders();
      const deadline = Date.now() + seconds * 1000;
      for (let count = 0; count < kills && Date.now() < deadline; count += 1) {
        await this.untilKill(count, deadline);
        await this.killSomething(count);
        await this.expectNoLoss();
      }
      await this.untilItWorks();
      await this.expectNoLoss();
    } finally {
      this.isOver = true;
      await supervising;
    }
  }

  async dispose(): Promise<void> {
    const { platform, program, connection, controller, nats } = this.parts;
    platform.stop();
    await program.dispose();
    await connection.close();
    await controller.stop();
    await nats.stop();
  }

  protected async killProgram(): Promise<void> {
    this.count('health manager');
    await this.parts.program.kill();
  }

  protected count(what: string): void {
    this.killed[what] = (this.killed[what] ?? 0) + 1;
  }

  /** Brings the health manager back whenever it has ended, as a supervisor does. */
  private async supervise(): Promise<void> {
    while (!this.isOver) {
      if (!this.parts.program.isRunning) this.parts.program.start();
      await delay(100);
    }
    await this.parts.program.stop();
  }

  /** Now at any moment, now in the midst of orders: else nearly all would die while they come up. */
  private async untilKill(count: number, deadline: number): Promise<void> {
    if (count % 3 !== 0) return delay(Math.random() * 1500);
    const { counts } = this.platform;
    const before = counts.starts + counts.stops;
    const isBusy = () => counts.starts + counts.stops > before || Date.now() > deadline || undefined;
    await eventually(isBusy, { what: 'orders before the next kill', timeoutMs: 60_000 });
    await delay(Math.random() * 200);
  }

  private async untilFirstOrders(): Promise<void> {
    const { counts } = this.platform;
    await eventually(() => (counts.starts > 0 && counts.stops > 0) || undefined, {
      what: 'the first orders',
      timeoutMs: 30_000,
    });
  }

  /** In the end crashed instances are started as ever, and of two on an index one is stopped. */
  private async untilItWorks(): Promise<void> {
    const before = { ...this.platform.counts };
    const starts = this.startsOfCrashed();
    await eventually(
      () => (this.startsOfCrashed() > starts && this.platform.counts.duplicates > before.duplicates) || undefined,
      { what: 'orders after the last kill', timeoutMs: 40_000 },
    );
  }

  private startsOfCrashed(): number {
    const ids = PlayedPlatform.crashingApps.map((app) => this.platform.startIds.get(app)?.size ?? 0);
    return ids.reduce((sum, size) => sum + size, 0);
  }

  /** A crash is counted before its start is sent, so there are as many as starts were seen, and never fewer than before. */
  private async expectNoLoss(): Promise<void> {
    const starts = new Map(PlayedPlatform.crashingApps.map((app) => [app, this.platform.startIds.get(app)?.size ?? 0]));
    const kept = await this.crashCounts();
    for (const [app, sent] of starts) {
      const count = kept.get(app) ?? 0;
      expect(count, `crashes of ${app}, which was started ${sent} times`).to.be.at.least(sent);
      expect(count, `crashes of ${app}`).to.be.at.least(this.seen.get(app) ?? 0);
      this.seen.set(app, count);
    }
  }
}

/** With a store of its own, and orders over NATS. */
class LoneTrial extends Trial {
  static async create(): Promise<LoneTrial> {
    const nats = await startNats();
    const connection = await connect({ servers: nats.url });
    const controller = await startBulkCloudController();
    controller.apps = PlayedPlatform.desired;
    const options = { natsPort: nats.port, controllerUrl: controller.url, config: impatient };
    const program = await HealthManagerProgram.create(options);
    const platform = new PlayedPlatform(connection);
    connection.subscribe('hm9000.start', { callback: (_error, message) => platform.takeStart(message.json()) });
    connection.subscribe('hm9000.stop', { callback: (_error, message) => platform.takeStop(message.json()) });
    return new LoneTrial({ nats, connection, controller, program, platform });
  }

  protected async crashCounts(): Promise<Map<string, number>> {
    const file = new StateFile(this.parts.program.statePath);
    try {
      const { crashCounts } = await file.load();
      return new Map(crashCounts.map(({ app, crashCount }) => [app, crashCount]));
    } finally {
      await file.close();
    }
  }

  protected killSomething(): Promise<void> {
    return this.killProgram();
  }
}

/** With a store in a Redis that writes down what it is told before it says so, and orders over HTTP. */
class SharedTrial extends Trial {
  constructor(
    private readonly redis: RedisServer,
    parts: TrialParts,
  ) {
    super(parts);
  }

  static async create(): Promise<SharedTrial> {
    const nats = await startNats();
    const connection = await connect({ servers: nats.url });
    const controller = await startBulkCloudController();
    controller.apps = PlayedPlatform.desired;
    const redis = await startRedis({ settings: { appendonly: 'yes', appendfsync: 'always' } });
    const program = await HealthManagerProgram.create({
      natsPort: nats.port,
      controllerUrl: controller.url,
      config: {
        ...impatient,
        store_type: 'redis',
        store_urls: [redis.url],
        // A killed holder keeps its locks for a quarter of a minute: here one process after the other works alone.
        lock_backend: 'none',
        cc_internal_url: controller.url,
        sender_transport: 'http',
      },
    });
    const platform = new PlayedPlatform(connection);
    controller.judge = ({ path, body }) => {
      if (path.includes('/start/')) platform.takeStart(JSON.parse(body));
      else platform.takeStop(JSON.parse(body));
      return { status: 200, body: '{}' };
    };
    return new SharedTrial(redis, { nats, connection, controller, program, platform });
  }

  override async dispose(): Promise<void> {
    await super.dispose();
    await this.redis.stop();
  }

  protected async crashCounts(): Promise<Map<string, number>> {
    const entries = PlayedPlatform.crashingApps.map(async (app): Promise<[string, number]> => {
      const value = await this.redis.client.hget(`{hm}:v1:orders:${app},v1`, 'crash,0');
      return [app, Number(value?.split(',')[0] ?? 0)];
    });
    return new Map(await Promise.all(entries));
  }

  /** Each kind first, then at random. */
  protected async killSomething(count: number): Promise<void> {
    if (count === 1 || (count > 1 && Math.random() < 0.4)) await this.killRedis();
    else await this.killProgram();
  }

  private async killRedis(): Promise<void> {
    this.count('Redis');
    await this.redis.kill();
    await delay(Math.random() * 1500);
    await this.redis.restart();
  }
}

describe('a health manager that is killed again and again', function () {
  this.timeout((seconds + 150) * 1000);
  const trials: Trial[] = [];

  after(async () => {
    for (const trial of trials) await trial.dispose();
  });

  /** Both at once: most of the time is waited for something. */
  let runs: Promise<void>[];
  before(async () => {
    trials.push(await LoneTrial.create(), await SharedTrial.create());
    runs = trials.map((trial) => trial.run());
    await Promise.allSettled(runs);
  });

  for (const [position, name] of ['with a store of its own', 'with Redis, which is killed too'].entries()) {
    it(`${name}: loses no crash count, and orders nothing wrong`, async () => {
      const { platform, killed } = trials[position]!;
      console.log(`      kills ${JSON.stringify(killed)}; orders ${JSON.stringify(platform.counts)}`);
      await runs[position];
      expect(platform.faults).to.eql([]);
      const count = Object.values(killed).reduce((sum, each) => sum + each, 0);
      expect(count).to.be.at.least(leastKills);
    });
  }
});
