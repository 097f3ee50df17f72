import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { expect } from 'chai';
import { ZipFile } from 'yazl';
import { eventually } from '../../support/eventually.js';
import { containersIn } from '../../support/leaks.js';
import type { Message } from '../../support/peer.js';
import { StagingBench } from '../../support/staging-bench.js';

/** A compile that fills the app with so much that packing takes a while. */
const bulky = { compile: 'head -c 150000000 /dev/urandom > "$1/bulk"' };
/** The same for the cache. */
const bulkyCache = { compile: 'head -c 150000000 /dev/urandom > "$2/bulk"' };

/** docs/protocol/dea.md §17.8, and check 33 of §25 in every step of §17.4. */
describe('a staging task that is stopped', function () {
  this.timeout(120_000);
  let bench: StagingBench;

  before(async () => {
    bench = await StagingBench.start(() => ({ staging: { enabled: true, memory_limit_mb: 256, disk_limit_mb: 2048 } }));
  });

  after(() => bench?.stop());

  /** A URL that takes requests and never answers to the end. */
  function endless(path: string): { url: string; isAsked: () => true | undefined; isLeft: () => true | undefined } {
    let [asked, left] = [false, false];
    const url = bench.blobs.handle(path, (request, response) => {
      asked = true;
      request.resume();
      response.on('close', () => {
        left = true;
      });
      if (request.method === 'GET') response.writeHead(200, { 'Content-Length': 1000 }).write('x');
    });
    return { url, isAsked: () => asked || undefined, isLeft: () => left || undefined };
  }

  const isInLog = (message: Message, line: string) => () =>
    bench.cell.logs.some((log) => log.message === line && log.data.task_id === message.task_id) || undefined;

  async function processRuns(pattern: RegExp): Promise<true | undefined> {
    const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
    const commands = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'latin1').catch(() => '')));
    return commands.some((command) => pattern.test(command.replaceAll('\0', ' '))) || undefined;
  }

  /** Stages, stops as soon as `isThere` says so, and expects one last reply, no upload and nothing left. */
  async function expectStopped(
    message: Message,
    isThere: () => true | undefined | Promise<true | undefined>,
    before: number,
  ): Promise<void> {
    const received = bench.stage(message);
    await eventually(isThere, { timeoutMs: 30_000, what: 'the step' });
    bench.peer.publish('staging.stop', { app_id: message.app_id });
    await bench.replies(received, before + 1);
    const last = { task_id: message.task_id, app_id: message.app_id, error: 'Error staging: task stopped' };
    expect(received.at(-1)).to.deep.equal(last);
    await bench.expectReleased(30_000);
    expect(received).to.have.lengthOf(before + 1);
  }

  it('ends while its buildpack is on the way', async () => {
    const { url, isAsked, isLeft } = endless('/endless-buildpack');
    const message = await bench.message({ admin_buildpacks: [{ key: 'endless', url }] });
    await expectStopped(message, isAsked, 0);
    expect(isLeft()).to.equal(true);
  });

  it('ends while its container is being made', async () => {
    const message = await bench.message();
    const received = bench.stage(message);
    const depot = join(bench.cell.baseDirectory, 'base/depot');
    await eventually(() => containersIn(depot).length > 0 || undefined);
    bench.peer.publish('staging.stop', { app_id: message.app_id });
    await eventually(() => received.some(({ error }) => error === 'Error staging: task stopped') || undefined);
    await bench.expectReleased(30_000);
    // On a slow bus the first reply may have been faster than the stop.
    expect(received.at(-1)).to.include({ error: 'Error staging: task stopped' });
    expect(received.slice(0, -1).map(({ error }) => error)).to.be.deep.oneOf([[], [null]]);
    expect(bench.uploadsTo(message.upload_uri)).to.deep.equal([]);
  });

  for (const field of ['download_uri', 'buildpack_cache_download_uri']) {
    it(`ends while ${field} is on the way`, async () => {
      const { url, isAsked, isLeft } = endless(`/endless-${field}`);
      await expectStopped(await bench.message({ [field]: url }), isAsked, 0);
      await eventually(isLeft);
    });
  }

  it('ends while it unpacks its package', async () => {
    const zip = new ZipFile();
    zip.addBuffer(Buffer.alloc(400_000_000), 'zeros', { compressionLevel: 1 });
    zip.end();
    const download_uri = bench.blobs.put('/large.zip', await buffer(zip.outputStream));
    await expectStopped(await bench.message({ download_uri }), () => processRuns(/^unzip -q /), 1);
  });

  it('ends while it builds, whatever the buildpack does with TERM', async () => {
    const stubborn = {
      compile: "trap '' TERM; for i in 1 2 3; do setsid sh -c \"trap '' TERM; sleep 1000\" & done; sleep 1000",
    };
    const message = await bench.message({ admin_buildpacks: [await bench.admin('stubborn', stubborn)] });
    await expectStopped(message, () => processRuns(/^sleep 1000/), 1);
    expect(await processRuns(/^sleep 1000/)).to.equal(undefined);
    expect(bench.uploadsTo(message.upload_uri)).to.deep.equal([]);
  });

  it('ends while it packs the droplet', async () => {
    const message = await bench.message({ admin_buildpacks: [await bench.admin('bulky', bulky)] });
    await expectStopped(message, () => processRuns(/^tar -czf \/tmp\/droplet.tgz/), 1);
    expect(bench.uploadsTo(message.upload_uri)).to.deep.equal([]);
  });

  it('ends while it uploads the droplet', async () => {
    const { url, isAsked, isLeft } = endless('/endless-upload');
    const message = await bench.message({ upload_uri: url });
    await expectStopped(message, isAsked, 1);
    await eventually(isLeft);
    expect(bench.uploadsTo(message.buildpack_cache_upload_uri)).to.deep.equal([]);
  });

  it("ends while the upload's job is under way", async () => {
    bench.blobs.jobStates = ['running'];
    try {
      const polls = () => bench.blobs.requests.filter((request) => request.includes('/staging/jobs/')).length;
      const before = polls();
      const message = await bench.message();
      await expectStopped(message, () => polls() > before + 1 || undefined, 1);
      const after = polls();
      expect(bench.uploadsTo(message.buildpack_cache_upload_uri)).to.deep.equal([]);
      expect(polls()).to.equal(after);
    } finally {
      bench.blobs.jobStates = ['finished'];
    }
  });

  it('ends while it packs the cache', async () => {
    const message = await bench.message({ admin_buildpacks: [await bench.admin('bulky-cache', bulkyCache)] });
    await expectStopped(message, () => processRuns(/^tar -czf \/tmp\/buildpack_cache.tgz/), 1);
    expect(bench.uploadsTo(message.buildpack_cache_upload_uri)).to.deep.equal([]);
  });

  it('ends while it uploads the cache', async () => {
    const { url, isAsked, isLeft } = endless('/endless-cache-upload');
    await expectStopped(await bench.message({ buildpack_cache_upload_uri: url }), isAsked, 1);
    await eventually(isLeft);
  });

  it('does not stop the tasks of other apps, and leaves the agent able to stage', async () => {
    const other = await bench.message({ admin_buildpacks: [await bench.admin('5_second_compiling_buildpack')] });
    const received = bench.stage(other);
    await bench.replies(received, 1);
    const stopped = await bench.message({ admin_buildpacks: [await bench.admin('long_compiling_buildpack')] });
    const answers = bench.stage(stopped);
    await bench.replies(answers, 1);
    bench.peer.publish('staging.stop', { app_id: stopped.app_id });
    await bench.replies(answers, 2);
    const [, second] = await bench.replies(received, 2);
    expect(second).not.to.have.property('error');
    await bench.expectReleased();
  });

  it('is stopped once, however often it is told to', async () => {
    const message = await bench.message({ admin_buildpacks: [await bench.admin('long_compiling_buildpack')] });
    const received = bench.stage(message);
    await bench.replies(received, 1);
    for (let times = 0; times < 5; times += 1) bench.peer.publish('staging.stop', { app_id: message.app_id });
    bench.peer.publish('dea.stop', { droplet: message.app_id });
    await bench.replies(received, 2);
    await bench.expectReleased();
    expect(received).to.have.lengthOf(2);
    expect(isInLog(message, 'staging.clean-up.failed')()).to.equal(undefined);
  });
});
