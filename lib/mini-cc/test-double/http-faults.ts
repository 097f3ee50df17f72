import { type Request, type RequestHandler, type Response, Router } from 'express';
import { ApiError } from '../errors.js';
import type { FaultOf, Faults } from './faults.js';
import type { MessageLog } from './message-log.js';

/** Writes every request and its answer down, but those to the double itself, and lets the faults happen. */
export function httpFaults(log: MessageLog, faults: Faults): Router {
  const jobs = new JobFaults(faults);
  return Router().use(recordRequest(log), injectFault(faults), (_request, response, next) => {
    jobs.watch(response);
    next();
  });
}

const ownPaths = /^\/__(log|fault)(\/|$)/;

function recordRequest(log: MessageLog): RequestHandler {
  return (request, response, next) => {
    if (ownPaths.test(request.path)) return next();
    const { method, originalUrl: url } = request;
    const tellBody = log.add({ direction: 'in', via: 'http', method, url, ...bytesOf(request) });
    let body: unknown;
    const json = response.json.bind(response);
    response.json = (value) => {
      body = JSON.parse(JSON.stringify(value ?? null));
      return json(value);
    };
    response.on('close', () => {
      if (request.body !== undefined) tellBody(bodyOf(request.body));
      const location = response.getHeader('Location');
      const answer = body ?? (location === undefined ? undefined : { location });
      log.add({ direction: 'out', via: 'http', method, url, status: response.statusCode, body: answer });
    });
    next();
  };
}

/** Components' requests are taken as text, the forms of uploads as objects without a prototype. */
function bodyOf(body: unknown): unknown {
  if (typeof body !== 'string') return { ...(body as object) };
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}

function bytesOf(request: Request): { bytes?: number } {
  const length = Number(request.headers['content-length'] ?? 0);
  return length > 0 ? { bytes: length } : {};
}

function injectFault(faults: Faults): RequestHandler {
  return (request, response, next) => {
    const fault = ownPaths.test(request.path) ? undefined : faults.ofRequest(request.method, request.path);
    switch (fault?.fault) {
      case 'status':
        request.resume();
        response.status(fault.status).json({
          code: 990_002,
          description: `status ${fault.status} was asked for`,
          error_code: 'CF-InjectedFault',
        });
        return;
      case 'wrong-md5':
        request.headers['content-md5'] = 'AAAAAAAAAAAAAAAAAAAAAA==';
        return next();
      case 'truncate':
        // A length that is asked for in parts would be told in parts, too.
        delete request.headers.range;
        truncate(response, fault.how);
        return next();
      default:
        return next();
    }
  };
}

/** Sends only the first half of what is written; `short` tells that half's length, `cut` breaks the connection off. */
function truncate(response: Response, how: FaultOf<'truncate'>['how']): void {
  let left = Number.POSITIVE_INFINITY;
  const setHeader = response.setHeader.bind(response);
  response.setHeader = (name, value) => {
    if (name.toLowerCase() !== 'content-length') return setHeader(name, value);
    left = Math.floor(Number(value) / 2);
    return setHeader(name, how === 'short' ? left : value);
  };
  const write = response.write.bind(response) as (chunk: Buffer) => boolean;
  response.write = ((chunk: Buffer | string) => {
    const bytes = Buffer.from(chunk as string).subarray(0, Math.min(left, chunk.length));
    left -= bytes.length;
    const goesOn = bytes.length === 0 || write(bytes);
    if (left === 0 && how === 'cut') response.socket?.destroySoon();
    return goesOn;
  }) as Response['write'];
}

interface JobBody {
  metadata: { guid: string };
  entity: { status: string; error?: string; error_details?: unknown };
}

/** Jobs that shall fail, or never end: what is answered about them is put right for that. */
class JobFaults {
  readonly #outcomes = new Map<string, FaultOf<'job'>['outcome'] | undefined>();

  constructor(private readonly faults: Faults) {}

  watch(response: Response): void {
    const json = response.json.bind(response);
    response.json = (value) => json(isJobBody(value) ? this.change(value) : value);
  }

  private change(body: JobBody): JobBody {
    const { guid } = body.metadata;
    if (!this.#outcomes.has(guid)) this.#outcomes.set(guid, this.faults.ofJob()?.outcome);
    const outcome = this.#outcomes.get(guid);
    if (outcome === undefined) return body;
    if (outcome === 'never-ends') return { ...body, entity: { ...body.entity, status: 'running' } };
    const error = new ApiError('StagingError', 'the job was made to fail');
    return { ...body, entity: { ...body.entity, status: 'failed', error: error.message, error_details: error } };
  }
}

function isJobBody(value: unknown): value is JobBody {
  const { metadata, entity } = (value ?? {}) as { metadata?: { guid?: unknown; url?: unknown }; entity?: unknown };
  return typeof metadata?.guid === 'string' && /\/jobs\//.test(String(metadata.url)) && typeof entity === 'object';
}
