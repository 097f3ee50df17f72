import type { Agent } from './agent.js';

/**
 * What signals do (docs/protocol/dea.md §16): TERM, INT and QUIT shut down, also in the middle of an evacuation; USR1
 * withdraws from placement; USR2 evacuates and then shuts down. A signal that comes again changes nothing.
 */
export function handleSignals(agent: Agent, exit: (status: number) => void): void {
  const shutDown = () => {
    agent.stop().then(
      () => exit(0),
      () => exit(1),
    );
  };
  const actions = {
    SIGTERM: shutDown,
    SIGINT: shutDown,
    SIGQUIT: shutDown,
    SIGUSR1: () => agent.withdraw(),
    SIGUSR2: () => agent.evacuate(shutDown),
  };
  for (const [signal, act] of Object.entries(actions) as [NodeJS.Signals, () => void | Promise<void>][]) {
    process.on(signal, () => {
      agent.logSignal(signal);
      // A start that fails ends the process by itself.
      Promise.resolve(act()).catch(() => {});
    });
  }
}
