import type { Readable, Writable } from 'node:stream';

/**
 * The engine port: what the cell and the container servers ask of a container backend, in Garden's words.
 * A superset of what Warden and Garden clients need (docs/adr/0002-one-container-engine.md).
 *
 *            create             stop               destroy
 *   (absent) ------> created(active) ------> stopped ------> (absent)
 *                        |                                     ^
 *                        +-------------- destroy --------------+
 */
export interface ContainerEngine {
  /** Loud name of the isolation that containers get: `oci` or `none`. */
  readonly isolation: 'oci' | 'none';
  /** Prepares the host and reconciles what the disk says with what the kernel says; then the other verbs work. */
  start(): Promise<void>;
  /** Releases timers, watchers and children of the engine. Containers and their processes live on. */
  stop(): Promise<void>;
  /** As `stop`, and gives back what the engine set up on the host; only allowed to matter once no container is left. */
  release(): Promise<void>;
  /**
   * @throws HandleInUseError for a handle that exists or is being created
   * @throws InvalidSpecError naming the field
   */
  create(spec: ContainerSpec): Promise<Container>;
  /**
   * Gets ready what containers of this root file system need, so that the first one need not wait for it. Absent where
   * there is nothing to get ready.
   */
  prepare?(rootfs: string): Promise<void>;
  /** Containers that have every given property with that value. */
  list(filter?: Properties): Promise<Container[]>;
  /** @throws UnknownHandleError */
  lookup(handle: string): Promise<Container>;
  /** @throws UnknownHandleError */
  destroy(handle: string): Promise<void>;
  capacity(): Promise<Capacity>;
  bulkInfo(handles: string[]): Promise<Map<string, ContainerInfo | Error>>;
  bulkMetrics(handles: string[]): Promise<Map<string, ContainerMetrics | Error>>;
}

export type Properties = Record<string, string>;

export interface ContainerSpec {
  /** `[A-Za-z0-9_+.-]+`; a new UUID when absent. */
  handle?: string;
  /**
   * What the root file system is made from: an absolute path on the host (directory or tar file) or an image URI
   * (docs/protocol/containers.md §3.1); absent: the engine's default.
   */
  rootfs?: string;
  /** For an image in a registry that asks for them. */
  credentials?: { username: string; password: string };
  /** Without a user namespace, seccomp filter and masked paths, and with all capabilities. @default false */
  privileged?: boolean;
  /** Address or subnet of the container's own (docs/protocol/containers.md §3.5); absent: one of the pool. */
  network?: string;
  /** `NAME=value` entries that every process of the container starts with. */
  env?: string[];
  properties?: Properties;
  bindMounts?: BindMount[];
  limits?: Limits;
  netIn?: { hostPort?: number; containerPort?: number }[];
  netOut?: NetOutRule[];
  /** Destroys the container when nobody referred to it for so long; absent or 0: never. */
  graceTimeMs?: number;
}

export interface BindMount {
  /** Absolute path on the host; must exist. */
  source: string;
  /** Absolute path in the container; created when missing. */
  destination: string;
  mode: 'ro' | 'rw';
  /** Whether `source` is a path on the host or in the container; kept, and of no effect. @default 'host' */
  origin?: 'host' | 'container';
}

export interface Limits {
  memoryBytes?: number;
  /** What the container may write beyond its image; with the scope `total` the image's bytes count, too. */
  disk?: { bytes?: number; inodes?: number; scope?: DiskScope };
  /** Relative weight in cgroup v1 terms, 2 to 262144. */
  cpuShares?: number;
  /** Most processes and threads at once. */
  maxPids?: number;
  /** Network bandwidth, bytes per second and bytes. */
  bandwidth?: { rate: number; burst: number };
}

/** @default 'exclusive' */
export type DiskScope = 'exclusive' | 'total';

export type NetOutProtocol = 'all' | 'tcp' | 'udp' | 'icmp';

export interface NetOutRule {
  protocol: NetOutProtocol;
  /** Inclusive address ranges; absent or empty: everywhere. A single address has start = end. */
  networks?: { start: string; end: string }[];
  /** Inclusive port ranges, TCP and UDP only; absent or empty: all. */
  ports?: { start: number; end: number }[];
  /** ICMP only. -1 or absent code: any. Type -1 or 255: any. */
  icmp?: { type: number; code?: number };
  /** Log the first packet of each connection. */
  log?: boolean;
}

export interface PortMapping {
  hostPort: number;
  containerPort: number;
}

/** Names of the limits that setrlimit(2) knows, without `RLIMIT_` and in lower case; `locks` is no longer enforced. */
export const rlimitNames = [
  ...(['as', 'core', 'cpu', 'data', 'fsize', 'locks', 'memlock', 'msgqueue'] as const),
  ...(['nice', 'nofile', 'nproc', 'rss', 'rtprio', 'sigpending', 'stack'] as const),
];

export type RlimitSpec = Partial<Record<(typeof rlimitNames)[number], number>>;

export interface ProcessSpec {
  /** Unique in its container; a new UUID when absent. */
  id?: string;
  /** Executable; without `/` it is searched in the process's PATH. */
  path: string;
  args?: string[];
  /** Absolute; absent: the user's home. Created when missing. */
  dir?: string;
  /** `name`, `uid`, `name:group` or `uid:gid`; absent: root. */
  user?: string;
  /** `NAME=value` entries. */
  env?: string[];
  /** Soft = hard. */
  rlimits?: RlimitSpec;
  /** Keep no output at all: nobody will ever attach for it. */
  discardOutput?: boolean;
  /**
   * May print without end. An engine that would keep all of it, or end the process for it, gives only what comes while
   * somebody is attached, and what it still has of the last before. @default false
   */
  endlessOutput?: boolean;
  tty?: { columns?: number; rows?: number };
  /**
   * Root file system of the process's own, a path or URI as of a container: it shares all of the container but its
   * mounts (a "pea"). The user is then looked up there, and is root unless given.
   */
  image?: string;
  /** Only with `image`. */
  bindMounts?: BindMount[];
  /** Only with `image`: limits of its own beside those of the container, also when empty; absent: the container's. */
  limits?: Limits;
}

export interface ProcessIO {
  /** A string or buffer is written and closed; a stream is piped; absent: empty standard input. */
  stdin?: string | Buffer | Readable;
  stdout?: Writable;
  /** With a tty the error output comes merged into `stdout`. */
  stderr?: Writable;
  /**
   * Which output is given to `stdout` and `stderr` first: `start`: all that is kept; `undelivered`: what comes from now
   * on, or, when nobody follows that stream, what comes after the last byte that somebody was given, also by an engine
   * before this one. @default 'start'
   */
  outputFrom?: 'start' | 'undelivered';
}

export type ProcessSignal = 'terminate' | 'kill';

/** A process in a container; it outlives the engine's own process. */
export interface ContainerProcess {
  readonly id: string;
  /**
   * Exit status, or 128 + signal. All output was handed to the attached streams before. May be called any number of
   * times. Never rejects for the process's own failure; rejects when the exit can no longer be learnt, and with the
   * reason of `signal` when that gives up waiting. Whoever waits refers to the container: its grace time stands still.
   */
  wait(options?: { signal?: AbortSignal }): Promise<number>;
  signal(signal: ProcessSignal): Promise<void>;
  resize(columns: number, rows: number): Promise<void>;
  /**
   * Nobody will ask for this ended process any more: its id becomes free and what is kept of it goes. Those who are
   * attached get all that they would. Absent where an engine forgets by itself alone.
   */
  forget?(): Promise<void>;
}

export interface ContainerInfo {
  state: 'active' | 'stopped';
  /** In order of occurrence: `out of memory`. */
  events: string[];
  /** The bridge's address, as seen from the container. */
  hostIp: string;
  containerIp: string;
  /** The address of the host that mapped ports answer on. */
  externalIp: string;
  /** Directory of the container on the host; `<containerPath>/rootfs` is its root file system. */
  containerPath: string;
  /** Ids of processes that have not ended. */
  processIds: string[];
  properties: Properties;
  mappedPorts: PortMapping[];
}

export interface ContainerMetrics {
  memory: {
    /** `rss + cache - inactive file`, what counts against the limit and cannot simply be reclaimed. Bytes. */
    usageBytes: number;
    rssBytes: number;
    cacheBytes: number;
    inactiveFileBytes: number;
    swapBytes: number;
    /** The kernel's own counters (`memory.stat`), under its names; empty where there are none. */
    counters: Record<string, number>;
  };
  /** Consumed since creation, nanoseconds; the parts are absent where they are not told apart. */
  cpu: { usageNs: number; userNs?: number; systemNs?: number /** The weight that was set. */; shares?: number };
  /** What the container wrote. */
  disk: { bytesUsed: number; inodesUsed: number };
  /** Bytes of the image below it. */
  imageBytes: number;
  /** As seen from the container; absent where it has no interface of its own. */
  network?: { receivedBytes: number; sentBytes: number };
  pids: { current: number; max: number };
  ageMs: number;
}

export interface Capacity {
  memoryBytes: number;
  diskBytes: number;
  /** Size of the image store, where it is limited. */
  schedulableDiskBytes?: number;
  maxContainers: number;
}

export interface StopOptions {
  /** KILL at once instead of TERM first. @default false */
  kill?: boolean;
  /** Time between TERM and KILL. @default 10000 */
  graceTimeMs?: number;
}

/** An event of a container: its memory limit killed a process. */
export type ContainerEvent = 'out of memory';

export interface Container {
  readonly handle: string;
  /**
   * Starts a process; resolves once it was executed.
   * @throws ExecutableNotFoundError, UnknownUserError, ProcessIdInUseError, InvalidSpecError
   */
  run(spec: ProcessSpec, io?: ProcessIO): Promise<ContainerProcess>;
  /**
   * Joins a process by id, also one that has ended and one that was started before the engine's restart: output that
   * is still kept is given from its beginning, then what follows.
   * @throws UnknownProcessError
   */
  attach(processId: string, io?: ProcessIO): Promise<ContainerProcess>;
  /** Extracts a tar stream at `path`, as `user` (absent: root), inside the container's root. */
  streamIn(options: { path: string; user?: string; tar: Readable }): Promise<void>;
  /**
   * A tar stream of `path`; a directory with a trailing slash gives its content (`./...`), without one the directory
   * itself. @throws when the path does not exist
   */
  streamOut(options: { path: string; user?: string }): Promise<Readable>;
  /** Maps a host port to the container; missing numbers are chosen, container port = host port. */
  netIn(request?: { hostPort?: number; containerPort?: number }): Promise<PortMapping>;
  /** Allows outbound traffic; newest rules win. All or nothing. */
  netOut(rules: NetOutRule[]): Promise<void>;
  /** Changes the given limits, leaves the others. */
  limit(limits: Limits): Promise<void>;
  limits(): Promise<Limits>;
  info(): Promise<ContainerInfo>;
  metrics(): Promise<ContainerMetrics>;
  properties(): Promise<Properties>;
  setProperty(name: string, value: string): Promise<void>;
  /** @throws UnknownPropertyError */
  removeProperty(name: string): Promise<void>;
  setGraceTime(graceTimeMs: number): Promise<void>;
  /** Ends all processes: TERM, after the grace time KILL. Always succeeds; the container is `stopped` from then on. */
  stop(options?: StopOptions): Promise<void>;
  /** Listens for events until the returned function is called. Past events are in `info()`. */
  onEvent(listener: (event: ContainerEvent) => void): () => void;
}
