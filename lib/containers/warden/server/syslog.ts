import { type ChildProcess, spawn } from 'node:child_process';
import { errorData, type Logger } from '../../../logging/logger.js';
import type { OutputName } from '../output-buffer.js';

const priorities: Record<OutputName, string> = { stdout: 'user.info', stderr: 'user.err' };
/** What waits for syslog at most; lines beyond it are dropped, so that a slow reader holds up no job. */
const longestBacklogBytes = 1024 * 1024;

/**
 * Sends a job's lines to a syslog socket (docs/protocol/containers.md §1.5). The socket takes datagrams, which the
 * platform has no means to send on UNIX sockets: `logger` does it, one child for each stream.
 */
export class SyslogForwarder {
  readonly #children: Partial<Record<OutputName, ChildProcess>> = {};
  #isClosed = false;
  readonly #options: { socketPath: string; logTag: string; logger: Logger };

  constructor(options: { socketPath: string; logTag: string; logger: Logger }) {
    this.#options = options;
  }

  append(name: OutputName, chunk: Buffer): void {
    if (this.#isClosed) return;
    this.#children[name] ??= this.#start(name);
    const { stdin } = this.#children[name];
    if (stdin?.writable && stdin.writableLength < longestBacklogBytes) stdin.write(chunk);
  }

  /** The last lines are sent, then the children end. Idempotent. */
  close(): void {
    this.#isClosed = true;
    for (const child of Object.values(this.#children)) child.stdin?.end();
  }

  #start(name: OutputName): ChildProcess {
    const { socketPath, logTag, logger } = this.#options;
    const target = ['--socket', socketPath, '--socket-errors=off'];
    const line = ['--tag', `warden.${logTag}`, '--priority', priorities[name]];
    const child = spawn('logger', [...target, ...line], { stdio: ['pipe', 'ignore', 'ignore'] });
    const report = (error: Error) => logger.warn('containers.warden.syslog-failed', errorData(error));
    child.on('error', report);
    child.stdin.on('error', report);
    return child;
  }
}
