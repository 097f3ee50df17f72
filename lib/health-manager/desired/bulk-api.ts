import { Agent } from 'undici';
import { basicAuthorization, type Credentials } from '../../http/url.js';
import type { DesiredApp } from '../records.js';

export interface BulkApiOptions {
  /** Base URL of the Cloud Controller. */
  baseUrl: string;
  /** Apps per request. */
  batchSize: number;
  /** Limit of one request with all of its answer; 0 is none. */
  timeoutMs: number;
  verifiesCertificate: boolean;
}

/** The desired state could not be fetched; nothing of it is to be used. */
export class FetchError extends Error {}

const maximumRedirects = 5;

/** What one answer says. */
interface Page {
  apps: DesiredApp[];
  /** How many apps it told of, desired or not. */
  told: number;
  nextId: number;
}

/** The Cloud Controller's list of all apps (docs/protocol/health-manager.md §2.4). */
export class BulkApi {
  readonly #agent: Agent;

  constructor(private readonly options: BulkApiOptions) {
    this.#agent = new Agent({
      connect: { timeout: options.timeoutMs, rejectUnauthorized: options.verifiesCertificate },
      headersTimeout: options.timeoutMs,
      bodyTimeout: options.timeoutMs,
    });
  }

  /**
   * All apps that are STARTED, and staged or being staged: complete, or not at all.
   *
   * @throws FetchError with upstream's words
   */
  async fetchDesired(credentials: Credentials, signal?: AbortSignal): Promise<DesiredApp[]> {
    const apps: DesiredApp[] = [];
    let token: { id: number } | undefined;
    for (;;) {
      const page = await this.#fetchPage(credentials, token, signal);
      if (page.told === 0) return apps;
      // Ids rise: a cursor that goes back would lead in a circle.
      if (token && page.nextId <= token.id) throw new FetchError(`bulk_token does not advance beyond ${token.id}`);
      apps.push(...page.apps);
      token = { id: page.nextId };
    }
  }

  /** Cuts what is under way. Idempotent. */
  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  async #fetchPage(credentials: Credentials, token: { id: number } | undefined, signal?: AbortSignal): Promise<Page> {
    const { baseUrl, batchSize, timeoutMs } = this.options;
    const url = new URL('/bulk/apps', baseUrl);
    url.searchParams.set('batch_size', String(batchSize));
    url.searchParams.set('bulk_token', JSON.stringify(token ?? {}));
    // The client's own limits begin anew with every byte.
    const limits = [...(signal ? [signal] : []), ...(timeoutMs > 0 ? [AbortSignal.timeout(timeoutMs)] : [])];
    return readPage(await this.#get(url, credentials, AbortSignal.any(limits)));
  }

  async #get(start: URL, credentials: Credentials, signal: AbortSignal): Promise<string> {
    let url = start;
    for (let redirects = 0; ; redirects += 1) {
      const { statusCode, headers, body } = await this.#request(url, credentials, start.origin, signal);
      const target = redirects < maximumRedirects ? redirectTarget(url, statusCode, headers.location) : undefined;
      if (!target && statusCode === 200) {
        return body.text().catch((cause: unknown) => {
          throw new FetchError('Failed to read HTTP response body', { cause });
        });
      }
      await body.dump();
      if (target) url = target;
      else if (statusCode === 401) throw new FetchError('HTTP request received unauthorized response code');
      else throw new FetchError(`HTTP request received non-200 response (${statusCode})`);
    }
  }

  #request(url: URL, credentials: Credentials, trusted: string, signal: AbortSignal) {
    return this.#agent
      .request({
        origin: url.origin,
        path: `${url.pathname}${url.search}`,
        method: 'GET',
        headers: url.origin === trusted ? { authorization: basicAuthorization(credentials) } : {},
        signal,
      })
      .catch((cause: Error) => {
        throw new FetchError(`HTTP request failed with error: ${cause.message}`, { cause });
      });
  }
}

function redirectTarget(from: URL, status: number, location: string | string[] | undefined): URL | undefined {
  if (![301, 302, 303, 307, 308].includes(status) || typeof location !== 'string') return undefined;
  if (!URL.canParse(location, from.href)) return undefined;
  const target = new URL(location, from);
  return target.protocol === 'http:' || target.protocol === 'https:' ? target : undefined;
}

/**
 * Reads one answer. Whatever is not as it has to be fails the whole fetch: half of the desired state would be read as
 * the wish to stop the other half.
 */
function readPage(text: string): Page {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (cause) {
    throw new FetchError('Failed to parse HTTP response body JSON', { cause });
  }
  const { results, bulk_token: token } = asObject(document, 'the answer');
  const entries = Object.entries(asObject(results, 'results'));
  return {
    apps: entries.map(([key, entry]) => readApp(key, entry)).filter((app) => app !== undefined),
    told: entries.length,
    nextId: readTokenId(token),
  };
}

function readApp(key: string, entry: unknown): DesiredApp | undefined {
  const app = asObject(entry, `results.${key}`);
  const fault = (field: string) =>
    new FetchError(`Failed to parse HTTP response body JSON: results.${key}.${field} has a wrong type`);
  if (typeof app.id !== 'string' || app.id === '') throw fault('id');
  if (typeof app.version !== 'string' || app.version === '') throw fault('version');
  if (!Number.isInteger(app.instances) || (app.instances as number) < 0) throw fault('instances');
  if (!isTextOrNone(app.state)) throw fault('state');
  if (!isTextOrNone(app.package_state)) throw fault('package_state');
  const packageState = app.package_state;
  if (app.state !== 'STARTED' || (packageState !== 'STAGED' && packageState !== 'PENDING')) return undefined;
  return { app: app.id, version: app.version, instances: app.instances as number, packageState };
}

function readTokenId(token: unknown): number {
  if (token === undefined || token === null) return 0;
  const { id } = asObject(token, 'bulk_token');
  if (id === undefined || id === null) return 0;
  if (!Number.isInteger(id)) throw new FetchError('Failed to parse HTTP response body JSON: bulk_token.id');
  return id as number;
}

function asObject(value: unknown, name: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new FetchError(`Failed to parse HTTP response body JSON: ${name} is no object`);
  }
  return value as Record<string, unknown>;
}

function isTextOrNone(value: unknown): boolean {
  return value === undefined || value === null || typeof value === 'string';
}
