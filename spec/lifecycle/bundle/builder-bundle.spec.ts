import {
  appendFile,
  chmod,
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { load as parseYaml } from 'js-yaml';
import { makeBuilderBundle } from '../../../lib/lifecycle/bundle/builder-bundle.js';
import { type CommandError, runCommand } from '../../../lib/process/command.js';
import { fixtureApp, fixtureBuildpack, writeBuildpack } from '../../support/builder.js';

/** What the buildpack's scripts and the builder itself call. */
const applets = ['sh', 'cat', 'chmod', 'cp', 'dirname', 'env', 'find', 'mkdir', 'tr', 'wc'];

describe("the builder's bundle", () => {
  let root: string;
  let directory: string;

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'bundle-spec-'));
    directory = join(root, 'builder');
  });

  afterEach(() => rm(root, { recursive: true, force: true }));

  it('is made once, and again only when something is not as it should be', async () => {
    expect(await makeBuilderBundle({ directory })).to.equal(true);
    expect(await makeBuilderBundle({ directory })).to.equal(false);
    await rm(join(directory, 'node'));
    expect(await makeBuilderBundle({ directory })).to.equal(true);
    await writeFile(join(directory, 'manifest.json'), '{}');
    expect(await makeBuilderBundle({ directory })).to.equal(true);
    expect(await readdir(root)).to.deep.equal(['builder']);
  });

  it('is whole when several make it at once', async () => {
    await Promise.all([1, 2, 3].map(() => makeBuilderBundle({ directory })));
    expect(await makeBuilderBundle({ directory })).to.equal(false);
    expect(await readdir(root)).to.deep.equal(['builder']);
  });

  it('takes the place of what a killed build left', async () => {
    await mkdir(directory);
    await writeFile(join(directory, 'run'), 'half');
    expect(await makeBuilderBundle({ directory })).to.equal(true);
    expect(await readFile(join(directory, 'run'), 'utf8')).to.match(/^#!\/bin\/sh\n/);
  });

  it('shares no file with this machine, so that changing its owner does no harm', async () => {
    await makeBuilderBundle({ directory });
    for (const name of ['node', ...(await readdir(join(directory, 'lib'))).map((library) => `lib/${library}`)]) {
      expect((await stat(join(directory, name))).nlink, name).to.equal(1);
    }
  });

  describe('in a root file system with nothing but a static shell', () => {
    let guest: string;

    beforeEach(async () => {
      await makeBuilderBundle({ directory });
      guest = join(root, 'guest');
      for (const path of ['bin', 'dev', 'work', 'tmp/lifecycle']) await mkdir(join(guest, path), { recursive: true });
      await cp('/bin/busybox', join(guest, 'bin/busybox'));
      for (const applet of applets) await symlink('busybox', join(guest, 'bin', applet));
      await writeFile(join(guest, 'dev/null'), '');
      await cp(fixtureApp('static'), join(guest, 'work/unstaged'), { recursive: true });
      await mkdir(join(guest, 'work/staged'));
      await chmod(join(guest, 'work'), 0o777);
      await chmod(join(guest, 'work/staged'), 0o777);
    });

    /** Stages in the guest, as an unprivileged user, with the bundle mounted read-only as a cell does it. */
    async function stageInGuest(environment: Record<string, string>): Promise<string> {
      const config = {
        source_dir: '/work/unstaged',
        dest_dir: '/work/staged',
        cache_dir: '/work/cache',
        environment: {},
        buildpack_dirs: ['/work/pack'],
      };
      await writeFile(join(guest, 'work/plugin_config'), JSON.stringify(config));
      const mount = `${guest}/tmp/lifecycle`;
      const script = `
        mount --bind ${directory} ${mount} && mount -o remount,ro,bind ${mount} &&
        exec chroot --userspec=2000:2000 ${guest} /bin/env -i PATH=/bin "$@" /tmp/lifecycle/run /work/plugin_config 2>&1`;
      const entries = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
      const { stdout } = await runCommand('unshare', ['--mount', 'sh', '-c', script, 'sh', ...entries]).catch(
        (error: CommandError) => {
          throw new Error(`staging failed: ${error.message}`, { cause: error });
        },
      );
      return stdout;
    }

    it('stages an app', async () => {
      await cp(fixtureBuildpack('static-buildpack'), join(guest, 'work/pack'), { recursive: true });
      expect(await stageInGuest({})).to.match(/^-----> static: 4 files$/m);
      const info = parseYaml(await readFile(join(guest, 'work/staged/staging_info.yml'), 'utf8'));
      expect(info).to.have.property('start_command', 'perl .static/serve.pl');
      const { uid } = await stat(join(guest, 'work/staged/app/assets/style.css'));
      expect(uid).to.equal(2000);
    });

    it('is not disturbed by variables that Node.js or the loader would obey, and gives them to the buildpack', async () => {
      await writeBuildpack(join(guest, 'work/pack'), { compile: 'env' });
      const environment = {
        NODE_OPTIONS: '--bad',
        NODE_EXTRA_CA_CERTS: '/nowhere.pem',
        NODE_PATH: '/nowhere "quoted" $HOME',
        LD_LIBRARY_PATH: '',
        LD_PRELOAD: '/nowhere.so',
        OPENSSL_CONF: '/nowhere.cnf',
      };
      const output = await stageInGuest(environment);
      const lines = output.split('\n');
      for (const [name, value] of Object.entries(environment)) expect(lines).to.include(`${name}=${value}`);
      expect(output).to.not.contain('WITHHELD').and.not.contain('Warning');
    });
  });

  it('is replaced as a whole when the builder has changed', async () => {
    await makeBuilderBundle({ directory });
    await appendFile(join(directory, 'builder.cjs'), '// touched');
    await rm(join(directory, 'manifest.json'));
    await makeBuilderBundle({ directory });
    expect(await readFile(join(directory, 'builder.cjs'), 'utf8')).to.not.contain('// touched');
  });
});
