import { createHash, randomBytes } from 'node:crypto';
import { existsSync, watch } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { DropletCache, type DropletCacheOptions } from '../../lib/cell/droplet-cache.js';
import { silentLogger } from '../../lib/logging/logger.js';
import { eventually } from '../support/eventually.js';
import { type HttpServer, startHttpServer } from '../support/http-server.js';
import { rejectionOf } from '../support/rejection.js';

const sha1Of = (content: Buffer) => createHash('sha1').update(content).digest('hex');

describe('DropletCache', () => {
  let base: string;
  let directory: string;
  let server: HttpServer;
  let handler: (request: IncomingMessage, response: ServerResponse) => void;
  let blobs: Map<string, Buffer>;
  let caches: DropletCache[];

  beforeEach(async () => {
    base = await mkdtemp(join(tmpdir(), 'droplets-'));
    directory = join(base, 'droplets');
    blobs = new Map();
    caches = [];
    handler = (request, response) => {
      const blob = blobs.get(request.url!);
      if (blob) response.end(blob);
      else response.writeHead(404).end();
    };
    server = await startHttpServer((request, response) => handler(request, response));
  });

  afterEach(async () => {
    for (const cache of caches) await cache.stop();
    await server.stop();
    await rm(base, { recursive: true });
  });

  async function open(options: Partial<DropletCacheOptions> = {}): Promise<DropletCache> {
    const cache = DropletCache.create({ directory, maxBytes: 1e9, logger: silentLogger, graceMs: 0, ...options });
    caches.push(cache);
    await cache.start();
    return cache;
  }

  /** Puts a droplet on the server. */
  function serve(content: Buffer): { sha1: string; url: string } {
    const sha1 = sha1Of(content);
    blobs.set(`/${sha1}`, content);
    return { sha1, url: `${server.url}/${sha1}` };
  }

  const droplet = randomBytes(200_000);

  it('fetches a droplet to its place, with the mode that apps were always given', async () => {
    const cache = await open();
    const { sha1, url } = serve(droplet);
    const cached = await cache.acquire({ sha1, url });
    expect(cached).to.deep.equal({ directory: join(directory, sha1), path: join(directory, sha1, 'droplet.tgz') });
    expect((await readFile(cached.path)).equals(droplet)).to.equal(true);
    expect((await stat(cached.path)).mode & 0o777).to.equal(0o744);
    expect(await readdir(cached.directory)).to.deep.equal(['droplet.tgz']);
  });

  it('fetches it once, and does not read it again while it looks unchanged', async () => {
    const cache = await open();
    const { sha1, url } = serve(droplet);
    const { path } = await cache.acquire({ sha1, url });
    const wholeSecond = 1_458_249_850;
    await utimes(path, wholeSecond, wholeSecond);
    await cache.acquire({ sha1, url });
    // Only reading the file would tell this content of the same length, with the same time of change.
    await writeFile(path, randomBytes(droplet.length));
    await utimes(path, wholeSecond, wholeSecond);
    await cache.acquire({ sha1, url });
    expect(server.requests).to.have.length(1);
  });

  it('keeps droplets over a restart', async () => {
    const { sha1, url } = serve(droplet);
    await (await open()).acquire({ sha1, url });
    const cached = await (await open()).acquire({ sha1, url: null });
    expect((await readFile(cached.path)).equals(droplet)).to.equal(true);
    expect(server.requests).to.have.length(1);
  });

  it('takes a SHA-1 in upper case for the same', async () => {
    const cache = await open();
    const { sha1, url } = serve(droplet);
    expect((await cache.acquire({ sha1: sha1.toUpperCase(), url })).directory).to.equal(join(directory, sha1));
  });

  it('serves ten who ask at once with one download', async () => {
    const cache = await open();
    const { sha1, url } = serve(droplet);
    const cached = await Promise.all(Array.from({ length: 10 }, () => cache.acquire({ sha1, url })));
    expect(server.requests).to.deep.equal([`GET /${sha1}`]);
    expect(new Set(cached.map(({ path }) => path)).size).to.equal(1);
  });

  it('tells all who share a download of its failure, and tries again for the next', async () => {
    const cache = await open();
    const { sha1, url } = serve(droplet);
    blobs.clear();
    const outcomes = await Promise.all(Array.from({ length: 3 }, () => rejectionOf(cache.acquire({ sha1, url }))));
    for (const { message } of outcomes) expect(message).to.equal('Error downloading: HTTP status: 404');
    expect(server.requests).to.have.length(1);
    blobs.set(`/${sha1}`, droplet);
    await cache.acquire({ sha1, url });
  });

  it('keeps nothing of a droplet with the wrong content', async () => {
    const cache = await open();
    const { sha1, url } = serve(droplet);
    blobs.set(`/${sha1}`, randomBytes(1000));
    expect((await rejectionOf(cache.acquire({ sha1, url }))).message).to.equal('Error downloading: SHA1 mismatch');
    expect(await readdir(join(directory, sha1))).to.deep.equal([]);
  });

  it('fetches a droplet anew that was damaged on disk', async () => {
    const { sha1, url } = serve(droplet);
    const { path } = await (await open()).acquire({ sha1, url });
    await writeFile(path, 'damaged');
    const cached = await (await open()).acquire({ sha1, url });
    expect((await readFile(cached.path)).equals(droplet)).to.equal(true);
  });

  it('notices damage while it runs', async () => {
    const cache = await open();
    const { sha1, url } = serve(droplet);
    const { path } = await cache.acquire({ sha1, url });
    await writeFile(path, 'damaged');
    expect((await readFile((await cache.acquire({ sha1, url })).path)).equals(droplet)).to.equal(true);
  });

  it('refuses what is no SHA-1, and makes no path of it', async () => {
    const cache = await open();
    for (const sha1 of [null, '']) {
      expect((await rejectionOf(cache.acquire({ sha1, url: server.url }))).message).to.equal('sha cannot be nil');
      expect((await rejectionOf(cache.prepareDirectory(sha1))).message).to.equal('sha cannot be nil');
    }
    for (const sha1 of ['../../etc', 'abc', `${'a'.repeat(40)}/x`, `${'a'.repeat(40)}\n`, 'g'.repeat(40)]) {
      expect((await rejectionOf(cache.acquire({ sha1, url: server.url }))).message).to.include('is no SHA-1');
      expect((await rejectionOf(cache.add(base, sha1))).message).to.include('is no SHA-1');
    }
    expect(await readdir(directory)).to.deep.equal([]);
    expect(await readdir(base)).to.deep.equal(['droplets']);
  });

  it('fails when a droplet is neither there nor to be had', async () => {
    const cache = await open();
    const { message } = await rejectionOf(cache.acquire({ sha1: sha1Of(droplet), url: null }));
    expect(message).to.include('has no URL');
  });

  it('prepares the directory that the droplet later appears in', async () => {
    const cache = await open();
    const { sha1, url } = serve(droplet);
    const prepared = await cache.prepareDirectory(sha1);
    const { ino } = await stat(prepared);
    const cached = await cache.acquire({ sha1, url });
    expect(cached.directory).to.equal(prepared);
    expect((await stat(prepared)).ino, 'a mount of it shows the droplet').to.equal(ino);
  });

  describe('asked by several, of whom some leave', () => {
    let release: () => void;

    beforeEach(() => {
      handler = (_request, response) => {
        response.write(droplet.subarray(0, 1000));
        release = () => response.end(droplet.subarray(1000));
      };
    });

    const waitForRequests = (count: number) =>
      eventually(() => (server.requests.length === count ? true : undefined), { what: `${count} requests` });

    it('goes on for those who stay, and for those who come later', async () => {
      const cache = await open();
      const { sha1, url } = serve(droplet);
      const leaver = new AbortController();
      const left = rejectionOf(cache.acquire({ sha1, url, signal: leaver.signal }));
      const stayed = cache.acquire({ sha1, url, signal: new AbortController().signal });
      await waitForRequests(1);
      const reason = new Error('task stopped');
      leaver.abort(reason);
      expect(await left).to.equal(reason);
      const late = cache.acquire({ sha1, url });
      release();
      await Promise.all([stayed, late]);
      expect(server.requests).to.have.length(1);
    });

    it('gives the download up when all have left, and starts anew for the next', async () => {
      const cache = await open();
      const { sha1, url } = serve(droplet);
      const leaver = new AbortController();
      const left = rejectionOf(cache.acquire({ sha1, url, signal: leaver.signal }));
      await waitForRequests(1);
      leaver.abort(new Error('task stopped'));
      await left;
      await eventually(async () => ((await readdir(join(directory, sha1))).length === 0 ? true : undefined), {
        what: 'the removal of the unfinished download',
      });
      const next = cache.acquire({ sha1, url });
      await waitForRequests(2);
      release();
      await next;
    });

    it('gives downloads up when it is stopped', async () => {
      const cache = await open();
      const { sha1, url } = serve(droplet);
      const outcome = rejectionOf(cache.acquire({ sha1, url }));
      await waitForRequests(1);
      await cache.stop();
      expect((await outcome).message).to.equal('the droplet cache was stopped');
      expect(await readdir(join(directory, sha1))).to.deep.equal([]);
    });
  });

  describe('given a droplet that was built here', () => {
    let built: string;

    beforeEach(async () => {
      built = join(base, 'built.tgz');
      await writeFile(built, droplet, { mode: 0o600 });
    });

    it('shares its blocks and needs neither download nor reading', async () => {
      const cache = await open();
      const { path } = await cache.add(built, sha1Of(droplet));
      expect((await stat(path)).ino).to.equal((await stat(built)).ino);
      expect((await stat(path)).mode & 0o777).to.equal(0o744);
      await rm(built);
      const cached = await cache.acquire({ sha1: sha1Of(droplet), url: null });
      expect((await readFile(cached.path)).equals(droplet)).to.equal(true);
      expect(await readdir(cached.directory)).to.deep.equal(['droplet.tgz']);
    });

    it('takes the same file twice', async () => {
      const cache = await open();
      await cache.add(built, sha1Of(droplet));
      const { directory: place } = await cache.add(built, sha1Of(droplet));
      expect(await readdir(place)).to.deep.equal(['droplet.tgz']);
    });

    it('copies it from another file system', async () => {
      const cache = await open();
      const elsewhere = await mkdtemp('/dev/shm/droplets-');
      try {
        const file = join(elsewhere, 'built.tgz');
        await writeFile(file, droplet);
        expect((await stat(file)).dev).to.not.equal((await stat(base)).dev);
        const { path } = await cache.add(file, sha1Of(droplet));
        expect((await readFile(path)).equals(droplet)).to.equal(true);
        expect((await stat(path)).mode & 0o777).to.equal(0o744);
      } finally {
        await rm(elsewhere, { recursive: true });
      }
    });

    it('leaves nothing behind when the file is missing', async () => {
      const cache = await open();
      const sha1 = sha1Of(droplet);
      expect(await rejectionOf(cache.add(join(base, 'missing'), sha1))).to.have.property('code', 'ENOENT');
      expect(await readdir(join(directory, sha1))).to.deep.equal([]);
    });
  });

  describe('removing', () => {
    async function fill(cache: DropletCache, count: number, bytes = 1000): Promise<string[]> {
      const sha1s: string[] = [];
      for (let index = 0; index < count; index += 1) {
        const { sha1, url } = serve(randomBytes(bytes));
        await cache.acquire({ sha1, url });
        sha1s.push(sha1);
      }
      return sha1s;
    }

    it('takes all but the referenced ones', async () => {
      const cache = await open();
      const [first, second, third] = await fill(cache, 3);
      await cache.prune([second!.toUpperCase()]);
      expect((await readdir(directory)).filter((name) => !name.includes('.deleted.'))).to.deep.equal([second]);
      await cache.stop();
      expect(await readdir(directory)).to.deep.equal([second]);
      expect(existsSync(join(directory, first!)) || existsSync(join(directory, third!))).to.equal(false);
    });

    it('moves a droplet aside under a name that tells the time', async () => {
      const cache = await open({ clock: () => 1_458_249_850_123 });
      const [sha1] = await fill(cache, 1);
      const names = new Set<string | null>();
      const watcher = watch(directory, (_event, name) => names.add(name));
      try {
        await cache.prune([]);
        await eventually(() => (names.size === 2 ? true : undefined), { what: 'two names' });
      } finally {
        watcher.close();
      }
      expect([...names][1]).to.match(new RegExp(`^${sha1}\\.deleted\\.1458249850\\.`));
      await cache.stop();
      expect(await readdir(directory)).to.deep.equal([]);
    });

    it('spares a droplet that is being fetched', async () => {
      const cache = await open();
      const { sha1, url } = serve(droplet);
      const fetching = cache.acquire({ sha1, url });
      await cache.prune([]);
      expect((await readFile((await fetching).path)).equals(droplet)).to.equal(true);
    });

    it('lets a droplet be fetched again at the same moment', async () => {
      const cache = await open();
      const { sha1, url } = serve(droplet);
      await cache.acquire({ sha1, url });
      const pruned = cache.prune([]);
      const again = cache.acquire({ sha1, url });
      await pruned;
      expect((await readFile((await again).path)).equals(droplet)).to.equal(true);
      expect(server.requests).to.have.length(2);
    });

    it('clears the directory for good', async () => {
      const cache = await open();
      await fill(cache, 3);
      await cache.prepareDirectory('a'.repeat(40));
      await cache.clear();
      expect(await readdir(directory)).to.deep.equal([]);
    });

    it('removes the least recently used ones when they outgrow the limit', async () => {
      let now = 1_000_000;
      const clock = () => {
        now += 1000;
        return now;
      };
      const cache = await open({ maxBytes: 2500, clock });
      const [first, second] = await fill(cache, 2);
      await cache.acquire({ sha1: first!, url: null });
      const [third] = await fill(cache, 1);
      await cache.stop();
      expect((await readdir(directory)).sort()).to.deep.equal([first!, third!].sort());
      expect(existsSync(join(directory, second!))).to.equal(false);
    });

    it('remembers the order of use over a restart', async () => {
      let now = Date.now() - 1_000_000;
      const clock = () => {
        now += 10_000;
        return now;
      };
      const [first, second, third] = await fill(await open({ clock }), 3);
      await (await open({ clock })).acquire({ sha1: first!, url: null });
      const cache = await open({ maxBytes: 2500, clock });
      await cache.stop();
      expect((await readdir(directory)).sort()).to.deep.equal([first!, third!].sort());
      expect(second).to.be.a('string');
    });

    it('keeps what an instance needs and what was just used, whatever the size', async () => {
      const needed = new Set<string>();
      const cache = await open({ maxBytes: 500, isReferenced: (sha1) => needed.has(sha1) });
      const { sha1, url } = serve(randomBytes(1000));
      needed.add(sha1);
      await cache.acquire({ sha1, url });
      expect(await readdir(directory)).to.deep.equal([sha1]);
      const patient = await open({ maxBytes: 500, graceMs: 60_000 });
      expect(await readdir(directory)).to.deep.equal([sha1]);
      await patient.stop();
    });
  });

  it('removes at start what a killed process left, and nothing else', async () => {
    const { sha1, url } = serve(droplet);
    await (await open()).acquire({ sha1, url });
    const empty = 'e'.repeat(40);
    await mkdir(join(directory, `${empty}.deleted.1458249850`, 'x'), { recursive: true });
    await mkdir(join(directory, empty));
    await writeFile(join(directory, sha1, '.droplet.tgz-99-1.download'), 'half');
    await writeFile(join(directory, sha1, '.droplet.tgz-99-2.add'), 'half');
    await mkdir(join(directory, 'lost+found'));
    const cache = await open();
    await cache.stop();
    expect((await readdir(directory)).sort()).to.deep.equal([sha1, 'lost+found'].sort());
    expect(await readdir(join(directory, sha1))).to.deep.equal(['droplet.tgz']);
  });
});
