import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { writeFileAtomically } from '../../../files/atomic-write.js';
import { CoalescedWrite } from '../../../files/coalesced-write.js';

const processRecordSchema = z.object({
  /** Warden's number of it. */
  jobId: z.number(),
  discardOutput: z.boolean(),
  /** Its output is read from the sockets that Warden serves beside it. */
  readsSockets: z.boolean().exactOptional(),
  /** Names the file in the container that its pid is in. */
  token: z.string(),
  /** Present once it has ended and Warden has forgotten it. */
  exitStatus: z.number().exactOptional(),
});

const limitsSchema = z.object({
  memoryBytes: z.number().exactOptional(),
  disk: z.object({ bytes: z.number().exactOptional(), inodes: z.number().exactOptional() }).exactOptional(),
  cpuShares: z.number().exactOptional(),
  maxPids: z.number().exactOptional(),
  bandwidth: z.object({ rate: z.number(), burst: z.number() }).exactOptional(),
});

const containerRecordSchema = z.object({
  /** Milliseconds since the epoch. */
  createdAt: z.number(),
  env: z.array(z.string()),
  properties: z.record(z.string(), z.string()),
  limits: limitsSchema,
  /** 0: never destroyed for want of references. */
  graceTimeMs: z.number(),
  mappedPorts: z.array(z.object({ hostPort: z.number(), containerPort: z.number() })),
  processes: z.record(z.string(), processRecordSchema),
});

const stateSchema = z.object({ version: z.literal(1), containers: z.record(z.string(), containerRecordSchema) });

/** What Warden cannot keep of a process. */
export type ProcessRecord = z.output<typeof processRecordSchema>;
/** What Warden cannot keep of a container. */
export type ContainerRecord = z.output<typeof containerRecordSchema>;

/** A record of a container that nothing is known of yet. */
export function emptyRecord(now: number): ContainerRecord {
  return { createdAt: now, env: [], properties: {}, limits: {}, graceTimeMs: 0, mappedPorts: [], processes: {} };
}

/** What a client must remember because Warden has no place for it, in one small file. */
export class StateFile {
  readonly containers: Map<string, ContainerRecord>;
  readonly #writing: CoalescedWrite;

  private constructor(path: string, containers: Map<string, ContainerRecord>) {
    this.containers = containers;
    this.#writing = new CoalescedWrite(() => {
      const state = { version: 1, containers: Object.fromEntries(this.containers) };
      return writeFileAtomically(path, JSON.stringify(state));
    });
  }

  /** @throws when there is a file and it is none of this kind */
  static async read(path: string): Promise<StateFile> {
    const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    if (text === undefined) return new StateFile(path, new Map());
    try {
      return new StateFile(path, new Map(Object.entries(stateSchema.parse(JSON.parse(text)).containers)));
    } catch (cause) {
      throw new Error(`${path} cannot be read`, { cause });
    }
  }

  /** Resolves when the state of this moment is on the disk. */
  save(): Promise<void> {
    return this.#writing.save();
  }
}
