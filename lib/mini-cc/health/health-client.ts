import { Agent, type Dispatcher } from 'undici';
import { z } from 'zod';
import type { Bus } from '../../bus/bus.js';
import { basicAuthorization, type Credentials } from '../../http/url.js';
import { errorData, type Logger } from '../../logging/logger.js';
import { type AppState, appStateSchema, maximumStateQuestions, subjects } from '../messages.js';

export interface HealthClientOptions {
  bus: Bus;
  /** Any URL of the health manager; of its path nothing is taken. */
  url: string;
  /** A shorter way to it, tried first. */
  internalUrl: string | undefined;
  credentials: Credentials;
  /** For an answer over HTTP, and for one on the bus. @default 2000 */
  timeoutMs?: number;
  /** Lies around each request. @default nothing */
  interceptor?: Dispatcher.DispatcherComposeInterceptor | undefined;
  logger: Logger;
}

/** An app in the version that is asked about. */
export interface AppVersion {
  guid: string;
  version: string;
}

const path = '/bulk_app_state';
const internalTries = 3;
const defaultTimeoutMs = 2000;
const answerSchema = z.record(z.string(), z.unknown());

/** The health manager has no such endpoint: it is one that answers on the bus. */
class NoEndpointError extends Error {}

/**
 * Asks the health manager what it knows of apps: over HTTP, and on the bus where it does not answer there
 * (docs/protocol/legacy-cc.md §6.3).
 */
export class HealthClient {
  private readonly agent: Agent;
  private readonly dispatcher: Dispatcher;
  private readonly timeoutMs: number;
  /** A health manager that is away is told of once. */
  private isAway = false;

  constructor(private readonly options: HealthClientOptions) {
    this.timeoutMs = options.timeoutMs ?? defaultTimeoutMs;
    this.agent = new Agent({ connect: { timeout: this.timeoutMs } });
    this.dispatcher = options.interceptor ? this.agent.compose(options.interceptor) : this.agent;
  }

  /** Cuts what is under way. Idempotent. */
  async close(): Promise<void> {
    await this.agent.destroy();
  }

  /** What is known, by app guid; apps that it does not know, or not yet, are not among them. Never rejects. */
  async states(apps: AppVersion[]): Promise<Map<string, AppState>> {
    const states = new Map<string, AppState>();
    if (apps.length === 0) return states;
    const answer = await this.ask(apps.map(({ guid, version }) => ({ droplet: guid, version })));
    for (const { guid, version } of apps) {
      const state = appStateSchema.safeParse(answer[guid]).data;
      if (state?.version === version) states.set(guid, state);
    }
    return states;
  }

  private async ask(questions: Question[]): Promise<Record<string, unknown>> {
    const { url, internalUrl, logger } = this.options;
    const addresses = [...Array.from({ length: internalUrl ? internalTries : 0 }, () => internalUrl!), url];
    let failure: unknown;
    for (const address of addresses) {
      try {
        const answer = await this.post(new URL(path, address), questions);
        this.isAway = false;
        return answer;
      } catch (error) {
        if (error instanceof NoEndpointError) return this.askOnBus(questions);
        failure = error;
      }
    }
    if (!this.isAway) logger.warn('mini-cc.health-manager.away', errorData(failure));
    this.isAway = true;
    return {};
  }

  private async post(url: URL, questions: Question[]): Promise<Record<string, unknown>> {
    const { statusCode, body } = await this.dispatcher.request({
      origin: url.origin,
      path: url.pathname,
      method: 'POST',
      headers: {
        authorization: basicAuthorization(this.options.credentials),
        'content-type': 'application/json',
      },
      body: JSON.stringify(questions),
      signal: AbortSignal.timeout(this.timeoutMs),
    });
    if (statusCode >= 200 && statusCode < 300) return answerSchema.parse(await body.json());
    await body.dump();
    if (statusCode === 404) throw new NoEndpointError();
    throw new Error(`the health manager answers with status ${statusCode}`);
  }

  private async askOnBus(questions: Question[]): Promise<Record<string, unknown>> {
    const [only] = questions;
    if (only && questions.length === 1) {
      const [reply] = await this.options.bus.request(subjects.appState, only, { timeoutMs: this.timeoutMs });
      return { [only.droplet]: reply };
    }
    const answers = await Promise.all(
      inGroups(questions, maximumStateQuestions).map(async (group) => {
        const [reply] = await this.options.bus.request(subjects.appStateBulk, group, { timeoutMs: this.timeoutMs });
        return answerSchema.safeParse(reply).data ?? {};
      }),
    );
    return Object.assign({}, ...answers);
  }
}

interface Question {
  droplet: string;
  version: string;
}

function inGroups<Item>(items: Item[], size: number): Item[][] {
  const count = Math.ceil(items.length / size);
  return Array.from({ length: count }, (_unused, group) => items.slice(group * size, (group + 1) * size));
}
