/**
 * The collaborators of the `oci` orchestrator (docs/adr/0002-one-container-engine.md). Each has a folder of its
 * own with an implementation; the orchestrator (`orchestrator.ts`) tells the story and knows no detail of theirs.
 *
 * What a collaborator must remember about a container it returns as plain JSON ("lease"); the orchestrator writes
 * leases into the container's state file and hands them back after a restart (`adopt`) and at the end (`release`).
 *
 * What lies where in the depot is told in `layout.ts`. Everything on the host that is not below the depot (links, namespaces, chains, control groups) carries a tag that follows from the depot's
 * path, so that several engines share a host. Calls that concern one container come one after the other.
 */
import type { ContainerMetrics, DiskScope, NetOutRule, PortMapping } from '../engine.js';
import type { IdMap } from './users/id-map.js';

export interface DiskUsage {
  bytesUsed: number;
  inodesUsed: number;
}

/** What a root file system is made from; refers to layers in the store until it is released. */
export interface Image {
  /** Same for what looks the same in every respect. */
  identity: string;
  /** Directories that an overlay is laid over, top first; at least one. Nobody ever writes there. */
  lowerDirectories: string[];
  /** Names of the layers in the store that it refers to. */
  layers: string[];
  /** What it takes on the disk; absent while nobody has counted it. */
  bytes?: number;
  /** `NAME=value` entries that the environment of its processes starts with. */
  env: string[];
  /** Absolute path of where its processes start, if it says. Of effect for peas only: a container's start in their home. */
  workingDirectory?: string;
  annotations: Record<string, string>;
  /** The only directory is used as it is, without a writable layer and without limits. */
  isRaw: boolean;
  /** A layer holds nothing but owners and modes of what lies in the directory below it: see `images/layers/reowning.ts`. */
  hasMetacopy: boolean;
}

export interface ImageOptions {
  /** Of the user namespace that it is for: its files get the owners on the disk that they have within. @default none */
  idMap?: IdMap;
  /** For an image in a registry that asks for them. */
  credentials?: { username: string; password: string };
  /** Gives up waiting. */
  signal?: AbortSignal;
}

/** Images from wherever they come, unpacked once into layers of the depot (docs/protocol/containers.md §4.2). */
export interface Images {
  start(): Promise<void>;
  /** Breaks off what is being fetched. Idempotent. */
  stop(): Promise<void>;
  /**
   * The image of a URI (docs/protocol/containers.md §3.1), fetched and unpacked as far as it is not in the store. Whoever
   * asks at the same time shares the work.
   *
   * @param uri absent or empty: the engine's default
   * @throws InvalidSpecError naming `rootfs`; ImageError; HostRequirementError when a program is missing
   */
  acquire(uri: string | undefined, options?: ImageOptions): Promise<Image>;
  /** One more reference to layers, so that they stay. @throws when one is gone */
  retain(layers: readonly string[]): void;
  /** One reference less. Layers that nobody refers to are removed in the background once they take too much room. */
  release(layers: readonly string[]): void;
  /** Removes layers that nobody refers to beyond those that are kept for their next use. */
  collect(): Promise<void>;
}

export interface VolumeRequest {
  handle: string;
  /** Directory of the container; the volume is mounted at `<directory>/rootfs`. */
  directory: string;
  /** What lies below the writable layer. */
  image: Image;
  /** Limits of the writable layer; absent: no limit. */
  bytes?: number;
  inodes?: number;
  /** Whether the image's bytes count for `bytes`. @default 'exclusive' */
  scope?: DiskScope;
}

export interface VolumeLease {
  /** How its limits are enforced (docs/protocol/containers.md §4.3); `raw`: the image itself, nothing is limited. */
  driver: 'xfs-prj' | 'ext4-prj' | 'loop-image' | 'none' | 'raw';
  /** Absolute path of the mounted root file system. */
  mountPoint: string;
  [key: string]: unknown;
}

/** Root file systems: a writable, limited layer over a shared read-only one. */
export interface Volumes {
  start(): Promise<void>;
  /** Stops refilling and gives back spare volumes, when no container needs them. Idempotent. */
  stop(): Promise<void>;
  /** @throws InvalidSpecError when the image alone is larger than the limit of both */
  create(request: VolumeRequest): Promise<VolumeLease>;
  /** After a restart: true when the volume is still mounted and usable. */
  adopt(lease: VolumeLease): Promise<boolean>;
  usage(lease: VolumeLease): Promise<DiskUsage>;
  /** Size of the root file system below the writable layer. */
  imageBytes(lease: VolumeLease): Promise<number>;
  /**
   * Changes the limits and returns the new lease. Fewer bytes than are in use, or fewer inodes, keep the larger limit; a
   * volume that was made without limits stays so.
   */
  resize(lease: VolumeLease, limits: { bytes?: number; inodes?: number; scope?: DiskScope }): Promise<VolumeLease>;
  /** Unmounts and removes; also for a half-made or already removed volume. */
  release(lease: VolumeLease): Promise<void>;
  /** Unmounts and removes everything of ours below the depot that is in no lease (left by a crash). */
  reclaim(leases: VolumeLease[]): Promise<void>;
}

export interface NetworkRequest {
  handle: string;
  /** `a.b.c.d/n` or `a.b.c.d` (docs/protocol/containers.md §3.5); absent or empty: a /30 of the pool. */
  network?: string;
  netIn: { hostPort?: number; containerPort?: number }[];
  netOut: NetOutRule[];
}

export interface NetworkLease {
  /** Path of the network namespace file that the container joins. */
  namespacePath: string;
  containerIp: string;
  hostIp: string;
  externalIp: string;
  prefixLength: number;
  hostInterface: string;
  mappedPorts: PortMapping[];
  netOut: NetOutRule[];
  [key: string]: unknown;
}

/** Network namespaces with an address, port maps and egress rules. */
export interface Network {
  start(): Promise<void>;
  /** Stops refilling and gives back spare namespaces. Idempotent. */
  stop(): Promise<void>;
  /** Removes what is common to all containers (global firewall chains). Only when no container is left. */
  teardown(): Promise<void>;
  create(request: NetworkRequest): Promise<NetworkLease>;
  adopt(lease: NetworkLease): Promise<boolean>;
  /** Port maps and egress rules in one call of the firewall's program: all or nothing. */
  open(lease: NetworkLease, openings: Pick<NetworkRequest, 'netIn' | 'netOut'>): Promise<NetworkLease>;
  netIn(lease: NetworkLease, request: { hostPort?: number; containerPort?: number }): Promise<NetworkLease>;
  netOut(lease: NetworkLease, rules: NetOutRule[]): Promise<NetworkLease>;
  /**
   * Begins to remove namespace, links and rules, also half-made ones; all are gone before `stop` resolves at the latest.
   * Ports and subnet go back to their pools only then. Processes of the container must be dead.
   */
  release(lease: NetworkLease): Promise<void>;
  /** Removes every namespace, link and rule of ours that is in no lease. */
  reclaim(leases: NetworkLease[]): Promise<void>;
  /** Bytes so far, as seen from the container; undefined when its link is gone. Reads two files. */
  traffic(lease: NetworkLease): Promise<{ receivedBytes: number; sentBytes: number } | undefined>;
  limitBandwidth(lease: NetworkLease, bandwidth: { rate: number; burst: number }): Promise<void>;
}

export interface CgroupStats {
  memory: Omit<ContainerMetrics['memory'], 'usageBytes'>;
  cpu: ContainerMetrics['cpu'];
  pids: { current: number; max: number };
  /** How often the kernel killed a process of the group for its memory limit. */
  oomKills: number;
}

export interface CgroupLimits {
  memoryBytes?: number;
  cpuShares?: number;
  maxPids?: number;
}

/** Where a runtime is to put processes, and by what it has to limit them itself. */
export interface CgroupPlace {
  /** The `cgroupsPath` for its bundle. */
  path: string;
  /** Empty where they are in force already. */
  limits: CgroupLimits;
  /** The most processor time that goes with the shares, microseconds; absent: as much as is free. */
  cpuQuota?: { quota: number; period: number };
}

/** Control groups of containers, v1 and v2, by reading and writing their files: no process is ever started. */
export interface Cgroups {
  readonly version: 1 | 2;
  /** Whether the kernel can limit memory and swap together; known after `start`. */
  readonly limitsSwap: boolean;
  /** Prepares the hierarchies, so that the runtimes accept them. */
  start(): Promise<void>;
  /** Prepares a group before a runtime puts processes there; `remove` takes it back. */
  place(handle: string, limits: CgroupLimits): Promise<CgroupPlace>;
  /** Process ids in the group and all below it. */
  processes(handle: string): Promise<number[]>;
  stats(handle: string): Promise<CgroupStats>;
  oomKills(handle: string): Promise<number>;
  /** @throws InvalidSpecError when more memory is in use than the new limit allows, and cannot be taken back */
  limit(handle: string, limits: CgroupLimits): Promise<void>;
  /** Sends a signal to every process of the group except the ones given; repeats while new ones appear by fork. */
  signalAll(handle: string, signal: NodeJS.Signals, except: number[]): Promise<void>;
  /** Removes the group's directories; all processes must be gone. */
  remove(handle: string): Promise<void>;
  /** Handles that have a group of ours on this host. */
  list(): Promise<string[]>;
  /** Removes the parent group, if no container group is left in it, and undoes what `start` mounted. */
  teardown(): Promise<void>;
}
