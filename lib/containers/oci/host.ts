import type { Logger } from '../../logging/logger.js';
import { HostRequirementError } from '../errors.js';
import type { ContainerState } from './container-state.js';
import type { HostTools } from './host-tools.js';
import type { DepotLayout } from './layout.js';
import type { MigrationWarmer } from './migration-warmer.js';
import type { Cgroups, Images, Network, Volumes } from './ports.js';
import type { RuntimeChoice } from './runtime/choice.js';
import type { NameSettings } from './runtime/host-files.js';
import type { OciRuntime } from './runtime/oci-runtime.js';
import type { StartActivity } from './start-activity.js';
import type { ContainerShell } from './streams/container-shell.js';
import type { TarStreams } from './streams/tar-streams.js';
import type { Supervisor } from './supervisor/supervisor.js';

/** What a started engine works with: the collaborators, and what was found out about this host. */
export interface Host {
  layout: DepotLayout;
  bootId: string;
  tools: HostTools;
  runtimes: RuntimeChoice;
  images: Images;
  volumes: Volumes;
  network: Network;
  cgroups: Cgroups;
  supervisor: Supervisor;
  shell: ContainerShell;
  streams: TarStreams;
  activity: StartActivity;
  /** For the containers' `/etc/hosts` and `/etc/resolv.conf`. */
  names: NameSettings;
  warmer: MigrationWarmer;
  logger: Logger;
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
