import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { eventually } from '../../support/eventually.js';
import { GitRepository } from '../../support/git-repository.js';
import { type NetworkBench, startNetworkBench } from '../../support/network-bench.js';
import type { Message } from '../../support/peer.js';
import { StagingBench } from '../../support/staging-bench.js';
import { startMessage } from '../../support/start-message.js';
import { zipDirectory } from '../../support/zip.js';

const gitPort = 10_197;

/** What upstream's integration suite checks of stagings and of apps that were staged (docs/protocol/dea.md §24). */
describe('the program, staging as upstream does', function () {
  this.timeout(120_000);
  let bench: StagingBench;
  let world: NetworkBench;
  let repository: GitRepository;

  before(async () => {
    bench = await StagingBench.start();
    world = await startNetworkBench(5);
    const directory = await bench.packs.write('start_command');
    repository = await GitRepository.create(directory, '.git');
    await repository.git('branch', 'a_branch');
    await repository.git('tag', 'a_lightweight_tag');
    await repository.git('tag', '--annotate', '--message', 'a tag', 'an_annotated_tag');
    await repository.publish();
    serveFiles(repository.serverRoot, await zipDirectory(directory));
    await eventually(async () => (await accepts(world.outside.ip, gitPort)) || undefined);
  });

  after(async () => {
    await repository?.remove();
    await world?.close();
    await bench?.stop();
  });

  /** Files as they are, for git's dumb protocol, on the address that containers see as the world. */
  function serveFiles(root: string, zip: Buffer): void {
    world.run(
      world.outside.namespacePath,
      `const { createReadStream, statSync } = require('fs');
       require('http').createServer((request, response) => {
         if (request.url === '/buildpack.zip') return response.end(Buffer.from('${zip.toString('base64')}', 'base64'));
         const path = ${JSON.stringify(root)} + new URL(request.url, 'http://x').pathname.replace('/buildpacks/start_command', '');
         try {
           if (!statSync(path).isFile()) throw new Error();
           createReadStream(path).pipe(response);
         } catch { response.writeHead(404).end(); }
       }).listen(${gitPort}, '0.0.0.0');`,
    );
  }

  const gitUrl = (ref = '') => `http://${world.outside.ip}:${gitPort}/buildpacks/start_command/.git${ref}`;
  const memoryTaken = async (): Promise<number> => {
    const { peer } = bench;
    const mark = peer.mark;
    const { available_memory } = await peer.next('dea.advertise', () => true, { since: mark });
    return 4096 - available_memory;
  };

  it('answers twice, shows the lines of its log, and delivers the droplet', async () => {
    const message = await bench.message();
    const received = bench.stage(message);
    const [first] = await bench.replies(received, 1);
    const log = await bench.log(first!.task_streaming_log_url);
    expect(log).to.match(/^-----> Downloaded app package \([\d.]+K\)\n/m);
    expect(log).to.match(/^-----> Uploading droplet \([\d.]+K\)\n/m);
    await bench.replies(received, 2);
    expect(bench.uploadsTo(message.upload_uri)).to.have.lengthOf(1);
    await bench.expectReleased();
  });

  it('runs the app that it staged on the chosen stack; the profile overrides variables of the user', async () => {
    const app = randomUUID();
    const profiled = await bench.packs.write('profiled', {
      compile: 'mkdir "$1/.profile.d"; echo "export FROM_PROFILE=profile" > "$1/.profile.d/a.sh"',
      release: `printf -- '---\\ndefault_process_types:\\n  web: env > environment.txt; exec python3 -m http.server $PORT\\n'`,
    });
    const key = 'profiled-1';
    const url = bench.blobs.put('/admin_buildpacks/profiled', await zipDirectory(profiled));
    const start = startMessage({ droplet: app, sha1: null, env: ['FROM_PROFILE=user', 'PLAIN=user'] });
    const mark = bench.peer.mark;
    const [, second] = await bench.outcome({ app_id: app, start_message: start, admin_buildpacks: [{ key, url }] });
    expect(second).not.to.have.property('error');
    const route = await bench.peer.next('router.register', (data) => data.app === app, {
      since: mark,
      timeoutMs: 30_000,
    });
    const environment = await (await fetch(`http://${route.host}:${route.port}/environment.txt`)).text();
    expect(environment.split('\n')).to.include.members(['FROM_PROFILE=profile', 'PLAIN=user']);
    const [found] = await bench.peer.request('dea.find.droplet', {
      droplet: app,
      states: ['RUNNING'],
      include_stats: true,
    });
    expect(found!.stats.usage).to.include.keys('cpu', 'mem', 'disk');
    bench.peer.publish('dea.stop', { droplet: app });
    await bench.expectReleased(30_000);
  });

  it('takes apps whose files have names beyond ASCII', async () => {
    const source = await mkdtemp(join(tmpdir(), 'names-'));
    const name = 'über uns/naïve 日本.html';
    await mkdir(join(source, 'über uns'));
    await writeFile(join(source, name), 'hello');
    const download_uri = bench.blobs.put('/unstaged/names', await zipDirectory(source));
    await rm(source, { recursive: true });
    const looking = await bench.packs.write('looking', { compile: `[ "$(cat "$1/${name}")" = hello ]` });
    const url = bench.blobs.put('/admin_buildpacks/looking', await zipDirectory(looking));
    const [, second] = await bench.outcome({ download_uri, admin_buildpacks: [{ key: 'looking-1', url }] });
    expect(second).not.to.have.property('error');
    await bench.expectReleased();
  });

  it('starts nothing where there is no room for it, and says that it crashed', async () => {
    const app = randomUUID();
    const mark = bench.peer.mark;
    const limits = { mem: 100_000, disk: 128, fds: 1024 };
    const start = startMessage({ droplet: app, sha1: null, limits });
    const [, second] = await bench.outcome({ app_id: app, start_message: start, memory_limit: 64, disk_limit: 64 });
    expect(second).not.to.have.property('error');
    const exited = await bench.peer.next('droplet.exited', (data) => data.droplet === app, {
      since: mark,
      timeoutMs: 20_000,
    });
    expect(exited).to.include({ reason: 'CRASHED', exit_description: 'Not enough memory resource available.' });
    await bench.expectReleased();
  });

  it('ends an app that traps TERM, and closes its port', async () => {
    const app = randomUUID();
    const mark = bench.peer.mark;
    const start = startMessage({ droplet: app, sha1: null });
    await bench.outcome({
      app_id: app,
      start_message: start,
      admin_buildpacks: [await bench.admin('graceful_shutdown')],
    });
    const route = await bench.peer.next('router.register', (data) => data.app === app, {
      since: mark,
      timeoutMs: 30_000,
    });
    expect(await accepts(route.host, route.port)).to.equal(true);
    bench.peer.publish('dea.stop', { droplet: app });
    await eventually(async () => ((await accepts(route.host, route.port)) ? undefined : true), { timeoutMs: 20_000 });
    await bench.expectReleased(30_000);
  });

  describe('with admin buildpacks', () => {
    it('asks them in the order of the message', async () => {
      const [one, other] = [await bench.admin('admin_buildpack'), await bench.admin('other_admin_buildpack')];
      const [, first] = await bench.outcome({ admin_buildpacks: [one, other] });
      expect(first).to.include({ buildpack_key: one.key, detected_buildpack: 'Admin' });
      const [, second] = await bench.outcome({ admin_buildpacks: [other, one] });
      expect(second).to.include({ buildpack_key: other.key, detected_buildpack: 'Other admin' });
    });

    it('passes over one that does not detect', async () => {
      const [no, yes] = [await bench.admin('fail_to_detect'), await bench.admin('admin_buildpack')];
      const [, second] = await bench.outcome({ admin_buildpacks: [no, yes] });
      expect(second).to.include({ buildpack_key: yes.key });
    });

    it('takes the one whose key was given', async () => {
      const [one, other] = [await bench.admin('admin_buildpack'), await bench.admin('other_admin_buildpack')];
      const [, second] = await bench.outcome({
        admin_buildpacks: [one, other],
        properties: { buildpack_key: other.key },
      });
      expect(second).to.include({ buildpack_key: other.key, detected_buildpack: null });
    });

    it('says that compilation failed for a key that is not among them', async () => {
      const [, second] = await bench.outcome({ properties: { buildpack_key: 'gone' } });
      expect(second).to.include({ error: 'Script exited with status 1' });
      expect(second.error_info).to.include({ type: 'BuildpackCompileFailed' });
    });

    it('removes from the disk what is no longer listed and that no running task has', async () => {
      const [one, other, endless] = [
        await bench.admin('admin_buildpack'),
        await bench.admin('other_admin_buildpack'),
        await bench.admin('long_compiling_buildpack'),
      ];
      await bench.outcome({ admin_buildpacks: [one, other] });
      const directory = join(bench.cell.baseDirectory, 'base/admin_buildpacks');
      expect((await readdir(directory)).sort()).to.deep.equal([one.key, other.key].sort());
      const long = await bench.message({ admin_buildpacks: [endless] });
      const received = bench.stage(long);
      await bench.replies(received, 1);
      await bench.outcome({ admin_buildpacks: [other] });
      expect((await readdir(directory)).sort()).to.deep.equal([endless.key, other.key].sort());
      bench.peer.publish('staging.stop', { app_id: long.app_id });
      await bench.replies(received, 2);
      await bench.expectReleased();
      await bench.outcome({ admin_buildpacks: [other] });
      expect(await readdir(directory)).to.deep.equal([other.key]);
    });

    it('says NoAppDetectedError when none detects, and stages without a start command', async () => {
      const [, none] = await bench.outcome({ admin_buildpacks: [await bench.admin('fail_to_detect')] });
      expect(none).to.include({ error: 'Script exited with status 1' });
      expect(none.error_info).to.deep.equal({
        type: 'NoAppDetectedError',
        message: 'An application could not be detected by any available buildpack',
      });
      const [, silent] = await bench.outcome({ admin_buildpacks: [await bench.admin('no_start_command')] });
      expect(silent).to.include({ detected_start_command: null }).and.not.to.have.property('error');
    });
  });

  describe('with a buildpack from git', () => {
    for (const ref of ['', '#a_branch', '#an_annotated_tag', '#a_lightweight_tag']) {
      it(`clones it from a server that has only files, at ${ref || 'its default branch'}`, async () => {
        const [, second] = await bench.outcome({ properties: { buildpack: gitUrl(ref) } });
        expect(second).not.to.have.property('error');
        expect(second).to.include({ detected_buildpack: null, buildpack_key: null });
        expect(second.detected_start_command).to.contain('http.server');
      });
    }

    it('checks out a commit', async () => {
      const commit = await repository.git('rev-parse', 'a_branch');
      const [, second] = await bench.outcome({ properties: { buildpack: gitUrl(`#${commit}`) } });
      expect(second).not.to.have.property('error');
    });

    it('unpacks it from a zip file', async () => {
      const url = `http://${world.outside.ip}:${gitPort}/buildpack.zip`;
      const [, second] = await bench.outcome({ properties: { buildpack: url } });
      expect(second).not.to.have.property('error');
      expect(second).to.include({ detected_buildpack: null, buildpack_key: null });
    });

    it('takes it by the name of old messages, too', async () => {
      const [, second] = await bench.outcome({ properties: { buildpack_git_url: gitUrl() } });
      expect(second).not.to.have.property('error');
    });

    for (const [title, url] of [
      ['a wrong URL', () => gitUrl().replace('start_command', 'nothing')],
      ['a wrong branch', () => gitUrl('#no_such_branch')],
    ] as const) {
      it(`says for ${title} that the script failed, without a kind of failure`, async () => {
        const [first, second] = await bench.outcome({ properties: { buildpack: url() } });
        expect(first.error).to.equal(null);
        expect(second).to.include({ error: 'Script exited with status 1', droplet_sha1: null });
        expect(second).not.to.have.property('error_info');
      });
    }
  });

  describe('with a buildpack cache', () => {
    it('downloads it before, uploads it after, and replaces it', async () => {
      const message = await bench.message();
      await bench.replies(bench.stage(message), 2);
      const [cache] = bench.uploadsTo(message.buildpack_cache_upload_uri);
      expect(StagingBench.filesIn(cache!)).to.deep.equal(['./', './new_cached_file']);
      const received = bench.stage({ ...message, task_id: randomUUID() });
      const [first] = await bench.replies(received, 1);
      expect(await bench.log(first!.task_streaming_log_url)).to.match(
        /^-----> Downloaded app buildpack cache \([\d.]+K\)$/m,
      );
      await bench.replies(received, 2);
      // What was cached the first time is in the second droplet.
      const droplets = bench.uploadsTo(message.upload_uri).map(StagingBench.filesIn);
      expect(droplets[0]).not.to.include('./app/new_cached_file');
      expect(droplets[1]).to.include('./app/new_cached_file');
      expect(bench.uploadsTo(message.buildpack_cache_upload_uri)).to.have.lengthOf(2);
    });
  });

  it("shows the user's and the system's variables to the buildpack", async () => {
    const message = await bench.message({
      properties: {
        environment: ['FOO=bar baz', 'REFERS=$FOO'],
        services: [{ label: 'p-mysql', name: 'db', credentials: { uri: 'mysql://u:p@h/d' }, secret: 'hidden' }],
      },
      memory_limit: 300,
      start_message: null,
    });
    await bench.replies(bench.stage(message), 2);
    const environment = StagingBench.fileIn(bench.uploadsTo(message.upload_uri)[0]!, './app/staging_env').split('\n');
    expect(environment).to.include.members([
      'FOO=bar baz',
      'REFERS=bar baz',
      'MEMORY_LIMIT=300m',
      'STAGING_TIMEOUT=900.0',
      'VCAP_APPLICATION={}',
      'DATABASE_URL=mysql2://u:p@h/d',
      'VCAP_SERVICES={"p-mysql":[{"name":"db","label":"p-mysql","credentials":{"uri":"mysql://u:p@h/d"}}]}',
    ]);
  });

  it('fails, forgets the task and lives on when the droplet cannot be uploaded', async () => {
    const [, second] = await bench.outcome({ upload_uri: 'http://127.0.0.1:1/nobody' });
    expect(second.error).to.match(/^Error uploading: \(Upload failed - status 0; error: ECONNREFUSED/);
    // What is known of the droplet is told all the same.
    expect(second).to.include({ detected_buildpack: 'Start command' });
    expect(second.droplet_sha1).to.match(/^[0-9a-f]{40}$/);
    await bench.expectReleased();
    const [, next] = await bench.outcome();
    expect(next).not.to.have.property('error');
  });

  it('takes at least its own least memory, or what the app has, until the task is over', async () => {
    for (const [memory_limit, expected] of [
      [64, 256],
      [1536, 1536],
    ] as const) {
      const message = await bench.message({
        memory_limit,
        admin_buildpacks: [await bench.admin('long_compiling_buildpack')],
      });
      const received = bench.stage(message);
      await bench.replies(received, 1);
      expect(await memoryTaken()).to.equal(expected);
      bench.peer.publish('staging.stop', { app_id: message.app_id });
      await bench.replies(received, 2);
      await bench.expectReleased();
    }
  });

  for (const [subject, stop] of [
    ['staging.stop', (app: string) => ({ app_id: app })],
    ['dea.stop', (app: string) => ({ droplet: app })],
  ] as [string, (app: string) => Message][]) {
    it(`stops a task by ${subject}`, async () => {
      const message = await bench.message({ admin_buildpacks: [await bench.admin('5_second_compiling_buildpack')] });
      const received = bench.stage(message);
      await bench.replies(received, 1);
      bench.peer.publish(subject, stop(message.app_id));
      const [, second] = await bench.replies(received, 2);
      expect(second).to.include({ task_id: message.task_id, error: 'Error staging: task stopped' });
      await bench.expectReleased();
      expect(bench.uploadsTo(message.upload_uri)).to.deep.equal([]);
    });
  }

  it('finishes a staging of some seconds', async () => {
    const [, second] = await bench.outcome({ admin_buildpacks: [await bench.admin('5_second_compiling_buildpack')] });
    expect(second).not.to.have.property('error');
  });

  // Behind all others: the program is gone then.
  describe('when it is ended', () => {
    it('answers a second time, with an error and the same task, when it is ended during a staging', async () => {
      const message = await bench.message({ admin_buildpacks: [await bench.admin('long_compiling_buildpack')] });
      const received = bench.stage(message);
      await bench.replies(received, 1);
      expect(await bench.cell.terminate()).to.equal(0);
      const [, second] = await bench.replies(received, 2);
      expect(second).to.include({ task_id: message.task_id, error: 'Error staging: task stopped' });
      expect(existsSync(bench.cell.pidFile)).to.equal(false);
    });
  });
});

function accepts(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
