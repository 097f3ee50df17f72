import { setTimeout as delay } from 'node:timers/promises';
import { type BlobServer, sha1, startBlobServer } from '../spec/support/blob-server.js';
import { type Cell, makeCell } from '../spec/support/cell.js';
import { makeDroplet } from '../spec/support/droplets.js';
import { type NatsServer, startNats } from '../spec/support/nats.js';
import { type Message, Peer } from '../spec/support/peer.js';
import { startMessage } from '../spec/support/start-message.js';
import type { Figure } from './figure.js';
import { median } from './figure.js';
import { processCost } from './process-cost.js';

const startRounds = 10;
const concurrentStarts = 10;
const idleInstances = 50;
const idleSeconds = 20;

/** What an operator feels of a cell: how fast apps start, what a full cell costs at rest. */
export async function benchCell(): Promise<Figure[]> {
  const bench = await CellBench.start();
  try {
    const single = await bench.measureStarts(1, startRounds);
    const concurrent = await bench.measureStarts(concurrentStarts, 7);
    const figures: Figure[] = [
      { name: 'start message to router.register, cached droplet', value: median(single), unit: 'ms', target: '< 400' },
      {
        name: `${concurrentStarts} concurrent starts against one`,
        value: median(concurrent) / median(single),
        unit: 'x',
        target: '<= 5',
      },
    ];
    return [...figures, ...(await bench.measureIdle())];
  } finally {
    await bench.stop();
  }
}

class CellBench {
  private constructor(
    private readonly nats: NatsServer,
    private readonly blobs: BlobServer,
    private readonly peer: Peer,
    private readonly cell: Cell,
    private readonly droplet: { sha1: string; executableUri: string },
  ) {}

  static async start(): Promise<CellBench> {
    const nats = await startNats();
    const blobs = await startBlobServer();
    const peer = await Peer.connect(nats.url);
    const cell = await makeCell({
      natsUrl: nats.url,
      config: {
        logging: { level: 'info' },
        intervals: { advertise: 5, heartbeat: 10 },
        resources: { memory_mb: 16384, disk_mb: 65536 },
        containers: { spares: 10 },
      },
    });
    await cell.start();
    const bytes = await makeDroplet();
    const droplet = { sha1: sha1(bytes), executableUri: blobs.put('/droplet', bytes) };
    return new CellBench(nats, blobs, peer, cell, droplet);
  }

  /** Milliseconds until the last of `count` apps that were started together is routed, for each round. */
  async measureStarts(count: number, rounds: number): Promise<number[]> {
    await this.startApps(1).then((apps) => this.stopApps(apps));
    const times: number[] = [];
    for (let round = 0; round < rounds; round += 1) {
      // The cell refills what it keeps in stock after each start.
      await delay(1500);
      const started = performance.now();
      const apps = await this.startApps(count);
      times.push(performance.now() - started);
      await this.stopApps(apps);
    }
    return times;
  }

  async measureIdle(): Promise<Figure[]> {
    const memoryBefore = (await processCost(this.cell.pid)).residentBytes;
    const apps: Message[] = [];
    while (apps.length < idleInstances) apps.push(...(await this.startApps(10)));
    await delay(5000);
    const before = await processCost(this.cell.pid);
    const memoryAfter = before.residentBytes;
    await delay(idleSeconds * 1000);
    const used = (await processCost(this.cell.pid)).cpuSeconds - before.cpuSeconds;
    await this.stopApps(apps);
    return [
      {
        name: `idle CPU of the agent with ${idleInstances} instances`,
        value: (100 * used) / idleSeconds,
        unit: '% of a core',
        target: '< 2',
      },
      {
        name: 'memory of the agent per instance',
        value: (memoryAfter - memoryBefore) / idleInstances / 1024,
        unit: 'KiB',
        target: 'small',
      },
      { name: 'memory of the agent', value: memoryAfter / 1048576, unit: 'MiB', target: '' },
    ];
  }

  async stop(): Promise<void> {
    await this.cell.dispose();
    await this.peer.close();
    await this.blobs.stop();
    await this.nats.stop();
  }

  private async startApps(count: number): Promise<Message[]> {
    const id = await this.peer.cellId();
    const apps = Array.from({ length: count }, () => startMessage({ ...this.droplet }));
    for (const app of apps) this.peer.publish(`dea.${id}.start`, app);
    await Promise.all(
      apps.map((app) => this.peer.next('router.register', (data) => data.app === app.droplet, { timeoutMs: 20_000 })),
    ).catch((error: unknown) => {
      const crashes = apps.flatMap(({ droplet }) =>
        this.peer.all('droplet.exited', { droplet }).map(({ data }) => data),
      );
      throw new Error(`not all apps are routed; crashed: ${JSON.stringify(crashes)}`, { cause: error });
    });
    return apps;
  }

  private async stopApps(apps: Message[]): Promise<void> {
    for (const { droplet } of apps) this.peer.publish('dea.stop', { droplet });
    while ((await this.cell.snapshot()).instances.length > 0) await delay(50);
  }
}
