import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { expect } from 'chai';
import { HttpListener } from '../../lib/http/listener.js';
import { eventually } from '../support/eventually.js';
import { ask, askWhole } from '../support/http-client.js';
import { rejectionOf } from '../support/rejection.js';

describe('HttpListener', () => {
  let listeners: HttpListener[];

  beforeEach(() => {
    listeners = [];
  });

  afterEach(async () => {
    for (const listener of listeners) await listener.stop();
  });

  async function start(
    handle: (request: IncomingMessage, response: ServerResponse) => Promise<void>,
    port = 0,
  ): Promise<HttpListener> {
    const listener = new HttpListener({ host: '127.0.0.1', port, handle });
    listeners.push(listener);
    await listener.start();
    return listener;
  }

  it('answers by its handler on the port that it tells', async () => {
    const { port } = await start(async (request, response) => void response.end(request.url));
    expect((await askWhole({ port, path: '/x?y' })).body).to.equal('/x?y');
  });

  it('cuts a request whose handler fails, and goes on', async () => {
    const { port } = await start(async (request, response) => {
      if (request.url === '/bad') throw new Error('broken');
      response.end('good');
    });
    expect(await rejectionOf(askWhole({ port, path: '/bad' }))).to.have.property('code', 'ECONNRESET');
    expect((await askWhole({ port, path: '/' })).body).to.equal('good');
  });

  it('cuts its connections when it stops, and waits for its handlers', async () => {
    let isHandled = false;
    const listener = await start(async (_request, response) => {
      response.flushHeaders();
      await once(response, 'close');
      await new Promise((resolve) => setTimeout(resolve, 50));
      isHandled = true;
    });
    const response = await ask({ port: listener.port, path: '/' });
    const cut = once(response, 'error');
    await listener.stop();
    expect(isHandled).to.equal(true);
    await cut;
    expect(() => listener.port).to.throw('not listening');
  });

  it('outlives clients that leave while it writes', async () => {
    let isDone = false;
    const { port } = await start(async (_request, response) => {
      response.write('x');
      await once(response, 'close');
      response.write('to nobody');
      response.end();
      isDone = true;
    });
    (await ask({ port, path: '/' })).destroy();
    await eventually(() => (isDone ? true : undefined));
  });

  it('says which address is taken', async () => {
    const { port } = await start(async () => {});
    const error = await rejectionOf(start(async () => {}, port));
    expect(error.message).to.include(`EADDRINUSE: address already in use 127.0.0.1:${port}`);
  });
});
