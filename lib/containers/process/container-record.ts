import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { writeFileAtomically } from '../../files/atomic-write.js';

const limits = z.object({
  memoryBytes: z.number().exactOptional(),
  disk: z.object({ bytes: z.number().exactOptional(), inodes: z.number().exactOptional() }).exactOptional(),
  cpuShares: z.number().exactOptional(),
  maxPids: z.number().exactOptional(),
  bandwidth: z.object({ rate: z.number(), burst: z.number() }).exactOptional(),
});

const recordSchema = z.object({
  version: z.literal(1),
  handle: z.string(),
  /** `destroying` outlives a crash, so that the next start finishes what was begun. */
  phase: z.enum(['active', 'stopped', 'destroying']),
  createdAtMs: z.number(),
  env: z.array(z.string()),
  properties: z.record(z.string(), z.string()),
  bindMounts: z.array(z.object({ source: z.string(), destination: z.string(), mode: z.enum(['ro', 'rw']) })),
  limits,
  mappedPorts: z.array(z.object({ hostPort: z.number(), containerPort: z.number() })),
  graceTimeMs: z.number(),
  events: z.array(z.literal('out of memory')),
  /** CPU time of processes that have ended. */
  endedCpuNs: z.number(),
});

/** What is remembered about a container, as `state.json` in its directory. */
export type ContainerRecord = z.output<typeof recordSchema>;

const fileName = 'state.json';

/**
 * The record in a container's directory; undefined when there is none, which is what a creation that did not come to
 * its end leaves.
 * @throws when the file is unreadable or not ours
 */
export async function readRecord(directory: string): Promise<ContainerRecord | undefined> {
  let text: string;
  try {
    text = await readFile(join(directory, fileName), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  return recordSchema.parse(JSON.parse(text));
}

/** Replaces the record in one step. */
export async function writeRecord(directory: string, record: ContainerRecord): Promise<void> {
  await writeFileAtomically(join(directory, fileName), `${JSON.stringify(record)}\n`);
}
