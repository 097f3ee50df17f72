import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { parseBuildpackUrl } from '../../../lib/lifecycle/builder/buildpack-url.js';
import { BuildpackFetchError } from '../../../lib/lifecycle/builder/errors.js';
import { downloadBuildpack, type ZipDownloadOptions } from '../../../lib/lifecycle/builder/zip-download.js';
import { runCommand } from '../../../lib/process/command.js';
import { fixtureBuildpack } from '../../support/builder.js';
import { zipDirectory } from '../../support/zip.js';

describe('the download of a zipped buildpack', () => {
  let root: string;
  let server: Server;
  let url: string;
  let certificate: string;

  before(async () => {
    root = await mkdtemp(join(tmpdir(), 'zip-spec-'));
    certificate = join(root, 'certificate.pem');
    const key = join(root, 'key.pem');
    const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
    const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'];
    await runCommand('openssl', ['req', '-x509', '-nodes', ...curve, '-keyout', key, '-out', certificate, ...subject]);
    const archive = await zipDirectory(fixtureBuildpack('static-buildpack'));
    server = createServer({ key: await readFile(key), cert: await readFile(certificate) }, (request, response) => {
      if (request.url === '/slow.zip') response.write('never more than this');
      else response.end(archive);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    url = `https://localhost:${(server.address() as AddressInfo).port}`;
  });

  after(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    await rm(root, { recursive: true, force: true });
  });

  const download = async (path: string, options: ZipDownloadOptions) => {
    const directory = join(root, 'unpacked');
    await downloadBuildpack(
      parseBuildpackUrl(`${url}${path}`),
      directory,
      {
        workingDirectory: root,
        environment: { PATH: process.env.PATH },
        signal: new AbortController().signal,
        killGraceMs: 100,
      },
      options,
    );
    return directory;
  };

  const failure = (path: string, options: ZipDownloadOptions) =>
    download(path, options).then(
      () => expect.fail('it must fail'),
      (error: unknown) => error as Error,
    );

  it("trusts the root file system's authorities, keeps modes, and removes the archive", async () => {
    const directory = await download('/pack.zip', { authoritiesFile: certificate });
    expect((await stat(join(directory, 'bin/detect'))).mode & 0o777).to.equal(0o755);
    expect(await stat(`${directory}.zip`).catch(() => 'gone')).to.equal('gone');
  });

  it('trusts nobody else', async () => {
    const error = await failure('/pack.zip', { authoritiesFile: join(root, 'away.pem') });
    expect(error).to.be.instanceOf(BuildpackFetchError);
    expect(error.message).to.contain('certificate');
  });

  it('is given up after its time, also in the middle', async () => {
    const error = await failure('/slow.zip', { authoritiesFile: certificate, timeoutMs: 300 });
    expect(error).to.be.instanceOf(BuildpackFetchError);
    expect(error.message).to.contain('it took longer than 300 ms');
  });
});
