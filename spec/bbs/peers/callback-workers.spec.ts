import { once } from 'node:events';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { expect } from 'chai';
import { Task, TaskDefinition } from '../../../lib/bbs/messages/models.js';
import { CallbackWorkers, type CallbackWorkersOptions } from '../../../lib/bbs/peers/callback-workers.js';
import { silentLogger } from '../../../lib/logging/logger.js';
import { eventually } from '../../support/eventually.js';
import { refusingUrl, startHttpServer } from '../../support/http-server.js';
import { makeIdentity } from '../../support/locket.js';

/** docs/protocol/bbs.md §9.1; spec/bbs/api/themes/tasks.ts has the rest. */
describe('CallbackWorkers', () => {
  /** What became of the task. */
  let deleted: string[];
  let resolving: string[];

  beforeEach(() => {
    deleted = [];
    resolving = [];
  });

  const create = (options: Partial<CallbackWorkersOptions> = {}) =>
    new CallbackWorkers({
      tasks: {
        async resolve(guid) {
          resolving.push(guid);
          return true;
        },
        async delete(guid) {
          deleted.push(guid);
        },
      },
      ...{ workers: 10, timeoutMs: 2000, pauseMs: 1, logger: silentLogger },
      ...options,
    });

  const task = (url: string, taskGuid = 't') =>
    Task.create({ taskGuid, taskDefinition: TaskDefinition.create({ completionCallbackUrl: url }) });

  /** Resolves when nothing is under way any more. */
  async function submit(url: string, options: Partial<CallbackWorkersOptions> = {}): Promise<void> {
    const workers = create({ workers: 1, ...options });
    workers.submit(task(url));
    // With one worker, the next one begins when this one is done.
    workers.submit(task(url, 'next'));
    await eventually(() => resolving.includes('next') || undefined, { what: 'the next task' });
    await workers.stop();
  }

  it('show the certificate of the board', async () => {
    const identity = makeIdentity();
    const names: string[] = [];
    const server: Server = createServer(
      { ...identity, requestCert: true, rejectUnauthorized: true },
      (request, response) => {
        names.push(String((request.socket as TLSSocket).getPeerCertificate().subject.CN));
        response.end();
      },
    ).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}/done?a=b`;
    await submit(url, { tls: identity });
    expect(names[0]).to.equal('component');
    expect(deleted[0]).to.equal('t');
    const before = deleted.length;
    resolving = [];
    await submit(url);
    expect(deleted).to.have.length(before);
    server.closeAllConnections();
    server.close();
    identity.remove();
  });

  it('give up at once where nobody listens, and on what is no URL', async () => {
    for (const url of [await refusingUrl(), 'http://', 'nowhere']) {
      resolving = [];
      await submit(url);
      expect(deleted, url).to.deep.equal([]);
    }
  });

  it('try again what takes too long', async () => {
    const silent = await startHttpServer(() => {});
    const workers = create({ timeoutMs: 50 });
    workers.submit(task(silent.url));
    await eventually(() => silent.requests.length === 3 || undefined, { what: 'three attempts' });
    await workers.stop();
    await silent.stop();
    expect(deleted).to.deep.equal([]);
  });

  it('do not take being sent around for an answer', async () => {
    for (const next of [() => '/again', (count: number) => `/again/${count}`]) {
      const circle = await startHttpServer((_request, response) => {
        response.writeHead(307, { Location: next(circle.requests.length) }).end();
      });
      resolving = [];
      await submit(circle.url);
      await circle.stop();
      expect(deleted).to.deep.equal([]);
    }
    expect(deleted).to.deep.equal([]);
  });

  it('make so many requests at a time', async () => {
    let atOnce = 0;
    let most = 0;
    const server = await startHttpServer((_request, response) => {
      atOnce += 1;
      most = Math.max(most, atOnce);
      setImmediate(() => {
        atOnce -= 1;
        response.end();
      });
    });
    const workers = create({ workers: 3 });
    for (let index = 0; index < 20; index += 1) workers.submit(task(server.url, `t${index}`));
    await eventually(() => deleted.length === 20 || undefined, { what: 'the last one' });
    await workers.stop();
    await server.stop();
    expect(most).to.be.at.most(3);
  });
});
