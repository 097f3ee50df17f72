import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { HostRequirementError } from '../containers/errors.js';
import type { Component } from '../process/program.js';
import { waitUntil } from '../process/wait.js';

export interface NatsServerOptions {
  host: string;
  port: number;
  /** Called when the server ends without being told to. */
  onUnexpectedExit(description: string): void;
}

/** `setpriv` could not run the program. */
const notFoundStatus = 127;
const startLimitMs = 10_000;
const stopLimitMs = 5_000;

/** Debian's `nats-server` as a child of this process. */
export class NatsServer implements Component {
  private child: ChildProcess | undefined;
  private isStopping = false;

  constructor(private readonly options: NatsServerOptions) {}

  get url(): string {
    return `nats://${this.options.host}:${this.options.port}`;
  }

  /** Resolves when the server greets. @throws HostRequirementError when it cannot be started */
  async start(): Promise<void> {
    const { host, port, onUnexpectedExit } = this.options;
    // A killed standalone must not leave it behind with its port: it goes with its parent.
    const child = spawn('setpriv', ['--pdeathsig', 'TERM', 'nats-server', '-a', host, '-p', String(port)], {
      stdio: ['ignore', 'ignore', 'pipe'],
      // Its own process group: Ctrl-C in a terminal must not end it before the cell has said goodbye.
      detached: true,
    });
    this.child = child;
    let lastWords = '';
    child.stderr!.on('data', (chunk: Buffer) => {
      lastWords = (lastWords + chunk.toString()).slice(-1000);
    });
    const failure = new Promise<string>((resolve) => {
      child.once('error', (error) => resolve(error.message));
      child.once('exit', (code) => {
        const isMissing = code === notFoundStatus;
        resolve(
          isMissing
            ? 'it is not installed; run: apt-get install nats-server'
            : `it ended with status ${code}: ${lastWords.trim()}`,
        );
      });
    });
    const reason = await Promise.race([failure, this.untilGreeting()]);
    if (reason !== undefined) throw new HostRequirementError(`nats-server cannot be started: ${reason}`);
    void failure.then((description) => {
      if (!this.isStopping) onUnexpectedExit(`nats-server: ${description}`);
    });
  }

  async stop(): Promise<void> {
    this.isStopping = true;
    const { child } = this;
    if (!child || child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
    const exited = once(child, 'exit');
    child.kill('SIGTERM');
    await Promise.race([exited, delay(stopLimitMs, undefined, { ref: false })]);
    child.kill('SIGKILL');
    await exited;
  }

  private async untilGreeting(): Promise<string | undefined> {
    const isReady = await waitUntil(() => this.greets(), { timeoutMs: startLimitMs });
    return isReady ? undefined : `it did not answer within ${startLimitMs / 1000} s`;
  }

  private async greets(): Promise<boolean> {
    const socket = connect(this.options.port, this.options.host);
    try {
      await once(socket, 'data', { signal: AbortSignal.timeout(1000) });
      return true;
    } catch {
      return false;
    } finally {
      socket.destroy();
    }
  }
}
