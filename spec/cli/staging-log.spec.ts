import type { IncomingMessage, ServerResponse } from 'node:http';
import { expect } from 'chai';
import { followStagingLog } from '../../lib/cli/staging-log.js';
import { type HttpServer, startHttpServer } from '../support/http-server.js';

const url = 'http://0a1b.localhost:8080/staging_tasks/t/file_path?hmac=ab&path=%2Ftmp%2Flog&timestamp=1';
const path = '/staging_tasks/t/file_path?hmac=ab&path=%2Ftmp%2Flog&timestamp=1&tail&tail_offset=';

describe('following a staging log', () => {
  let server: HttpServer;

  afterEach(() => server.stop());

  /** Follows with one answer for each request; the last one stays. */
  async function follow(
    answers: ((response: ServerResponse, request: IncomingMessage) => void)[],
    signal = new AbortController().signal,
  ): Promise<{ text: string; isRead: boolean }> {
    let count = 0;
    server = await startHttpServer((request, response) => {
      const answer = answers[Math.min(count, answers.length - 1)]!;
      count += 1;
      answer(response, request);
    });
    let text = '';
    const write = (chunk: Buffer) => {
      text += chunk.toString();
    };
    const isRead = await followStagingLog({ url, router: server.url, signal, write });
    return { text, isRead };
  }

  const cut = (text: string) => (response: ServerResponse) => {
    response.write(text, () => response.destroy());
  };
  const gone = (response: ServerResponse) => void response.writeHead(404).end('{"error":"Unknown staging task"}');

  it('asks the router, with the host of the URL, for what it does not have yet', async () => {
    const hosts: (string | undefined)[] = [];
    const { text, isRead } = await follow([
      (response, request) => {
        hosts.push(request.headers.host);
        cut('first ')(response);
      },
      cut('second'),
      gone,
    ]);
    expect({ text, isRead }).to.deep.equal({ text: 'first second', isRead: true });
    expect(server.requests).to.deep.equal([`GET ${path}0`, `GET ${path}6`, `GET ${path}12`]);
    expect(hosts).to.deep.equal(['0a1b.localhost:8080']);
  });

  it('goes on after a proper end, too, and ends when the log is gone', async () => {
    const { text } = await follow([(response) => void response.end('a'), (response) => void response.end('b'), gone]);
    expect(text).to.equal('ab');
  });

  it('comes back after connections that bring nothing and errors on the way', async () => {
    const { text } = await follow([
      (response) => void response.destroy(),
      (response) => void response.writeHead(503).end('unavailable'),
      cut('late'),
      gone,
    ]);
    expect(text).to.equal('late');
  });

  it('waits for a router that has not yet heard of the log', async () => {
    const unknown = (response: ServerResponse) =>
      void response.writeHead(404, { 'X-Cf-RouterError': 'unknown_route' }).end('unknown route');
    const { text } = await follow([unknown, cut('x'), gone]);
    expect(text).to.equal('x');
  });

  it('ends when told to, in the middle of a silent connection', async () => {
    const abort = new AbortController();
    const { text, isRead } = await follow(
      [
        (response) => {
          response.write('so far', () => setTimeout(() => abort.abort(), 20));
        },
      ],
      abort.signal,
    );
    expect({ text, isRead }).to.deep.equal({ text: 'so far', isRead: true });
  });
});
