import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { ContainerEngine, ContainerSpec } from '../lib/containers/engine.js';
import { GardenEngine } from '../lib/containers/garden/client/garden-engine.js';
import { silentLogger } from '../lib/logging/logger.js';
import { runCommand } from '../lib/process/command.js';
import { type GardenProcess, startGarden } from '../spec/support/garden.js';
import { stackRootfs } from '../spec/support/stack.js';
import { BareBundle } from './bare-bundle.js';
import { type Figure, median } from './figure.js';
import { processCost } from './process-cost.js';

const rounds = 30;
const parallel = 4;
const parallelCreates = 40;
const idleContainers = 200;
const idleSeconds = 20;
const streamedMegabytes = 1024;
/** Time between creates: nobody makes a container every few milliseconds for long. */
const pauseMs = 400;
const megabyte = 1024 * 1024;

type Runtime = 'crun' | 'runc';
const createTargets: Record<Runtime, string> = { crun: '<= 35', runc: '<= 60' };

/** The container server as its clients feel it, through the Garden API, against the bare runtime in the same minute. */
export async function benchGarden(): Promise<Figure[]> {
  return [
    ...(await withGarden('crun', async (bench) => [
      ...(await bench.measureLifeCycle()),
      ...(await bench.measureParallelCreates()),
      ...(await bench.measureStreamIn()),
      ...(await bench.measureIdle()),
    ])),
    ...(await withGarden('runc', (bench) => bench.measureLifeCycle())),
  ];
}

async function withGarden(runtime: Runtime, measure: (bench: GardenBench) => Promise<Figure[]>): Promise<Figure[]> {
  const garden = await startGarden({ network_pool: '10.199.0.0/20', runtime });
  const engine = new GardenEngine({ address: { kind: 'unix', path: garden.socket }, logger: silentLogger });
  const bare = await BareBundle.prepare(stackRootfs(), ['/bin/sleep', '1000'], runtime);
  try {
    await engine.start();
    await engine.create({ handle: 'first' });
    return await measure(new GardenBench(runtime, garden, engine, bare));
  } finally {
    await bare.remove();
    await engine.stop();
    await garden.stop();
  }
}

class GardenBench {
  constructor(
    private readonly runtime: Runtime,
    private readonly garden: GardenProcess,
    private readonly engine: ContainerEngine,
    private readonly bare: BareBundle,
  ) {}

  async measureLifeCycle(): Promise<Figure[]> {
    const times = { bareCreate: [], bareExec: [], create: [], quota: [], run: [], destroy: [], info: [] } as Record<
      string,
      number[]
    >;
    const { id } = await this.bare.runDetached();
    for (let round = -1; round < rounds; round += 1) {
      await delay(pauseMs);
      const bareContainer = await this.bare.runDetached();
      await this.bare.delete(bareContainer.id);
      await delay(pauseMs);
      const bareExec = await this.bare.exec(id, '/bin/true');
      const create = await this.timed(() => this.engine.create(spec('plain')));
      await delay(pauseMs);
      const quota = await this.timed(() => this.engine.create(spec('quota', 1024 * megabyte)));
      const container = await this.engine.lookup('plain');
      const run = await this.timed(async () => (await container.run({ path: '/bin/true' })).wait());
      const info = await this.timed(() => container.info());
      const destroy = await this.timed(() => this.engine.destroy('plain'));
      await this.engine.destroy('quota');
      // The first round fills what is kept in stock.
      if (round < 0) continue;
      const taken = { bareCreate: bareContainer.tookMs, bareExec, create, quota, run, destroy, info };
      for (const [name, value] of Object.entries(taken)) times[name]!.push(value);
    }
    await this.bare.delete(id);
    const p50 = (name: string) => median(times[name]!);
    return [
      { name: `bare create and start with ${this.runtime}`, value: p50('bareCreate'), unit: 'ms', target: '' },
      {
        name: 'create with network and memory limit',
        value: p50('create'),
        unit: 'ms',
        target: createTargets[this.runtime],
      },
      { name: 'the same against bare', value: p50('create') / p50('bareCreate'), unit: 'x', target: '<= 1.5' },
      { name: 'a disk quota of 1 GB besides', value: p50('quota') - p50('create'), unit: 'ms more', target: '<= 20' },
      { name: 'bare exec of /bin/true', value: p50('bareExec'), unit: 'ms', target: '' },
      { name: 'run /bin/true to exit status', value: p50('run'), unit: 'ms', target: '<= 25' },
      { name: 'the same against bare', value: p50('run') / p50('bareExec'), unit: 'x', target: '<= 1.5' },
      { name: 'destroy acknowledged', value: p50('destroy'), unit: 'ms', target: '<= 30' },
      { name: 'info', value: p50('info'), unit: 'ms', target: '< 1' },
    ];
  }

  async measureParallelCreates(): Promise<Figure[]> {
    const handles = Array.from({ length: parallelCreates }, (_, index) => `parallel-${index}`);
    const waiting = [...handles];
    const begun = performance.now();
    await Promise.all(
      Array.from({ length: parallel }, async () => {
        for (let handle = waiting.pop(); handle !== undefined; handle = waiting.pop()) {
          await this.engine.create(spec(handle));
        }
      }),
    );
    const seconds = (performance.now() - begun) / 1000;
    await this.destroyAll(handles);
    const value = parallelCreates / seconds;
    return [{ name: `creates per second, ${parallel} in parallel`, value, unit: '/s', target: '>= 40' }];
  }

  async measureStreamIn(): Promise<Figure[]> {
    const directory = await mkdtemp(join(tmpdir(), 'stream-'));
    try {
      const source = join(directory, 'data');
      const file = await open(source, 'w');
      const piece = Buffer.alloc(megabyte, 'isthmus ');
      for (let count = 0; count < streamedMegabytes; count += 1) await file.write(piece);
      await file.close();
      const archive = `${source}.tar`;
      await runCommand('tar', ['-cf', archive, '-C', directory, 'data']);
      await rm(source);
      const container = await this.engine.create(spec('stream'));
      const plain: number[] = [];
      const streamed: number[] = [];
      for (let round = 0; round < 3; round += 1) {
        plain.push(
          await this.timed(async () => {
            const tar = spawn('tar', ['-xf', '-', '-C', directory], { stdio: ['pipe', 'ignore', 'inherit'] });
            createReadStream(archive, { highWaterMark: megabyte }).pipe(tar.stdin);
            await once(tar, 'close');
          }),
        );
        await rm(source);
        streamed.push(
          await this.timed(() =>
            container.streamIn({ path: '/tmp', tar: createReadStream(archive, { highWaterMark: megabyte }) }),
          ),
        );
      }
      await this.engine.destroy('stream');
      const value = median(plain) / median(streamed);
      return [{ name: 'stream in of 1 GB against plain tar', value, unit: 'x', target: '>= 0.7' }];
    } finally {
      await rm(directory, { recursive: true });
    }
  }

  async measureIdle(): Promise<Figure[]> {
    const handles = Array.from({ length: idleContainers }, (_, index) => `idle-${index}`);
    for (const handle of handles) await this.engine.create(spec(handle));
    await delay(5_000);
    const before = await processCost(this.garden.pid);
    await delay(idleSeconds * 1000);
    const after = await processCost(this.garden.pid);
    const bulk: number[] = [];
    for (let round = 0; round < 10; round += 1) bulk.push(await this.timed(() => this.engine.bulkInfo(handles)));
    await this.destroyAll(handles);
    const cpu = (100 * (after.cpuSeconds - before.cpuSeconds)) / idleSeconds;
    return [
      { name: `bulk info of ${idleContainers}`, value: median(bulk), unit: 'ms', target: '< 20' },
      { name: `idle CPU with ${idleContainers} containers`, value: cpu, unit: '% of a core', target: '< 1' },
      { name: 'memory of the server then', value: after.residentBytes / megabyte, unit: 'MiB', target: '< 150' },
    ];
  }

  private async destroyAll(handles: string[]): Promise<void> {
    for (const handle of handles) await this.engine.destroy(handle);
  }

  private async timed(work: () => Promise<unknown>): Promise<number> {
    const begun = performance.now();
    await work();
    return performance.now() - begun;
  }
}

function spec(handle: string, diskBytes?: number): ContainerSpec {
  return {
    handle,
    rootfs: stackRootfs(),
    limits: { memoryBytes: 256 * megabyte, ...(diskBytes !== undefined && { disk: { bytes: diskBytes } }) },
  };
}
