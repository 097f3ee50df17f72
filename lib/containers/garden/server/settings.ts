/** What a Garden server adds to, or refuses of, what clients ask for (docs/protocol/containers.md §2.7). */
export interface GardenSettings {
  /** Root file system of containers that name none; absent: the engine's default. */
  defaultRootfs?: string | undefined;
  /** Grace time of containers that name none; 0: none. @default 0 */
  defaultGraceTimeMs?: number;
  /** @default false */
  disablePrivilegedContainers?: boolean;
  /** A process is forgotten as soon as one client was told its exit status. @default false */
  forgetsDelivered?: boolean;
  /** Most containers at once; 0: as many as the engine has room for. @default 0 */
  maxContainers?: number;
}
