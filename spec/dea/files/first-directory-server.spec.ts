import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import type { FileRoot } from '../../../lib/dea/files/file-roots.js';
import { FirstDirectoryServer } from '../../../lib/dea/files/first-directory-server.js';
import { silentLogger } from '../../../lib/logging/logger.js';
import { type Answer, askWhole } from '../../support/http-client.js';

const credentials = ['0123456789abcdef0123456789abcdef', 'fedcba9876543210fedcba9876543210'] as const;

describe('First directory server', () => {
  let base: string;
  let home: string;
  let roots: Record<string, FileRoot>;
  let server: FirstDirectoryServer;

  beforeEach(async () => {
    base = await realpath(await mkdtemp(join(tmpdir(), 'first-')));
    home = join(base, 'home/vcap');
    await mkdir(join(home, 'app'), { recursive: true });
    await mkdir(join(home, 'logs'));
    await writeFile(join(home, 'logs/stdout.log'), 'out\n');
    await writeFile(join(home, 'run.pid'), '7');
    await writeFile(join(home, 'app/.dot'), 'xx');
    await writeFile(join(base, 'secret'), 'SECRET');
    roots = { i: { state: 'ok', root: home, containerRoot: base }, away: { state: 'unavailable' } };
    server = new FirstDirectoryServer({
      host: '127.0.0.1',
      port: 0,
      credentials,
      roots: { instanceRoot: (id) => roots[id] ?? { state: 'unknown' }, stagingRoot: () => ({ state: 'unknown' }) },
      logger: silentLogger,
    });
    await server.start();
  });

  afterEach(async () => {
    await server.stop();
    await rm(base, { recursive: true });
  });

  const basic = (user: string, password: string) => `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;

  function get(path: string, headers: Record<string, string> = {}, method = 'GET'): Promise<Answer> {
    const authorization = { Authorization: basic(...credentials) };
    return askWhole({ port: server.port, path, method, headers: { ...authorization, ...headers } });
  }

  async function expectText(path: string, status: number, body: string): Promise<Answer> {
    const answer = await get(path);
    expect([answer.status, answer.body], path).to.deep.equal([status, body]);
    expect(answer.headers, path).to.include({ 'content-type': 'text/plain', 'content-length': String(body.length) });
    return answer;
  }

  it('lists app, logs and tomcat at the root, and all entries below, without a final newline', async () => {
    const root = 'app/                                         -\nlogs/                                        -';
    await expectText('/instances/i', 200, root);
    await expectText('/instances/i/', 200, root);
    await mkdir(join(home, 'tomcat'));
    await expectText('/instances/i/', 200, `${root}\ntomcat/                                      -`);
    await expectText('/instances/i/app/', 200, '.dot                                        2B');
    await mkdir(join(home, 'app/empty'));
    await expectText('/instances/i/app/empty', 200, '');
  });

  it('serves files, whole, in part, and their headers alone', async () => {
    const whole = await get('/instances/i//logs/./stdout.log');
    expect([whole.status, whole.headers['content-length'], whole.body]).to.deep.equal([200, '4', 'out\n']);
    const part = await get('/instances/i/logs/stdout.log', { Range: 'bytes=1-2' });
    expect([part.status, part.body]).to.deep.equal([206, 'ut']);
    const head = await get('/instances/i/logs/stdout.log', {}, 'HEAD');
    expect([head.status, head.headers['content-length'], head.body]).to.deep.equal([200, '4', '']);
    await writeFile(join(home, 'app/a b%ü'), 'name');
    expect((await get('/instances/i/app/a%20b%25%C3%BC')).body).to.equal('name');
  });

  it('finds nothing where nothing is', async () => {
    for (const path of [
      '/',
      '/instances',
      '/instances/',
      '/instances/unknown/logs',
      '/instances/away/logs',
      '/instances/i/missing',
      '/instances/i/logs/stdout.log/',
      '/instances/i/logs/stdout.log/x',
      '/instances/i/logs%00',
      '/instances/i/%zz',
      `/instances/i/${'x'.repeat(256)}`,
      '/elsewhere/i/logs',
    ]) {
      expect((await expectText(path, 404, 'Entity not found.\n')).headers).to.include({ 'x-cascade': 'pass' });
    }
  });

  it('keeps to what lies in the instance, as it is spelled', async () => {
    await symlink('../../../secret', join(home, 'app/climbing'));
    await symlink('/secret', join(home, 'app/absolute'));
    await symlink('../logs', join(home, 'app/inside'));
    await writeFile(join(home, 'app/startup'), '');
    await mkdir(join(home, 'app/stop'));
    for (const path of [
      '/instances/i/..',
      '/instances/i/app/../logs',
      '/instances/i/%2e%2e/%2e%2e/secret',
      '/instances/i/..%2f..%2fsecret',
      '/instances/i/app/climbing',
      '/instances/i/app/absolute',
      '/instances/i/app/inside',
      '/instances/i/app/inside/stdout.log',
      '/instances/i/app/startup',
      '/instances/i/app/stop',
      '/instances/i/stop/',
    ]) {
      await expectText(path, 403, 'Not accessible\n');
    }
  });

  it('asks for the credentials before anything else', async () => {
    const [user, password] = credentials;
    for (const authorization of ['', 'Basic', basic(user, ''), basic(password, user), basic(user, `${password}x`)]) {
      const answer = await get('/instances/i', { Authorization: authorization });
      expect([answer.status, answer.body], authorization).to.deep.equal([401, '']);
      expect(answer.headers['www-authenticate']).to.equal('Basic realm=""');
    }
    expect((await get('/instances/i', {}, 'DELETE')).status).to.equal(405);
  });
});
