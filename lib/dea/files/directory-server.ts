import type { IncomingMessage, ServerResponse } from 'node:http';
import { EntityNotFoundError, type ServedEntry, type Standing } from '../../files/held-place.js';
import { openFollowingLinks, openResolved } from '../../files/open-served.js';
import type { Wanted, WholeFile } from '../../files/recent-directories.js';
import { HttpListener } from '../../http/listener.js';
import { errorData, type Logger } from '../../logging/logger.js';
import { Turnstile } from '../../process/turnstile.js';
import { ClientGoneError, partBuffers } from './chunk-writer.js';
import { ContentTypes } from './content-type.js';
import { resolvedPathHeader } from './file-api.js';
import { respondWithFile } from './file-response.js';
import { FollowedFiles } from './followed-files.js';
import { listDirectory, parallelListings } from './listing.js';
import { type LocatedFile, letGo } from './located-file.js';
import { mayAskForTail, respondWithTail, tailRequest } from './tail.js';

/** What the agent's file API answers to a lookup. */
export interface AgentAnswer {
  status: number;
  /** Names and values in turn, in their order, also those that come more than once. */
  headers: string[];
  body: Buffer;
}

/** The agent's file API did not answer. */
export class AgentUnreachableError extends Error {}

/** The agent's file API did not finish its answer. */
export class AgentAnswerCutError extends Error {}

export interface DirectoryServerOptions {
  /** Address to listen on. */
  host: string;
  /** 0 lets the system choose. */
  port: number;
  /**
   * Asks the agent about a request, by its raw path and query. An agent that is this process gives the file itself, which
   * the caller lets go; `wanted` says what of it.
   * @throws AgentUnreachableError, AgentAnswerCutError
   */
  lookUp(url: string, wanted: Wanted): Promise<AgentAnswer | LocatedFile>;
  /** Milliseconds without a change after which a tail is cut. */
  streamingTimeoutMs: number;
  logger: Logger;
}

/**
 * Directory server, version 2 (docs/protocol/dea.md §20.4): serves the files of instances and staging tasks that the
 * agent's file API vouches for, as listings, files, ranges of files or tails.
 */
export class DirectoryServer {
  private readonly listener: HttpListener;
  private contentTypes = new ContentTypes();
  private readonly parts = partBuffers();
  private readonly files = new FollowedFiles();
  private readonly listings = new Turnstile(parallelListings);

  constructor(private readonly options: DirectoryServerOptions) {
    const { host, port } = options;
    this.listener = new HttpListener({ host, port, handle: (request, response) => this.handle(request, response) });
  }

  async start(): Promise<void> {
    this.contentTypes = await ContentTypes.load();
    await this.listener.start();
  }

  /** Idempotent; cuts what is being served. */
  stop(): Promise<void> {
    return this.listener.stop();
  }

  /** The port that was bound. */
  get port(): number {
    return this.listener.port;
  }

  private async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      await this.answer(request, response);
    } catch (error) {
      this.answerError(error, response);
    }
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = request.url ?? '/';
    const answer = await this.options.lookUp(url, mayAskForTail(queryOf(url)) ? 'place' : 'content');
    if ('bytes' in answer) {
      await this.sendFile(request, response, answer.path, answer);
      // Not after a failure: the response may hold on to the memory then.
      answer.release();
      return;
    }
    if ('status' in answer && answer.status !== 200) {
      response.writeHead(answer.status, answer.headers).end(answer.body);
      return;
    }
    const { path, entry } = await openVouchedFor(answer);
    try {
      await this.serve(request, response, path, entry);
    } finally {
      await entry.handle.close();
    }
  }

  private async serve(
    request: IncomingMessage,
    response: ServerResponse,
    path: string,
    entry: ServedEntry,
  ): Promise<void> {
    if (entry.kind === 'directory') {
      const listing = await this.listings.pass(() => listDirectory(entry.handle));
      response.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Length': listing.length }).end(listing);
      return;
    }
    const { files } = this;
    const { streamingTimeoutMs: idleMs } = this.options;
    const tail = tailRequest(queryOf(request.url ?? ''));
    if (tail) await respondWithTail({ request, response, path, entry, offset: tail.offset, idleMs, files });
    else await this.sendFile(request, response, path, entry);
  }

  private sendFile(
    request: IncomingMessage,
    response: ServerResponse,
    path: string,
    file: ServedEntry | WholeFile,
  ): Promise<void> {
    const { contentTypes, parts } = this;
    return respondWithFile({ request, response, path, file, contentTypes, parts });
  }

  private answerError(error: unknown, response: ServerResponse): void {
    if (response.headersSent || error instanceof ClientGoneError) {
      response.destroy();
      return;
    }
    if (error instanceof EntityNotFoundError) {
      const headers = { 'Content-Type': 'text/plain', 'X-Cascade': 'pass', 'Content-Length': 18 };
      response.writeHead(400, headers).end('Entity not found.\n');
    } else if (error instanceof AgentUnreachableError) {
      this.options.logger.warn('directory-server.agent.unreachable', errorData(error));
      answerText(response, 'DEA is unreachable\n', { 'X-Content-Type-Options': 'nosniff' });
    } else if (error instanceof AgentAnswerCutError || error instanceof UnusableAnswerError) {
      this.options.logger.warn('directory-server.agent.invalid-answer', errorData(error));
      answerText(response, 'DEA responded with invalid JSON\n', { 'X-Content-Type-Options': 'nosniff' });
    } else {
      this.options.logger.warn('directory-server.request.failed', errorData(error));
      answerText(response, `Can't serve request due to error: ${(error as Error).message}`);
    }
  }
}

/** The agent's 200 is not what the protocol says. */
class UnusableAnswerError extends Error {}

/** @throws UnusableAnswerError, EntityNotFoundError, NotServableError, or what the file system says */
async function openVouchedFor(answer: AgentAnswer | Standing): Promise<{ path: string; entry: ServedEntry }> {
  if (!('place' in answer)) {
    const path = instancePathOf(answer);
    return { path, entry: await (isResolved(answer) ? openResolved(path) : openFollowingLinks(path)) };
  }
  try {
    return { path: answer.path, entry: await answer.place.open() };
  } finally {
    letGo(answer);
  }
}

function instancePathOf({ body }: AgentAnswer): string {
  let answer: unknown;
  try {
    answer = JSON.parse(body.toString());
  } catch (error) {
    throw new UnusableAnswerError('not JSON', { cause: error });
  }
  const path = (answer as { instance_path?: unknown } | null)?.instance_path;
  if (typeof path !== 'string') throw new UnusableAnswerError('no instance_path');
  return path;
}

function isResolved({ headers }: AgentAnswer): boolean {
  return headers.some((name, index) => index % 2 === 0 && name.toLowerCase() === resolvedPathHeader.toLowerCase());
}

function queryOf(url: string): string {
  const start = url.indexOf('?');
  return start < 0 ? '' : url.slice(start + 1);
}

function answerText(response: ServerResponse, text: string, headers: Record<string, string> = {}): void {
  response
    .writeHead(500, {
      'Content-Type': 'text/plain; charset=utf-8',
      ...headers,
      'Content-Length': Buffer.byteLength(text),
    })
    .end(text);
}
