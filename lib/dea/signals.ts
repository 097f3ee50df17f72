import type { Agent } from './agent.js';

/**
 * What signals do (docs/protocol/dea.md §16): TERM, INT and QUIT shut down, USR1 withdraws from placement. Both USR
 * signals have to be claimed: their default would end the process, and all apps with it.
 */
export function handleSignals(agent: Agent, exit: (status: number) => void): void {
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGQUIT'] as const) {
    process.on(signal, () => {
      agent.logSignal(signal);
      agent.stop().then(
        () => exit(0),
        () => exit(1),
      );
    });
  }
  process.on('SIGUSR1', () => {
    agent.logSignal('SIGUSR1');
    agent.withdraw();
  });
  process.on('SIGUSR2', () => agent.logSignal('SIGUSR2', { ignored: 'evacuation is not built yet (docs/limits.md)' }));
}
