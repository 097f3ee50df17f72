import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { makeDirectories } from '../../../files/directories.js';
import type { OciProcess } from '../runtime/process.js';

/** How a process was started; what joining it again needs. */
export interface ProcessTraits {
  hasStdin: boolean;
  hasTty: boolean;
  keepsOutput: boolean;
}

export interface ProcessDirectoryOptions {
  path: string;
  /** Holds the log; made when output is to be kept. */
  outputDirectory: string;
  /** The runtime's id of the container; conmon names the exit file after it. */
  containerId: string;
}

/**
 * The files by which a process and its conmon are known, also after the engine was killed. Readable by root only:
 * the environment of the process may hold secrets.
 */
export class ProcessDirectory {
  readonly processFile: string;
  readonly traitsFile: string;
  readonly pidFile: string;
  readonly conmonPidFile: string;
  readonly exitDirectory: string;
  readonly logFile: string;
  readonly controlFifo: string;

  readonly path: string;
  readonly outputDirectory: string;
  readonly #containerId: string;

  constructor({ path, outputDirectory, containerId }: ProcessDirectoryOptions) {
    this.path = path;
    this.outputDirectory = outputDirectory;
    this.#containerId = containerId;
    this.processFile = join(path, 'process.json');
    this.traitsFile = join(path, 'traits.json');
    this.pidFile = join(path, 'pid');
    this.conmonPidFile = join(path, 'conmon.pid');
    this.exitDirectory = join(path, 'exit');
    this.logFile = join(outputDirectory, 'log');
    this.controlFifo = join(path, 'ctl');
  }

  async prepare(process: OciProcess, traits: ProcessTraits): Promise<void> {
    await makeDirectories(this.exitDirectory, 0o700);
    await Promise.all([
      traits.keepsOutput && makeDirectories(this.outputDirectory, 0o700),
      writeFile(this.processFile, JSON.stringify(process), { mode: 0o600 }),
      writeFile(this.traitsFile, JSON.stringify(traits), { mode: 0o600 }),
    ]);
  }

  /** @throws when the directory was never finished */
  async readTraits(): Promise<ProcessTraits> {
    const traits: Partial<ProcessTraits> = JSON.parse(await readFile(this.traitsFile, 'utf8'));
    return {
      hasStdin: traits.hasStdin === true,
      hasTty: traits.hasTty === true,
      keepsOutput: traits.keepsOutput === true,
    };
  }

  /** Exit status that conmon left; undefined while there is none. */
  async readExitStatus(): Promise<number | undefined> {
    const text = await readFile(join(this.exitDirectory, this.#containerId), 'utf8').catch(() => '');
    return /^\d+$/.test(text.trim()) ? Number(text) : undefined;
  }

  async readPid(): Promise<number | undefined> {
    return readNumber(this.pidFile);
  }

  async readConmonPid(): Promise<number | undefined> {
    return readNumber(this.conmonPidFile);
  }

  async remove(): Promise<void> {
    await Promise.all(
      [this.path, this.outputDirectory].map((directory) => rm(directory, { recursive: true, force: true })),
    );
  }
}

/** Names of the processes below a container's `processes` directory. */
export async function listProcessIds(directory: string): Promise<string[]> {
  return readdir(directory).catch(() => []);
}

async function readNumber(path: string): Promise<number | undefined> {
  const text = await readFile(path, 'utf8').catch(() => '');
  return /^\d+$/.test(text.trim()) ? Number(text) : undefined;
}
