import { errorData, type Logger } from '../../logging/logger.js';
import type { Endpoint } from '../messages.js';
import { addressOf } from '../pool.js';
import type { Destination } from './destination.js';
import { type Connection, type DialOptions, dial } from './dial.js';
import { type Answer, exchange, type OutgoingRequest } from './exchange.js';
import { type AttemptFault, judgeAttempt, refusals } from './failures.js';
import { type HeaderRules, headersForApp } from './headers.js';
import type { Passage } from './passage.js';

export interface ForwarderOptions extends DialOptions {
  /** Endpoints that are tried for one request. */
  maximumAttempts: number;
  /** How long a plain endpoint is left out of the choice after a failure. */
  ineligibleMs: number;
  headerRules: HeaderRules;
  logger: Logger;
}

/** What the way of handling a request decides about it; the rest is the client's own. */
export type ForwardRequest = Pick<OutgoingRequest, 'asksUpgrade' | 'sendBody'>;

/** Asks one endpoint after the other until one answers (docs/protocol/edge.md §1.6). */
export class Forwarder {
  constructor(private readonly options: ForwarderOptions) {}

  /** @throws RouterFailure when no endpoint answered */
  async forward(
    passage: Passage,
    destination: Destination,
    request: ForwardRequest,
    signal: AbortSignal,
  ): Promise<Answer> {
    const tried = new Set<string>();
    let fault: AttemptFault | undefined;
    while (tried.size < this.options.maximumAttempts) {
      const endpoint = destination.next(tried);
      if (!endpoint) break;
      tried.add(addressOf(endpoint));
      passage.endpoint = endpoint;
      const outcome = await this.attempt(passage, destination, endpoint, request, signal);
      if ('message' in outcome) return outcome;
      fault = outcome;
      if (!fault.isRepeatable || signal.aborted) break;
    }
    if (fault) throw fault.failure;
    // There are endpoints, and none could be chosen; or the last one went away in this moment.
    throw destination.pool.isEmpty ? refusals.unknownRoute(passage.host) : refusals.connectionLimit();
  }

  private async attempt(
    passage: Passage,
    destination: Destination,
    endpoint: Endpoint,
    request: ForwardRequest,
    signal: AbortSignal,
  ): Promise<Answer | AttemptFault> {
    const release = destination.pool.begin(endpoint);
    let connection: Connection | undefined;
    try {
      connection = await dial(endpoint, this.options, signal);
      // The endpoint is busy with the request for as long as their connection lasts.
      connection.socket.once('close', release);
      passage.markSent();
      return await exchange(connection, this.outgoing(passage, endpoint, request), signal);
    } catch (error) {
      release();
      passage.markAnswered();
      connection?.socket.destroy();
      const fault = judgeAttempt(signal.aborted ? signal.reason : error, {
        endpoint,
        localAddress: connection?.localAddress,
        isIdempotent: passage.isIdempotent,
        isBodyTaken: passage.isBodyTaken,
      });
      this.options.logger.warn('backend-endpoint-failed', {
        endpoint: addressOf(endpoint),
        request_id: passage.requestId,
        app: endpoint.app,
        effect: fault.effect,
        ...errorData(error),
      });
      if (fault.effect === 'prune') destination.pool.remove(endpoint);
      if (fault.effect === 'mark') destination.pool.markFailed(endpoint, this.options.ineligibleMs);
      return fault;
    }
  }

  private outgoing(passage: Passage, endpoint: Endpoint, request: ForwardRequest): OutgoingRequest {
    const { headerRules } = this.options;
    return {
      method: passage.request.method!,
      target: passage.request.url!,
      headers: headersForApp(passage, endpoint, { rules: headerRules, asksUpgrade: request.asksUpgrade }),
      awaitsContinue: passage.expectsContinue,
      ...request,
    };
  }
}
