import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { type AgentAnswer, AgentAnswerCutError, AgentUnreachableError } from '../files/directory-server.js';

export interface AgentLookupOptions {
  /** Port of the agent's file API on the loopback. */
  port: number;
  /** Milliseconds for the whole lookup. @default 10000 */
  timeoutMs?: number;
}

const maximumRedirects = 10;
/** Headers that are about the connection to the agent, not about its answer. */
const connectionHeaders = ['connection', 'keep-alive', 'transfer-encoding'];

/**
 * Asks an agent in another process, with the path and query exactly as the user sent them
 * (docs/protocol/dea.md §20.4).
 *
 * @throws AgentUnreachableError, AgentAnswerCutError
 */
export async function askAgent(url: string, { port, timeoutMs = 10_000 }: AgentLookupOptions): Promise<AgentAnswer> {
  const signal = AbortSignal.timeout(timeoutMs);
  let target = { host: '127.0.0.1', port, path: url };
  for (let redirects = 0; ; redirects += 1) {
    const response = await get(target, signal);
    const next = redirects < maximumRedirects ? redirectTarget(target, response) : undefined;
    if (!next) return collect(response);
    response.destroy();
    target = next;
  }
}

interface Target {
  host: string;
  port: number;
  path: string;
}

async function get(target: Target, signal: AbortSignal): Promise<IncomingMessage> {
  try {
    const sent = request({ ...target, signal, agent: false }).end();
    // What breaks after the headers is told by the response; here it must only not end the process.
    sent.on('error', () => {});
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    return response;
  } catch (error) {
    throw new AgentUnreachableError(`no answer from ${target.host}:${target.port}`, { cause: error });
  }
}

function redirectTarget(from: Target, { statusCode = 0, headers }: IncomingMessage): Target | undefined {
  if (![301, 302, 303, 307].includes(statusCode) || headers.location === undefined) return undefined;
  const base = `http://${from.host}:${from.port}${from.path}`;
  if (!URL.canParse(headers.location, base)) return undefined;
  const { protocol, hostname, port, pathname, search } = new URL(headers.location, base);
  return protocol === 'http:' ? { host: hostname, port: Number(port || 80), path: pathname + search } : undefined;
}

async function collect(response: IncomingMessage): Promise<AgentAnswer> {
  const { statusCode: status = 500, rawHeaders } = response;
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of response) chunks.push(chunk as Buffer);
  } catch (error) {
    throw new AgentAnswerCutError('the answer was cut', { cause: error });
  }
  if (!response.complete) throw new AgentAnswerCutError('the answer was cut');
  const headers: string[] = [];
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const [name, value] = [rawHeaders[index]!, rawHeaders[index + 1]!];
    if (!connectionHeaders.includes(name.toLowerCase())) headers.push(name, value);
  }
  return { status, headers, body: Buffer.concat(chunks) };
}
