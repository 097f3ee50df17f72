import { createHash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { expect } from 'chai';
import { eventually } from '../../../support/eventually.js';
import { clientToken, type RunningMiniCc, stagingCredentials, startMiniCc } from '../../../support/mini-cc.js';
import { type NatsServer, startNats } from '../../../support/nats.js';
import type { Message } from '../../../support/peer.js';
import { dropletForm } from '../../../support/scripted-agent.js';
import { zipDirectory } from '../../../support/zip.js';

const basic = (user: string, password: string) => `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
const Authorization = basic(stagingCredentials.user, stagingCredentials.password);
const digest = (algorithm: string, content: Buffer) => createHash(algorithm).update(content);

describe('what stagers and agents fetch and bring', () => {
  let nats: NatsServer;
  let cc: RunningMiniCc;
  let guid: string;

  before(async () => {
    nats = await startNats();
    cc = await startMiniCc({ natsUrl: nats.url, config: { maximum_droplet_size_mb: 1, maximum_package_size_mb: 1 } });
    await cc.addBuildpack('static', 'spec/fixtures/buildpacks/static-buildpack');
    guid = (await cc.call('POST', '/v2/apps', { name: 'shop' })).body.guid;
  });

  after(async () => {
    await cc.stop();
    await nats.stop();
  });

  const get = (path: string, headers: Record<string, string> = { Authorization }) =>
    fetch(`${cc.url}${path}`, { headers });
  const upload = (content: Buffer, query = '', headers: Record<string, string> = {}, path = 'droplets') => {
    const form = dropletForm(content);
    return fetch(`${cc.url}/staging/${path}/${guid}/upload${query}`, {
      method: 'POST',
      headers: { Authorization, ...form.headers, ...headers },
      body: form.body,
    });
  };
  const incoming = () => readdir(join(cc.directory, 'blobs', 'incoming'));
  const error = async (response: Response): Promise<Message> => ({
    status: response.status,
    ...((await response.json()) as Message),
  });

  it('needs the staging credentials on every path', async () => {
    const paths = [
      `/staging/apps/${guid}`,
      `/staging/droplets/${guid}/download`,
      `/staging/buildpack_cache/${guid}/download`,
      '/staging/jobs/x',
      '/staging/nothing',
      '/v2/buildpacks/x/download',
    ];
    const wrong: Record<string, string>[] = [
      {},
      { Authorization: basic(stagingCredentials.user, 'wrong') },
      { Authorization: basic('wrong', stagingCredentials.password) },
      { Authorization: `bearer ${clientToken}` },
      { Authorization: 'Basic' },
    ];
    for (const path of paths) {
      for (const headers of wrong) {
        expect(await error(await get(path, headers))).to.include({ status: 401, error_code: 'CF-NotAuthenticated' });
      }
    }
    expect((await upload(Buffer.from('x'), '', { Authorization: 'Basic eDp5' })).status).to.equal(401);
  });

  it('does not take the staging credentials for the client API', async () => {
    for (const headers of [{}, { Authorization }, { Authorization: 'bearer wrong' }] as Record<string, string>[]) {
      expect(await error(await get('/v2/apps', headers))).to.include({ status: 401, code: 1000 });
    }
  });

  it('has nothing of an unknown app, and tells what a known one lacks', async () => {
    expect(await error(await get('/staging/apps/none'))).to.include({ status: 404, code: 100004 });
    expect(await error(await get(`/staging/apps/${guid}`))).to.include({ status: 404, code: 150002 });
    expect(await error(await get(`/staging/droplets/${guid}/download`))).to.deep.equal({
      status: 400,
      code: 170001,
      description: `Staging error: droplet not found for ${guid}`,
      error_code: 'CF-StagingError',
    });
    expect(await error(await get(`/staging/buildpack_cache/${guid}/download`))).to.include({
      status: 400,
      description: `Staging error: buildpack cache not found for ${guid}`,
    });
  });

  it('takes a droplet at once when asynchronous work is not asked for literally', async () => {
    const content = Buffer.from('a droplet, taken at once');
    for (const query of ['', '?async=1', '?async=false']) {
      const response = await upload(content, query);
      expect([response.status, await response.text()]).to.deep.equal([200, '']);
    }
    expect(await (await get(`/staging/droplets/${guid}/download`)).text()).to.equal(content.toString());
    expect((await cc.call('GET', `/v2/apps/${guid}`)).body.droplet_hash).to.equal(
      digest('sha1', content).digest('hex'),
    );
  });

  it('takes a droplet by a job that can be polled', async () => {
    const response = await upload(Buffer.from('a droplet, by a job'), '?async=true');
    const job = (await response.json()) as Message;
    expect(job.metadata.url).to.match(/^http:\/\/staging_user:se%25cr%3Aet%40x@127\.0\.0\.1:\d+\/staging\/jobs\//);
    expect(job.entity).to.have.keys('guid', 'status').and.to.include({ guid: job.metadata.guid });
    expect(job.entity.status).to.be.oneOf(['queued', 'running', 'finished']);
    const { pathname } = new URL(job.metadata.url);
    await eventually(async () => {
      const { entity } = (await (await get(pathname)).json()) as Message;
      return entity.status === 'finished' || undefined;
    });
    expect(await (await get(`/staging/droplets/${guid}/download`)).text()).to.equal('a droplet, by a job');
  });

  it('counts an unknown job as finished', async () => {
    const { entity } = (await (await get('/staging/jobs/unknown')).json()) as Message;
    expect(entity).to.deep.equal({ guid: '0', status: 'finished' });
  });

  it('keeps the last two droplets of an app', async () => {
    for (const text of ['one', 'two', 'three']) await upload(Buffer.from(text));
    const kept = await readdir(join(cc.directory, 'blobs', 'droplets', guid));
    const sha1s = ['two', 'three'].map((text) => digest('sha1', Buffer.from(text)).digest('hex'));
    expect(kept.sort()).to.deep.equal(sha1s.sort());
  });

  it('checks Content-MD5', async () => {
    const content = Buffer.from('a droplet with a checksum');
    const right = { 'Content-MD5': digest('md5', content).digest('base64') };
    expect((await upload(content, '', right)).status).to.equal(200);
    const wrong = { 'Content-MD5': digest('md5', Buffer.from('other')).digest('base64') };
    expect(await error(await upload(content, '', wrong))).to.include({
      status: 400,
      description: 'Staging error: content md5 did not match',
    });
    expect(await incoming()).to.deep.equal([]);
  });

  it('refuses forms without the file, with another field, or that are none', async () => {
    const post = (body: string | FormData | Uint8Array, headers: Record<string, string> = {}) =>
      fetch(`${cc.url}/staging/droplets/${guid}/upload`, {
        method: 'POST',
        headers: { Authorization, ...headers },
        body,
      });
    const other = new FormData();
    other.append('droplet', new Blob(['x']), 'droplet.tgz');
    const textOnly = new FormData();
    textOnly.append('upload[droplet]', 'x');
    const cut = dropletForm(Buffer.from('x'));
    const answers = [
      await post(other),
      await post(textOnly),
      await post('{}', { 'Content-Type': 'application/json' }),
      await post('x', { 'Content-Type': 'multipart/form-data' }),
      await post(new Uint8Array(cut.body.subarray(0, cut.body.length - 10)), cut.headers),
    ];
    for (const answer of answers) {
      const { status, error_code, description } = await error(answer);
      expect([status, error_code]).to.deep.equal([400, 'CF-StagingError']);
      expect(description).to.match(new RegExp(`^Staging error: malformed droplet upload request for ${guid}`));
    }
    expect(await incoming()).to.deep.equal([]);
  });

  it('refuses droplets that are larger than allowed', async () => {
    expect(await error(await upload(Buffer.alloc(1024 * 1024 + 1)))).to.include({ status: 400, code: 170001 });
    expect(await incoming()).to.deep.equal([]);
    expect((await upload(Buffer.alloc(1024 * 1024))).status).to.equal(200);
  });

  it('leaves nothing behind of an upload that is cut off', async () => {
    const { port } = new URL(cc.url);
    const form = dropletForm(Buffer.alloc(100_000));
    const socket = connect(Number(port), '127.0.0.1');
    socket.write(
      `POST /staging/droplets/${guid}/upload HTTP/1.1\r\nHost: x\r\nAuthorization: ${Authorization}\r\n` +
        `Content-Type: ${form.headers['Content-Type']}\r\nContent-Length: ${form.body.length}\r\n\r\n`,
    );
    socket.write(form.body.subarray(0, 50_000));
    await eventually(async () => ((await incoming()).length === 1 ? true : undefined));
    socket.destroy();
    await eventually(async () => ((await incoming()).length === 0 ? true : undefined));
  });

  it('keeps the buildpack cache', async () => {
    const response = await upload(Buffer.from('cache'), '?async=true', {}, 'buildpack_cache');
    expect([response.status, await response.text()]).to.deep.equal([200, '']);
    const download = await eventually(async () => {
      const answer = await get(`/staging/buildpack_cache/${guid}/download`);
      return answer.status === 200 ? answer : undefined;
    });
    expect(await download.text()).to.equal('cache');
  });

  it('resumes a download where it was cut off, if the content is still the same', async () => {
    await upload(Buffer.from('0123456789'));
    const path = `/staging/droplets/${guid}/download`;
    const etag = (await get(path)).headers.get('ETag')!;
    expect(etag).to.match(/^"[0-9a-f]{40}"$/);
    const rest = await get(path, { Authorization, Range: 'bytes=4-', 'If-Range': etag });
    expect([rest.status, rest.headers.get('Content-Range'), await rest.text()]).to.deep.equal([
      206,
      'bytes 4-9/10',
      '456789',
    ]);
    expect((await get(path, { Authorization, Range: 'bytes=10-' })).status).to.equal(416);
    await upload(Buffer.from('9876543210'));
    const whole = await get(path, { Authorization, Range: 'bytes=4-', 'If-Range': etag });
    expect([whole.status, await whole.text()]).to.deep.equal([200, '9876543210']);
  });

  it('gives the current droplet, and no other, to whoever knows its checksum', async () => {
    await upload(Buffer.from('known'));
    const { droplet_hash } = (await cc.call('GET', `/v2/apps/${guid}`)).body;
    expect(await (await get(`/internal/v2/droplets/${guid}/${droplet_hash}/download`, {})).text()).to.equal('known');
    expect((await get(`/internal/v2/droplets/${guid}/${'0'.repeat(40)}/download`, {})).status).to.equal(404);
  });

  it('gives buildpacks, and the package after its upload', async () => {
    const [buildpack] = (await cc.call('GET', '/v2/buildpacks')).body.resources;
    const zip = Buffer.from(await (await get(`/v2/buildpacks/${buildpack.guid}/download`)).arrayBuffer());
    expect(digest('sha1', zip).digest('hex')).to.equal(buildpack.sha1);
    expect((await get('/v2/buildpacks/none/download')).status).to.equal(404);
    const { body } = await cc.uploadBits(guid, 'spec/fixtures/apps/static');
    const app = Buffer.from(await (await get(`/staging/apps/${guid}`)).arrayBuffer());
    expect(digest('sha1', app).digest('hex')).to.equal(body.package_hash);
  });

  it('serves nothing from outside of its blobs, however it is spelled', async () => {
    for (const path of [
      '/staging/apps/..%2f..%2fsecrets.json',
      '/staging/droplets/%2e%2e%2f%2e%2e/download',
      `/internal/v2/droplets/${guid}/..%2f..%2f..%2fsecrets.json/download`,
      '/v2/buildpacks/..%2f..%2fsecrets.json/download',
      '/staging/apps/%00',
    ]) {
      expect((await get(path)).status, path).to.equal(404);
    }
    expect((await get('/staging/apps/%zz')).status).to.equal(400);
  });

  it('refuses packages that are no zips, are empty or climb out of their directory', async () => {
    const put = async (content: Buffer) => {
      const form = new FormData();
      form.append('application', new Blob([new Uint8Array(content)]), 'app.zip');
      const headers = { Authorization: `bearer ${clientToken}` };
      return error(await fetch(`${cc.url}/v2/apps/${guid}/bits`, { method: 'PUT', headers, body: form }));
    };
    const climbing = Buffer.from(
      (await zipDirectory('spec/fixtures/apps/crashing')).toString('latin1').replaceAll('crash.sh', '../sh.sh'),
      'latin1',
    );
    const emptyZip = Buffer.concat([Buffer.from('PK\x05\x06'), Buffer.alloc(18)]);
    for (const content of [Buffer.from('no zip'), Buffer.alloc(0), emptyZip, climbing, Buffer.alloc(1024 * 1024 + 1)]) {
      expect(await put(content)).to.include({ status: 400, code: 160001 });
    }
    expect(await incoming()).to.deep.equal([]);
  });

  it('answers rubbish with an error of the API', async () => {
    expect((await cc.call('POST', '/v2/apps', '}{')).body).to.include({
      code: 1001,
      error_code: 'CF-MessageParseError',
    });
    expect((await cc.call('POST', '/v2/apps', { name: 'x', memory: 'much', surprise: 1 })).body).to.include({
      code: 100001,
    });
    expect((await cc.call('POST', '/v2/apps', { name: 'shop' })).body).to.deep.equal({
      code: 100002,
      description: 'The app name is taken: shop',
      error_code: 'CF-AppNameTaken',
    });
    expect((await cc.call('POST', '/v2/apps', { name: 'y', disk_quota: 9999 })).body.error_code).to.equal(
      'CF-AppInvalid',
    );
    expect((await cc.call('GET', '/v2/nothing')).body).to.include({ code: 10000, error_code: 'CF-NotFound' });
  });
});
