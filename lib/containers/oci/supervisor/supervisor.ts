import { join } from 'node:path';
import { errorData, type Logger } from '../../../logging/logger.js';
import { identifyProcess, isRunning, type ProcessIdentity, readProcessStatus } from '../../../process/identity.js';
import type { Launcher } from '../../../process/launcher.js';
import { waitUntil } from '../../../process/wait.js';
import type { OciProcess } from '../runtime/process.js';
import type { RuntimeCommand } from '../runtime/runtime-command.js';
import {
  endConmon,
  endUnreported,
  explainStartFailure,
  findConmon,
  ProcessStartError,
  startUnderConmon,
} from './conmon.js';
import { listProcessIds, ProcessDirectory, type ProcessTraits } from './process-directory.js';
import { SupervisedProcess } from './supervised-process.js';

export interface SupervisorOptions {
  launcher: Launcher;
  /** Absolute paths. */
  conmon: string;
  socat: string;
  /** The kept output of a process takes at most twice this. @default 16 MiB */
  maximumLogBytes?: number;
  /** @default 30000 */
  startTimeoutMs?: number;
  logger: Logger;
}

/** Where the processes of a container leave their files: a directory per process in each. */
export interface ProcessDirectories {
  handle: string;
  /** What the runtime calls the container that a process is in, where that is not the handle. */
  runtimeIdOf?: (processId: string) => string | undefined;
  /** Small files by which processes are known. */
  processesDirectory: string;
  /** Kept output. */
  outputDirectory: string;
}

/** The container whose processes are meant. */
export interface SupervisedContainer extends ProcessDirectories {
  runtime: RuntimeCommand;
  /** Called with the exit status of a process before anyone else learns it. */
  beforeExit: (exitStatus: number) => Promise<void>;
}

/** The regular look at every process, should a change notice be lost or a conmon be killed. */
const lookIntervalMs = 2_000;
/** What conmon may take to write its files after the engine that started it was killed. */
const adoptionPatienceMs = 5_000;

/**
 * Keeps watch over the processes that run in containers. Every one has a conmon of its own which outlives the engine;
 * a directory per process is all that is needed to join it again.
 */
export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #processes = new Set<SupervisedProcess>();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: SupervisorOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer ??= setInterval(() => this.#lookAtAll(), lookIntervalMs);
  }

  /** Lets go of all processes; they live on. Idempotent. */
  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    for (const supervised of this.#processes) supervised.release();
    this.#processes.clear();
  }

  /**
   * Starts a process; resolves once it was executed.
   *
   * @throws ExecutableNotFoundError, or ProcessStartError with the runtime's words
   */
  async run(
    container: SupervisedContainer,
    id: string,
    process: OciProcess,
    traits: ProcessTraits,
  ): Promise<SupervisedProcess> {
    const directory = directoryOf(container, id);
    try {
      await directory.prepare(process, traits);
      const pid = await startUnderConmon({
        launcher: this.#options.launcher,
        program: this.#options.conmon,
        runtime: container.runtime,
        containerId: container.runtimeIdOf?.(id) ?? container.handle,
        processId: id,
        directory,
        traits,
        maximumLogBytes: this.#options.maximumLogBytes ?? 16 * 1024 * 1024,
        startTimeoutMs: this.#options.startTimeoutMs ?? 30_000,
      });
      const identity = identifyProcess(pid);
      const conmon = await awaitConmon(directory);
      return this.#keep(container, id, directory, traits, {
        ...(identity && { process: identity }),
        ...(conmon && { conmon }),
      });
    } catch (error) {
      await endConmon(directory);
      await endUnreported(directory);
      await directory.remove();
      throw error instanceof ProcessStartError ? explainStartFailure(error, process.args[0] ?? '') : error;
    }
  }

  /** Joins all processes that an engine before this one started in the container. */
  async adoptAll(container: SupervisedContainer): Promise<SupervisedProcess[]> {
    const ids = await listProcessIds(container.processesDirectory);
    const adopted = await Promise.all(ids.map((id) => this.#adopt(container, id)));
    return adopted.filter((supervised) => supervised !== undefined);
  }

  /** Removes the files of a process that has ended, or whose container is being removed. */
  async forget(supervised: SupervisedProcess): Promise<void> {
    this.#processes.delete(supervised);
    supervised.close();
    await supervised.directory.remove();
  }

  /** Waits for the conmons of a container whose processes are dead; kills those that do not end. */
  async endAll(container: ProcessDirectories): Promise<void> {
    const ids = await listProcessIds(container.processesDirectory);
    await Promise.all(ids.map((id) => endConmon(directoryOf(container, id))));
  }

  async #adopt(container: SupervisedContainer, id: string): Promise<SupervisedProcess | undefined> {
    const directory = directoryOf(container, id);
    let traits: ProcessTraits;
    try {
      traits = await directory.readTraits();
    } catch (error) {
      this.#options.logger.info('containers.process.unfinished', { process: id, ...errorData(error) });
      await directory.remove();
      return undefined;
    }
    const conmon = await findConmon(directory);
    if (conmon) {
      // It may just be starting the process.
      const isSettled = async () =>
        !isRunning(conmon) || (await directory.readPid()) !== undefined || (await hasExited(directory));
      await waitUntil(isSettled, { timeoutMs: adoptionPatienceMs });
    }
    const exitStatus = await directory.readExitStatus();
    if (exitStatus !== undefined) {
      await container.beforeExit(exitStatus);
      return this.#keep(container, id, directory, traits, { exitStatus });
    }
    const pid = await directory.readPid();
    if (pid === undefined) {
      await endConmon(directory);
      await directory.remove();
      return undefined;
    }
    const status = readProcessStatus(pid);
    const isChild = conmon !== undefined && status?.parentPid === conmon.pid;
    return this.#keep(container, id, directory, traits, {
      ...(isChild && { process: { pid, startTime: status.startTime } }),
      ...(conmon && { conmon }),
    });
  }

  #keep(
    container: SupervisedContainer,
    id: string,
    directory: ProcessDirectory,
    traits: ProcessTraits,
    known: Pick<ConstructorParameters<typeof SupervisedProcess>[0], 'process' | 'conmon' | 'exitStatus'>,
  ): SupervisedProcess {
    const supervised = new SupervisedProcess({
      id,
      directory,
      traits,
      ...known,
      launcher: this.#options.launcher,
      socat: this.#options.socat,
      beforeExit: container.beforeExit,
      logger: this.#options.logger,
    });
    this.#processes.add(supervised);
    return supervised;
  }

  #lookAtAll(): void {
    for (const supervised of this.#processes) {
      if (!supervised.hasEnded) supervised.nudge();
    }
  }
}

function directoryOf(
  { handle, runtimeIdOf, processesDirectory, outputDirectory }: ProcessDirectories,
  id: string,
): ProcessDirectory {
  return new ProcessDirectory({
    path: join(processesDirectory, id),
    outputDirectory: join(outputDirectory, id),
    containerId: runtimeIdOf?.(id) ?? handle,
  });
}

async function hasExited(directory: ProcessDirectory): Promise<boolean> {
  return (await directory.readExitStatus()) !== undefined;
}

/**
 * conmon answers from a child, whose number its parent may not have written down yet. One that is gone already has
 * left the exit status.
 */
async function awaitConmon(directory: ProcessDirectory): Promise<ProcessIdentity | undefined> {
  let conmon: ProcessIdentity | undefined;
  const isKnown = async () => {
    conmon = await findConmon(directory);
    return conmon !== undefined || (await hasExited(directory));
  };
  await waitUntil(isKnown, { timeoutMs: adoptionPatienceMs });
  return conmon;
}
