import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { eventually } from './eventually.js';

export interface DirServer {
  /** Exit status, once it has ended. */
  exited: Promise<number | null>;
  /** What it has written to its standard error so far. */
  standardError(): string;
  signal(signal: NodeJS.Signals): void;
  /** Sends TERM and gives the exit status. */
  terminate(): Promise<number | null>;
}

/** Runs `bin/dir-server` with these arguments. */
export function runDirServer(args: string[]): DirServer {
  const child: ChildProcess = spawn('bin/dir-server', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let errors = '';
  child.stderr!.on('data', (chunk: Buffer) => {
    errors += chunk.toString();
  });
  const exited = once(child, 'close').then(([code]) => code as number | null);
  return {
    exited,
    standardError: () => errors,
    signal: (signal) => void child.kill(signal),
    terminate() {
      child.kill('SIGTERM');
      return exited;
    },
  };
}

/** Waits until a port of the loopback is listened on. */
export async function untilListening(port: number): Promise<void> {
  await eventually(
    async () => {
      const socket = connect(port, '127.0.0.1');
      try {
        await once(socket, 'connect');
        return true;
      } finally {
        socket.destroy();
      }
    },
    { what: `a listener on port ${port}` },
  );
}
