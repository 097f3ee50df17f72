import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import type { ContainerEngine, ContainerSpec } from '../lib/containers/engine.js';
import { mountOverlay, unmount } from '../lib/containers/oci/mounts.js';
import { runCommand } from '../lib/process/command.js';
import { type OciSubject, startOciEngine } from '../spec/support/oci.js';
import { type Figure, median } from './figure.js';

const rounds = 40;
const parallelStarts = 10;
const parallelRounds = 5;
/** Time for the engine to refill what it keeps in stock; a cell does not start an app every few milliseconds. */
const pauseMs = 400;
const megabyte = 1024 * 1024;
const line = ['/bin/echo', 'first output'];

/**
 * What the engine adds to the runtime: making a container with network, quota, limits and supervision until its first
 * process has said something, against a bare `crun run` of a prepared bundle over the same root file system, mounted
 * already, without network, quota or limits. Both are measured alternately in the same minute.
 */
export async function benchContainers(): Promise<Figure[]> {
  const subject = await startOciEngine({ runtime: 'crun' });
  const bare = await BareBundle.prepare(subject.rootfs);
  try {
    await startAndDestroy(subject);
    const bareTimes: number[] = [];
    const engineTimes: number[] = [];
    for (let round = 0; round < rounds; round += 1) {
      await delay(pauseMs);
      bareTimes.push(await bare.run());
      await delay(pauseMs);
      engineTimes.push(await startAndDestroy(subject));
    }
    const parallelTimes: number[] = [];
    for (let round = 0; round < parallelRounds; round += 1) {
      await delay(4 * pauseMs);
      parallelTimes.push(await startInParallel(subject));
    }
    return [
      { name: 'bare crun run until first output', value: median(bareTimes), unit: 'ms', target: '' },
      { name: 'container create + start until first output', value: median(engineTimes), unit: 'ms', target: '' },
      {
        name: 'container create + start against bare crun run',
        value: median(engineTimes) / median(bareTimes),
        unit: 'x',
        target: '<= 2.0',
      },
      {
        name: `${parallelStarts} containers at once against one`,
        value: median(parallelTimes) / median(engineTimes),
        unit: 'x',
        target: '<= 5',
      },
    ];
  } finally {
    await bare.remove();
    await subject.dispose();
  }
}

function benchSpec(rootfs: string): ContainerSpec {
  return {
    rootfs,
    limits: { memoryBytes: 256 * megabyte, disk: { bytes: 512 * megabyte }, cpuShares: 256, maxPids: 512 },
    netIn: [{}],
  };
}

/** Milliseconds until the first output of the first process of a new container. */
async function start(engine: ContainerEngine, rootfs: string): Promise<{ handle: string; took: number }> {
  const begun = performance.now();
  const stdout = new PassThrough();
  const output = once(stdout, 'data');
  const container = await engine.create(benchSpec(rootfs));
  await container.run({ path: line[0]!, args: line.slice(1) }, { stdout });
  await output;
  return { handle: container.handle, took: performance.now() - begun };
}

async function startAndDestroy({ engine, rootfs }: OciSubject): Promise<number> {
  const { handle, took } = await start(engine, rootfs);
  await engine.destroy(handle);
  return took;
}

async function startInParallel({ engine, rootfs }: OciSubject): Promise<number> {
  const begun = performance.now();
  const started = await Promise.all(Array.from({ length: parallelStarts }, () => start(engine, rootfs)));
  const took = performance.now() - begun;
  await Promise.all(started.map(({ handle }) => engine.destroy(handle)));
  return took;
}

/** A bundle as `crun spec` makes it, over a mounted overlay. */
class BareBundle {
  #runs = 0;

  private constructor(private readonly directory: string) {}

  static async prepare(rootfs: string): Promise<BareBundle> {
    const directory = await mkdtemp(join(tmpdir(), 'bare-'));
    const [upper, work, target] = ['upper', 'work', 'rootfs'].map((name) => join(directory, name)) as [
      string,
      string,
      string,
    ];
    await Promise.all([upper, work, target].map((path) => mkdir(path)));
    await mountOverlay({ directory, lower: [rootfs], upper, work, target, volatile: true });
    await runCommand('crun', ['spec'], { cwd: directory });
    const configFile = join(directory, 'config.json');
    const config = JSON.parse(await readFile(configFile, 'utf8'));
    config.process = { ...config.process, args: line, terminal: false };
    config.root = { path: target, readonly: false };
    await writeFile(configFile, JSON.stringify(config));
    return new BareBundle(directory);
  }

  /** Milliseconds until the bundle's process has said its line. */
  async run(): Promise<number> {
    this.#runs += 1;
    const args = ['--root', join(this.directory, 'runtime'), 'run', '--bundle', this.directory, `bare-${this.#runs}`];
    const begun = performance.now();
    const child = spawn('crun', args, { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(child.stdout, 'data');
    const took = performance.now() - begun;
    if (child.exitCode === null) await once(child, 'exit');
    return took;
  }

  async remove(): Promise<void> {
    await unmount([join(this.directory, 'rootfs')]);
    await rm(this.directory, { recursive: true });
  }
}
