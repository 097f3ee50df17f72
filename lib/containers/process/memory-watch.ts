import { errorData, type Logger } from '../../logging/logger.js';
import type { ProcessEntry } from '../../process/marked-processes.js';
import type { ProcessContainer } from './process-container.js';
import { processesByContainer, proportionalBytes } from './process-table.js';

export interface MemoryWatchOptions {
  containers: () => Iterable<ProcessContainer>;
  intervalMs: number;
  logger: Logger;
}

/** Looks at fixed intervals whether a container's processes are over its memory limit, and kills them then. */
export class MemoryWatch {
  private timer: NodeJS.Timeout | undefined;
  private round: Promise<void> = Promise.resolve();
  private isLooking = false;

  constructor(private readonly options: MemoryWatchOptions) {}

  start(): void {
    this.timer = setInterval(() => this.beginRound(), this.options.intervalMs);
  }

  /** Idempotent; resolves when no round is under way. */
  async stop(): Promise<void> {
    clearInterval(this.timer);
    await this.round;
  }

  private beginRound(): void {
    if (this.isLooking) return;
    this.isLooking = true;
    this.round = this.look()
      .catch((error: unknown) => this.options.logger.warn('containers.process.memory-watch-failed', errorData(error)))
      .finally(() => {
        this.isLooking = false;
      });
  }

  private async look(): Promise<void> {
    const limited = [...this.options.containers()].filter(
      (container) => container.memoryLimitBytes !== undefined && container.hasLiveProcesses,
    );
    if (limited.length === 0) return;
    const processes = processesByContainer();
    for (const container of limited) {
      const members = container.withoutWrappers(processes.get(container.directory) ?? []);
      if (await exceeds(members, container.memoryLimitBytes!)) await container.killForMemory();
    }
  }
}

/** The sum of resident sizes is cheap but counts shared pages again and again; only when it is over, a second look. */
async function exceeds(members: ProcessEntry[], limitBytes: number): Promise<boolean> {
  const residentBytes = members.reduce((total, { rssBytes }) => total + rssBytes, 0);
  if (residentBytes <= limitBytes) return false;
  const shares = await Promise.all(
    members.map(async ({ pid, rssBytes }) => (await proportionalBytes(pid)) ?? rssBytes),
  );
  return shares.reduce((total, bytes) => total + bytes, 0) > limitBytes;
}
