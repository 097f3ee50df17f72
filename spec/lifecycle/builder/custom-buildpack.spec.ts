import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { makeBuilderBundle } from '../../../lib/lifecycle/bundle/builder-bundle.js';
import { type BlobServer, startBlobServer } from '../../support/blob-server.js';
import { BuilderWorkspace, fixtureBuildpack, writeBuildpack } from '../../support/builder.js';
import { type FileServer, GitRepository, startFileServer } from '../../support/git-repository.js';
import { zipDirectory } from '../../support/zip.js';

describe('a custom buildpack', () => {
  let root: string;
  let workspace: BuilderWorkspace;

  before(async () => {
    root = await mkdtemp(join(tmpdir(), 'custom-spec-'));
    await makeBuilderBundle({ directory: join(root, 'builder') });
  });

  after(() => rm(root, { recursive: true, force: true }));

  beforeEach(async () => {
    workspace = await BuilderWorkspace.create(join(root, 'builder'));
  });

  afterEach(() => workspace.remove());

  const stage = (url: string, environment: Record<string, string> = {}) =>
    workspace.run({ properties: { buildpack: url }, buildpacks: [], environment });

  describe('from a git repository', () => {
    let repository: GitRepository;
    let server: FileServer;
    let fileUrl: string;
    const commits: Record<string, string> = {};

    /** Commits a buildpack whose start command tells which commit it is. */
    async function commitRelease(command: string): Promise<void> {
      const script = `#!/bin/sh\nprintf 'default_process_types:\\n  web: ${command}\\n'\n`;
      await writeFile(repository.path('bin/release'), script, { mode: 0o755 });
      commits[command] = await repository.commit();
    }

    before(async () => {
      repository = await GitRepository.create(await writeBuildpack(join(root, 'pack'), {}));
      await commitRelease('first');
      await repository.git('tag', '--annotate', '--message', 'one', 'v1');
      await repository.git('tag', 'light');
      await commitRelease('second');
      await repository.git('checkout', '--quiet', '-b', 'feature/dev');
      await commitRelease('dev');
      await repository.git('checkout', '--quiet', 'main');
      await commitRelease('third');
      fileUrl = await repository.publish();
      server = await startFileServer(repository.serverRoot);
    });

    after(async () => {
      await server.stop();
      await repository.remove();
    });

    for (const [ref, command] of [
      ['', 'third'],
      ['#feature/dev', 'dev'],
      ['#v1', 'first'],
      ['#light', 'first'],
    ] as const) {
      it(`is cloned without its history at ${ref || 'its default branch'}`, async () => {
        const { status, output, info } = await stage(`${fileUrl}${ref}`);
        expect(status, output).to.equal(0);
        expect(info).to.deep.include({
          buildpack_path: join(workspace.fetchDirectory, 'custom-buildpack'),
          detected_buildpack: null,
          start_command: command,
        });
        const clone = join(workspace.fetchDirectory, 'custom-buildpack/.git');
        expect((await stat(join(clone, 'shallow'))).isFile()).to.equal(true);
      });

      it(`is cloned from a server that has only files at ${ref || 'its default branch'}`, async () => {
        const { status, output, info } = await stage(`${server.url}/custom-buildpack.git${ref}`);
        expect(status, output).to.equal(0);
        expect(info).to.have.property('start_command', command);
        expect(output).to.contain(
          'Cloning the whole history, as its latest state alone cannot be had: fatal: dumb http',
        );
      });
    }

    it('is checked out at a commit, whole or shortened', async () => {
      for (const commit of [commits.second!, commits.second!.slice(0, 10)]) {
        const { status, output, info } = await stage(`${fileUrl}#${commit}`);
        expect(status, output).to.equal(0);
        expect(info).to.have.property('start_command', 'second');
      }
    });

    it('comes with its submodules', async () => {
      const parent = await GitRepository.create(await writeBuildpack(join(root, 'parent'), {}), 'parent.git');
      try {
        await parent.git('submodule', '--quiet', 'add', `${server.url}/custom-buildpack.git`, 'sub');
        const commit = await parent.commit();
        const url = await parent.publish();
        for (const ref of ['', `#${commit}`]) {
          const { status, output } = await stage(`${url}${ref}`);
          expect(status, output).to.equal(0);
          expect(await readFile(join(workspace.fetchDirectory, 'parent/sub/bin/release'), 'utf8')).to.contain('third');
        }
      } finally {
        await parent.remove();
      }
    });

    it('may be nested one directory deep', async () => {
      const nested = await GitRepository.create(fixtureBuildpack('nested'), 'nested.git');
      try {
        const { status, output } = await stage(await nested.publish());
        expect(status, output).to.equal(0);
      } finally {
        await nested.remove();
      }
    });

    it('wins over a chosen key, and `buildpack` over `buildpack_git_url`', async () => {
      const { info } = await workspace.run({
        properties: { buildpack: fileUrl, buildpack_git_url: 'https://127.0.0.1:1/other.git', buildpack_key: 'other' },
      });
      expect(info).to.have.property('start_command', 'third');
    });

    it('replaces what an earlier staging fetched', async () => {
      await stage(`${fileUrl}#v1`);
      const { info } = await stage(fileUrl);
      expect(info).to.have.property('start_command', 'third');
    });

    for (const [title, suffix, text] of [
      ['a repository that is not there', '/other.git', 'Failed to clone git repository at'],
      [
        'a branch that is not there',
        '/custom-buildpack.git#other',
        'Failed to check out other of the git repository at',
      ],
    ] as const) {
      it(`fails for ${title}, without a kind of failure and without showing passwords`, async () => {
        const { status, output, info } = await stage(`${server.url.replace('//', '//me:secret@')}${suffix}`);
        expect(status).to.equal(1);
        expect(info).to.equal(undefined);
        expect(output).to.contain(`${text} ${server.url}`);
        expect(output).to.not.contain('secret');
      });
    }

    it('is not fetched a second time when the server cannot be reached', async () => {
      const { status, output } = await stage('http://127.0.0.1:1/custom-buildpack.git');
      expect(status).to.equal(1);
      expect(output).to.not.contain('Cloning the whole history');
    });

    it('cannot smuggle options into git', async () => {
      const { status, output } = await stage(`--upload-pack=touch ${root}/owned`);
      expect(status).to.equal(1);
      expect(output).to.contain('Invalid buildpack url');
    });
  });

  describe('from an archive', () => {
    let blobs: BlobServer;
    let archive: Buffer;

    before(async () => {
      archive = await zipDirectory(fixtureBuildpack('nested'));
    });

    beforeEach(async () => {
      blobs = await startBlobServer();
    });

    afterEach(() => blobs.stop());

    it('is downloaded with the credentials of its URL, and unpacked', async () => {
      const url = blobs.put('/some/ruby-buildpack.zip', archive);
      const { status, output, info } = await stage(url);
      expect(status, output).to.equal(0);
      expect(output).to.match(/^Downloaded buildpack `http:\/\/127[^@]*\/some\/ruby-buildpack\.zip` \(.+\)$/m);
      expect(output).to.not.contain('cret');
      expect(info).to.have.property('buildpack_path', join(workspace.fetchDirectory, 'ruby-buildpack'));
    });

    it('may be somewhere else', async () => {
      blobs.handle('/moved.zip', (_request, response) => response.end(archive));
      const url = blobs.handle('/here.zip', (_request, response) =>
        response.writeHead(302, { location: `${blobs.url}/moved.zip` }).end(),
      );
      const { status, output } = await stage(url);
      expect(status, output).to.equal(0);
    });

    it('is fetched through the proxy that the environment names', async () => {
      // The answer must come from the proxy: nobody has this name.
      blobs.handle('/proxied.zip', (_request, response) => response.end(archive));
      const { status, output } = await stage('http://nobody.invalid/proxied.zip', { http_proxy: blobs.url });
      expect(status, output).to.equal(0);
      expect(blobs.requests).to.deep.equal(['GET http://nobody.invalid/proxied.zip']);
    });

    for (const [title, content, text] of [
      ['is not there', undefined, 'HTTP status: 404'],
      ['is no archive', Buffer.from('no zip'), 'it is no usable zip file'],
    ] as const) {
      it(`fails without a kind of failure when it ${title}`, async () => {
        const url = content ? blobs.put('/pack.zip', content) : `${blobs.urlWithCredentials}/away.zip`;
        const { status, output, info } = await stage(url);
        expect(status).to.equal(1);
        expect(info).to.equal(undefined);
        expect(output).to.contain(`Failed to download buildpack at ${blobs.url}`).and.contain(text);
        expect(output).to.not.contain('cret');
      });
    }

    it('is given up when the server does not answer in time', async () => {
      const url = blobs.handle('/hanging.zip', () => {});
      const { status, output } = await stage(url, { STAGING_TIMEOUT: '0.5' });
      expect(status).to.equal(1);
      expect(output).to.contain('took longer than 0.5 seconds');
    });
  });
});
