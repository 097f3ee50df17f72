import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import fc from 'fast-check';
import { FileApi } from '../../../lib/dea/files/file-api.js';
import type { FileRoot } from '../../../lib/dea/files/file-roots.js';
import { canonicalText, sign } from '../../../lib/dea/files/signed-url.js';
import { silentLogger } from '../../../lib/logging/logger.js';

const key = '0123456789abcdef0123456789abcdef';
const now = 1458249850;

describe('File API', () => {
  let base: string;
  let rootfs: string;
  let home: string;
  let instances: Record<string, FileRoot>;
  let tasks: Record<string, FileRoot>;
  let api: FileApi;

  beforeEach(async () => {
    base = await realpath(await mkdtemp(join(tmpdir(), 'file-api-')));
    rootfs = join(base, 'rootfs');
    home = join(rootfs, 'home/vcap');
    await mkdir(join(home, 'logs'), { recursive: true });
    await mkdir(join(rootfs, 'etc'));
    await writeFile(join(rootfs, 'etc/passwd'), 'the container’s own');
    await writeFile(join(home, 'logs/stdout.log'), 'out');
    await mkdir(`${home}2`);
    await writeFile(join(`${home}2`, 'x'), 'a neighbour’s');
    const served: FileRoot = { state: 'ok', root: home, containerRoot: rootfs };
    instances = { i: served, 'a b': served, away: { state: 'unavailable' } };
    tasks = { t: { state: 'ok', root: rootfs }, early: { state: 'unavailable' } };
    api = new FileApi({
      roots: {
        instanceRoot: (id) => instances[id] ?? { state: 'unknown' },
        stagingRoot: (id) => tasks[id] ?? { state: 'unknown' },
      },
      key,
      clock: () => now * 1000 + 999,
      logger: silentLogger,
    });
  });

  afterEach(async () => {
    api.release();
    await rm(base, { recursive: true });
  });

  function signed(urlPath: string, path: string | null, timestamp: string | number = now): string {
    const hmac = sign(key, canonicalText(urlPath, path, String(timestamp)));
    const pathParameter = path === null ? 'path' : `path=${encodeURIComponent(path)}`;
    return `${urlPath}?hmac=${hmac}&${pathParameter}&timestamp=${timestamp}`;
  }

  /** Status and JSON of a GET. */
  async function get(url: string): Promise<[number, unknown]> {
    const { status, headers, body } = await api.answer('GET', url);
    expect(headers['Content-Type']).to.equal('application/json');
    return [status, JSON.parse(body)];
  }

  const instance = (path: string | null) => get(signed('/instance_paths/i', path));
  const task = (path: string | null) => get(signed('/staging_tasks/t/file_path', path));
  const found = (path: string) => [200, { instance_path: path }];
  const notFound = [404, { error: 'Entity not found' }];
  const notAccessible = [403, { error: 'Not accessible' }];

  describe('checks a request', () => {
    it('for its parameters, all of which it names', async () => {
      expect(await get('/instance_paths/i')).to.deep.equal([
        400,
        { error: 'hmac is missing, timestamp is missing, path is missing' },
      ]);
      expect(await get('/instance_paths/i?timestamp=x&path=')).to.deep.equal([400, { error: 'hmac is missing' }]);
      expect(await get('/instance_paths/i?hmac&timestamp')).to.deep.equal([400, { error: 'path is missing' }]);
    });

    it('for a timestamp that is a number', async () => {
      expect(await get('/instance_paths/i?hmac=x&path=/&timestamp=abc')).to.deep.equal([
        400,
        { error: 'timestamp is invalid' },
      ]);
    });

    it('for its signature, also when parameters are empty', async () => {
      const invalid = [401, { error: 'Invalid HMAC' }];
      expect(await get(signed('/instance_paths/i', '/logs').replace('logs', 'etc'))).to.deep.equal(invalid);
      expect(await get('/instance_paths/i?hmac=&path=&timestamp=')).to.deep.equal(invalid);
      expect(await get('/instance_paths/i?hmac&path&timestamp')).to.deep.equal(invalid);
      expect(await get(signed('/instance_paths/i', '/logs').replace('paths/i', 'paths/i/'))).to.deep.equal(invalid);
    });

    it('for a signature that was made for another file, instance or task', async () => {
      instances.j = instances.i!;
      const query = signed('/instance_paths/i', '/logs').replace('/instance_paths/i', '');
      for (const urlPath of [
        '/instance_paths/j',
        '/instance_paths/%69',
        '/instance_paths/i.json',
        '/staging_tasks/i/file_path',
      ]) {
        expect(await get(urlPath + query), urlPath).to.deep.equal([401, { error: 'Invalid HMAC' }]);
      }
      for (const more of ['&path=/', '&path', '&timestamp=1458249851', `&hmac=${'0'.repeat(128)}`]) {
        expect((await get(`/instance_paths/i${query}${more}`))[0], more).to.equal(401);
      }
      // What is not signed makes no difference.
      expect((await get(`/instance_paths/i${query}&tail&x=%00`))[0]).to.equal(200);
    });

    it('whatever it is spelled like', async () => {
      const url = signed('/instance_paths/i', '/logs/stdout.log');
      const mutation = fc.tuple(fc.nat(url.length), fc.nat(20), fc.string({ unit: 'binary', maxLength: 20 }));
      await fc.assert(
        fc.asyncProperty(fc.array(mutation, { minLength: 1, maxLength: 4 }), async (mutations) => {
          const mutated = mutations.reduce(
            (text, [at, cut, put]) => text.slice(0, at) + put + text.slice(at + cut),
            url,
          );
          const { status, body } = await api.answer('GET', mutated);
          if (status === 200) expect(JSON.parse(body)).to.deep.equal({ instance_path: join(home, 'logs/stdout.log') });
          else expect(status).to.be.oneOf([400, 401, 404]);
        }),
      );
    });

    it('for its age', async () => {
      const at = (timestamp: number) => get(signed('/instance_paths/i', '/logs', timestamp));
      expect((await at(now - 3600))[0]).to.equal(200);
      expect(await at(now - 3601)).to.deep.equal([400, { error: 'Url expired' }]);
      expect((await at(now + 60))[0]).to.equal(200);
      expect(await at(now + 61)).to.deep.equal([400, { error: 'timestamp is invalid' }]);
    });

    it('for an instance or task that is known and has files', async () => {
      expect(await get(signed('/instance_paths/x', '/'))).to.deep.equal([404, { error: 'Unknown instance' }]);
      expect(await get(signed('/instance_paths/away', '/'))).to.deep.equal([503, { error: 'Instance unavailable' }]);
      expect(await get(signed('/staging_tasks/x/file_path', '/'))).to.deep.equal([
        404,
        { error: 'Unknown staging task' },
      ]);
      expect(await get(signed('/staging_tasks/early/file_path', '/'))).to.deep.equal([
        503,
        { error: 'Staging task unavailable' },
      ]);
    });

    it('in this order', async () => {
      expect((await get('/instance_paths/x?hmac=bad&path=/&timestamp=1'))[0]).to.equal(401);
      expect((await get(signed('/instance_paths/x', '/', now - 9999)))[0]).to.equal(400);
    });

    it('for its method', async () => {
      const answer = await api.answer('POST', signed('/instance_paths/i', '/logs'));
      expect(answer.status).to.equal(405);
      expect(answer.headers).to.include({ Allow: 'OPTIONS, GET, HEAD', 'Content-Type': 'application/json' });
      expect(answer.body).to.equal('{"error":"405 Not Allowed"}');
      const head = await api.answer('HEAD', signed('/instance_paths/i', '/logs'));
      expect(head.status).to.equal(200);
    });

    it('for a resource that there is', async () => {
      for (const path of [
        '/',
        '/instance_paths',
        '/instance_paths/',
        '/instance_paths/i/x',
        '/staging_tasks/t',
        '/x',
      ]) {
        expect(await api.answer('GET', path), path).to.deep.equal({
          status: 404,
          headers: { 'Content-Type': 'text/plain', 'X-Cascade': 'pass' },
          body: '404 Not Found',
        });
      }
    });
  });

  it('takes the resource with a slash or .json behind it, signed as spelled', async () => {
    for (const urlPath of ['/instance_paths/i/', '/instance_paths/i.json', '/instance_paths/a%20b']) {
      expect(await get(signed(urlPath, '/logs')), urlPath).to.deep.equal(found(join(home, 'logs')));
    }
  });

  describe('finds in an instance', () => {
    it('files and directories, with or without a slash before or behind', async () => {
      expect(await instance('/logs/stdout.log')).to.deep.equal(found(join(home, 'logs/stdout.log')));
      expect(await instance('logs/stdout.log')).to.deep.equal(found(join(home, 'logs/stdout.log')));
      expect(await instance('/logs/')).to.deep.equal(found(join(home, 'logs')));
      expect(await instance('logs/../logs/./stdout.log')).to.deep.equal(found(join(home, 'logs/stdout.log')));
    });

    it('the root by a null path, an empty one and a slash', async () => {
      for (const path of [null, '', '/']) expect(await instance(path)).to.deep.equal(found(home));
    });

    it('nothing where nothing is', async () => {
      expect(await instance('/missing')).to.deep.equal(notFound);
      expect(await instance('/logs/stdout.log/')).to.deep.equal(notFound);
      expect(await instance('/logs/stdout.log/.')).to.deep.equal(notFound);
      expect(await instance(`/${'x'.repeat(300)}`)).to.deep.equal(notFound);
      await symlink('missing', join(home, 'dangling'));
      expect(await instance('/dangling')).to.deep.equal(notFound);
      await symlink('loop', join(home, 'loop'));
      expect(await instance('/loop')).to.deep.equal(notFound);
    });

    it('what links lead to, as the container sees them', async () => {
      await symlink('logs', join(home, 'relative'));
      await symlink('/home/vcap/logs', join(home, 'absolute'));
      expect(await instance('/relative/stdout.log')).to.deep.equal(found(join(home, 'logs/stdout.log')));
      expect(await instance('/absolute/stdout.log')).to.deep.equal(found(join(home, 'logs/stdout.log')));
    });

    it('nothing outside its root, however it is spelled', async () => {
      await symlink('/etc/passwd', join(home, 'passwd'));
      await symlink('../../etc/passwd', join(home, 'climbing'));
      await symlink('../../../../../../../../etc/passwd', join(home, 'escaping'));
      await symlink('../vcap2', join(home, 'neighbour'));
      for (const path of [
        '/passwd',
        '/climbing',
        '/escaping',
        '/neighbour/x',
        '/../vcap2/x',
        '/../../etc/passwd',
        '/../../../../../../../../../etc/passwd',
        '..',
      ]) {
        expect(await instance(path), path).to.deep.equal(notAccessible);
      }
    });

    it('what a link into /proc says, and not where the kernel would lead', async () => {
      await symlink('/proc/self/root/etc/hostname', join(home, 'root'));
      await symlink(`/proc/${process.pid}/cwd`, join(home, 'cwd'));
      await symlink('/proc', join(rootfs, 'kernel'));
      for (const path of ['/root', '/cwd', '/../../kernel/self/root'])
        expect(await instance(path)).to.deep.equal(notFound);
    });

    it('names of 255 bytes, and none that are longer', async () => {
      await writeFile(join(home, 'ü'.repeat(127)), '');
      expect(await instance(`/${'ü'.repeat(127)}`)).to.deep.equal(found(join(home, 'ü'.repeat(127))));
      expect(await instance(`/${'ü'.repeat(128)}`)).to.deep.equal(notFound);
    });

    it('pipes and devices without touching them, for the directory server to refuse', async () => {
      execFileSync('mkfifo', [join(home, 'pipe')]);
      expect(await instance('/pipe')).to.deep.equal(found(join(home, 'pipe')));
    });

    it('never a file of the host, even where the container has none at that place', async () => {
      await symlink('/etc/hostname', join(home, 'hostname'));
      expect(await instance('/hostname')).to.deep.equal(notFound);
    });

    it('nothing by a path with a NUL in it', async () => {
      expect(await instance('/logs\0')).to.deep.equal([400, { error: 'path is invalid' }]);
    });

    it('nothing once its directory is gone', async () => {
      instances.i = { state: 'ok', root: join(base, 'crashes/i') };
      expect(await instance('/')).to.deep.equal(notFound);
    });

    it('its files by way of links of the host above the root', async () => {
      await symlink(rootfs, join(base, 'link'));
      instances.i = { state: 'ok', root: join(base, 'link/home/vcap'), containerRoot: join(base, 'link') };
      expect(await instance('/logs')).to.deep.equal(found(join(home, 'logs')));
    });
  });

  describe('finds in a staging task', () => {
    it('any file of the container', async () => {
      expect(await task('/etc/passwd')).to.deep.equal(found(join(rootfs, 'etc/passwd')));
      expect(await task(null)).to.deep.equal(found(rootfs));
      await symlink('/etc/passwd', join(rootfs, 'link'));
      expect(await task('/link')).to.deep.equal(found(join(rootfs, 'etc/passwd')));
    });

    it('nothing outside of it', async () => {
      await symlink('../../../../../../../../../etc/hostname', join(rootfs, 'escaping'));
      expect(await task('/escaping')).to.deep.equal(notAccessible);
      expect(await task('/..')).to.deep.equal(notAccessible);
    });
  });
});
