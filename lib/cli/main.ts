import { runCli } from './program.js';

const interrupt = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    // Whoever presses it twice does not want to wait.
    if (interrupt.signal.aborted) process.exit(130);
    interrupt.abort();
  });
}
// A pager that is left early must not end in an error's text.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));

void runCli(process.argv.slice(2), {
  out: (content) => void process.stdout.write(content),
  error: (text) => void process.stderr.write(text),
  isInteractive: process.stderr.isTTY === true,
  isOutputTerminal: process.stdout.isTTY === true,
  // Opened when it is read: an open one would keep the process waiting.
  get input() {
    return process.stdin;
  },
  environment: process.env,
  signal: interrupt.signal,
}).then((status) => {
  process.exitCode = status;
});
