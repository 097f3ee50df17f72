import { spawn } from 'node:child_process';

export interface CommandOptions {
  /** Written to the command's standard input, which is then closed. */
  input?: string | Buffer;
  cwd?: string;
  env?: NodeJS.ProcessEnv;
  /** Kills the command (SIGKILL) when it takes longer. @default 30000 */
  timeoutMs?: number;
  signal?: AbortSignal;
}

export interface CommandResult {
  stdout: string;
  stderr: string;
}

/** A command ended with another status than 0, by a signal, or could not be started. */
export class CommandError extends Error {
  constructor(
    readonly command: string,
    readonly exitCode: number | null,
    readonly stderr: string,
    cause?: unknown,
  ) {
    const reason = stderr.trim() || (cause instanceof Error ? cause.message : `exit status ${exitCode ?? 'unknown'}`);
    super(`${command}: ${reason}`, { cause });
  }
}

/**
 * Runs a program to its end, without a shell, and gives what it printed.
 *
 * @throws CommandError when it cannot be started, fails or runs out of time
 */
export function runCommand(program: string, args: string[], options: CommandOptions = {}): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd: options.cwd,
      env: options.env ?? process.env,
      stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
      timeout: options.timeoutMs ?? 30_000,
      killSignal: 'SIGKILL',
      ...(options.signal && { signal: options.signal }),
    });
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    child.stdout!.on('data', (chunk: Buffer) => stdout.push(chunk));
    child.stderr!.on('data', (chunk: Buffer) => stderr.push(chunk));
    child.on('error', (error) => reject(new CommandError(program, null, '', error)));
    child.on('close', (code, signal) => {
      const errors = Buffer.concat(stderr).toString();
      if (code === 0) resolve({ stdout: Buffer.concat(stdout).toString(), stderr: errors });
      else reject(new CommandError(program, code, errors || (signal ? `ended by ${signal}` : '')));
    });
    if (options.input !== undefined) {
      // A command that ends without reading its input is judged by its exit status, not by the broken pipe.
      child.stdin!.on('error', () => {});
      child.stdin!.end(options.input);
    }
  });
}
