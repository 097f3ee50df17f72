import { access, constants, readdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { OutputCollector } from './output-collector.js';
import { type ExecutionContext, runInProcessGroup } from './process-group.js';

/** The scripts of a buildpack that the builder runs (docs/protocol/cc-bridge.md §13). */
export type BuildpackScript = 'detect' | 'compile' | 'release';

export interface ScriptResult {
  status: number;
  /** Standard output, cut off after `outputLimitBytes`. */
  output: string;
  /** There was more output than was kept. */
  isTruncated: boolean;
}

const outputLimitBytes = 1024 * 1024;

/** A buildpack on the disk. */
export class Buildpack {
  private constructor(
    /** The directory that the buildpack is known by. */
    readonly path: string,
    /** The directory that has `bin`: `path`, or the only directory in it, as archives of repositories have it. */
    private readonly root: string,
  ) {}

  get name(): string {
    return basename(this.path);
  }

  /**
   * Looks for the scripts in a directory.
   *
   * @throws when neither it nor the only directory in it has a `bin`
   */
  static async open(path: string): Promise<Buildpack> {
    if (await isDirectory(join(path, 'bin'))) return new Buildpack(path, path);
    const entries = (await readdir(path)).filter((name) => name !== '.git');
    const [only] = entries;
    if (entries.length === 1 && only !== undefined && (await isDirectory(join(path, only, 'bin')))) {
      return new Buildpack(path, join(path, only));
    }
    throw new Error(`malformed buildpack does not contain a /bin dir: ${basename(path)}`);
  }

  /**
   * Runs a script; its output goes where the builder's goes.
   *
   * @returns the exit status, or 128 + signal
   * @throws when it is missing or not executable
   */
  async run(script: BuildpackScript, args: string[], context: ExecutionContext): Promise<number> {
    return runInProcessGroup(await this.scriptPath(script), args, context);
  }

  /** As `run`, but gives the standard output back. */
  async query(script: BuildpackScript, args: string[], context: ExecutionContext): Promise<ScriptResult> {
    const output = new OutputCollector(outputLimitBytes);
    const path = await this.scriptPath(script);
    const status = await runInProcessGroup(path, args, context, { stdout: output.receive });
    return { status, output: output.text, isTruncated: output.isFull };
  }

  private async scriptPath(script: BuildpackScript): Promise<string> {
    const path = join(this.root, 'bin', script);
    await access(path).catch((error: unknown) => {
      throw new Error(`buildpack ${this.name} has no bin/${script}`, { cause: error });
    });
    await access(path, constants.X_OK).catch((error: unknown) => {
      throw new Error(`bin/${script} of buildpack ${this.name} is not executable`, { cause: error });
    });
    return path;
  }
}

async function isDirectory(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch {
    return false;
  }
}
