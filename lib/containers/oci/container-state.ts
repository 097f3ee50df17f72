import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { writeFileAtomically } from '../../files/atomic-write.js';
import { ownIds } from './users/id-map.js';

const limitsSchema = z.object({
  memoryBytes: z.number().exactOptional(),
  disk: z
    .object({
      bytes: z.number().exactOptional(),
      inodes: z.number().exactOptional(),
      scope: z.enum(['exclusive', 'total']).exactOptional(),
    })
    .exactOptional(),
  cpuShares: z.number().exactOptional(),
  maxPids: z.number().exactOptional(),
  bandwidth: z.object({ rate: z.number(), burst: z.number() }).exactOptional(),
});

const volumeLeaseSchema = z.looseObject({
  driver: z.enum(['xfs-prj', 'ext4-prj', 'loop-image', 'none', 'raw']),
  mountPoint: z.string(),
});

const networkLeaseSchema = z.looseObject({
  namespacePath: z.string(),
  containerIp: z.string(),
  hostIp: z.string(),
  externalIp: z.string(),
  prefixLength: z.number(),
  hostInterface: z.string(),
  mappedPorts: z.array(z.object({ hostPort: z.number(), containerPort: z.number() })),
  netOut: z.array(
    z.object({
      protocol: z.enum(['all', 'tcp', 'udp', 'icmp']),
      networks: z.array(z.object({ start: z.string(), end: z.string() })).exactOptional(),
      ports: z.array(z.object({ start: z.number(), end: z.number() })).exactOptional(),
      icmp: z.object({ type: z.number(), code: z.number().exactOptional() }).exactOptional(),
      log: z.boolean().exactOptional(),
    }),
  ),
});

const identitySchema = z.object({ pid: z.number(), startTime: z.number() });

const idRangeSchema = z.object({ start: z.number(), length: z.number() });

const peaSchema = z.object({
  /** What the runtime knows it by. */
  runtimeId: z.string(),
  /** Its control group, as a handle: below the container's, or beside it when it has limits of its own. */
  cgroup: z.string(),
  /** How many kills by a memory limit are among the container's events already. */
  oomKillsSeen: z.number().default(0),
  volume: volumeLeaseSchema.exactOptional(),
  init: identitySchema.exactOptional(),
});

/** A process with an image of its own, as far as it has come. */
export type PeaState = z.infer<typeof peaSchema>;

const stateSchema = z.object({
  version: z.literal(1),
  handle: z.string(),
  /**
   *   creating ---> active ---> stopped
   *      |             |           |
   *      +-------------+-----------+---> destroying ---> (no file)
   *
   * A container found `creating` or `destroying` at start-up is removed.
   */
  phase: z.enum(['creating', 'active', 'stopped', 'destroying']),
  /** The kernel's id of this boot: after another one nothing but files is left of a container. */
  bootId: z.string(),
  /** Milliseconds since the epoch. */
  createdAt: z.number(),
  runtime: z.enum(['crun', 'runc']),
  isPrivileged: z.boolean().default(false),
  /** Whether root inside is somebody else outside. */
  hasUserNamespace: z.boolean().default(false),
  /** Of the user namespace, if it has one: the engine's own may be another one by now. */
  idMap: z.object({ users: idRangeSchema, groups: idRangeSchema }).default(ownIds),
  env: z.array(z.string()),
  properties: z.record(z.string(), z.string()),
  limits: limitsSchema,
  /** 0: never destroyed for want of references. */
  graceTimeMs: z.number(),
  /** In order of occurrence. */
  events: z.array(z.literal('out of memory')),
  /** How many kills by the memory limit are in `events` already. */
  oomKillsSeen: z.number(),
  volume: volumeLeaseSchema.exactOptional(),
  network: networkLeaseSchema.exactOptional(),
  init: identitySchema.exactOptional(),
  /** By process id. */
  peas: z.record(z.string(), peaSchema).default({}),
  /** Exit statuses of processes whose files are gone, by process id. */
  endedProcesses: z.record(z.string(), z.number()),
});

/** Everything the engine must know about a container after its own death. */
export type ContainerState = z.infer<typeof stateSchema>;

/** A container's state with its file `state.json`; every change is on the disk before it is acknowledged. */
export class StateFile {
  readonly #path: string;
  #writing: Promise<void> | undefined;
  #next: Promise<void> | undefined;
  #isClosed = false;

  constructor(
    readonly directory: string,
    readonly state: ContainerState,
  ) {
    this.#path = join(directory, 'state.json');
  }

  /** Applies a change and resolves once it is written; changes that come during a write share the next one. */
  update(change: (state: ContainerState) => void): Promise<void> {
    change(this.state);
    if (this.#isClosed) return Promise.resolve();
    if (this.#next === undefined) {
      const previous = (this.#writing ?? Promise.resolve()).catch(() => {});
      const next = previous.then(() => {
        this.#next = undefined;
        this.#writing = this.#write();
        return this.#writing;
      });
      this.#next = next;
      next.catch(() => {});
    }
    return this.#next;
  }

  /** Ends writing: the directory is about to go. Resolves when no write is under way. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#next?.catch(() => {});
    await this.#writing?.catch(() => {});
  }

  /**
   * Not synced to the disk: the file must outlive the engine, not a power cut, after which no container lives.
   */
  async #write(): Promise<void> {
    await writeFileAtomically(this.#path, JSON.stringify(this.state), { durable: false });
  }
}

/** The state in a container's directory; undefined when there is none or it was never finished. */
export async function readState(directory: string): Promise<ContainerState | undefined> {
  try {
    return stateSchema.parse(JSON.parse(await readFile(join(directory, 'state.json'), 'utf8')));
  } catch {
    return undefined;
  }
}

/** The kernel's id of the present boot. */
export async function readBootId(): Promise<string> {
  return (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
}
