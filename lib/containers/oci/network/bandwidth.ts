import type { Limits } from '../../engine.js';
import { tc } from './iproute.js';
import { containerInterface } from './namespaces.js';

/** The largest frame of a link, twice: a bucket that holds less than a packet would stop all traffic. */
const smallestBucket = 2 * 1514;
/** What the kernel's token bucket can hold. */
const largestBucket = 2 ** 32 - 1;
const latencyMs = 25;

/**
 * Shapes the traffic of a container with a token bucket at each end of its pair of links: what the host's end sends the
 * container receives, and the other way about. Needs no third link, goes with the pair, and replaces the limit before.
 *
 * @param name of the namespace and its link
 * @param bandwidth bytes per second, and bytes (docs/protocol/containers.md §1.6)
 */
export async function shapeTraffic(name: string, bandwidth: NonNullable<Limits['bandwidth']>): Promise<void> {
  const bucket = Math.min(Math.max(Math.ceil(bandwidth.burst), smallestBucket), largestBucket);
  const shape = `root tbf rate ${Math.ceil(bandwidth.rate)}bps burst ${bucket}b latency ${latencyMs}ms`;
  await Promise.all([
    tc(['-batch', '-'], [`qdisc replace dev ${name} ${shape}`]),
    tc(['-n', name, '-batch', '-'], [`qdisc replace dev ${containerInterface} ${shape}`]),
  ]);
}
