import { Agent, request } from 'node:http';

export interface RequestLoadOptions {
  /** Where the router listens on the loopback. */
  port: number;
  /** Value of the `Host` header. */
  host: string;
  path: string;
  perSecond: number;
  /** Whether an answer is a good one. */
  accept(status: number, body: string): boolean;
}

const answerLimitMs = 10_000;
const tickMs = 5;

/** Asks the same thing again and again at a steady rate, and counts what went wrong. */
export class RequestLoad {
  sent = 0;
  answered = 0;
  readonly failures: string[] = [];
  private readonly agent = new Agent({ keepAlive: true, maxSockets: 100 });
  private readonly pending = new Set<Promise<void>>();
  private readonly startedAt = performance.now();
  private readonly timer: NodeJS.Timeout;

  constructor(private readonly options: RequestLoadOptions) {
    this.timer = setInterval(() => this.catchUp(), tickMs);
  }

  /** Waits for the last answers. */
  async stop(): Promise<void> {
    clearInterval(this.timer);
    await Promise.all(this.pending);
    this.agent.destroy();
  }

  /** A late timer makes up for what it missed: the rate is that of the whole time. */
  private catchUp(): void {
    const due = Math.floor(((performance.now() - this.startedAt) / 1000) * this.options.perSecond);
    while (this.sent < due) {
      this.sent += 1;
      const asked = this.ask()
        .then(() => {
          this.answered += 1;
        })
        .catch((error: Error) => {
          this.failures.push(`${this.sent}: ${error.message}`);
        })
        .finally(() => this.pending.delete(asked));
      this.pending.add(asked);
    }
  }

  private ask(): Promise<void> {
    const { port, host, path, accept } = this.options;
    return new Promise((resolve, reject) => {
      const asking = request({ host: '127.0.0.1', port, path, agent: this.agent, headers: { host } });
      asking.setTimeout(answerLimitMs, () => asking.destroy(new Error('no answer in time')));
      asking.once('error', reject);
      asking.once('response', (response) => {
        let body = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          body += chunk;
        });
        response.once('error', reject);
        response.once('end', () =>
          accept(response.statusCode!, body)
            ? resolve()
            : reject(new Error(`status ${response.statusCode}: ${body.slice(0, 100)}`)),
        );
      });
      asking.end();
    });
  }
}
