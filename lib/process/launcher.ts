import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { CommandError } from './command.js';
import { LaunchMark } from './launch-mark.js';

export interface LaunchRequest {
  program: string;
  args: string[];
  cwd?: string;
  env?: NodeJS.ProcessEnv;
  /** Written to standard input, which is then closed; absent: no standard input. */
  input?: string | Buffer;
  /** Also give the program a pipe as file descriptor 3, and end the wait with its first line there. @default false */
  answersOnFd3?: boolean;
  /** Keep what it writes to standard error; off for a program whose children go on with its streams. @default true */
  capturesStderr?: boolean;
  /** SIGKILL after so long, for it and for all that it has started. */
  timeoutMs: number;
}

export interface LaunchResult {
  /** Null when a signal ended it, or when it answered on descriptor 3 and goes on. */
  exitCode: number | null;
  /** It had not ended, or not answered on descriptor 3, when its time was over. */
  hasTimedOut: boolean;
  /** The end of what it wrote to standard error. */
  stderr: string;
  /** The first line from descriptor 3, or what came there before its end. */
  answer: string;
}

interface Reply extends LaunchResult {
  id: number;
  /** Why the program could not be started. */
  failure?: { message: string; code?: string };
}

/**
 * Runs in a process of its own and so, being text, needs no file that a build would have to put somewhere. It ends
 * with its parent. Terminal signals are the parent's business.
 */
const source = `
  const { spawn } = require('node:child_process');
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2']) process.on(signal, () => {});
  process.on('disconnect', () => process.exit());
  process.on('message', ({ id, program, args, cwd, env, input, ...request }) => {
    const { answersOnFd3, capturesStderr = true, timeoutMs } = request;
    let stderr = '', answer = '', isDone = false;
    const finish = (result) => {
      if (isDone) return;
      isDone = true;
      clearTimeout(timer);
      // A parent that is gone just now is told nothing any more; the end of the channel follows.
      process.send({ id, exitCode: null, hasTimedOut: false, stderr, answer, ...result }, () => {});
    };
    const stdio = [input === undefined ? 'ignore' : 'pipe', 'ignore', capturesStderr ? 'pipe' : 'ignore'];
    const options = { cwd, env, detached: true };
    const child = spawn(program, args, { ...options, stdio: answersOnFd3 ? [...stdio, 'pipe'] : stdio });
    const timer = setTimeout(() => {
      finish({ hasTimedOut: true });
      for (const stream of child.stdio) stream?.destroy();
    }, timeoutMs);
    child.on('error', ({ message, code }) => finish({ failure: { message, code } }));
    child.stderr?.setEncoding('utf8').on('data', (text) => { stderr = (stderr + text).slice(-8192); });
    if (input !== undefined) child.stdin.on('error', () => {}).end(input);
    if (!answersOnFd3) return child.on(capturesStderr ? 'close' : 'exit', (exitCode) => finish({ exitCode }));
    const pipe = child.stdio[3].setEncoding('utf8');
    pipe.on('data', (text) => {
      answer += text;
      if (answer.includes('\\n')) { answer = answer.slice(0, answer.indexOf('\\n')); finish({}); pipe.destroy(); }
    });
    pipe.on('close', () => finish({}));
  });
`;

/**
 * Starts programs on behalf of a large process. Forking copies the page tables of the whole process and blocks its
 * only thread meanwhile: 3 ms and more for an agent with a hundred megabytes, half a millisecond for this small one.
 */
export class Launcher {
  #child: ChildProcess | undefined;
  #isStopped = false;
  #sequence = 0;
  readonly #pending = new Map<number, { resolve(reply: Reply): void; reject(error: Error): void }>();

  /** Starts the small process; until then, and after it was lost, programs cannot be launched. Idempotent. */
  start(): void {
    this.#isStopped = false;
    if (!this.#child) this.#spawn();
  }

  #spawn(): ChildProcess {
    const child = spawn(process.execPath, ['--max-semi-space-size=1', '--max-old-space-size=64', '-e', source], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      serialization: 'advanced',
      env: ownEnvironment(),
    });
    this.#child = child;
    // What it is for is waited for elsewhere: alone it keeps nobody from ending.
    child.unref();
    child.channel?.unref();
    child.on('message', (reply: Reply) => {
      this.#pending.get(reply.id)?.resolve(reply);
      this.#pending.delete(reply.id);
    });
    child.on('error', () => this.#lose(child));
    child.on('exit', () => this.#lose(child));
    return child;
  }

  /** Ends the small process. Idempotent. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    const child = this.#child;
    if (!child) return;
    this.#child = undefined;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.ref();
    child.disconnect();
    await exited;
  }

  /**
   * Runs a program until it ends, or has answered.
   * @throws CommandError when it cannot be started
   */
  async launch(request: LaunchRequest): Promise<LaunchResult> {
    // Who comes too late must not bring it back to life, for nobody would end it again.
    if (this.#isStopped) throw new Error(`${request.program} is not started: the launcher has stopped`);
    const child = this.#child ?? this.#spawn();
    this.#sequence += 1;
    const id = this.#sequence;
    const mark = LaunchMark.create();
    const env = { ...(request.env ?? ownEnvironment()), ...mark.environment };
    child.channel?.ref();
    try {
      const { failure, ...result } = await new Promise<Reply>((resolve, reject) => {
        this.#pending.set(id, { resolve, reject });
        child.send({ id, ...request, env }, (error) => error && reject(error));
      });
      if (result.hasTimedOut) await mark.end();
      if (!failure) return result;
      throw new CommandError(
        request.program,
        null,
        '',
        Object.assign(new Error(failure.message), { code: failure.code }),
      );
    } finally {
      this.#pending.delete(id);
      if (this.#pending.size === 0) child.channel?.unref();
    }
  }

  #lose(child: ChildProcess): void {
    if (this.#child === child) this.#child = undefined;
    for (const { reject } of this.#pending.values()) reject(new Error('the process that starts programs has ended'));
    this.#pending.clear();
  }
}

/** Of the small process, and of programs that are given none. */
function ownEnvironment(): NodeJS.ProcessEnv {
  return { PATH: process.env.PATH, ISTHMUS_SPEC_RUN: process.env.ISTHMUS_SPEC_RUN };
}
