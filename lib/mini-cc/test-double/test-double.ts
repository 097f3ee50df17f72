import { json, type Request, type RequestHandler, type Router } from 'express';
import type { Dispatcher } from 'undici';
import { z } from 'zod';
import type { Bus } from '../../bus/bus.js';
import type { Logger } from '../../logging/logger.js';
import { ApiError } from '../errors.js';
import { DoubleBus } from './double-bus.js';
import { type ActiveFault, type Fault, Faults, faultSchema, type Generation } from './faults.js';
import { httpFaults } from './http-faults.js';
import { MessageLog } from './message-log.js';
import { recordRequests } from './recorded-requests.js';

export interface TestDoubleOptions {
  logger: Logger;
  /** Milliseconds since 1970. */
  now: () => number;
}

export interface DoubleRoutesOptions {
  /** Refuses who may not ask. */
  authenticate: RequestHandler;
  /** Lets a cell's advertisements expire, or all; gives the ids. */
  expire(cell: string | undefined): string[];
}

const querySchema = z.object({
  since: z.coerce.number().int().min(0).optional(),
  subject: z.string().min(1).optional(),
});

/**
 * What makes a miniature Cloud Controller a test double (docs/protocol/legacy-cc.md §12, §15): all its messages can be
 * read, and faults asked for. It lies around bus and HTTP server; what is between them knows nothing of it.
 */
export class TestDouble {
  readonly #log: MessageLog;
  readonly #faults = new Faults();
  /** Lies around the requests that the Cloud Controller itself makes. */
  readonly recordRequests: Dispatcher.DispatcherComposeInterceptor;
  #generation: Generation | undefined;

  constructor({ logger, now }: TestDoubleOptions) {
    this.#log = new MessageLog(now);
    this.recordRequests = recordRequests(this.#log);
    logger.warn('mini-cc.is-a-test-double', { problem: 'whoever has the token may make it fail' });
  }

  /** The bus that the Cloud Controller is to use. */
  wrap(bus: Bus): Bus {
    return new DoubleBus({
      bus,
      log: this.#log,
      faults: this.#faults,
      generation: () => this.#generation,
    });
  }

  /** Routes that come before all others. */
  routes({ authenticate, expire }: DoubleRoutesOptions): Router {
    const router = httpFaults(this.#log, this.#faults);
    router.use(['/__log', '/__fault'], authenticate);

    router.get('/__log', (request, response) => {
      const { since, subject } = parse(querySchema, request.query);
      const entries = this.#log.list({
        ...(since !== undefined && { since }),
        ...(subject !== undefined && { subject }),
      });
      response.json({ entries });
    });

    router.get('/__fault', (_request, response) => {
      response.json({ generation: this.#generation ?? null, faults: this.#faults.list().map(faultBody) });
    });

    router.post('/__fault', json(), (request, response) => {
      response.status(201).json(this.#inject(parse(faultSchema, request.body ?? {}), expire));
    });

    router.delete('/__fault', (_request, response) => {
      this.#faults.clear();
      this.#generation = undefined;
      response.status(204).end();
    });

    router.delete('/__fault/:id', (request: Request<{ id: string }>, response) => {
      if (!this.#faults.remove(Number(request.params.id))) throw new ApiError('NotFound');
      response.status(204).end();
    });

    return router;
  }

  #inject(fault: Fault, expire: DoubleRoutesOptions['expire']): unknown {
    switch (fault.fault) {
      case 'expire':
        return { ...fault, expired: expire(fault.cell) };
      case 'generation':
        this.#generation = fault.generation;
        return fault;
      default:
        return faultBody(this.#faults.add(fault));
    }
  }
}

function faultBody({ id, fault, left }: ActiveFault) {
  return { id, ...fault, ...(left !== undefined && { left }) };
}

function parse<Schema extends z.ZodType>(schema: Schema, value: unknown): z.output<Schema> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const problems = result.error.issues.map(({ path, message }) => `${path.join('.') || 'body'}: ${message}`);
  throw new ApiError('InvalidRequest', problems.join('; '));
}
