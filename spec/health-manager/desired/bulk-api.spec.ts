import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect } from 'chai';
import { BulkApi, FetchError } from '../../../lib/health-manager/desired/bulk-api.js';
import {
  type BulkApp,
  type BulkCloudController,
  bulkApps,
  startBulkCloudController,
} from '../../support/bulk-cloud-controller.js';

const credentials = { user: 'bulk', password: 'p:w' };

describe("the Cloud Controller's bulk API, as a health manager reads it", () => {
  let controller: BulkCloudController;
  let api: BulkApi;

  beforeEach(async () => {
    controller = await startBulkCloudController();
    api = new BulkApi({ baseUrl: controller.url, batchSize: 500, timeoutMs: 2000, verifiesCertificate: true });
  });

  afterEach(async () => {
    await api.close();
    await controller.stop();
  });

  const fetched = () => api.fetchDesired(credentials);

  async function failure(): Promise<string> {
    const error = await fetched().then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).to.be.instanceOf(FetchError);
    return (error as Error).message;
  }

  const answering = (status: number, body: string) => (_request: unknown, response: ServerResponse) => {
    response.writeHead(status).end(body);
    return true;
  };

  it('31. asks page by page until one is empty', async () => {
    controller.apps = bulkApps(1500);
    expect(await fetched()).to.have.length(1500);
    expect(controller.requests.map(({ token }) => token)).to.eql(['{}', '{"id":500}', '{"id":1000}', '{"id":1500}']);
    const expected = `Basic ${Buffer.from('bulk:p:w').toString('base64')}`;
    expect(controller.requests.every(({ authorization }) => authorization === expected)).to.equal(true);
    expect(controller.requests[0]!.batchSize).to.equal(500);
  });

  it('33. takes all apps in the first answer', async () => {
    const results = Object.fromEntries(bulkApps(3).map((app) => [app.id, app]));
    controller.misbehave = ({ token }, response) => {
      response.end(
        token === '{}' ? JSON.stringify({ results, bulk_token: { id: 77 } }) : '{"results":{},"bulk_token":{"id":0}}',
      );
      return true;
    };
    expect(await fetched()).to.have.length(3);
    expect(controller.requests).to.have.length(2);
  });

  it('takes nothing for a complete answer', async () => {
    expect(await fetched()).to.eql([]);
  });

  it('wants apps that are started, and staged or being staged', async () => {
    const app = (id: string, state: string | null, packageState: string | null): BulkApp => ({
      id,
      version: 'v1',
      instances: 2,
      state,
      package_state: packageState,
    });
    controller.apps = [
      app('staged', 'STARTED', 'STAGED'),
      app('pending', 'STARTED', 'PENDING'),
      app('failed', 'STARTED', 'FAILED'),
      app('stopped', 'STOPPED', 'STAGED'),
      app('unknown', null, null),
    ];
    expect(await fetched()).to.eql([
      { app: 'staged', version: 'v1', instances: 2, packageState: 'STAGED' },
      { app: 'pending', version: 'v1', instances: 2, packageState: 'PENDING' },
    ]);
  });

  it('31. fails as a whole when a later page does', async () => {
    controller.apps = bulkApps(1500);
    controller.misbehave = ({ token }, response) =>
      token === '{"id":500}' && answering(500, 'oops')(undefined, response);
    expect(await failure()).to.equal('HTTP request received non-200 response (500)');
  });

  it("says in upstream's words what was wrong with an answer", async () => {
    const words = async (status: number, body: string) => {
      controller.misbehave = answering(status, body);
      return failure();
    };
    expect(await words(401, '')).to.equal('HTTP request received unauthorized response code');
    expect(await words(204, '')).to.equal('HTTP request received non-200 response (204)');
    expect(await words(200, '{"results":')).to.equal('Failed to parse HTTP response body JSON');
  });

  it('43. takes half an answer for none', async () => {
    const app = { id: 'a', version: 'v', instances: 1, state: 'STARTED', package_state: 'STAGED' };
    const wrong: unknown[] = [
      {},
      null,
      [],
      { results: null },
      { results: [] },
      { results: { a: null } },
      { results: { a: { ...app, instances: '1' } } },
      { results: { a: { ...app, instances: -1 } } },
      { results: { a: { ...app, id: 7 } } },
      { results: { a: { ...app, version: null } } },
      { results: { a: { ...app, state: 1 } } },
      { results: { a: { ...app, package_state: {} } } },
      { results: { a: app }, bulk_token: 'x' },
      { results: { a: app }, bulk_token: { id: 'x' } },
    ];
    for (const document of wrong) {
      controller.misbehave = answering(200, JSON.stringify(document));
      expect(await failure(), JSON.stringify(document)).to.match(/^Failed to parse HTTP response body JSON/);
    }
  });

  it('43. fails on a body that is cut off', async () => {
    controller.misbehave = (_request, response) => {
      response.writeHead(200, { 'Content-Length': 100 });
      response.write('{"results"');
      setImmediate(() => response.destroy());
      return true;
    };
    expect(await failure()).to.equal('Failed to read HTTP response body');
  });

  it('fails on a cursor that stands still', async () => {
    const results = Object.fromEntries(bulkApps(1).map((app) => [app.id, app]));
    controller.misbehave = answering(200, JSON.stringify({ results, bulk_token: { id: 3 } }));
    expect(await failure()).to.equal('bulk_token does not advance beyond 3');
  });

  it('fails on a cursor that leads in a circle', async () => {
    const results = Object.fromEntries(bulkApps(1).map((app) => [app.id, app]));
    let id = 3;
    controller.misbehave = (request, response) => {
      id = id === 3 ? 5 : 3;
      return answering(200, JSON.stringify({ results, bulk_token: { id } }))(request, response);
    };
    expect(await failure()).to.equal('bulk_token does not advance beyond 5');
    expect(controller.requests.map(({ token }) => token)).to.eql(['{}', '{"id":5}']);
  });

  describe('that is slow', () => {
    beforeEach(async () => {
      await api.close();
      api = new BulkApi({ baseUrl: controller.url, batchSize: 500, timeoutMs: 200, verifiesCertificate: true });
    });

    it('is given up when it does not answer', async () => {
      controller.misbehave = () => true;
      expect(await failure()).to.match(/^HTTP request failed with error: /);
    });

    it('is given up when its answer trickles in', async () => {
      let trickle: NodeJS.Timeout | undefined;
      controller.misbehave = (_request, response) => {
        response.writeHead(200, { 'Content-Type': 'application/json' });
        trickle = setInterval(() => response.write(' '), 20);
        return true;
      };
      try {
        expect(await failure()).to.equal('Failed to read HTTP response body');
      } finally {
        clearInterval(trickle);
      }
    });
  });

  it('follows redirects, and does not take its credentials to another host', async () => {
    const asked: (string | undefined)[] = [];
    const other = createServer((request, response) => {
      asked.push(request.headers.authorization);
      response.end('{"results":{}}');
    }).listen(0, '127.0.0.1');
    await once(other, 'listening');
    const target = `http://127.0.0.1:${(other.address() as AddressInfo).port}/bulk/apps`;
    controller.misbehave = (_request, response) => {
      response.writeHead(302, { Location: target }).end();
      return true;
    };
    try {
      expect(await fetched()).to.eql([]);
      expect(asked).to.eql([undefined]);
    } finally {
      other.close();
      other.closeAllConnections();
    }
  });
});
