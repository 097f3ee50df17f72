import { mkdir, readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { CommandError } from '../../../process/command.js';
import { identifyProcess, type ProcessIdentity } from '../../../process/identity.js';
import type { Launcher, LaunchResult } from '../../../process/launcher.js';
import { type RuntimeCommand, withoutStreams } from './runtime-command.js';

export type RuntimeName = 'crun' | 'runc';

export interface OciRuntimeOptions {
  launcher: Launcher;
  name: RuntimeName;
  /** Absolute path of the program. */
  program: string;
  /** Absolute path of a static busybox. */
  toolbox: string;
  /** Directory for the runtime's own state, outside every container's directory. */
  root: string;
  /** What a call may take. @default 30000 */
  timeoutMs?: number;
}

/**
 * An OCI runtime program (crun or runc). It is started to make and to delete containers; whether a container lives is
 * told by `/proc`, never by asking the runtime (docs/protocol/containers.md §4.1).
 */
export class OciRuntime implements RuntimeCommand {
  readonly name: RuntimeName;
  readonly program: string;
  readonly root: string;
  readonly #launcher: Launcher;
  readonly #toolbox: string;
  /** What a call may take. */
  readonly timeoutMs: number;

  constructor(options: OciRuntimeOptions) {
    this.#launcher = options.launcher;
    this.#toolbox = options.toolbox;
    this.name = options.name;
    this.program = options.program;
    this.root = options.root;
    this.timeoutMs = options.timeoutMs ?? 30_000;
  }

  async prepare(): Promise<void> {
    await mkdir(this.root, { recursive: true, mode: 0o700 });
  }

  /** Arguments that stand before every verb. */
  get globalArguments(): string[] {
    return ['--root', this.root];
  }

  /**
   * Makes the container of a bundle directory and starts its init.
   *
   * @returns init on the host
   * @throws with the runtime's own words
   */
  async run(handle: string, bundleDirectory: string): Promise<ProcessIdentity> {
    const logFile = join(bundleDirectory, 'runtime.log');
    const pidFile = join(bundleDirectory, 'init.pid');
    const args = ['--log', logFile, 'run', '--detach', '--no-new-keyring', '--pid-file', pidFile];
    const { exitCode, hasTimedOut } = await this.#runDetached([...args, '--bundle', bundleDirectory, handle]);
    if (hasTimedOut) throw new Error(`${this.name} run: no end within ${this.timeoutMs / 1000} s`);
    if (exitCode !== 0) throw await this.#failure('run', exitCode, logFile);
    const pid = Number(await readFile(pidFile, 'utf8'));
    const identity = identifyProcess(pid);
    if (identity === undefined) throw new Error(`init of ${handle} ended at once`);
    return identity;
  }

  /** Removes what the runtime knows of a container whose init has ended; nothing when it knows none. */
  async delete(handle: string): Promise<void> {
    if (!(await this.knows(handle))) return;
    const { exitCode } = await this.#launcher.launch({
      program: this.program,
      args: [...this.globalArguments, 'delete', handle],
      timeoutMs: this.timeoutMs,
    });
    if (exitCode !== 0) {
      // A creation that was cut short leaves a directory that the runtime itself cannot read any more.
      await rm(join(this.root, handle), { recursive: true, force: true });
    }
  }

  /** Removes what the runtime knows of containers that are not among these; their processes must be dead. */
  async deleteAllExcept(handles: Set<string>): Promise<void> {
    const strays = (await readdir(this.root)).filter((handle) => !handles.has(handle));
    await Promise.all(strays.map((handle) => rm(join(this.root, handle), { recursive: true, force: true })));
  }

  /** Whether the runtime keeps anything for this handle. */
  async knows(handle: string): Promise<boolean> {
    return stat(join(this.root, handle)).then(
      () => true,
      () => false,
    );
  }

  /** Init inherits the three standard streams for its whole life: a file could be filled from inside. */
  #runDetached(args: string[]): Promise<LaunchResult> {
    const { program, globalArguments } = withoutStreams(this, this.#toolbox);
    return this.#launcher.launch({
      program,
      args: [...globalArguments, ...args],
      capturesStderr: false,
      timeoutMs: this.timeoutMs,
    });
  }

  async #failure(verb: string, status: number | null, logFile: string): Promise<Error> {
    const log = await readFile(logFile, 'utf8').catch(() => '');
    return new CommandError(`${this.name} ${verb}`, status, log);
  }
}
