import type { Readable } from 'node:stream';
import { Agent, type Dispatcher } from 'undici';
import type { Target } from '../../config/target-file.js';
import { stripUserinfo } from '../../http/url.js';
import { CliError } from '../cli-error.js';

export interface ApiTransportOptions {
  target: Target;
  /** Gives up everything that is under way. */
  signal: AbortSignal;
}

/** The Cloud Controller refused; `errorCode` is its `CF-<Name>`. */
export class ApiRefusal extends CliError {
  constructor(
    readonly status: number,
    readonly errorCode: string,
    description: string,
  ) {
    super(description);
  }
}

export interface RequestContent {
  headers: Record<string, string>;
  body: string | Readable;
}

const connectTimeoutMs = 5000;
/** A start is answered when the stager has set itself up. */
const answerTimeoutMs = 900_000;

/** Requests to the Cloud Controller with its token; refusals become errors for users. */
export class ApiTransport {
  private readonly agent = new Agent({
    connect: { timeout: connectTimeoutMs },
    headersTimeout: answerTimeoutMs,
    bodyTimeout: answerTimeoutMs,
  });

  constructor(private readonly options: ApiTransportOptions) {}

  async close(): Promise<void> {
    await this.agent.destroy();
  }

  /** Sends a value as JSON, if there is one, and reads the answer as JSON. */
  async json<Result>(method: Dispatcher.HttpMethod, path: string, body?: unknown): Promise<Result> {
    const answer = await this.send(method, path, body === undefined ? undefined : jsonContent(body));
    return (await answer.body.json()) as Result;
  }

  /** Sends a request whose answer has nothing to read. */
  async perform(method: Dispatcher.HttpMethod, path: string): Promise<void> {
    const answer = await this.send(method, path);
    await answer.body.dump();
  }

  /** @throws ApiRefusal for stati from 400 on; CliError when there is no answer */
  async send(
    method: Dispatcher.HttpMethod,
    path: string,
    content: RequestContent | undefined = undefined,
  ): Promise<Dispatcher.ResponseData> {
    const { target, signal } = this.options;
    let answer: Dispatcher.ResponseData;
    try {
      answer = await this.agent.request({
        origin: new URL(target.url).origin,
        path,
        method,
        headers: { authorization: `bearer ${target.token}`, ...content?.headers },
        body: content?.body ?? null,
        signal,
      });
    } catch (error) {
      signal.throwIfAborted();
      throw new CliError(
        `the Cloud Controller at ${stripUserinfo(target.url)} does not answer: ${(error as Error).message}`,
        { cause: error },
      );
    }
    if (answer.statusCode >= 400) throw await refusalOf(answer);
    return answer;
  }
}

/** A value as the body of a request. */
export function jsonContent(value: unknown): RequestContent {
  return { headers: { 'content-type': 'application/json' }, body: JSON.stringify(value) };
}

async function refusalOf(answer: Dispatcher.ResponseData): Promise<ApiRefusal> {
  const text = await answer.body.text();
  try {
    const { description, error_code } = JSON.parse(text) as { description?: unknown; error_code?: unknown };
    if (typeof description === 'string') return new ApiRefusal(answer.statusCode, String(error_code), description);
  } catch {
    // Not this API's answer, such as a proxy's.
  }
  return new ApiRefusal(answer.statusCode, '', `the Cloud Controller answered with status ${answer.statusCode}`);
}
