import { randomInt } from 'node:crypto';

/**
 * Which part of the host's addresses and ports an engine of a spec uses. The suite runs in several processes at once,
 * each with a share of its own; within it every engine gets another part. Shares begin at a random place, for suites of
 * other checkouts on the same host.
 */
const workers = 2;
/** Mocha numbers its processes from 0; without `--parallel` there is one. */
const worker = Number(process.env.MOCHA_WORKER_ID ?? 0) % workers;

/** Below the ports that the kernel gives out by itself. */
const firstPort = 10_000;
const portsPerWorker = 11_000;
/** Blocks of 1,024 addresses from 10.128.0.0 on. */
const firstBlock = 128 * 64;
const blocksPerWorker = 1024;

let nextPort = randomInt(portsPerWorker);
let nextBlock = randomInt(blocksPerWorker);

/** Consecutive ports of the host. */
export function takePorts(size: number): { start: number; size: number } {
  if (nextPort + size > portsPerWorker) nextPort = 0;
  const start = firstPort + worker * portsPerWorker + nextPort;
  nextPort += size;
  return { start, size };
}

/** A network of at most 1,024 addresses, as `10.a.b.0/<prefix>`. */
export function takeNetwork(prefix: number): string {
  const block = firstBlock + worker * blocksPerWorker + nextBlock;
  nextBlock = (nextBlock + 1) % blocksPerWorker;
  return `10.${block >> 6}.${(block & 63) * 4}.0/${prefix}`;
}
