import type { Garden } from './garden.js';

/** What signals do: TERM, INT and QUIT stop the server, USR2 drains it. Containers live on in any case. */
export function handleSignals(garden: Garden, exit: (status: number) => void): void {
  const end = (ending: Promise<void>) => {
    ending.then(
      () => exit(0),
      (error: unknown) => {
        process.stderr.write(`stop failed: ${(error as Error).message}\n`);
        exit(1);
      },
    );
  };
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGQUIT'] as const) process.on(signal, () => end(garden.stop()));
  process.on('SIGUSR2', () => end(garden.drain()));
}
