import { request as httpRequest } from 'node:http';
import { expect } from 'chai';
import { basicAuthorization } from '../../../../lib/http/url.js';
import { bulkCredentials, type RunningMiniCc, stagingCredentials, startMiniCc } from '../../../support/mini-cc.js';
import { type NatsServer, startNats } from '../../../support/nats.js';
import type { Message } from '../../../support/peer.js';

describe('the bulk API', () => {
  let nats: NatsServer;
  let cc: RunningMiniCc;
  let guids: string[];

  before(async () => {
    nats = await startNats();
    cc = await startMiniCc({ natsUrl: nats.url });
    const [, ...rest] = cc.insertApps([{ diego: true }, ...Array.from({ length: 1201 }, () => ({}))]);
    guids = rest;
  });

  after(async () => {
    await cc.stop();
    await nats.stop();
  });

  /** Sends the path as it is, where `fetch` would encode it. */
  async function get(
    path: string,
    authorization: string | undefined = basicAuthorization(bulkCredentials),
  ): Promise<{ status: number; body: Message }> {
    const { hostname, port } = new URL(cc.url);
    const headers = authorization === '' ? {} : { authorization };
    return new Promise((resolve, reject) => {
      const outgoing = httpRequest({ host: hostname, port, path, headers, agent: false }, async (response) => {
        const parts: Buffer[] = [];
        for await (const part of response) parts.push(part);
        resolve({ status: response.statusCode!, body: JSON.parse(Buffer.concat(parts).toString()) });
      });
      outgoing.once('error', reject);
      outgoing.end();
    });
  }

  const page = (size: number, token: string) => get(`/bulk/apps?batch_size=${size}&bulk_token=${token}`);

  it('gives 1201 apps in pages of 500, 500, 201 and none, by tokens that are percent-encoded', async () => {
    const sizes: number[] = [];
    const seen: string[] = [];
    let token: Message = {};
    for (let round = 0; round < 4; round += 1) {
      const { status, body } = await page(500, encodeURIComponent(JSON.stringify(token)));
      expect(status).to.equal(200);
      sizes.push(Object.keys(body.results).length);
      seen.push(...Object.keys(body.results));
      token = body.bulk_token;
    }
    expect(sizes).to.deep.equal([500, 500, 201, 0]);
    expect(token).to.deep.equal({ id: null });
    expect(seen).to.deep.equal(guids);
  });

  it('takes tokens as they stand, and a null id for the beginning', async () => {
    const first = await page(2, '{}');
    expect(Object.keys(first.body.results)).to.deep.equal(guids.slice(0, 2));
    const second = await page(2, JSON.stringify(first.body.bulk_token));
    expect(Object.keys(second.body.results)).to.deep.equal(guids.slice(2, 4));
    expect((await page(2, '{"id":null}')).body).to.deep.equal(first.body);
  });

  it('tells what the health manager needs of an app, stopped and failed ones too', async () => {
    const [failed] = cc.insertApps([{ package_state: 'FAILED', state: 'STARTED', memory: 64, instances: 3 }]);
    const { results } = (await page(10_000, '{}')).body;
    const { version, updated_at, ...entry } = results[failed!];
    expect(entry).to.deep.equal({
      id: failed,
      instances: 3,
      state: 'STARTED',
      memory: 64,
      package_state: 'FAILED',
    });
    expect(version).to.be.a('string');
    expect(updated_at).to.match(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$/);
    expect(results[guids[0]!]).to.include({ state: 'STOPPED', package_state: 'PENDING' });
  });

  it('names the parameter that is missing or wrong', async () => {
    const cases: [query: string, text: RegExp][] = [
      ['batch_size=5', /bulk_token is missing$/],
      ['bulk_token={}', /batch_size is missing$/],
      ['batch_size=0&bulk_token={}', /batch_size must be a whole number above 0$/],
      ['batch_size=many&bulk_token={}', /batch_size must be/],
      ['batch_size=5&bulk_token=}{', /bulk_token is no JSON$/],
      ['batch_size=5&bulk_token=[]', /bulk_token is no object$/],
      ['batch_size=5&bulk_token={"id":"x"}', /bulk_token\.id must be a whole number$/],
      ['batch_size=5&bulk_token={"id":-1}', /bulk_token\.id must be/],
    ];
    for (const [query, text] of cases) {
      const { status, body } = await get(`/bulk/apps?${query}`);
      expect(status, query).to.equal(400);
      expect(body, query).to.include({ code: 10_005, error_code: 'CF-BadQueryParameter' });
      expect(body.description).to.match(text);
    }
  });

  it('wants its own credentials', async () => {
    for (const authorization of ['', 'bearer x', basicAuthorization(stagingCredentials)]) {
      for (const path of ['/bulk/apps?batch_size=5&bulk_token={}', '/bulk/counts', '/v2/syslog_drain_urls']) {
        const { status, body } = await get(path, authorization);
        expect(status, `${path} ${authorization}`).to.equal(401);
        expect(body).to.deep.equal({
          code: 10_002,
          description: 'Authentication error',
          error_code: 'CF-NotAuthenticated',
        });
      }
    }
  });

  it('counts users, and nothing else', async () => {
    expect((await get('/bulk/counts')).body).to.deep.equal({ counts: { user: 1 } });
    expect((await get('/bulk/counts?model=user')).body).to.deep.equal({ counts: { user: 1 } });
    expect((await get('/bulk/counts?model=app')).status).to.equal(400);
  });

  it('lists the apps that drain their logs, in pages', async () => {
    const service = (name: string, syslog_drain_url: string | null) => ({
      name,
      syslog_drain_url,
      credentials: {},
      label: 'user-provided',
      tags: [],
      options: {},
    });
    const [a, , b] = cc.insertApps([
      { services: [service('x', 'syslog://one'), service('y', 'syslog://two'), service('z', null)] },
      { services: [service('x', null), service('y', '')] },
      { services: [service('x', 'syslog://three')] },
    ]) as [string, string, string];
    const first = (await get('/v2/syslog_drain_urls?batch_size=1')).body;
    expect(first.results).to.deep.equal({ [a]: ['syslog://one', 'syslog://two'] });
    const second = (await get(`/v2/syslog_drain_urls?batch_size=1&next_id=${first.next_id}`)).body;
    expect(second.results).to.deep.equal({ [b]: ['syslog://three'] });
    const last = await get(`/v2/syslog_drain_urls?next_id=${second.next_id}`);
    expect(last.body).to.deep.equal({ results: {}, next_id: null });
  });
});
