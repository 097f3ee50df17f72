import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { eventually } from '../../support/eventually.js';
import { StagingBench } from '../../support/staging-bench.js';
import { zipDirectory } from '../../support/zip.js';

describe('the program, staging by its settings', function () {
  this.timeout(120_000);
  let bench: StagingBench;
  let authorization: string | undefined;

  before(async () => {
    const zip = await zipDirectory('spec/fixtures/buildpacks/static-buildpack');
    bench = await StagingBench.start((blobs) => {
      blobs.handle('/internal/buildpacks', (request, response) => {
        authorization = request.headers.authorization;
        response.end(JSON.stringify([{ key: 'static-1', url: blobs.put('/admin_buildpacks/static-1', zip) }]));
      });
      return {
        cc_url: `${blobs.urlWithCredentials}/v2`,
        staging: { fail_on_cache_upload_error: true, max_staging_duration: 5 },
      };
    });
  });

  after(() => bench?.stop());

  it('fetches the buildpacks that the Cloud Controller lists before anybody stages', async () => {
    const directory = join(bench.cell.baseDirectory, 'base/admin_buildpacks');
    await eventually(async () => ((await readdir(directory)).includes('static-1') ? true : undefined));
    expect(authorization).to.match(/^Basic /);
    const requests = () => bench.blobs.requests.filter((request) => request.endsWith('/static-1')).length;
    expect(requests()).to.equal(1);
    const entry = { key: 'static-1', url: `${bench.blobs.urlWithCredentials}/admin_buildpacks/static-1` };
    const [, second] = await bench.outcome({ admin_buildpacks: [entry] });
    expect(second).to.include({ buildpack_key: 'static-1' });
    expect(requests()).to.equal(1);
  });

  it('fails a staging whose cache cannot be uploaded, as old agents did', async () => {
    const [, second] = await bench.outcome({ buildpack_cache_upload_uri: 'http://127.0.0.1:1/cache' });
    expect(second.error).to.match(/^Error uploading: \(Upload failed - status 0; error: ECONNREFUSED/);
    expect(second.droplet_sha1).to.match(/^[0-9a-f]{40}$/);
    await bench.expectReleased();
  });

  it('says that time is up, whoever notices it first', async () => {
    for (const compile of ['sleep 1000', "trap '' TERM; while :; do sleep 0.1; done"]) {
      const [, second] = await bench.outcome({ admin_buildpacks: [await bench.admin('slow', { compile })] });
      expect(second).to.include({ error: 'Staging in container timed out', droplet_sha1: null });
      expect(second).not.to.have.property('error_info');
      await bench.expectReleased();
    }
  });

  it('gives up a package that comes drop by drop', async () => {
    const download_uri = bench.blobs.handle('/drips.zip', (_request, response) => {
      const timer = setInterval(() => response.write('x'), 100);
      response.on('close', () => clearInterval(timer));
    });
    const [first, second] = await bench.outcome({ download_uri });
    expect(first.error).to.match(/^Error downloading: Response status: unknown, Error: ETIMEDOUT \(/);
    expect(second.error).to.equal(first.error);
    await bench.expectReleased();
  });
});
