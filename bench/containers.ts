import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import type { ContainerEngine, ContainerSpec } from '../lib/containers/engine.js';
import { type OciSubject, startOciEngine } from '../spec/support/oci.js';
import { BareBundle } from './bare-bundle.js';
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
  const bare = await BareBundle.prepare(subject.rootfs, line);
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
