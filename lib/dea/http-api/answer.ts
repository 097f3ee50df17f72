/** An answer of the agent's HTTPS interface, spelled as upstream's framework does (docs/protocol/dea.md §6.1). */
export interface ApiAnswer {
  status: number;
  headers: Record<string, string>;
  body: string;
}

/** Whether the agent takes work: a bare number, which is what Cloud Controllers look at. */
export const accepted: ApiAnswer = statusAnswer(202);
export const unavailable: ApiAnswer = statusAnswer(503);

/** There is nothing at this path; `X-Cascade` is the framework's own. */
export const notFound: ApiAnswer = {
  status: 404,
  headers: { 'Content-Type': 'text/plain', 'X-Cascade': 'pass' },
  body: '404 Not Found',
};

/** The agent's own fault, or what upstream's handler stumbles over. */
export const internalError: ApiAnswer = {
  status: 500,
  headers: { 'Content-Type': 'text/plain' },
  body: 'Internal server error',
};

const allow = { Allow: 'OPTIONS, POST' };

/** What may be done with the path. */
export const options: ApiAnswer = { status: 204, headers: allow, body: '' };

/** The path knows only POST. */
export const methodNotAllowed: ApiAnswer = withHeaders(errorAnswer(405, '405 Not Allowed'), allow);

/** A JSON object with what is wrong. */
export function errorAnswer(status: number, error: string): ApiAnswer {
  return { status, headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ error }) };
}

/** The same answer with more headers. */
export function withHeaders(answer: ApiAnswer, headers: Record<string, string>): ApiAnswer {
  return { ...answer, headers: { ...answer.headers, ...headers } };
}

function statusAnswer(status: number): ApiAnswer {
  return { status, headers: { 'Content-Type': 'application/json' }, body: String(status) };
}
