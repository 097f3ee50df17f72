import { readFileSync } from 'node:fs';
import { Agent, type Dispatcher } from 'undici';
import { errnoText } from '../../http/failure.js';
import { checkServerIdentity, tlsOfOldPeers } from '../../http/tls.js';
import { basicAuthorization, credentialsOf, parseHttpUrl, stripUserinfo } from '../../http/url.js';
import type { Logger } from '../../logging/logger.js';
import type { DeaConfig } from '../config.js';
import type { HeartbeatMessage } from '../messages.js';

export interface Hm9000ClientOptions {
  config: NonNullable<DeaConfig['hm9000']>;
  /** An idle connection is kept for so long, so that the next heartbeat finds it. */
  heartbeatIntervalMs: number;
  /** Limit of each of connecting, sending and receiving. @default 5000 */
  timeoutMs?: number;
  /** Told of each heartbeat's fate. */
  onResult?(isAccepted: boolean): void;
  logger: Logger;
}

const heartbeatPath = '/dea/heartbeat';
/** What is logged of a health manager's complaint. */
const maximumResponseCharacters = 1024;

/**
 * Heartbeats to HM9000 over mutual TLS (docs/protocol/dea.md §6.2). One request at a time: what comes while one is
 * under way waits, and of those that wait only the newest is sent, built at the moment of sending. So a health manager
 * that hangs costs one connection, and nobody waits for it.
 */
export class Hm9000Client {
  private readonly agent: Agent;
  private readonly url: URL;
  private sending: Promise<void> | undefined;
  private waiting: (() => HeartbeatMessage) | undefined;
  private readonly stopped = new AbortController();

  private constructor(private readonly options: Hm9000ClientOptions) {
    const { config, heartbeatIntervalMs, timeoutMs = 5000 } = options;
    this.url = new URL(heartbeatPath, parseHttpUrl(config.listener_uri));
    this.agent = new Agent({
      connections: 1,
      pipelining: 1,
      connect: {
        ...tlsOfOldPeers,
        checkServerIdentity,
        timeout: timeoutMs,
        key: readFileSync(config.key_file),
        cert: readFileSync(config.cert_file),
        ca: readFileSync(config.ca_file),
      },
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
      keepAliveTimeout: heartbeatIntervalMs + timeoutMs,
    });
  }

  /** @throws when a file cannot be read or the URI is none */
  static create(options: Hm9000ClientOptions): Hm9000Client {
    return new Hm9000Client(options);
  }

  /** Sends the heartbeat now, or after the one that is under way. Never waits and never throws. */
  send(build: () => HeartbeatMessage): void {
    if (this.stopped.signal.aborted) return;
    this.waiting = build;
    this.sending ??= this.sendWaiting().finally(() => {
      this.sending = undefined;
    });
  }

  /** Gives up what is under way. Idempotent. */
  async stop(): Promise<void> {
    this.stopped.abort();
    await this.agent.destroy();
    await this.sending;
  }

  private async sendWaiting(): Promise<void> {
    while (this.waiting && !this.stopped.signal.aborted) {
      const build = this.waiting;
      this.waiting = undefined;
      const isAccepted = await this.post(build());
      if (!this.stopped.signal.aborted) this.options.onResult?.(isAccepted);
    }
  }

  /** Whether the health manager took it; what it says otherwise is logged. Never rejects. */
  private async post(heartbeat: HeartbeatMessage): Promise<boolean> {
    const { logger, timeoutMs = 5000 } = this.options;
    const destination = stripUserinfo(this.url.href);
    try {
      // The parts have their own limits; a trickle of bytes keeps within those for ever.
      const signal = AbortSignal.any([this.stopped.signal, AbortSignal.timeout(3 * timeoutMs)]);
      const answer = await this.agent.request({
        origin: this.url.origin,
        path: `${this.url.pathname}${this.url.search}`,
        method: 'POST',
        headers: { 'Content-Type': 'application/json', ...authorization(this.url) },
        body: JSON.stringify(heartbeat),
        signal,
      });
      const text = await readBeginning(answer.body);
      if (answer.statusCode === 202) {
        logger.debug('hm9000.heartbeat.accepted');
        return true;
      }
      logger.warn('hm9000.heartbeat.failed', { destination, http_status: answer.statusCode, http_response: text });
    } catch (error) {
      if (!this.stopped.signal.aborted) {
        logger.error('hm9000.heartbeat.failed', { destination, error: errnoText(error) });
      }
    }
    return false;
  }
}

/** The client that the configuration asks for; undefined without `hm9000`. */
export function createHm9000Client({
  config: { hm9000, intervals },
  ...options
}: Pick<Hm9000ClientOptions, 'logger' | 'onResult'> & { config: DeaConfig }): Hm9000Client | undefined {
  if (!hm9000) return undefined;
  return Hm9000Client.create({ ...options, config: hm9000, heartbeatIntervalMs: intervals.heartbeat * 1000 });
}

function authorization(url: URL): Record<string, string> {
  const credentials = credentialsOf(url);
  return credentials ? { Authorization: basicAuthorization(credentials) } : {};
}

/** Reads an answer to its end, so that its connection can be used again, and keeps what a log line has room for. */
async function readBeginning(body: Dispatcher.ResponseData['body']): Promise<string> {
  let text = '';
  for await (const chunk of body) {
    if (text.length < maximumResponseCharacters) text += (chunk as Buffer).toString();
  }
  return text.slice(0, maximumResponseCharacters);
}
