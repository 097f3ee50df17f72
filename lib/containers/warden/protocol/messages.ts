import { z } from 'zod';
import { rlimitNames } from '../../engine.js';

/**
 * Shapes of all requests and responses (docs/protocol/containers.md §1.2, §1.3), with the field names of the wire in
 * camel case. What is optional there may be absent here.
 */

/** Numbers of the message types. */
export const typeNumbers = {
  Error: 1,
  Create: 11,
  Stop: 12,
  Destroy: 13,
  Info: 14,
  Spawn: 21,
  Link: 22,
  Run: 23,
  Stream: 24,
  NetIn: 31,
  NetOut: 32,
  CopyIn: 41,
  CopyOut: 42,
  LimitMemory: 51,
  LimitDisk: 52,
  LimitBandwidth: 53,
  LimitCpu: 54,
  Ping: 91,
  List: 92,
  Echo: 93,
} as const;

/** Name of a message type, without `Request` or `Response`. */
export type TypeName = keyof typeof typeNumbers;
/** A type that there are requests of. */
export type RequestName = Exclude<TypeName, 'Error'>;

const bytes = z
  .custom<Uint8Array>((value) => value instanceof Uint8Array, 'must be bytes')
  .transform((value) => Buffer.from(value.buffer, value.byteOffset, value.length));
const handle = z.string().min(1);
const number = z.number();
const optionalNumber = number.exactOptional();

const rlimits = z
  .object(Object.fromEntries(rlimitNames.map((name) => [name, optionalNumber])))
  .transform((limits) => limits as Partial<Record<(typeof rlimitNames)[number], number>>);

const script = z.object({
  handle,
  script: bytes,
  privileged: z.boolean().default(false),
  rlimits: rlimits.exactOptional(),
  discardOutput: z.boolean().default(false),
  logTag: z.string().exactOptional(),
});

const job = z.object({ handle, jobId: number });
const copy = z.object({ handle, srcPath: z.string().min(1), dstPath: z.string().min(1) });
const nothing = z.object({});
const ofContainer = z.object({ handle });

const diskFields = z.object({
  blockLimit: optionalNumber,
  block: optionalNumber,
  blockSoft: optionalNumber,
  blockHard: optionalNumber,
  inodeLimit: optionalNumber,
  inode: optionalNumber,
  inodeSoft: optionalNumber,
  inodeHard: optionalNumber,
  byteLimit: optionalNumber,
  byte: optionalNumber,
  byteSoft: optionalNumber,
  byteHard: optionalNumber,
});

/** The twelve fields of LimitDisk; blocks have 1024 bytes. */
export type DiskFields = z.output<typeof diskFields>;

/** What each request must look like. */
export const requestSchemas = {
  Create: z.object({
    bindMounts: z.array(z.object({ srcPath: z.string(), dstPath: z.string(), mode: z.enum(['RO', 'RW']) })).default([]),
    graceTime: optionalNumber,
    handle: z.string().exactOptional(),
    network: z.string().exactOptional(),
    rootfs: z.string().exactOptional(),
  }),
  Stop: z.object({ handle, background: z.boolean().default(false), kill: z.boolean().default(false) }),
  Destroy: ofContainer,
  Info: ofContainer,
  Spawn: script,
  Link: job,
  Run: script,
  Stream: job,
  NetIn: z.object({ handle, containerPort: optionalNumber, hostPort: optionalNumber }),
  NetOut: z.object({
    handle,
    network: z.string().exactOptional(),
    port: optionalNumber,
    portRange: z.string().exactOptional(),
    protocol: z.enum(['TCP', 'UDP', 'ICMP', 'ALL']).default('TCP'),
    icmpType: optionalNumber,
    icmpCode: optionalNumber,
    log: z.boolean().default(false),
  }),
  CopyIn: copy,
  CopyOut: copy.extend({ owner: z.string().exactOptional() }),
  LimitMemory: z.object({ handle, limitInBytes: optionalNumber }),
  LimitDisk: diskFields.extend({ handle }),
  LimitBandwidth: z.object({ handle, rate: number, burst: number }),
  LimitCpu: z.object({ handle, limitInShares: optionalNumber }),
  Ping: nothing,
  List: nothing,
  Echo: z.object({ message: bytes }),
};

const numbers = z.record(z.string(), z.number());

const info = z.object({
  /** `active` or `stopped`; hardly ever `born` or `destroyed`. */
  state: z.string().exactOptional(),
  /** A set. */
  events: z.array(z.string()).default([]),
  hostIp: z.string().exactOptional(),
  containerIp: z.string().exactOptional(),
  /** Directory of the container on the host. */
  containerPath: z.string().exactOptional(),
  /** Names as in `memory.stat`, in camel case. */
  memoryStat: numbers.exactOptional(),
  /** `usage` in nanoseconds, `user` and `system` in ticks, 100 a second. */
  cpuStat: z.object({ usage: optionalNumber, user: optionalNumber, system: optionalNumber }).exactOptional(),
  /** Absent when disk limits are disabled. */
  diskStat: z.object({ bytesUsed: optionalNumber, inodesUsed: optionalNumber }).exactOptional(),
  /** Bytes per second and bytes. */
  bandwidthStat: z
    .object({ inRate: optionalNumber, inBurst: optionalNumber, outRate: optionalNumber, outBurst: optionalNumber })
    .exactOptional(),
  /** Jobs that have not ended. */
  jobIds: z.array(z.number()).default([]),
});

const jobResult = z.object({
  exitStatus: optionalNumber,
  stdout: bytes.exactOptional(),
  stderr: bytes.exactOptional(),
  info: info.exactOptional(),
});

/** What each response must look like. */
export const responseSchemas = {
  Error: z.object({
    message: z.string().exactOptional(),
    data: z.string().exactOptional(),
    backtrace: z.array(z.string()).exactOptional(),
  }),
  Create: ofContainer,
  Stop: nothing,
  Destroy: nothing,
  Info: info,
  Spawn: z.object({ jobId: number }),
  Link: jobResult,
  Run: jobResult,
  Stream: z.object({
    /** `stdout` or `stderr`. */
    name: z.string().exactOptional(),
    data: bytes.exactOptional(),
    /** Present in the last response only. */
    exitStatus: optionalNumber,
    info: info.exactOptional(),
  }),
  NetIn: z.object({ hostPort: number, containerPort: number }),
  NetOut: nothing,
  CopyIn: nothing,
  CopyOut: nothing,
  LimitMemory: z.object({ limitInBytes: optionalNumber }),
  LimitDisk: diskFields,
  LimitBandwidth: z.object({ rate: number, burst: number }),
  LimitCpu: z.object({ limitInShares: optionalNumber }),
  Ping: nothing,
  List: z.object({ handles: z.array(z.string()).default([]) }),
  Echo: z.object({ message: bytes }),
};

/** A request as the server gets it: defaults are filled in. */
export type Request<Name extends RequestName> = z.output<(typeof requestSchemas)[Name]>;
/** A request as a client gives it: what has a default may be absent. */
export type RequestFields<Name extends RequestName> = z.input<(typeof requestSchemas)[Name]>;
/** A response as a client gets it. */
export type Response<Name extends TypeName> = z.output<(typeof responseSchemas)[Name]>;
/** A response as the server gives it. */
export type ResponseFields<Name extends TypeName> = z.input<(typeof responseSchemas)[Name]>;
export type InfoFields = ResponseFields<'Info'>;
