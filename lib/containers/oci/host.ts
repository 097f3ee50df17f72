import type { Logger } from '../../logging/logger.js';
import type { Launcher } from '../../process/launcher.js';
import type { RlimitSpec } from '../engine.js';
import { HostRequirementError } from '../errors.js';
import type { ContainerState } from './container-state.js';
import type { HostTools } from './host-tools.js';
import type { DepotLayout } from './layout.js';
import type { MigrationWarmer } from './migration-warmer.js';
import type { Cgroups, Images, Network, Volumes } from './ports.js';
import type { ReachableDepot } from './reachable-depot.js';
import type { Confinement } from './runtime/bundle.js';
import type { BundleMount } from './runtime/bundle-mounts.js';
import type { RuntimeChoice } from './runtime/choice.js';
import type { NameSettings } from './runtime/host-files.js';
import type { OciRuntime } from './runtime/oci-runtime.js';
import { ownHardLimits, raisedLimits } from './runtime/rlimits.js';
import { forProcess, type RuntimeCommand } from './runtime/runtime-command.js';
import type { StartActivity } from './start-activity.js';
import type { ContainerShell } from './streams/container-shell.js';
import type { TarStreams } from './streams/tar-streams.js';
import type { Supervisor } from './supervisor/supervisor.js';
import { type IdMap, rootOutside } from './users/id-map.js';
import type { UserNamespaces } from './users/user-namespaces.js';

/** What a started engine works with: the collaborators, and what was found out about this host. */
export interface Host {
  layout: DepotLayout;
  bootId: string;
  tools: HostTools;
  runtimes: RuntimeChoice;
  images: Images;
  /** Programs of the engine that every container has. */
  programMounts: BundleMount[];
  userNamespaces: UserNamespaces;
  depot: ReachableDepot;
  /** Programs in unprivileged containers cannot gain capabilities. */
  noNewPrivileges: boolean;
  volumes: Volumes;
  network: Network;
  cgroups: Cgroups;
  launcher: Launcher;
  supervisor: Supervisor;
  shell: ContainerShell;
  streams: TarStreams;
  /** Whether containers have the program that sets extended attributes. */
  hasAttributeTool: boolean;
  activity: StartActivity;
  /** For the containers' `/etc/hosts` and `/etc/resolv.conf`. */
  names: NameSettings;
  warmer: MigrationWarmer;
  logger: Logger;
}

/** By which map ids of a container become ids of the host; nothing when they are the same. */
export function idMapOf(state: Pick<ContainerState, 'hasUserNamespace' | 'idMap'>): { idMap?: IdMap } {
  return state.hasUserNamespace ? { idMap: state.idMap } : {};
}

/** What the processes of a container are confined by. */
export function confinementOf(host: Host, state: Pick<ContainerState, 'isPrivileged'>): Confinement {
  const { isPrivileged } = state;
  const { runtimes, noNewPrivileges } = host;
  return { ...runtimes.confinement, isPrivileged, noNewPrivileges: noNewPrivileges && !isPrivileged };
}

/**
 * The runtime that made a container.
 *
 * @throws HostRequirementError when it was uninstalled since
 */
export function runtimeOf(host: Host, state: ContainerState): OciRuntime {
  const runtime = host.runtimes.installed.get(state.runtime);
  if (runtime) return runtime;
  throw new HostRequirementError(
    `container ${state.handle} was made with ${state.runtime}: run apt-get install ${state.runtime}`,
  );
}

/** How a process is started in a container, by the runtime that made it. */
export function runtimeCommandOf(host: Host, state: ContainerState, rlimits: RlimitSpec = {}): RuntimeCommand {
  const args = raisedLimits(rlimits, ownHardLimits());
  return forProcess(runtimeOf(host, state), {
    toolbox: host.tools.busybox,
    ...(state.hasUserNamespace && { pipeOwner: rootOutside }),
    ...(args.length > 0 && { raisedLimits: { prlimit: host.tools.prlimit, args } }),
  });
}
