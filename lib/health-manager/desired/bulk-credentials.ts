import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import type { Bus } from '../../bus/bus.js';
import type { Credentials } from '../../http/url.js';
import type { Logger } from '../../logging/logger.js';

const answerSchema = z.object({ user: z.string().min(1), password: z.string() });

export interface BulkCredentialsOptions {
  bus: Bus;
  /** As the configuration has it. */
  user: string;
  password: string;
  /** Whose Cloud Controller is asked when the configuration has no user; empty asks nobody. */
  partition: string;
  logger: Logger;
}

const timeoutMs = 2000;
const retryPauseMs = 10_000;

/** With which name the desired state is asked for; old Cloud Controllers tell it on the bus (docs/protocol/health-manager.md §2.4). */
export class BulkCredentials {
  #told: Promise<Credentials> | undefined;

  constructor(private readonly options: BulkCredentialsOptions) {}

  /** Waits until somebody tells them. @throws when `signal` ends the waiting */
  async get(signal: AbortSignal): Promise<Credentials> {
    const { user, password, partition } = this.options;
    if (user !== '' || partition === '') return { user, password };
    this.#told ??= this.#ask(signal).catch((error: unknown) => {
      this.#told = undefined;
      throw error;
    });
    return this.#told;
  }

  async #ask(signal: AbortSignal): Promise<Credentials> {
    const { bus, partition, logger } = this.options;
    for (;;) {
      const subject = `cloudcontroller.bulk.credentials.${partition}`;
      const [answer] = await bus.request(subject, null, { timeoutMs, signal });
      const credentials = answerSchema.safeParse(answer);
      if (credentials.success) return credentials.data;
      logger.warn('No Cloud Controller tells its bulk credentials', { subject });
      await delay(retryPauseMs, undefined, { signal });
    }
  }
}
