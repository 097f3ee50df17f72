import { type ApiAnswer, errorAnswer, methodNotAllowed, notFound, options } from './answer.js';

/** What is asked of the agent. */
export type ApiResource = 'apps' | 'stage';

/** A request gets this answer and nothing else happens. */
export class Refusal extends Error {
  constructor(readonly answer: ApiAnswer) {
    super(answer.body);
  }
}

const resources: Record<string, ApiResource> = { '/v1/apps': 'apps', '/v1/stage': 'stage' };

/**
 * Which resource a request is for (docs/protocol/dea.md §6.1); a trailing slash and `.json` do not matter.
 * @throws Refusal for unknown paths and for every method but POST
 */
export function resourceOf(method: string, url: string): ApiResource {
  const [path = ''] = url.split('?');
  const resource = resources[path.replace(/(\/|\.json)$/, '')];
  if (!resource) throw new Refusal(notFound);
  if (method === 'OPTIONS') throw new Refusal(options);
  if (method !== 'POST') throw new Refusal(methodNotAllowed);
  return resource;
}

/** Bodies that upstream's framework parses, or leaves alone because they are forms. */
const jsonTypes = ['application/json'];
const formTypes = ['application/x-www-form-urlencoded', 'multipart/form-data'];

/**
 * The message in a request's body. Without `Content-Type` it is JSON; forms are not read.
 * @throws Refusal: 415 for other types, 400 for what is no JSON, or no object
 */
export function parseBody(contentType: string | undefined, body: Buffer): Record<string, unknown> {
  const type = (contentType ?? 'application/json').split(';')[0]!.trim().toLowerCase();
  if (formTypes.includes(type) || body.length === 0) throw new Refusal(errorAnswer(400, 'the message body is empty'));
  if (!jsonTypes.includes(type)) {
    throw new Refusal(errorAnswer(415, `The requested content-type '${type}' is not supported.`));
  }
  const message = parseJson(body);
  if (typeof message !== 'object' || message === null || Array.isArray(message)) {
    throw new Refusal(errorAnswer(400, 'the message body is not a JSON object'));
  }
  return message as Record<string, unknown>;
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch {
    // The parser's words quote the body, which may hold secrets.
    const text =
      'Problem: message body does not match declared format Resolution: when specifying application/json as ' +
      'content-type, you must pass valid application/json in the request\'s "body"';
    throw new Refusal(errorAnswer(400, text));
  }
}

/** Whether `env` is what upstream's handler can work with: nothing else of a start message makes it fail. */
export function hasUsableEnvironment({ env }: Record<string, unknown>): boolean {
  return env == null || (Array.isArray(env) && env.every((entry) => typeof entry === 'string'));
}
