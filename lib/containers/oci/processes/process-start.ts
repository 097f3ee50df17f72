import type { ProcessIdentity } from '../../../process/identity.js';
import type { ProcessIO, ProcessSpec } from '../../engine.js';
import type { ContainerState } from '../container-state.js';
import { confinementOf, type Host, runtimeCommandOf } from '../host.js';
import { describeProcess } from '../supervisor/process-spec.js';
import type { SupervisedProcess } from '../supervisor/supervised-process.js';
import type { SupervisedContainer } from '../supervisor/supervisor.js';
import { lookUpAccount } from '../users/container-files.js';
import { idOutside } from '../users/id-map.js';
import { explainStartFailure } from './start-failure.js';
import { giveTerminal } from './terminal-owner.js';

export interface ProcessStart {
  host: Host;
  state: ContainerState;
  /** Whose process it will be. */
  container: Omit<SupervisedContainer, 'runtime'>;
  /** A process with the root file system that the new one will have. */
  init: ProcessIdentity;
  id: string;
  spec: ProcessSpec;
  io: ProcessIO;
  /** `NAME=value` entries that stand before the process's own. */
  env: string[];
}

/**
 * Starts a process as its user, in its directory, which is made when it is missing
 * (docs/protocol/containers.md §3.3).
 *
 * @throws UnknownUserError, ExecutableNotFoundError, ProcessStartError
 */
export async function startProcess(start: ProcessStart): Promise<SupervisedProcess> {
  const { host, state, init, spec, io } = start;
  const account = await lookUpAccount(init, spec.user || 'root');
  const directory = await host.shell.makeDirectory(init, account, spec.dir || account.home);
  const process = describeProcess(spec, account, directory, {
    env: start.env,
    confinement: confinementOf(host, state),
  });
  const container = { ...start.container, runtime: runtimeCommandOf(host, state, spec.rlimits) };
  try {
    const supervised = await host.supervisor.run(container, start.id, process, {
      hasStdin: io.stdin !== undefined,
      hasTty: spec.tty !== undefined,
      keepsOutput: spec.discardOutput !== true,
    });
    const conmon = spec.tty && (await supervised.directory.readConmonPid());
    const owner = state.hasUserNamespace ? idOutside(state.idMap.users, account.uid) : account.uid;
    if (conmon && owner !== undefined) await giveTerminal(init, conmon, owner);
    return supervised;
  } catch (error) {
    throw await explainStartFailure(init, spec.path, directory, error);
  }
}
